#include <coir/sched/wait.hpp>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/host.hpp>

#include "end_watch.hpp"

namespace coir::sched {

// Always true: `order` has room for all, so that whoever ends a fiber only writes into it. A node
// is in its fiber's line, under that fiber's join_lock, until the fiber ends or the watch does.
struct completions::state {
  struct node : end_watch {
    state* of = nullptr;
    fiber_record* fiber = nullptr;
  };

  explicit state(std::size_t n) : nodes(n), order(n) {}

  static waiter* told(end_watch& w) noexcept {
    auto& n = static_cast<node&>(w);
    state& s = *n.of;
    s.lock.lock();
    s.note_locked(n);
    waiter* const first = s.waiting.claim_first();
    s.lock.unlock();
    return first;
  }
  void note_locked(const node& n) noexcept {
    order[ended++] = static_cast<std::size_t>(&n - nodes.data());
  }

  std::vector<node> nodes;
  spin_lock lock;
  std::vector<std::size_t> order;  // of those that have ended; under lock
  std::size_t ended = 0;           // under lock
  wait_queue waiting;              // under lock
};

completions::completions(const std::vector<fiber_record*>& of)
    : state_(std::make_unique<state>(of.size())) {
  for (std::size_t i = 0; i < of.size(); ++i) {
    state::node& n = state_->nodes[i];
    n.of = state_.get();
    n.fiber = of[i];
    n.told = &state::told;
    of[i]->join_lock.lock();
    const bool done = of[i]->done();
    if (!done) of[i]->joiners.push(n);
    of[i]->join_lock.unlock();
    if (!done) continue;
    state_->lock.lock();
    state_->note_locked(n);
    state_->lock.unlock();
  }
}

completions::~completions() {
  if (state_ == nullptr) return;
  for (state::node& n : state_->nodes) {
    n.fiber->join_lock.lock();
    if (n.linked()) n.fiber->joiners.erase(n);
    n.fiber->join_lock.unlock();
  }
}

std::size_t completions::count() const noexcept {
  state_->lock.lock();
  const std::size_t n = state_->ended;
  state_->lock.unlock();
  return n;
}

std::size_t completions::next(std::size_t known, clock::time_point deadline) {
  state& s = *state_;
  waiter& me = *current_host().running;
  for (;;) {
    s.lock.lock();
    if (s.ended > known) {
      const std::size_t i = s.order[known];
      s.lock.unlock();
      return i;
    }
    wait_node node;
    const outcome how = wait_in(s.waiting, s.lock, node, {wait_kind::join}, deadline);
    if (how == outcome::cancelled) throw_cancelled(me);
    if (how == outcome::timed_out) return s.nodes.size();
  }
}

wait_result wait_for_some(const std::vector<fiber_record*>& fibers, wait_for_what what,
                          clock::time_point deadline) {
  wait_result r;
  {
    completions ended(fibers);
    for (std::size_t known = 0; known < fibers.size(); ++known) {
      const std::size_t i = ended.next(known, deadline);
      if (i == fibers.size() || what == wait_for_what::first_done) break;
      if (what == wait_for_what::first_error &&
          fibers[i]->ending.load(std::memory_order_relaxed) == task_ending::error)
        break;
    }
  }
  for (std::size_t i = 0; i < fibers.size(); ++i)
    (fibers[i]->done() ? r.done : r.pending).push_back(i);
  return r;
}

}  // namespace coir::sched
