// A call on a thread of its own that nobody has to wait for.
#pragma once
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sync/promise.hpp>

namespace coir {

namespace sched {

void submit_offloaded(offload_job&);  // it is the pool's, unless this throws

template <class T, class F>
struct offloaded_call final : offload_job {
  template <class G>
  explicit offloaded_call(G&& g)
      : offload_job(&offloaded_call::run_it, &offloaded_call::drop_it),
        function(std::forward<G>(g)) {}

  static void run_it(offload_job& j) noexcept {
    const std::unique_ptr<offloaded_call> self(static_cast<offloaded_call*>(&j));
    if (self->result.cancelled()) return;
    std::exception_ptr error;  // given when this thread has left its handler
    try {
      const context_snapshot::installed here(self->context);
      if constexpr (std::is_void_v<T>) {
        std::invoke(std::move(self->function));
        self->result.try_set_value();
      } else {
        self->result.try_set_value(std::invoke(std::move(self->function)));
      }
    } catch (...) {
      error = std::current_exception();
    }
    if (error != nullptr) self->result.try_set_exception(std::move(error));
  }
  static void drop_it(offload_job& j) noexcept { delete static_cast<offloaded_call*>(&j); }

  const context_snapshot context;  // the function begins with the caller's
  F function;
  promise<T> result;
};

}  // namespace sched

// As offload, but returns at once: f, which is moved, runs on a thread of the pool, and its result
// goes to the future. For what may outlive its caller: to wait for the future can be cancelled, f
// goes on, and its result is dropped. future::cancel before f has begun keeps it from running. The
// end of the runtime waits for an f that has begun; one that has not gives
// std::future_error(broken_promise). Fibers only: else std::system_error(operation_not_permitted).
template <class F>
auto offload_async(F&& f) {
  using result = std::invoke_result_t<std::decay_t<F>>;
  auto call = std::make_unique<sched::offloaded_call<result, std::decay_t<F>>>(std::forward<F>(f));
  future<result> later = call->result.get_future();
  sched::submit_offloaded(*call);
  static_cast<void>(call.release());
  return later;
}

}  // namespace coir
