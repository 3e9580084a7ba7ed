#include "back_ends.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <system_error>

#include "http_client.hpp"

namespace examples {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t most_idle = 64;
constexpr auto longest_idle = 5s;  // many servers keep a connection for so long

}  // namespace

std::unique_ptr<upstream> back_end::connect(bool fresh, std::chrono::milliseconds limit) {
  if (!fresh) {
    const std::lock_guard held(lock_);
    if (!idle_.empty()) {
      auto warmest = std::move(idle_.back());
      idle_.pop_back();
      return warmest;
    }
  }
  try {
    return coir::with_timeout(
        limit, [&] { return std::make_unique<upstream>(coir::tcp_stream::connect(where_)); });
  } catch (const coir::timed_out&) {
    throw std::system_error(std::make_error_code(std::errc::timed_out), "connect to " + name_);
  }
}

void back_end::keep(std::unique_ptr<upstream> u) {
  u->used = true;
  u->since = coir::clock::now();
  const std::lock_guard held(lock_);
  if (idle_.size() < most_idle) idle_.push_back(std::move(u));
}

void back_end::drop_idle() {
  std::vector<std::unique_ptr<upstream>> dropped;  // closed outside the lock
  const auto oldest = coir::clock::now() - longest_idle;
  const std::lock_guard held(lock_);
  const auto first =
      std::find_if(idle_.begin(), idle_.end(), [&](const auto& u) { return u->since > oldest; });
  std::move(idle_.begin(), first, std::back_inserter(dropped));
  idle_.erase(idle_.begin(), first);
}

void back_end::set_well(bool now, const std::string& why) {
  if (well_.exchange(now) == now) return;
  std::fprintf(stderr, "%s is %s: %s\n", name_.c_str(), now ? "back" : "left out", why.c_str());
}

void back_end::check(const std::string& path, const back_end_times& times) {
  try {
    const auto server = connect(true, times.connect);
    server->allow(times.answer);
    const auto answer = ask(server->stream, name_, path);
    set_well(answer.result_int() < 500,
             "its health check says " + std::to_string(answer.result_int()));
  } catch (const std::exception& e) {
    set_well(false, e.what());
  }
}

void back_end::watch(const std::string& path, const back_end_times& times) {
  for (;;) {
    check(path, times);
    drop_idle();
    coir::this_fiber::sleep_for(times.check);
  }
}

back_ends::back_ends(const std::vector<coir::endpoint>& where) {
  for (const auto& w : where) all_.push_back(std::make_unique<back_end>(w));
}

back_end* back_ends::choose(const std::vector<back_end*>& tried) {
  back_end* best = nullptr;
  const std::size_t first = next_++;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    back_end& one = *all_[(first + i) % all_.size()];
    if (!one.well() || std::find(tried.begin(), tried.end(), &one) != tried.end()) continue;
    if (best == nullptr || one.busy() < best->busy()) best = &one;
  }
  return best;
}

}  // namespace examples
