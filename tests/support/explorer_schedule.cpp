#undef _FORTIFY_SOURCE  // its longjmp refuses to go to another stack

// The search through the schedules, and what it chooses between at each decision.
#include "explorer_engine.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace coir::explorer {

// ---- the search -------------------------------------------------------------------------------

engine::engine(const options& chosen, const std::function<model()>& make)
    : options_(chosen), make_(make), chance_(chosen.seed) {
  running = this;
}

engine::~engine() {
  running = nullptr;
  if (result_.ok) return;
  // The stacks of a failed execution hold what is never destroyed: keep it reachable.
  using execution = std::pair<model, std::vector<std::unique_ptr<model_thread>>>;
  static auto& left_standing = *new std::vector<execution>;
  left_standing.emplace_back(std::move(model_), std::move(threads_));
}

result engine::search() {
  const auto start = std::chrono::steady_clock::now();
  const bool random = options_.random_executions != 0;
  const std::uint64_t most = random ? options_.random_executions : options_.max_executions;
  bool more = true;
  do {
    if (random) {
      path_.clear();
      constexpr unsigned degrees[] = {4, 8, 12, 14, 15};
      stickiness_ = degrees[chance_() % std::size(degrees)];
    }
    run_one();
    ++result_.executions;
    for (const char* name : outcomes_) ++result_.outcomes[name];
    more = random || next_path();
  } while (more && result_.ok && (most == 0 || result_.executions < most));
  result_.complete = result_.ok && !more;
  result_.random = random;
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  result_.seconds = spent.count();
  return std::move(result_);
}

void engine::give_up(const char* why) const {
  std::fprintf(stderr, "explorer: model %s %s\n", options_.name.c_str(), why);
  std::abort();
}

void engine::run_one() {
  depth_ = 0;
  paid_ = 0;
  steps_.clear();
  labels_.clear();
  outcomes_.clear();
  changes_ = 0;
  idle_turns_ = 0;
  last_cell_id_ = 0;
  model_ = {};  // the state of the execution before
  model_ = make_();
  if (model_.threads.empty() || model_.threads.size() > max_threads)
    give_up("has no thread, or more than max_threads");
  while (threads_.size() < model_.threads.size())
    threads_.push_back(std::make_unique<model_thread>(&thread_main));
  if (threads_.size() != model_.threads.size()) give_up("changes its number of threads");
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    auto& thread = *threads_[i];
    thread.body = &model_.threads[i];
    thread.now = state::ready;
    thread.buffer.clear();
    thread.changes = thread.turn_mark = 0;
    thread.knows = thread.fence_released = thread.fence_acquires = {};
    thread.knows[i] = 1;
  }
  reschedule(false);
  if (result_.ok && model_.check) model_.check();
}

// Depth first: the last decision that has an alternative left takes it.
bool engine::next_path() {
  while (!path_.empty() && path_.back().chosen + 1 == path_.back().count) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().chosen;
  return true;
}

int engine::decide(int count, bool first_goes_on) {
  if (count == 1) return 0;
  if (options_.random_executions != 0) {
    if (first_goes_on && chance_() % 16 < stickiness_) return 0;
    return static_cast<int>(chance_() % static_cast<unsigned>(count));
  }
  if (depth_ == path_.size()) path_.push_back({0, count});
  if (path_[depth_].count != count) give_up("is not deterministic");
  return path_[depth_++].chosen;
}

int engine::affordable(int count, int price) {
  const bool free = price == 0 || options_.random_executions != 0;
  return free || paid_ + price <= options_.preemptions ? count : 1;
}

void engine::thread_main() {
  context::entered();
  for (;;) {  // a turn an execution
    try {
      running->self().body->run();
    } catch (...) {
      running->fail("an exception left a thread of the model");
    }
    running->self().now = state::ended;
    running->reschedule(false);
  }
}

// ---- scheduling -------------------------------------------------------------------------------

void engine::before_step() {
  if (!std::exchange(fresh_, false)) reschedule(true);
  fresh_ = false;
}

// Returns when the calling thread is to go on; for the caller's context: when all have ended.
void engine::reschedule(bool can_go_on) {
  if (can_go_on && affordable(2, 1) == 1) return;
  int just_drained = nobody;
  for (;;) {
    list_alternatives(can_go_on, just_drained);
    if (alternatives_.empty()) {
      if (grant_idle_turn()) continue;
      auto blocked = stuck_message();
      if (!blocked.empty()) fail(std::move(blocked));  // this frame is never left
      return switch_to(nobody);
    }
    const int price = can_go_on ? 1 : 0;
    const int count = affordable(static_cast<int>(alternatives_.size()), price);
    const int chosen = decide(count, can_go_on);
    const auto taken = alternatives_[chosen];
    if (can_go_on && chosen == 0) return;
    paid_ += price;
    if (taken.only_drains) {
      drain(just_drained = taken.thread, taken.drains);
      continue;
    }
    if (current_ != nobody) drain(current_, taken.drains);
    return switch_to(taken.thread);
  }
}

