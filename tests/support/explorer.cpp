// The explorer's public face, and what it prints.
#include "explorer_engine.hpp"

#include <cstdio>
#include <cstdlib>

namespace coir::explorer {

namespace {

const char* name_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_consume:
      return "consume";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    case std::memory_order_seq_cst:
      return "seq_cst";
  }
  return "?";
}

std::string text_of(std::uint64_t value) {
  char buffer[32];
  const bool small = value < 1'000'000 || -value < 1'000'000;
  std::snprintf(buffer, sizeof buffer, small ? "%lld" : "0x%llx", static_cast<long long>(value));
  return buffer;
}

}  // namespace

// ---- what is printed --------------------------------------------------------------------------

void engine::record(const step& next) {
  steps_.push_back(next);
  if (steps_.size() > options_.max_steps)
    fail("livelock: no end after " + std::to_string(options_.max_steps) + " steps");
}

void engine::record(const char* verb, const cell& at, std::uint64_t before, std::uint64_t after,
                    decltype(step::shows) shows, std::optional<std::memory_order> order,
                    int thread) {
  record({thread, verb, &at, at.name_, at.id_, before, after, shows, order});
}

void engine::outcome(const char* name) { outcomes_.push_back(name); }

void engine::label(const void* object, std::size_t size, const char* name) {
  labels_.push_back({static_cast<const char*>(object), size, name});
}

std::string engine::place_of(const step& shown) const {
  if (shown.name) return shown.name;
  const auto* address = static_cast<const char*>(shown.object);
  for (const auto& known : labels_) {
    if (address < known.begin || address >= known.begin + known.size) continue;
    const auto offset = address - known.begin;
    return offset == 0 ? known.name : known.name + ("+" + std::to_string(offset));
  }
  if (shown.id != 0) return "atomic " + std::to_string(shown.id);
  return shown.object ? "data" : "";
}

std::string engine::line_of(const step& shown) const {
  const char* thread = shown.thread == nobody ? "check" : model_.threads[shown.thread].name;
  std::string values;
  if (shown.shows == step::reads) values = "= " + text_of(shown.after);
  if (shown.shows == step::writes) values = text_of(shown.after);
  if (shown.shows == step::changes) values = text_of(shown.before) + " -> " + text_of(shown.after);
  char line[160];
  std::snprintf(line, sizeof line, "%-10s %-17s %-18s %-22s %s", thread, shown.verb,
                place_of(shown).c_str(), values.c_str(), shown.order ? name_of(*shown.order) : "");
  std::string text = line;
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string engine::report() const {
  std::string text = "model " + options_.name + ": " + result_.message + "\nafter " +
                     std::to_string(result_.executions) + " executions that hold; the schedule:\n";
  int number = 0;
  int last = nobody;
  for (const auto& shown : steps_) {
    char head[16];
    const bool switched = shown.thread != std::exchange(last, shown.thread);
    std::snprintf(head, sizeof head, "%4d %c ", ++number, switched ? '>' : ' ');
    text += head + line_of(shown) + "\n";
  }
  return text;
}

// ---- the public face --------------------------------------------------------------------------

namespace {

bool outside() { return !running || !running->in_thread(); }

void print(const options& chosen, const result& found) {
  std::string line = "[explorer] " + chosen.name;
  line += chosen.random_executions ? ", random" : ", bound " + std::to_string(chosen.preemptions);
  line += found.ok ? ": holds in " : ": FAILS after ";
  line += std::to_string(found.executions) + " executions";
  if (found.ok && !found.complete && !chosen.random_executions) line += " (not all)";
  std::printf("%s, %.2f s\n", line.c_str(), found.seconds);
  for (const auto& [name, count] : found.outcomes)
    std::printf("[explorer]   %-24s %10llu  %5.2f %%\n", name.c_str(),
                static_cast<unsigned long long>(count),
                100.0 * static_cast<double>(count) / static_cast<double>(found.executions));
  if (!found.ok) std::fputs(found.report.c_str(), stderr);
  std::fflush(stdout);
}

}  // namespace

std::uint64_t result::count(const std::string& outcome) const {
  const auto found = outcomes.find(outcome);
  return found == outcomes.end() ? 0 : found->second;
}

result explore(const options& chosen, const std::function<model()>& make) {
  result found = engine(chosen, make).search();
  if (!found.ok && chosen.random_executions == 0) {
    options fewer = chosen;  // the shortest way to the failure is the one worth reading
    for (fewer.preemptions = 0; fewer.preemptions < chosen.preemptions; ++fewer.preemptions) {
      result shorter = engine(fewer, make).search();
      if (shorter.ok) continue;
      found.message = shorter.message;
      found.report = shorter.report;
      break;
    }
  }
  if (!chosen.quiet) print(chosen, found);
  return found;
}

void fail(const char* message) {
  if (running->in_thread()) running->fail(message);
  std::fprintf(stderr, "explorer: fail(\"%s\") outside the threads: use expect\n", message);
  std::abort();
}

void expect(bool condition, const char* message) {
  if (condition) return;
  if (running->in_thread()) running->fail(message);
  running->note_failure(message);
}

void outcome(const char* name) { running->outcome(name); }
int choose(int alternatives) { return running->choose(alternatives); }
int this_thread() { return running->current(); }

void label(const void* object, std::size_t size, const char* name) {
  running->label(object, size, name);
}

void await(const std::function<bool()>& predicate) { running->await(predicate); }

void model_event::signal() {
  if (outside()) {
    set_ = true;
  } else {
    running->signal(*this);
  }
}

void model_event::wait() { running->wait(*this, false); }
bool model_event::wait_or_time_out() { return running->wait(*this, true); }

cell::cell(std::uint64_t value) : value_(value), id_(running ? running->next_cell_id() : 0) {}

cell::~cell() {
  if (!outside()) running->destroy(*this);
  alive_ = 0;
}

std::uint64_t cell::load(std::memory_order order) const {
  return outside() ? value_ : running->load(*this, order);
}

void cell::store(std::uint64_t value, std::memory_order order) {
  if (outside()) {
    value_ = value;
  } else {
    running->store(*this, value, order);
  }
}

std::uint64_t cell::modify(const char* verb, operation change, std::uint64_t operand,
                           std::memory_order order) {
  if (!outside()) return running->modify(*this, verb, change, operand, order);
  return std::exchange(value_, change(value_, operand));
}

bool cell::compare_exchange(std::uint64_t& expected, std::uint64_t desired,
                            std::memory_order success, std::memory_order failure, bool weak) {
  if (!outside())
    return running->compare_exchange(*this, expected, desired, success, failure, weak);
  if (value_ != expected) return expected = value_, false;
  value_ = desired;
  return true;
}

void access_log::read(const void* object) const {
  if (outside()) return;
  int writer = writer_;
  std::uint32_t written = written_;
  running->plain_access("read", object, writer, written, read_, false);
}

void access_log::write(const void* object) {
  if (!outside()) running->plain_access("write", object, writer_, written_, read_, true);
}

void explorer_atomics::fence() noexcept {
  if (!outside()) running->fence("fence", false);
}
void explorer_atomics::light_fence() noexcept {
  if (!outside()) running->light_fence();
}
void explorer_atomics::heavy_fence() noexcept {
  if (!outside()) running->heavy_fence();
}
void explorer_atomics::pause(unsigned) noexcept {
  if (!outside()) running->pause();
}

}  // namespace coir::explorer
