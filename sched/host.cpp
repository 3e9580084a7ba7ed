#include <coir/sched/host.hpp>

#include <coir/sched/atomics.hpp>
#include <coir/sched/cancellation.hpp>
#include <coir/sched/wait_queue.hpp>

#include "thread_coroutines.hpp"
#include "thread_host.hpp"

namespace coir::sched {

namespace {

// The library's only thread_local. Its address must not be kept across a switch, so nobody but
// these functions, which are never inlined, sees it.
thread_local host* current = nullptr;

}  // namespace

host::~host() { forget_coroutines(*this); }

[[gnu::noinline]] host* current_host_if_any() noexcept {
  host* value = current;
  asm volatile("" : "+r"(value) : : "memory");  // not a pure function: two calls may differ
  return value;
}

[[gnu::noinline]] void set_current_host(host* h) noexcept {
  current = h;
  asm volatile("" : : : "memory");
}

[[gnu::noinline]] host& current_host() noexcept {
  host* value = current;
  asm volatile("" : "+r"(value) : : "memory");
  return value != nullptr ? *value : make_thread_host();
}

void send_request(request& r) noexcept {
  // Between what the request is about and the read of home: basic_home::adopt has the other fence.
  std_atomics::fence();
  if (host* home = r.target->home.load(std::memory_order_relaxed))
    home->post(r);
  else
    r.handled(r);
}

bool wait_queue::leave(wait_node& n, spin_lock& lock) noexcept {
  auto queued = wait_node::place::queued;
  if (n.at.compare_exchange_strong(queued, wait_node::place::leaving, std::memory_order_acq_rel)) {
    lock.lock();
    if (n.linked()) nodes_.erase(n);
    return true;
  }
  for (unsigned turn = 0; n.at.load(std::memory_order_acquire) != wait_node::place::out; ++turn)
    std_atomics::pause(turn);
  return false;
}

bool wait_queue::settle(spin_lock& lock) noexcept {
  for (unsigned turn = 0;; ++turn) {
    lock.lock();
    for (wait_node* n = nodes_.front(); n != nullptr;) {
      wait_node* const next = nodes_.after(*n);
      const auto wait = n->who->claim.look();
      if (wait.generation == n->generation && wait.state == outcome::waiting)
        return lock.unlock(), false;
      drop(*n);
      n = next;
    }
    const bool nobody = nodes_.empty();
    lock.unlock();
    if (nobody) return true;
    std_atomics::pause(turn);  // one that runs is about to take its node out
  }
}

outcome wait_linked(spin_lock& lock, wait_node& node, wait_reason why, clock::time_point deadline,
                    waiter* owed) {
  host& here = current_host();
  waiter& w = *here.running;
  check_may_suspend(w);
  node.who = &w;
  node.generation = w.claim.begin(outcome::waiting, why.cancellable && may_be_cancelled(w));
  w.waits_for_id.store(why.id, std::memory_order_relaxed);
  w.waits_for.store(why.kind, std::memory_order_relaxed);
  here.park(w,
            {[](void* held, void* due) noexcept -> waiter* {
               static_cast<spin_lock*>(held)->unlock();
               return static_cast<waiter*>(due);
             },
             &lock, owed},
            deadline);
  w.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  return w.claim.finish();
}

outcome wait_in(wait_queue& queue, spin_lock& lock, wait_node& node, wait_reason why,
                clock::time_point deadline, waiter* owed) {
  if (deadline != never) {
    try {
      current_host().make_room_for_deadline();
    } catch (...) {
      lock.unlock();
      if (owed != nullptr) wake(*owed);
      throw;
    }
  }
  queue.push(node);
  const outcome how = wait_linked(lock, node, why, deadline, owed);
  if (how != outcome::granted && queue.leave(node, lock)) lock.unlock();
  return how;
}

}  // namespace coir::sched
