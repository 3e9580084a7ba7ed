// Fibers as values: spawn and task.
#pragma once
#include <exception>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/spawn_options.hpp>
#include <coir/sched/task_payload.hpp>

namespace coir {

template <class T>
class task;

namespace sched {

class runtime_core;

// Throws std::logic_error on a fiber, naming the call.
void refuse_on_fiber(const char* call);
runtime_core& core_of_this_fiber(const char* call);  // std::system_error on a plain thread

fiber_record& spawn_record(runtime_core&, spawn_options&&, const spawn_request&);

// What a task does with its record; any thread.
bool join(fiber_record&, clock::time_point deadline, bool cancellable = true);
bool cancel(fiber_record&, std::string_view reason) noexcept;
std::string name_of_task(const fiber_record&);
[[noreturn]] void rethrow(fiber_record&);  // how it ended, which was not with a value
std::exception_ptr error_of(fiber_record&);
void cancel_and_join(fiber_record&) noexcept;  // and report an error that nobody has read

template <class F, class... A>
auto spawn_in(runtime_core& core, spawn_options options, F&& f, A&&... arguments) {
  using function = bound<std::decay_t<F>, std::decay_t<A>...>;
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>;
  using kind = task_kind<result, function>;
  std::tuple<F&&, A&&...> given(std::forward<F>(f), std::forward<A>(arguments)...);
  fiber_record& record = spawn_record(
      core, std::move(options),
      {sizeof(typename kind::payload), kind::functions,
       [](std::byte* at, void* from) {
         std::apply(
             [at](auto&&... parts) {
               new (at) typename kind::payload(std::forward<decltype(parts)>(parts)...);
             },
             std::move(*static_cast<std::tuple<F&&, A&&...>*>(from)));
       },
       &given});
  return task<result>(record);
}

}  // namespace sched

// The handle of a fiber: owns its result. Move-only; default-constructed and moved-from it has no
// fiber, and then its members throw std::future_error. cancel: any thread; the rest: one user at a
// time.
template <class T>
class task {
 public:
  task() noexcept = default;
  explicit task(sched::fiber_record& adopted) noexcept : record_(&adopted) {}
  task(task&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    task old(std::move(*this));
    record_ = std::exchange(other.record_, nullptr);
    return *this;
  }
  // Cancels and joins, as std::jthread does, whatever is pending on the caller; an error that
  // nobody read goes to options::on_unhandled.
  ~task() {
    if (record_ != nullptr) sched::cancel_and_join(*record_);
  }

  bool valid() const noexcept { return record_ != nullptr; }

  // Waits for the end of the fiber; its value, or its exception. A cancelled one throws
  // coir::cancelled. Once: then std::future_error(future_already_retrieved).
  T get() {
    sched::fiber_record& f = record();
    sched::join(f, sched::never);
    auto& payload = sched::payload_of<T>(f);
    if (std::exchange(payload.taken, true))
      throw std::future_error(std::future_errc::future_already_retrieved);
    if (f.ending.load(std::memory_order_relaxed) != sched::task_ending::value) sched::rethrow(f);
    return payload.take();
  }

  std::exception_ptr error()
      const {  // waits; null: it has a value. Any number of times, also after get
    sched::join(record(), sched::never);
    return sched::error_of(record());
  }
  void wait() const { sched::join(record(), sched::never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {  // whether it has ended
    return sched::join(record(), sched::deadline_after(d));
  }
  template <class Duration>
  bool wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) const {
    return sched::join(record(), sched::deadline_at(t));
  }

  bool done() const noexcept { return record_ != nullptr && record_->done(); }
  // Asks the fiber to end: coir::cancelled is thrown at the blocking call that it is in, or at its
  // next. True if it had not ended. Idempotent, the first reason stays.
  bool cancel(std::string_view reason = {}) noexcept {
    return record_ != nullptr && sched::cancel(*record_, reason);
  }
  bool cancelled() const noexcept {  // has ended, by its cancellation
    return done() &&
           record_->ending.load(std::memory_order_relaxed) == sched::task_ending::cancelled;
  }
  task_state state() const noexcept {
    return record_ == nullptr ? task_state::done : record_->state.load(std::memory_order_acquire);
  }
  fiber_id id() const noexcept { return record_ == nullptr ? fiber_id{} : record_->id(); }
  std::string name() const { return sched::name_of_task(record()); }

  void detach() {  // the fiber goes on without a handle; its error goes to options::on_unhandled
    sched::release(record());
    record_ = nullptr;
  }

 private:
  sched::fiber_record& record() const {
    if (record_ == nullptr) throw std::future_error(std::future_errc::no_state);
    return *record_;
  }

  sched::fiber_record* record_ = nullptr;
};

// Starts f(arguments...) as a fiber of the runtime that runs the caller; arguments as
// std::thread's. The fiber may run at once on another worker. Throws std::bad_alloc for want of
// memory for its record, std::invalid_argument for an impossible stack size, and
// std::system_error(operation_not_permitted) on a plain thread: use runtime::spawn.
template <class F, class... A>
requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
[[nodiscard]] auto spawn(F&& f, A&&... arguments) {
  return sched::spawn_in(sched::core_of_this_fiber("spawn"), {}, std::forward<F>(f),
                         std::forward<A>(arguments)...);
}
template <class F, class... A>
requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
[[nodiscard]] auto spawn(spawn_options options, F&& f, A&&... arguments) {
  return sched::spawn_in(sched::core_of_this_fiber("spawn"), std::move(options), std::forward<F>(f),
                         std::forward<A>(arguments)...);
}

}  // namespace coir
