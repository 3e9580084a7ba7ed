#include "load_thread.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

#include "process.hpp"

namespace bench {
namespace {

// How soon an idle client sees that it is to stop.
constexpr int tick_ms = 20;

template <class T>
void add(std::atomic<T>& to, T n) noexcept {
  to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace

load_thread::load_thread(const load_options& how, const load_pattern& pattern, unsigned first,
                         unsigned connections)
    : how_(how),
      pattern_(pattern),
      first_(first),
      wanted_(connections),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(load_pattern::longest) {
  if (epoll_ == -1) throw std::system_error(errno, std::system_category(), "epoll_create1");
  thread_ = std::thread([this] { run(); });
}

load_thread::~load_thread() { ::close(epoll_); }

void load_thread::add_to(load_figures& sum) const {
  sum.answered += answered_.load(std::memory_order_relaxed);
  sum.sent += sent_.load(std::memory_order_relaxed);
  sum.received += received_.load(std::memory_order_relaxed);
  sum.connected += connected_.load(std::memory_order_relaxed);
  sum.failed += failed_.load(std::memory_order_relaxed);
  sum.cpu_seconds += cpu_seconds_.load(std::memory_order_relaxed);
  latency_.add_to(sum.latency);
  std::lock_guard held(mutex_);
  if (sum.first_failure.empty()) sum.first_failure = first_failure_;
}

void load_thread::ask_to_stop(std::chrono::milliseconds patience) noexcept {
  const auto wait = std::chrono::nanoseconds(patience).count();
  give_up_at_.store(now_ns() + static_cast<std::uint64_t>(wait), std::memory_order_relaxed);
}

void load_thread::join() {
  if (thread_.joinable()) thread_.join();
}

void load_thread::run() {
  connect();
  std::array<epoll_event, 256> events;
  for (unsigned turn = 0; !finished(); ++turn) {
    const int n = ::epoll_wait(epoll_, events.data(), events.size(), tick_ms);
    std::for_each_n(events.begin(), n > 0 ? n : 0,
                    [this](const epoll_event& e) { handle(entries_[e.data.u32], e.events); });
    if (n <= 0 || turn % 64 == 0)
      cpu_seconds_.store(cpu_seconds_of_this_thread(), std::memory_order_relaxed);
  }
  for (entry& e : entries_) e.connection.close();
}

void load_thread::connect() {
  entries_.reserve(wanted_);
  for (unsigned i = 0; i < wanted_; ++i) {
    entry& e = entries_.emplace_back(entry{load_connection(
        first_ + i, how_.size, how_.depth, how_.to.native(), how_.to.native_size())});
    begin_messages(e);
    if (e.connection.failure().empty())
      watch(e, EPOLLOUT);
    else
      lost(e);
  }
}

void load_thread::begin_messages(entry& e) {
  for (unsigned n = 0; n < how_.depth; ++n) e.connection.start_message(now_ns());
}

// Its message's time begins here, so that it has that of the connection in it.
void load_thread::connect_again(entry& e) {
  count(e);
  e.connection.connect_again(how_.to.native(), how_.to.native_size());
  e.connecting = true;
  e.watched = 0;
  if (!e.connection.failure().empty()) return lost(e);
  begin_messages(e);
  watch(e, EPOLLOUT);
}

void load_thread::handle(entry& e, std::uint32_t events) {
  if (e.connection.descriptor() == -1) return;
  if (e.connecting) {
    if (!e.connection.finish_connecting()) return lost(e);
    e.connecting = false;
    if (!std::exchange(e.counted, true)) add(connected_, 1u);
  } else if ((events & ~std::uint32_t{EPOLLOUT}) != 0 && !receive(e)) {
    return lost(e);
  }
  if (how_.churn && e.connection.answered_all() && !stopping_) return connect_again(e);
  send(e);
}

bool load_thread::receive(entry& e) {
  const std::uint64_t now = now_ns();
  return e.connection.receive(pattern_, buffer_, [&](std::uint64_t started) {
    latency_.add(now - started);
    add(answered_, std::uint64_t{1});
    if (!stopping_ && !how_.churn) e.connection.start_message(now);
  });
}

void load_thread::send(entry& e) {
  const auto how = e.connection.send_due(pattern_);
  if (how == load_connection::progress::failed) return lost(e);
  count(e);
  watch(e, how == load_connection::progress::full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void load_thread::watch(entry& e, std::uint32_t events) {
  if (e.watched == events) return;
  epoll_event wanted{};
  wanted.events = events;
  wanted.data.u32 = static_cast<std::uint32_t>(&e - entries_.data());
  const int operation = e.watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_, operation, e.connection.descriptor(), &wanted) != 0) {
    e.connection.fail("epoll_ctl: " + std::system_category().message(errno));
    return lost(e);
  }
  e.watched = events;
}

void load_thread::count(entry& e) noexcept {
  add(sent_, e.connection.sent() - e.sent_counted);
  add(received_, e.connection.received() - e.received_counted);
  e.sent_counted = e.connection.sent();
  e.received_counted = e.connection.received();
}

void load_thread::lost(entry& e) {
  count(e);
  if (std::exchange(e.counted, false)) add(connected_, 0u - 1u);
  std::lock_guard held(mutex_);
  if (first_failure_.empty()) first_failure_ = e.connection.failure();
  add(failed_, 1u);  // who sees it finds the reason
}

// Whether the thread has been asked to stop, and nothing more is due or will be waited for.
bool load_thread::finished() {
  const std::uint64_t give_up_at = give_up_at_.load(std::memory_order_relaxed);
  if (give_up_at == 0) return false;
  stopping_ = true;
  const bool late = now_ns() > give_up_at;
  bool done = true;
  for (entry& e : entries_) {
    load_connection& c = e.connection;
    if (c.descriptor() == -1 || (!e.connecting && c.answered_all())) continue;
    done = false;
    if (!late) break;
    c.fail(e.connecting ? "it was never made"
                        : std::to_string(c.sent() - c.received()) + " bytes did not come back");
    lost(e);
  }
  return done || late;
}

}  // namespace bench
