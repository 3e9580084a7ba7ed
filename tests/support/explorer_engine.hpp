// The engine behind explorer.hpp: one search through the schedules of one model.
//
// Always true:
//  - decide() is the only place where chance enters; the path holds its answers, and an execution
//    is a function of the path. The search changes the last answer that has an alternative.
//  - The set-up, the check and the destruction run in the caller's context, alone, on memory.
//  - Under memory::weak the writes of read-modify-writes wait in buffers too, and whoever writes
//  such
//    a cell drains them first. That cannot go in circles: while the buffer of one thread holds such
//    a write behind others, every other thread's is the first in its buffer.
#pragma once

#include "explorer.hpp"
#include "explorer_context.hpp"

#include <algorithm>
#include <optional>
#include <random>

namespace coir::explorer {

struct buffered_store {
  cell* where;
  std::uint64_t value;
  time_stamps released;
  bool seq_cst;
  bool delayed_rmw;
};

// A line of the schedule. Addresses are only compared: the object may be gone when it is printed.
struct step {
  int thread;
  const char* verb;
  const void* object;  // null: none
  const char* name;
  std::uint32_t id;  // of a cell; 0: none
  std::uint64_t before, after;
  enum : char { plain, reads, writes, changes } shows;
  std::optional<std::memory_order> order;
};

enum class state { ready, paused, waiting, awaiting, ended };

struct model_thread {
  model_thread(void (*function)()) : own_context(function) {}

  context own_context;
  model_body* body = nullptr;
  state now = state::ended;
  std::vector<buffered_store> buffer;
  std::uint64_t changes = 0;    // of memory, by this thread
  std::uint64_t turn_mark = 0;  // changes by others when its present spinning turn began
  const bool* event = nullptr;
  const std::function<bool()>* predicate = nullptr;
  time_stamps knows{};           // its vector clock
  time_stamps fence_released{};  // what its relaxed stores release, since its last full fence
  time_stamps fence_acquires{};  // what its next full fence will learn from its relaxed loads
};

inline void join(time_stamps& into, const time_stamps& from) {
  for (int i = 0; i < max_threads; ++i) into[i] = std::max(into[i], from[i]);
}

class engine {
 public:
  engine(const options& chosen, const std::function<model()>& make);
  ~engine();
  result search();

  // Called by the threads of the model.
  std::uint64_t load(const cell& from, std::memory_order order);
  void store(cell& to, std::uint64_t value, std::memory_order order);
  std::uint64_t modify(cell& at, const char* verb, cell::operation change, std::uint64_t operand,
                       std::memory_order order);
  bool compare_exchange(cell& at, std::uint64_t& expected, std::uint64_t desired,
                        std::memory_order success, std::memory_order failure, bool weak);
  void destroy(cell& gone);
  void fence(const char* name, bool in_every_thread);
  void light_fence();
  void heavy_fence();
  void pause();
  void signal(model_event& event);
  bool wait(model_event& event, bool may_time_out);
  void await(const std::function<bool()>& predicate);
  int choose(int alternatives);
  void plain_access(const char* verb, const void* object, int& writer, std::uint32_t& written,
                    time_stamps& read, bool writes);
  void outcome(const char* name);
  void label(const void* object, std::size_t size, const char* name);
  [[noreturn]] void fail(std::string message);
  void note_failure(std::string message);

  bool in_thread() const { return current_ >= 0 && !inspecting_; }
  int current() const { return current_; }
  std::uint32_t next_cell_id() { return ++last_cell_id_; }

 private:
  static constexpr int nobody = -1;

  // What may happen next at a decision: thread goes on after `drains` stores of the one that is
  // left have become visible; or, if only_drains, that many stores of thread do, and no more.
  struct alternative {
    int thread;
    int drains;
    bool only_drains;
  };
  struct decision {
    int chosen, count;
  };
  struct labelled {
    const char* begin;
    std::size_t size;
    const char* name;
  };

  static void thread_main();
  [[noreturn]] void give_up(const char* why) const;
  void run_one();
  bool next_path();
  int decide(int count, bool first_goes_on);
  int affordable(int count, int price);

  void before_step();
  void reschedule(bool can_go_on);
  void list_alternatives(bool can_go_on, int just_drained);
  int next_fewer_drains(int drains) const {
    return options_.partial_drains ? drains - 1 : drains > 0 ? 0 : -1;
  }
  bool grant_idle_turn();
  bool flushing_needs_no_choice() const;
  bool can_run(const model_thread& thread) const;
  void switch_to(int thread);
  std::string stuck_message() const;

  void drain(int thread, std::size_t count);
  void drain_all(int thread) { drain(thread, threads_[thread]->buffer.size()); }
  void drain_delayed_rmw(const cell& at);
  void drain_for_seq_cst_load();
  bool others_delay_an_rmw() const;
  void write_memory(int thread, cell& to, std::uint64_t value, const time_stamps& released);
  const buffered_store* own_store(const cell& at) const;
  std::uint64_t begin_rmw(cell& at, std::memory_order order);
  void write_rmw(cell& at, std::uint64_t value, std::memory_order order);
  void acquire_from(const cell& from, std::memory_order order);
  time_stamps release_of(const model_thread& thread, std::memory_order order) const;
  void full_fence_clock(model_thread& thread);
  void tick();

  model_thread& self() { return *threads_[current_]; }
  std::uint64_t changes_by_others(const model_thread& thread) const {
    return changes_ - thread.changes;
  }
  void touch(const cell& at);
  void record(const step& next);
  void record(const char* verb, const cell& at, std::uint64_t before, std::uint64_t after,
              decltype(step::shows) shows, std::optional<std::memory_order> order, int thread);
  std::string line_of(const step& shown) const;
  std::string place_of(const step& shown) const;
  std::string report() const;

  const options& options_;
  const std::function<model()>& make_;
  context caller_;
  std::vector<std::unique_ptr<model_thread>> threads_;
  result result_;

  // The search.
  std::vector<decision> path_;
  std::size_t depth_ = 0;
  int paid_ = 0;  // preemptions on the path so far
  std::mt19937_64 chance_;
  unsigned stickiness_ = 0;  // random mode: of 16 decisions, so many go on

  // The execution.
  model model_;
  int current_ = nobody;
  bool inspecting_ = false;  // a predicate runs: loads are no steps
  bool fresh_ = false;       // switched to a moment ago: its next step needs no decision
  std::vector<alternative> alternatives_;
  std::vector<step> steps_;
  std::vector<labelled> labels_;
  std::vector<const char*> outcomes_;
  std::uint64_t changes_ = 0;
  int idle_turns_ = 0;
  std::uint32_t last_cell_id_ = 0;
};

// The engine whose explore() is under way.
inline engine* running = nullptr;

}  // namespace coir::explorer
