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
  std_atomics::fence();  // between what the request is about and the read of home: worker::adopt
                         // has the other fence
  if (host* home = r.target->home.load(std::memory_order_relaxed))
    home->post(r);
  else
    r.handled(r);
}

outcome wait_in(wait_queue& queue, spin_lock& lock, wait_node& node, wait_reason why,
                clock::time_point deadline) {
  host& here = current_host();
  if (deadline != never) {
    try {
      here.make_room_for_deadline();
    } catch (...) {
      lock.unlock();
      throw;
    }
  }
  waiter& w = *here.running;
  node.who = &w;
  node.generation = w.claim.begin(outcome::waiting, why.cancellable && may_be_cancelled(w));
  w.waits_for_id.store(why.id, std::memory_order_relaxed);
  w.waits_for.store(why.kind, std::memory_order_relaxed);
  queue.push(node);
  here.park(w,
            {[](void* held, void*) noexcept -> waiter* {
               static_cast<spin_lock*>(held)->unlock();
               return nullptr;
             },
             &lock, nullptr},
            deadline);
  w.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  const outcome how = w.claim.finish();
  if (how != outcome::granted) {
    lock.lock();
    if (node.linked()) queue.erase(node);
    lock.unlock();
  }
  return how;
}

}  // namespace coir::sched
