// Waiters of one primitive, first come first served, behind the primitive's own spin lock.
//
// Always true: a node is in the queue only while its waiter waits, and lies on that waiter's stack.
// Who takes a node out holds the lock. After a claim it belongs to the claimer until the waiter is
// woken. A node whose wait was lost to a deadline or a cancellation is taken out by whoever comes
// first, its waiter or the primitive, as `wait_node::at` says; the waiter touches the primitive no
// more if it was not the first. So an object may be destroyed as soon as nobody waits for it,
// though somebody who gave up is still on the way out.
#pragma once
#include <atomic>
#include <cstdint>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>

namespace coir::sched {

struct wait_node : fiber::intrusive_hook {
  // queued: nobody has decided. leaving: its waiter will take the lock and take it out. taken:
  // somebody else takes it out, behind the lock; out: has done so, and touches it no more.
  enum class place : std::uint32_t { queued, leaving, taken, out };

  waiter* who = nullptr;
  wait_generation generation = 0;
  std::uint64_t amount = 0;  // what the primitive wants to remember: permits, a mode
  std::atomic<place> at{place::queued};
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
  wait_node* after(wait_node& n) noexcept { return nodes_.after(n); }  // null: n is the last
  void push(wait_node& n) noexcept { nodes_.push_back(n); }
  void erase(wait_node& n) noexcept { nodes_.erase(n); }

  // Lock held. Takes the node out and returns its waiter, to be given what it waits for and then
  // woken, after the lock is free. Null: it has timed out or was cancelled; the node may be gone.
  waiter* claim(wait_node& n, outcome how = outcome::granted) noexcept {
    waiter* const w = n.who;
    if (!w->claim.claim(n.generation, how)) return drop(n), nullptr;
    nodes_.erase(n);
    return w;
  }

  // Lock held. The first that can be claimed. Null: nobody waits.
  waiter* claim_first(outcome how = outcome::granted) noexcept {
    for (wait_node* n = nodes_.front(); n != nullptr;) {
      wait_node* const next = nodes_.after(*n);
      if (waiter* w = claim(*n, how)) return w;
      n = next;
    }
    return nullptr;
  }

  // Lock held. The node of a wait that is over: out, unless its waiter is about to do that itself.
  void drop(wait_node& n) noexcept {
    auto queued = wait_node::place::queued;
    if (!n.at.compare_exchange_strong(queued, wait_node::place::taken, std::memory_order_acquire))
      return;
    nodes_.erase(n);
    n.at.store(wait_node::place::out, std::memory_order_release);
  }

  // Its waiter, whose wait is over, before it lets go of the node. True: the lock is held, and the
  // node is out. False: somebody has taken it out; the queue may be gone.
  bool leave(wait_node& n, spin_lock& lock) noexcept;

  // For a destructor. False: somebody waits. Else nobody does, and nobody will look at the queue or
  // its lock any more.
  bool settle(spin_lock& lock) noexcept;

 private:
  fiber::intrusive_list<wait_node> nodes_;
};

// Waits in `queue`, whose lock the caller holds; it is released once the wait can be found. On
// return it is not held. granted: a granter has taken the node out. timed_out, cancelled: the node
// is out as well, and nothing was given. The caller throws if it was cancelled (throw_cancelled),
// after it has put its affairs in order.
// `owed`: a waiter that the caller has claimed; it is woken once this wait can be found.
// Throws std::bad_alloc for want of memory for the deadline; the lock is free then, too.
outcome wait_in(wait_queue& queue, spin_lock& lock, wait_node& node, wait_reason why,
                clock::time_point deadline, waiter* owed = nullptr);

// The same for a node that is in its queue already.
outcome wait_linked(spin_lock& lock, wait_node& node, wait_reason why, clock::time_point deadline,
                    waiter* owed = nullptr);

}  // namespace coir::sched
