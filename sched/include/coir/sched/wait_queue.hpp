// Waiters of one primitive, first come first served, behind the primitive's own spin lock.
//
// Always true: a node is in the queue only while its waiter waits, and lies on that waiter's stack;
// whoever takes a node out holds the lock and touches the node no more once the lock is free,
// unless it claimed the wait.
#pragma once
#include <cstdint>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>

namespace coir::sched {

struct wait_node : fiber::intrusive_hook {
  waiter* who = nullptr;
  wait_generation generation = 0;
  std::uint64_t amount = 0;  // what the primitive wants to remember: permits, a mode
};

struct wait_reason {
  wait_kind kind = wait_kind::nothing;
  std::uint64_t id = 0;
  bool cancellable = true;
};

class wait_queue {
 public:
  bool empty() const noexcept { return nodes_.empty(); }
  wait_node* front() noexcept { return nodes_.front(); }
  void push(wait_node& n) noexcept { nodes_.push_back(n); }
  void erase(wait_node& n) noexcept { nodes_.erase(n); }

  // Lock held. Takes nodes from the front until one can be claimed: its waiter, to be given what it
  // waits for and then woken, after the lock is free. Null: nobody waits. Those that lost (timed
  // out, cancelled) unlink nothing.
  waiter* claim_first(outcome how = outcome::granted) noexcept {
    while (!nodes_.empty()) {
      wait_node& n = *nodes_.front();
      nodes_.erase(n);
      if (n.who->claim.claim(n.generation, how)) return n.who;
    }
    return nullptr;
  }

 private:
  fiber::intrusive_list<wait_node> nodes_;
};

// Waits in `queue`, whose lock the caller holds; it is released once the wait can be found. On
// return it is not held. granted: a granter has taken the node out. timed_out, cancelled: the node
// is out as well, and nothing was given. The caller throws if it was cancelled (throw_cancelled),
// after it has put its affairs in order.
// Throws std::bad_alloc for want of memory for the deadline; the lock is free then, too.
outcome wait_in(wait_queue& queue, spin_lock& lock, wait_node& node, wait_reason why,
                clock::time_point deadline);

}  // namespace coir::sched
