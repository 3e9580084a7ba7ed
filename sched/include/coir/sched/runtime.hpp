// A runtime: workers, their reactors, and the fibers that they run.
#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <coir/sched/clock.hpp>
#include <coir/sched/fiber_id.hpp>
#include <coir/sched/interruption.hpp>
#include <coir/sched/options.hpp>
#include <coir/sched/parts.hpp>
#include <coir/sched/task.hpp>

namespace coir {

namespace sched {

// For a fiber that the caller waits for: a temporary moves into it and ends there, what has a name
// is called where it is.
template <class F>
decltype(auto) kept_by_caller(F&& f) noexcept {
  if constexpr (std::is_lvalue_reference_v<F> && std::is_invocable_v<F>)
    return std::ref(f);
  else
    return static_cast<F&&>(f);
}
template <class F>
concept can_be_kept = std::invocable<F> || std::invocable<std::decay_t<F>>;

}  // namespace sched

// Sums over the workers: each number is right for some moment during the call.
struct runtime_metrics {
  std::string reactor, reactor_reason;  // "uring", "epoll", ...; why this one
  unsigned workers = 0;
  std::uint64_t fibers_alive = 0, fibers_spawned = 0;
  std::uint64_t switches = 0;                  // fibers resumed
  std::uint64_t steals = 0, stolen = 0;        // raids that took something; fibers taken
  std::uint64_t sleeps = 0;                    // of workers
  std::uint64_t io_in_flight = 0, timers = 0;  // operations and deadlines pending
  // tcp_stream::set_zero_copy: parts of writes that were sent so; of these, those that the kernel
  // copied after all; and those that it refused to send so, which went out plainly.
  std::uint64_t zero_copy_sends = 0, zero_copy_copied = 0, zero_copy_refused = 0;
  std::uint64_t stacks_in_use = 0, stacks_cached = 0, stack_slabs = 0;
  std::uint64_t fibers_without_stack = 0;  // tasks that wait for one
  unsigned blocking_threads = 0;           // of offload()
};

// A live fiber, as it was at some moment during the call.
struct fiber_info {
  fiber_id id;
  std::string name;  // its first 31 bytes
  task_state state = task_state::ready;
  std::string waits_for;               // text; empty unless parked
  std::chrono::milliseconds waits{0};  // for how long, to a few hundredths of a second
  unsigned worker = 0;                 // where it ran last
  // Bytes: the most until it last parked. 0 unless options::measure_stacks.
  std::size_t stack_used = 0;
};

// For programs that own their main loop. Neither copied nor moved. Members: any thread.
class runtime {
 public:
  // Starts the workers. Throws std::invalid_argument for options that make no sense, and
  // std::system_error if the kernel refuses the reactor that was asked for.
  explicit runtime(options = options::from_environment());
  runtime(options, sched::parts);  // for tests, simulators and other reactors
  ~runtime();                      // shutdown(), then joins the workers; a plain thread
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  // Starts a fiber, which may run at once on another worker. Throws std::logic_error after
  // shutdown.
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  [[nodiscard]] auto spawn(F&& f, A&&... arguments) {
    return sched::spawn_in(sched::spawn_request{core_.get()}, std::forward<F>(f),
                           std::forward<A>(arguments)...);
  }
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  [[nodiscard]] auto spawn(spawn_options o, F&& f, A&&... arguments) {
    return sched::spawn_in(sched::spawn_request{core_.get(), &o}, std::forward<F>(f),
                           std::forward<A>(arguments)...);
  }

  // Runs f as a fiber and blocks the calling thread until it has ended; its result, or what it
  // threw. Plain threads only, any number of times and at once: on a fiber std::logic_error.
  template <class F>
  requires sched::can_be_kept<F>
  decltype(auto) block_on(F&& f) {
    sched::refuse_on_fiber("block_on");
    return spawn(sched::kept_by_caller(std::forward<F>(f))).get();
  }

  // Cancels every fiber and waits until they have ended. Idempotent; spawn then throws
  // std::logic_error. Plain threads only: on a fiber std::logic_error.
  void shutdown();
  // The same, but gives up at the limit: false, and fibers() names those that still live. They are
  // abandoned: they never run again, their destructors do not run, joins of them throw
  // std::future_error(broken_promise), and their memory is kept until the process ends. Of several
  // calls at once, with and without a limit, the earliest limit counts for all: where it is that of
  // options::shutdown_limit, which shutdown() and ~runtime have, the process stops; else they
  // return at it, too.
  template <class Rep, class Period>
  bool shutdown(std::chrono::duration<Rep, Period> limit) {
    return shutdown_before(sched::deadline_after(limit));
  }

  runtime_metrics metrics() const;
  std::vector<fiber_info> fibers() const;  // every live fiber, each consistent in itself
  void dump(std::ostream&) const;          // the same as text, one fiber a line

  static runtime& current();  // the one that runs this fiber; std::logic_error on a plain thread

 private:
  bool shutdown_before(clock::time_point limit);

  std::unique_ptr<sched::runtime_core> core_;
};

// Runs main as the first fiber of a runtime; returns or throws what it does, after every other
// fiber has been cancelled and has ended. With options::cancel_on_interrupt it throws
// coir::interrupted if SIGINT has ended main. Plain threads only.
template <class F>
requires sched::can_be_kept<F>
decltype(auto) run(options o, F&& main) {
  sched::refuse_on_fiber("run");
  sched::interruption interrupt(o.cancel_on_interrupt);
  runtime r(std::move(o));
  auto first = r.spawn(sched::kept_by_caller(std::forward<F>(main)));
  struct following {  // as long as the record lives
    following(sched::interruption& i, sched::fiber_record* f) noexcept : by(i) { by.follow(f); }
    ~following() { by.follow(nullptr); }
    following(const following&) = delete;
    following& operator=(const following&) = delete;
    sched::interruption& by;
  } guard(interrupt, first.peek());
  first.wait();
  if (interrupt.came() && first.cancelled()) throw interrupted();
  return first.get();
}

template <class F>
requires sched::can_be_kept<F>
decltype(auto) run(F&& main) { return run(options::from_environment(), std::forward<F>(main)); }

}  // namespace coir
