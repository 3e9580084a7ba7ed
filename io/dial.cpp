#include "dial.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include <coir/io/resolve.hpp>
#include <coir/io/socket_stream.hpp>
#include <coir/sched/task.hpp>
#include <coir/sched/wait.hpp>

#include "with_fibers.hpp"

namespace coir::io {
namespace {

struct outcome {
  handle made;  // closed: `error`
  std::error_code error;
};

outcome attempt(const endpoint& to) {
  outcome o;
  o.made = connect(to, transport::tcp, o.error);
  return o;
}

// Attempts under way. Always true: which[i] is the address of tasks[i].
struct attempts {
  attempts() = default;
  attempts(const attempts&) = delete;
  attempts& operator=(const attempts&) = delete;
  // All at once; their destructors wait for them, and close what they have made.
  ~attempts() {
    for (auto& t : tasks) t.cancel();
  }

  void start(const std::vector<endpoint>& to, std::size_t n) {
    which.reserve(which.size() + 1);
    tasks.push_back(spawn({.name = "connect"}, &attempt, to[n]));
    which.push_back(n);
  }
  void drop(std::size_t i) {
    tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(i));
    which.erase(which.begin() + static_cast<std::ptrdiff_t>(i));
  }

  std::vector<std::size_t> which;
  std::vector<task<outcome>> tasks;
};

bool lacks_a_route(const std::error_code& e) noexcept {
  return e == std::errc::network_unreachable || e == std::errc::address_not_available ||
         e == std::errc::address_family_not_supported;
}

// The first to answer, or a closed handle if none does.
handle first_to_answer(const std::vector<endpoint>& to, clock::duration delay,
                       std::vector<connect_attempt>& failed) {
  attempts under_way;
  std::size_t next = 0;
  clock::time_point start_next = clock::now();
  for (;;) {
    if (next != to.size() && clock::now() >= start_next) {
      under_way.start(to, next++);
      start_next = clock::now() + delay;
    }
    if (under_way.tasks.empty() && next == to.size()) return {};
    const wait_result ended = next == to.size() ? wait(under_way.tasks, wait_for_what::first_done)
                                                : wait(under_way.tasks, wait_for_what::first_done,
                                                       start_next - clock::now());
    for (auto i = ended.done.rbegin(); i != ended.done.rend(); ++i) {
      outcome o = under_way.tasks[*i].get();
      if (o.made.is_open()) return std::move(o.made);
      failed[under_way.which[*i]].error = o.error;
      under_way.drop(*i);
      start_next = clock::now();  // no need to wait any longer
    }
  }
}

}  // namespace

std::vector<endpoint> interleaved(const std::vector<endpoint>& all) {
  std::vector<endpoint> first, second, mixed;
  for (const endpoint& e : all) (e.kind() == all.front().kind() ? first : second).push_back(e);
  for (std::size_t i = 0; mixed.size() != all.size(); ++i) {
    if (i < first.size()) mixed.push_back(first[i]);
    if (i < second.size()) mixed.push_back(second[i]);
  }
  return mixed;
}

handle dial(const std::vector<endpoint>& to, clock::duration delay,
            std::vector<connect_attempt>& failed) {
  failed.clear();
  for (const endpoint& e : to) failed.push_back({e, {}});
  if (to.size() == 1) return connect(to[0], transport::tcp, failed[0].error);
  return with_fibers([&] { return first_to_answer(to, delay, failed); });
}

std::error_code most_telling(const std::vector<connect_attempt>& failed) noexcept {
  if (failed.empty()) return resolve_errc::no_address;
  const auto it = std::find_if(failed.begin(), failed.end(),
                               [](const connect_attempt& a) { return !lacks_a_route(a.error); });
  return (it == failed.end() ? failed.front() : *it).error;
}

}  // namespace coir::io
