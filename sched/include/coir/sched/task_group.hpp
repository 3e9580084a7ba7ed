// Structured concurrency: fibers that end before the code that started them goes on.
#pragma once
#include <cstddef>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include <coir/sched/nursery.hpp>

namespace coir {

// A nursery: no child outlives it, so children may borrow from the stack that it lies on (declare
// it after what they borrow). Made on a fiber (else std::system_error(operation_not_permitted));
// the children run in that fiber's runtime. Another fiber may destroy it.
class task_group {
 public:
  // at_most: spawn waits for a place while so many live; 0: no limit.
  explicit task_group(std::size_t at_most = 0)
      : inner_(sched::core_of_this_fiber("task_group"), sched::nursery::rule::first_error_ends,
               at_most) {}
  // Not joined: cancels the children and waits for them, whatever is pending on the caller; their
  // errors go to options::on_unhandled, as do those after the first that join threw, unless
  // errors() was asked.
  ~task_group() {
    if (!joined_) {
      inner_.cancel();
      inner_.join(false);
    }
    if (!asked_) report_rest();
  }
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;

  // Starts a child. Any fiber or thread while the group lives, children too. Throws coir::cancelled
  // once the group has been cancelled, std::logic_error once it has been joined.
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  auto spawn(F&& f, A&&... arguments) {
    return start(nullptr, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  auto spawn(spawn_options o, F&& f, A&&... arguments) {
    return start(&o, std::forward<F>(f), std::forward<A>(arguments)...);
  }

  void cancel() noexcept { inner_.cancel(); }  // asks every child to end; any thread

  // Waits until all children have ended. The first to fail cancels its siblings, and its error is
  // thrown; a child that is cancelled alone is no failure. If the caller is cancelled here, all are
  // cancelled and waited for; then an error of theirs is thrown, and the cancellation comes at the
  // next blocking call, or else the cancellation is thrown.
  void join() {
    const bool struck = inner_.join(true);
    joined_ = true;
    if (const std::exception_ptr e = inner_.first_error()) {
      thrown_ = true;
      std::rethrow_exception(e);
    }
    if (struck) inner_.throw_pending();
  }

  // The errors of all children that failed, the first first; after join().
  std::vector<std::exception_ptr> errors() const {
    std::vector<std::exception_ptr> all = inner_.errors();
    asked_ = true;
    return all;
  }

 private:
  template <class F>
  friend decltype(auto) with_group(F&&);
  template <class F, class... A>
  auto start(spawn_options* o, F&& f, A&&... arguments) {
    using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>;
    return task_ref<result>(inner_.start(o, std::forward<F>(f), std::forward<A>(arguments)...));
  }
  explicit task_group(sched::scope& body)
      : inner_(sched::core_of_this_fiber("with_group"), sched::nursery::rule::first_error_ends, 0,
               &body) {}
  void end_children() noexcept {
    inner_.cancel();
    inner_.join(false);
    joined_ = true;
  }
  void report_rest() noexcept { inner_.report_errors(thrown_ ? 1 : 0); }

  sched::open_here open_;
  mutable sched::nursery inner_;
  bool joined_ = false;
  bool thrown_ = false;
  mutable bool asked_ = false;
};

// Runs body(group), on this fiber, then joins the group. A child that fails also cancels the body;
// its error is then the result. If the body throws, the children are cancelled and waited for, and
// its error goes on. Other errors go to options::on_unhandled.
template <class F>
decltype(auto) with_group(F&& body) {
  struct opened {
    opened() { sched::open_scope(inner, sched::scope_kind::group, sched::never, "with_group"); }
    ~opened() { sched::close_scope(inner); }
    opened(const opened&) = delete;
    opened& operator=(const opened&) = delete;
    sched::scope inner;
  } scope;
  task_group group(scope.inner);
  const auto run = [&]() -> decltype(auto) {
    try {
      return std::invoke(std::forward<F>(body), group);
    } catch (cancelled& c) {
      group.end_children();
      if (!sched::strike_out(scope.inner, c)) throw;
    } catch (...) {
      group.end_children();
      throw;
    }
    group.join();  // throws the error of the child that cancelled the body
    std::terminate();
  };
  if constexpr (std::is_void_v<decltype(run())>) {
    run();
    group.join();
  } else {
    decltype(auto) result = run();
    group.join();
    if constexpr (std::is_reference_v<decltype(result)>)
      return static_cast<decltype(result)>(result);
    else
      return result;
  }
}

}  // namespace coir
