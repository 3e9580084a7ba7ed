// Boost.Fiber on coir's reactors: after
//
//   boost::fibers::use_scheduling_algorithm<coir::boost_fiber_algorithm>();
//
// the fibers of this thread may call every I/O function of coir, which parks them, and share locks,
// channels and events with coir's own fibers and with plain threads. What starts fibers of coir
// (spawn, task_group, server::serve) wants a runtime. Boost.Fiber's own channels, futures, barriers
// and timed waits go on as before. For programs that have Boost.Fiber 1.74 or newer; the library
// itself needs none of it.
#pragma once
#include <cstddef>
#include <memory>
#include <utility>

#include <boost/fiber/algo/algorithm.hpp>
#include <boost/fiber/context.hpp>
#include <boost/fiber/properties.hpp>
#include <boost/fiber/scheduler.hpp>
#include <boost/fiber/type.hpp>
#include <coir/interop/guest_thread.hpp>

namespace coir {

// First in, first out, on one thread, which waits in a reactor when no fiber is ready. Give each
// thread its own, on its main fiber, before it starts others; fibers stay on their thread. It ends
// with the thread, or when another algorithm takes its place; no call of coir's may be in flight
// then. Fibers run by it know no cancellation. Their exceptions in flight are Boost.Fiber's matter:
// before 1.88 it does not keep them across a wait inside `catch`.
class boost_fiber_algorithm final : public boost::fibers::algo::algorithm_with_properties_base,
                                    private interop::guest_scheduler {
 public:
  // Which reactor: options::reactor, COIR_REACTOR. Throws std::system_error if it cannot be had.
  explicit boost_fiber_algorithm(const options& o = options::from_environment())
      : thread_(*this, o), main_(thread_.enter(nullptr)) {
    thread_.runs(&main_);
  }
  ~boost_fiber_algorithm() override { interop::guest_thread::leave(main_); }

  void awakened(boost::fibers::context* ctx) noexcept override {
    ctx->ready_link(ready_);
    // A fiber that was started by launch::dispatch runs by now, and its starter is `ctx`.
    if (auto* const active = boost::fibers::context::active()) thread_.runs(guest_of(active));
  }

  boost::fibers::context* pick_next() noexcept override {
    if (is_dispatcher(boost::fibers::context::active())) thread_.poll();
    if (ready_.empty()) return nullptr;
    boost::fibers::context* const next = &ready_.front();
    ready_.pop_front();
    thread_.runs(guest_of(next));
    return next;
  }

  bool has_ready_fibers() const noexcept override { return !ready_.empty(); }
  void suspend_until(const std::chrono::steady_clock::time_point& deadline) noexcept override {
    thread_.wait(deadline);
  }
  void notify() noexcept override { thread_.interrupt(); }
  void property_change_(boost::fibers::context*,
                        boost::fibers::fiber_properties*) noexcept override {}

 private:
  using context = boost::fibers::context;

  // Goes with Boost's fiber.
  struct properties : boost::fibers::fiber_properties {
    properties(context* ctx, interop::guest_fiber& f) : fiber_properties(ctx), fiber(f) {}
    ~properties() override { interop::guest_thread::leave(fiber); }
    interop::guest_fiber& fiber;
  };

  static bool is_dispatcher(const context* ctx) noexcept {
    return ctx != nullptr && ctx->is_context(boost::fibers::type::dispatcher_context);
  }

  // Null: the loop of Boost's scheduler.
  interop::guest_fiber* guest_of(context* ctx) noexcept {
    if (is_dispatcher(ctx)) return nullptr;
    if (ctx->is_context(boost::fibers::type::main_context)) return &main_;
    if (auto* const known = static_cast<properties*>(get_properties(ctx))) return &known->fiber;
    auto* const made = new properties(ctx, thread_.enter(ctx));
    set_properties(ctx, made);
    return &made->fiber;
  }

  void suspend(interop::guest_fiber& f, clock::time_point deadline) noexcept override {
    context* const ctx = context::active();
    f.foreign = ctx;
    if (deadline == sched::never)
      ctx->suspend();
    else
      ctx->wait_until(deadline);
  }
  void make_ready(interop::guest_fiber& f) noexcept override {
    auto* const ctx = static_cast<context*>(f.foreign);
    if (!ctx->ready_is_linked()) context::active()->schedule(ctx);
  }
  void yield() noexcept override { context::active()->yield(); }

  interop::guest_thread thread_;
  interop::guest_fiber& main_;
  boost::fibers::scheduler::ready_queue_type ready_;
};

}  // namespace coir
