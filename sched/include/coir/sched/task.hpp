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
#include <coir/sched/task_handle.hpp>
#include <coir/sched/task_payload.hpp>

namespace coir {

template <class T>
class task;

namespace sched {

class runtime_core;

// Throws std::logic_error on a fiber, naming the call.
void refuse_on_fiber(const char* call);
runtime_core& core_of_this_fiber(const char* call);  // std::system_error on a plain thread

// How a task is made: a record is taken, its function is put into it where it will be called, and
// it is started. `in`: null: the runtime of the fiber that calls. `options`: null: the usual ones.
struct usual {};  // a fiber of the caller's runtime, with the usual options
struct spawn_request {
  runtime_core* in = nullptr;
  spawn_options* options = nullptr;
  deferral* until = nullptr;  // null: it is ready at once. Else by a worker of that runtime
};
fiber_record& reserve_record(usual, std::uint32_t payload_class);
fiber_record& reserve_record(const spawn_request&, std::uint32_t payload_class);
fiber_record& start_record(usual, fiber_record&, const task_functions&);
fiber_record& start_record(const spawn_request&, fiber_record&, const task_functions&);
void discard_record(fiber_record&) noexcept;  // one that has no function

template <class How, class Member, class F, class... A>
fiber_record& spawn_member(const How& how, Member member, F&& f, A&&... arguments) {
  using function = bound<std::decay_t<F>, std::decay_t<A>...>;
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>;
  using kind = task_kind<result, function, Member>;
  using payload = typename kind::payload;
  struct reserved {
    fiber_record* record;
    ~reserved() {
      if (record != nullptr) discard_record(*record);
    }
  } place{&reserve_record(how, payload_class<sizeof(payload)>)};
  fiber_record& child = *place.record;
  new (child.payload())
      payload(std::move(member), std::forward<F>(f), std::forward<A>(arguments)...);
  place.record = nullptr;
  return start_record(how, child, kind::functions);
}

template <class How, class F, class... A>
auto spawn_in(const How& how, F&& f, A&&... arguments) {
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>;
  return task<result>(
      spawn_member(how, no_group{}, std::forward<F>(f), std::forward<A>(arguments)...));
}

}  // namespace sched

// The handle of a fiber: owns its result. Move-only; default-constructed and moved-from it has no
// fiber, and then its members throw std::future_error. cancel, on_done: any thread; the rest: one
// user at a time.
template <class T>
class task : public sched::task_handle {
 public:
  task() noexcept = default;
  explicit task(sched::fiber_record& adopted) noexcept : task_handle(adopted) {}
  task(task&&) noexcept = default;
  task& operator=(task&& other) noexcept {
    task old(std::move(*this));
    take(other);
    return *this;
  }
  // Cancels and joins, as std::jthread does, whatever is pending on the caller; an error that
  // nobody read goes to options::on_unhandled.
  ~task() { cancel_and_join(); }

  // Waits for the end of the fiber; its value, or its exception. A cancelled one throws
  // coir::cancelled. Once: then std::future_error(future_already_retrieved).
  T get() { return sched::get_of<T>(record()); }

  void detach() { let_go(); }  // it goes on without a handle; its error goes to on_unhandled
};

// The same without ownership: copies name one fiber, and none of them ends it. Its result is kept
// until the last of them is gone; get() once over all copies.
template <class T>
class task_ref : public sched::task_handle {
 public:
  task_ref() noexcept = default;
  explicit task_ref(sched::fiber_record& adopted) noexcept : task_handle(adopted) {}
  explicit task_ref(const task<T>& of) : task_handle(of) {}
  task_ref(const task_ref& other) noexcept : task_handle(other) {}
  task_ref(task_ref&&) noexcept = default;
  task_ref& operator=(task_ref other) noexcept {
    swap(other);
    return *this;
  }
  ~task_ref() {
    if (valid()) let_go();
  }

  T get() { return sched::get_of<T>(record()); }
};

// Starts f(arguments...) as a fiber of the runtime that runs the caller; arguments as
// std::thread's. The fiber may run at once on another worker. Throws std::bad_alloc for want of
// memory for its record, std::invalid_argument for an impossible stack size, and
// std::system_error(operation_not_permitted) on a plain thread: use runtime::spawn.
template <class F, class... A>
requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
[[nodiscard]] auto spawn(F&& f, A&&... arguments) {
  return sched::spawn_in(sched::usual{}, std::forward<F>(f), std::forward<A>(arguments)...);
}
template <class F, class... A>
requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
[[nodiscard]] auto spawn(spawn_options options, F&& f, A&&... arguments) {
  return sched::spawn_in(sched::spawn_request{nullptr, &options}, std::forward<F>(f),
                         std::forward<A>(arguments)...);
}

}  // namespace coir
