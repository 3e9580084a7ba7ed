// The one blocking primitive: park me; here is how I will be found. Every wait of the library
// reduces to it.
//
// A host runs waiters: a worker, a guest scheduler's thread, or a plain thread. What blocks asks
// the current host and never a worker, so that it works on all three.
#pragma once
#include <coir/fiber/context.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/driver.hpp>
#include <coir/sched/waiter.hpp>

namespace coir::sched {

// What makes a parking waiter findable. It runs when the waiter's context is saved, on another
// stack (on a plain thread: just before it blocks), so no waker meets a half-switched fiber. It may
// unlock, link or release; publishing is its last access to what it publishes. It neither throws,
// parks, allocates, nor makes a system call. A waiter that is claimed and owed a wake is
// returned, to be woken behind it; else null.
struct after_switch {
  waiter* (*run)(void*, void*) noexcept = nullptr;
  void* first = nullptr;
  void* second = nullptr;
};

// What a thread that is not the waiter's home wants done there, by whoever is behind home's gate.
struct request {
  enum class kind : std::uint8_t {
    stop_operation,  // end the operation of this generation: its descriptor is being closed
  };
  request* inbox_next = nullptr;
  waiter* target = nullptr;
  wait_generation generation = 0;  // stop_operation: of the target's wait
  kind what = kind::stop_operation;
  void (*handled)(request&) noexcept = nullptr;  // the last touch; may free the request
};

struct thread_coroutines;  // what a thread keeps for its coroutines; sched/thread_coroutines.hpp

enum class host_kind : std::uint8_t { worker, thread, guest };

class host {
 public:
  explicit host(host_kind k) noexcept : kind(k) {}
  virtual ~host();
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  // The waiter that runs here now gives its stack away until somebody claims the wait that it has
  // begun (claim.begin()) and makes it ready. Past the deadline the host claims it itself, as
  // timed_out; a cancellable wait that finds a cancellation pending is claimed as cancelled and
  // does not park (the action runs all the same). The waiter may return on another host: take
  // nothing of this one across the call.
  virtual void park(waiter&, after_switch, clock::time_point deadline) noexcept = 0;

  // The same for an operation under the home contract, begun with claim.begin(outcome::operating):
  // returns after its completion, never before. Deadline and cancellation (if begun so) ask the
  // driver to stop it, and note so in it.
  virtual void park_operation(waiter&, operation&, clock::time_point deadline) noexcept = 0;

  // Any thread; once for each wait, by its claimer, whose last touch of the waiter it is.
  virtual void unpark(waiter&) noexcept = 0;

  // Any thread. The request is handled by whoever is behind this host's gate, or forwarded.
  virtual void post(request&) noexcept = 0;

  // Before a wait with a deadline begins: its park then needs no memory. Throws std::bad_alloc.
  virtual void make_room_for_deadline() {}

  virtual void yield() noexcept = 0;  // lets others run first; no cancellation point in itself

  // The thread's own, while it runs on this host.
  waiter* running = nullptr;  // null: the host's own loop runs
  driver* io = nullptr;       // null: none

  // For coroutines, which switch stacks within what runs here. Null: none has been on this thread.
  fiber::carrier* switches_with = nullptr;
  thread_coroutines* coroutines = nullptr;

  const host_kind kind;
};

// The host of the calling thread; a plain thread's is made at first use. One opaque call that
// returns a value, because compilers keep the address of a thread_local across a switch: ask again
// after every blocking call.
host& current_host() noexcept;
host* current_host_if_any() noexcept;  // null: a thread that has never blocked in the library
void set_current_host(
    host*) noexcept;  // a worker or guest when it takes a thread, and null when it leaves

// Makes a claimed waiter ready. Any thread, the claimer only.
inline void wake(waiter& w) noexcept { w.home.load(std::memory_order_relaxed)->unpark(w); }
inline void wake(ready_list& claimed) noexcept {
  while (waiter* w = claimed.pop()) wake(*w);
}

// Posts a request to its target's home, wherever that is by now. Any thread. What the request is
// about (the attention flag, the descriptor's closing flag) has been stored before.
void send_request(request&) noexcept;

}  // namespace coir::sched
