// Who searches and who sleeps. A push wakes a sleeper only if nobody searches; at most half of the
// workers search.
//
// Always true: the packed word equals the numbers of searchers and of entries of the list of
// sleepers whenever the lock is free; a worker is in the list from announce() until it is picked by
// somebody or retracts itself, whichever is first. Both protocols, numbered, with the proof:
// sched/README.md, "Falling asleep".
#pragma once
#include <cstdint>
#include <vector>

#include <coir/sched/spin_lock.hpp>

namespace coir::sched {

template <class Atomics = std_atomics>
class basic_idle_set {
 public:
  static constexpr unsigned nobody = ~0u;

  explicit basic_idle_set(unsigned workers) : workers_(workers) { sleepers_.reserve(workers); }

  // A worker that has run dry: may it search? It then ends its search by stop_searching() or
  // announce().
  bool start_searching() noexcept {
    std::uint64_t now = counts_.load(std::memory_order_relaxed);
    do {
      if (2 * (searchers(now) + 1) > workers_ + 1) return false;
    } while (!counts_.compare_exchange_weak(now, now + one_searcher, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
    return true;
  }

  // A searcher that found something. True if it was the last, and somebody sleeps: pushes made
  // meanwhile relied on it, so it looks at all queues, and wakes another one if work is left. It
  // has fenced for that look. Who falls asleep after this has a last look of its own.
  bool stop_searching() noexcept {
    const std::uint64_t before = counts_.fetch_sub(one_searcher, std::memory_order_seq_cst);
    if (searchers(before) != 1 || before < one_sleeper) return false;
    fence_against_pushers(before);
    return true;
  }

  // A worker that found nothing, before its last look at all queues. It has fenced for that look: a
  // push that this look misses sees the announcement.
  void announce(unsigned worker, bool was_searching) noexcept {
    lock_.lock();
    sleepers_.push_back(worker);
    const std::uint64_t before = counts_.fetch_add(one_sleeper - (was_searching ? one_searcher : 0),
                                                   std::memory_order_seq_cst);
    lock_.unlock();
    fence_against_pushers(before);
  }

  // The worker itself, awake again for whatever reason. False: somebody has picked it, and counts
  // it as a searcher.
  bool retract(unsigned worker) noexcept {
    lock_.lock();
    const bool listed = erase(worker);
    if (listed) counts_.fetch_sub(one_sleeper, std::memory_order_seq_cst);
    lock_.unlock();
    return listed;
  }

  // A pusher, after its push and a light fence. The worker to interrupt, which is now a searcher;
  // mostly nobody, at the price of one load.
  unsigned pick_for_work() noexcept {
    const std::uint64_t now = counts_.load(std::memory_order_relaxed);
    if (now < one_sleeper || searchers(now) != 0) [[likely]]
      return nobody;
    return pick(true);
  }

  // The same, whoever searches: for a worker that leaves more behind than one searcher can carry,
  // and for shutdown.
  unsigned pick_any() noexcept { return pick(false); }

  bool anyone_sleeps() const noexcept {
    return counts_.load(std::memory_order_relaxed) >= one_sleeper;
  }
  unsigned sleeping() const noexcept {
    return static_cast<unsigned>(counts_.load(std::memory_order_relaxed) >> 32);
  }
  unsigned searching() const noexcept { return searchers(counts_.load(std::memory_order_relaxed)); }

 private:
  static constexpr std::uint64_t one_searcher = 1, one_sleeper = std::uint64_t{1} << 32;
  static unsigned searchers(std::uint64_t counts) noexcept { return static_cast<unsigned>(counts); }

  // The heavy fence makes the pushers' light one enough, and costs microseconds. If all other
  // workers were in the list it is not needed: each came there after its last push, by a
  // read-modify-write of the counts that this worker's has seen; who leaves the list sees this
  // worker's before it pushes again. Foreign threads fence themselves.
  void fence_against_pushers(std::uint64_t before) noexcept {
    if ((before >> 32) + 1 == workers_)
      Atomics::fence();
    else
      Atomics::heavy_fence();
  }

  [[gnu::noinline]] unsigned pick(bool only_if_nobody_searches) noexcept {
    lock_.lock();
    unsigned worker = nobody;
    const std::uint64_t now = counts_.load(std::memory_order_seq_cst);
    if (!sleepers_.empty() && !(only_if_nobody_searches && searchers(now) != 0)) {
      worker = sleepers_.back();  // the one that slept last has the warmest caches
      sleepers_.pop_back();
      counts_.fetch_sub(one_sleeper - one_searcher, std::memory_order_seq_cst);
    }
    lock_.unlock();
    return worker;
  }

  bool erase(unsigned worker) noexcept {
    for (auto it = sleepers_.begin(); it != sleepers_.end(); ++it)
      if (*it == worker) return sleepers_.erase(it), true;
    return false;
  }

  typename Atomics::template atomic<std::uint64_t> counts_{0};  // sleepers << 32 | searchers
  basic_spin_lock<Atomics> lock_;
  std::vector<unsigned> sleepers_;  // under lock_
  const unsigned workers_;
};

using idle_set = basic_idle_set<>;

}  // namespace coir::sched