void engine::list_alternatives(bool can_go_on, int just_drained) {
  alternatives_.clear();
  if (can_go_on) alternatives_.push_back({current_, 0, false});
  const int count = static_cast<int>(threads_.size());
  // The stores of the thread that is left: nobody could see before whether they had drained.
  const int own = current_ == nobody ? 0 : static_cast<int>(self().buffer.size());
  for (int i = 0; i < count; ++i) {
    if ((i == current_ && can_go_on) || !can_run(*threads_[i])) continue;
    for (int drains = own; drains >= 0; drains = next_fewer_drains(drains))
      alternatives_.push_back({i, drains, false});
  }
  const bool all_blocked = alternatives_.empty();
  if (all_blocked && flushing_needs_no_choice()) {
    for (int i = 0; i < count; ++i) drain_all(i);
    return;
  }
  for (int i = 0; i < count; ++i) {
    if (i == just_drained || (i == current_ && !all_blocked)) continue;
    for (int drains = static_cast<int>(threads_[i]->buffer.size()); drains > 0;
         drains = next_fewer_drains(drains))
      alternatives_.push_back({i, drains, true});
  }
}

// At the end the order of the last stores matters only if two threads store to one place.
bool engine::flushing_needs_no_choice() const {
  for (const auto& thread : threads_)
    if (thread->now != state::ended) return false;
  std::array<const cell*, 64> seen;
  std::size_t count = 0;
  for (const auto& thread : threads_) {
    const std::size_t before = count;
    for (const auto& store : thread->buffer) {
      if (std::find(&seen[0], &seen[before], store.where) != &seen[before]) return false;
      if (count == seen.size()) return false;
      seen[count++] = store.where;
    }
  }
  return true;
}

bool engine::can_run(const model_thread& thread) const {
  switch (thread.now) {
    case state::ready:
      return true;
    case state::paused:
      return changes_by_others(thread) != thread.turn_mark;
    case state::waiting:
      return *thread.event;
    case state::awaiting: {
      auto& me = const_cast<engine&>(*this);
      me.inspecting_ = true;
      const bool holds = (*thread.predicate)();
      me.inspecting_ = false;
      return holds;
    }
    case state::ended:
      return false;
  }
  return false;
}

// Spinners that count their turns get some when nothing else can happen: time passes.
bool engine::grant_idle_turn() {
  if (idle_turns_ == options_.idle_turns) return false;
  bool granted = false;
  for (const auto& thread : threads_) {
    if (thread->now != state::paused) continue;
    thread->now = state::ready;
    granted = true;
  }
  if (granted) ++idle_turns_;
  return granted;
}

void engine::switch_to(int thread) {
  if (thread == current_) {
    fresh_ = true;
    return;
  }
  context& from = current_ == nobody ? caller_ : self().own_context;
  current_ = thread;
  fresh_ = true;
  from.switch_to(thread == nobody ? caller_ : threads_[thread]->own_context);
}

std::string engine::stuck_message() const {
  std::string message;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i]->now == state::ended) continue;
    message += message.empty() ? "deadlock: " : ", ";
    message += model_.threads[i].name;
    message += threads_[i]->now == state::paused     ? " spins"
               : threads_[i]->now == state::awaiting ? " awaits"
                                                     : " waits for an event";
  }
  return message;
}

void engine::note_failure(std::string message) {
  if (!result_.ok) return;
  result_.ok = false;
  result_.message = std::move(message);
  result_.report = report();
}

void engine::fail(std::string message) {
  note_failure(std::move(message));
  if (current_ == nobody) std::abort();  // the check has its own way, see explorer::fail
  switch_to(nobody);
  std::abort();  // never resumed
}

void engine::pause() {
  auto& thread = self();
  record({current_, "pause", nullptr, nullptr, 0, 0, 0, step::plain, {}});
  if (changes_by_others(thread) == thread.turn_mark) {
    thread.now = state::paused;
    reschedule(false);
    thread.now = state::ready;
  }
  thread.turn_mark = changes_by_others(thread);
}

int engine::choose(int alternatives) {
  const int chosen = decide(alternatives, false);
  record({current_,
          "choose",
          nullptr,
          nullptr,
          0,
          0,
          static_cast<std::uint64_t>(chosen),
          step::writes,
          {}});
  return chosen;
}

void engine::signal(model_event& event) {
  before_step();
  drain_all(current_);
  event.set_ = true;
  ++changes_, ++self().changes;
  idle_turns_ = 0;
  join(event.released_, self().knows);
  tick();
  record({current_, "signal", &event, nullptr, 0, 0, 0, step::plain, {}});
}

bool engine::wait(model_event& event, bool may_time_out) {
  before_step();
  drain_all(current_);
  record({current_, "wait", &event, nullptr, 0, 0, event.set_, step::reads, {}});
  if (may_time_out && choose(2) == 1) return false;
  auto& thread = self();
  while (!event.set_) {
    thread.now = state::waiting;
    thread.event = &event.set_;
    reschedule(false);
    thread.now = state::ready;
  }
  event.set_ = false;
  join(thread.knows, event.released_);
  record({current_, "woken", &event, nullptr, 0, 0, 0, step::plain, {}});
  return true;
}

void engine::await(const std::function<bool()>& predicate) {
  before_step();
  drain_all(current_);
  auto& thread = self();
  thread.now = state::awaiting;
  thread.predicate = &predicate;
  if (!can_run(thread)) reschedule(false);
  thread.now = state::ready;
  record({current_, "awaited", nullptr, nullptr, 0, 0, 0, step::plain, {}});
}

}  // namespace coir::explorer
