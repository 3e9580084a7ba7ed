// What the nodes of one random program share, and what has to hold when all of them have ended.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <coir/coroutine/coroutine.hpp>
#include <coir/sched/context_var.hpp>
#include <coir/sched/runtime.hpp>
#include <coir/sync/channel.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/condition_variable_any.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/notifier.hpp>
#include <coir/sync/recursive_mutex.hpp>
#include <coir/sync/shared_mutex.hpp>
#include <coir/sync/work_queue.hpp>

#include "node.hpp"

namespace coir::testing::programs {

// A thing that is handed around: there is one of each, and its move may let others run.
class item {
 public:
  explicit item(world& of, bool slow);
  item(item&& other) noexcept;
  item& operator=(item&& other) noexcept;
  ~item();
  bool valid() const { return of_ != nullptr; }
  std::uint64_t key() const { return key_; }
  friend bool operator<(const item& a, const item& b) { return a.key_ < b.key_; }

 private:
  world* of_;
  bool slow_;
  std::uint64_t key_;
};

// A lock with what it guards: plain data, and who is inside.
template <class M>
struct guarded {
  M lock;
  std::uint64_t plain = 0;                // under the lock
  std::atomic<std::uint64_t> entries{0};  // what plain has to be
  std::atomic<int> inside{0}, readers{0};
};

template <class Q>
struct counted_queue {
  template <class... A>
  explicit counted_queue(A&&... a) : queue(std::forward<A>(a)...) {}
  Q queue;
  std::atomic<std::uint64_t> pushed{0}, popped{0};
};

// Answers a number with the next.
using counter = coroutine<int(int)>;

struct world {
  world(runtime& in, std::uint64_t seed_of_it) : rt(in), seed(seed_of_it) {}
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  void fail(const std::string& who, const std::string& text) const;
  void check_end();  // on a plain thread, when every fiber and thread of it has ended

  runtime& rt;
  const std::uint64_t seed;
  std::atomic<bool> shut_down{false};  // has begun, or is about to
  std::atomic<std::uint64_t> progress{0};

  // How many are alive.
  std::atomic<std::int64_t> identities{0}, nodes{0}, tokens{0}, items{0}, dropping{0};
  std::atomic<std::uint64_t> spawned{0}, steps{0}, cancels{0}, timeouts{0}, errors{0};

  // Levels 1 to 8: locks, in the order in which they may be taken.
  static constexpr unsigned permits = 3;
  std::array<guarded<mutex>, 2> mutexes;                // levels 1, 2
  std::array<guarded<shared_mutex>, 2> shared_mutexes;  // 3, 4
  guarded<recursive_mutex> recursive;                   // 5
  counting_semaphore<> semaphore{permits};              // 6
  std::atomic<unsigned> permits_out{0};
  condition_variable condition;          // of mutexes[1]
  std::uint64_t told = 0;                // under mutexes[1]
  condition_variable_any any_condition;  // of shared_mutexes[1]
  std::uint64_t any_told = 0;            // under shared_mutexes[1]

  event gate;
  notifier bell;
  std::atomic<std::uint64_t> rung{0}, heard{0};
  counted_queue<channel<item>> meeting{std::size_t{0}}, narrow{std::size_t{1}},
      wide{std::size_t{7}};
  counted_queue<work_queue<item>> jobs{std::size_t{4}};
  counted_queue<work_queue<item, by<std::less<>>>> ranked;

  context_var<std::uint64_t> context{0};

  // Coroutines that whoever takes one resumes, fiber or thread.
  std::mutex wanderers_mutex;
  std::array<counter, 3> wanderers;

  std::atomic<std::uint64_t> calls_made{0}, calls_ran{0}, calls_dropped{0};

  // Some of the fibers that live, for whoever wants to cancel one at random.
  void enlist(const std::shared_ptr<identity>&, task_ref<token>);
  void cancel_somebody(node& by);

 private:
  struct enlisted {
    std::shared_ptr<identity> who;
    task_ref<token> ref;
  };
  template <class M>
  void check_lock(guarded<M>&, const char* name);
  template <class Q>
  void check_queue(Q&, const char* name);

  std::mutex enlisted_mutex_;
  std::array<enlisted, 12> enlisted_;
  std::size_t next_place_ = 0;
  mutable std::atomic<int> failures_{0};
};

// Asks for the end of a fiber, in the books of both.
template <class Handle>
bool ask(const std::shared_ptr<identity>& who, Handle& handle, std::string_view reason = {}) {
  ++who->asking;
  const bool lived = handle.cancel(reason);
  if (lived) ++who->asked;
  return lived;
}

}  // namespace coir::testing::programs
