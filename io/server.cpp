#include <coir/io/server.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>

#include <poll.h>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/io/acceptor.hpp>
#include <coir/sched/cancellation.hpp>
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sched/wait_queue.hpp>

#include "accept_errors.hpp"
#include "idleness.hpp"
#include "system_calls.hpp"

namespace coir::io {

using namespace std::chrono_literals;

// Always true: a connection is in one of the two lists from before its fiber is spawned until its
// ticket goes.
// Its record goes with the last of: the ticket, and those who use its handle outside the lock
// (holds).
class server_core::connection : public fiber::intrusive_hook {
 public:
  connection(state& s, descriptor* socket) noexcept : of(s), idle(socket) {}
  state& of;
  task<void> fiber;
  // Under the lock.
  idleness idle;         // but for end()
  unsigned holds = 1;    // the acceptor's first, until `fiber` is set
  bool starting = true;  // `fiber` is not set yet
  bool ended = false;
  bool cancelled = false;
};

namespace {

constexpr clock::duration first_pause = 5ms, longest_pause = 800ms;
constexpr clock::duration longest_let_in = 1s;
constexpr std::size_t looked_at_once = 32;  // connections, while the lock is held

struct shortage {
  clock::duration pause = first_pause;
  bool reported = false;
};

}  // namespace

struct server_core::state {
  state(source f, serve_options o) : from(f), options(std::move(o)) {}

  const source from;
  const serve_options options;

  sched::spin_lock lock;
  // Under lock.
  fiber::intrusive_list<connection> connections;
  fiber::intrusive_list<connection> told;  // of those: cancel_all has seen to them
  std::size_t alive = 0, ended = 0;
  bool serving = false, stopping = false;
  bool accepting = false;     // a connection may still be added
  bool cancelling = false;    // also those whose fibers are just being started
  sched::wait_queue waiting;  // for a change of the above

  void wake_all_locked(sched::ready_list& to_wake) noexcept {
    while (sched::waiter* w = waiting.claim_first()) to_wake.push(*w);
  }
  template <class Change>
  void change(Change what) noexcept {
    sched::ready_list woken;
    lock.lock();
    what();
    wake_all_locked(woken);
    lock.unlock();
    while (sched::waiter* w = woken.pop()) sched::wake(*w);
  }
  // Waits until `done` (looked at under the lock) or the deadline; whether it holds.
  template <class Done>
  bool wait_until(Done done, clock::time_point deadline, bool cancellable);

  void add(connection& c) noexcept;
  void drop(connection& c) noexcept;
  void end(connection& c) noexcept;
  void cancel_all() noexcept;
  void accept_from(starter start, void* server);
  template <class Next>
  void accept_all(starter start, void* server, Next next, std::error_code& error);
  void pause(std::error_code why, shortage&);
  void admit(starter start, void* server, handle h);
  void finish() noexcept;
  void close(void* server) noexcept;
  void let_in(clock::time_point grace_ends);
  bool is_stopping() noexcept {
    lock.lock();
    const bool now = stopping;
    lock.unlock();
    return now;
  }
  enum class look : std::uint8_t { first, again };
  void end_idle(std::chrono::milliseconds limit, look);
  bool wait_for_handlers(clock::time_point grace_ends);
  task<void> watch_idle();
};

template <class Done>
bool server_core::state::wait_until(Done done, clock::time_point deadline, bool cancellable) {
  sched::waiter& self = *sched::current_host().running;
  if (cancellable) sched::cancellation_point(self);
  for (;;) {
    lock.lock();
    if (done()) {
      lock.unlock();
      return true;
    }
    sched::wait_node node;
    const auto how = sched::wait_in(
        waiting, lock, node,
        {.kind = sched::wait_kind::connections, .id = 0, .cancellable = cancellable}, deadline);
    if (how == sched::outcome::cancelled) sched::throw_cancelled(self);
    if (how == sched::outcome::timed_out) return false;
  }
}

void server_core::state::add(connection& c) noexcept {
  change([&] {
    connections.push_back(c);
    ++alive;
  });
}

// A hold ends. The handle is let go where nobody else can be using it.
void server_core::state::drop(connection& c) noexcept {
  lock.lock();
  const bool last = --c.holds == 0 && c.ended;
  lock.unlock();
  if (!last) return;
  if (c.fiber.valid()) c.fiber.detach();
  delete &c;
}

void server_core::state::end(connection& c) noexcept {
  bool last = false;
  sched::ready_list woken;
  lock.lock();
  fiber::intrusive_list<connection>::erase(c);
  c.ended = true;
  last = c.holds == 0;
  --alive;
  ++ended;
  wake_all_locked(woken);
  lock.unlock();
  // From here on the server may be gone.
  while (sched::waiter* w = woken.pop()) sched::wake(*w);
  if (!last) return;
  if (c.fiber.valid()) c.fiber.detach();
  delete &c;
}

// One at a time, because a cancellation is nothing for under the lock; each is passed over once.
void server_core::state::cancel_all() noexcept {
  for (;;) {
    lock.lock();
    cancelling = true;
    connection* const next = connections.pop_front();
    if (next == nullptr) return lock.unlock();
    connection& c = *next;
    told.push_back(c);
    // One whose fiber is just being started is cancelled by who starts it.
    const bool cancel = !c.starting && !std::exchange(c.cancelled, true);
    if (cancel) ++c.holds;
    lock.unlock();
    if (!cancel) continue;
    c.fiber.cancel("the server stops");
    drop(c);
  }
}

// Starts the handler. Should that fail, the connection is closed, and who serves goes on after a
// while.
void server_core::state::admit(starter start, void* server, handle h) {
  auto* c = new connection(*this, h.get());
  add(*c);
  ticket t(c);
  try {
    c->fiber = start(server, std::move(t), std::move(h));
  } catch (...) {
    drop(*c);
    throw;
  }
  lock.lock();
  c->starting = false;
  const bool cancel = cancelling && !std::exchange(c->cancelled, cancelling);
  lock.unlock();
  if (cancel) c->fiber.cancel("the server stops");
  drop(*c);
}

// What accepting lacks may come free at any time; a connection that ends may well have had it.
void server_core::state::pause(std::error_code why, shortage& s) {
  if (!std::exchange(s.reported, true)) {
    if (options.on_shortage)
      options.on_shortage(why);
    else
      std::fprintf(stderr, "coir: accept: %s; trying again every 0.8 s\n", why.message().c_str());
  }
  lock.lock();
  const std::size_t before = ended;
  lock.unlock();
  wait_until([&] { return stopping || ended != before; }, clock::now() + s.pause, true);
  s.pause = std::min<clock::duration>(s.pause * 2, longest_pause);
}

// Until an error, which `error` may be already.
template <class Next>
void server_core::state::accept_all(starter start, void* server, Next next,
                                    std::error_code& error) {
  const std::size_t most = options.max_connections;
  shortage scarce;
  while (!error) {
    if (most != 0) wait_until([&] { return stopping || alive < most; }, sched::never, true);
    // What has been accepted ahead is served all the same: a listener that is closed ends it.
    if ((most != 0 || from.socket == nullptr || scarce.reported) && is_stopping()) return;
    try {
      handle h = next(error);
      if (!error) {
        admit(start, server, std::move(h));
        scarce = {};
      }
    } catch (const std::bad_alloc&) {
      error = std::make_error_code(std::errc::not_enough_memory);
    }
    if (error && is_shortage(error.value())) {
      pause(error, scarce);
      error.clear();
    }
  }
}

// Until the listener is closed.
void server_core::state::accept_from(starter start, void* server) {
  std::error_code error;
  if (from.socket != nullptr) {
    acceptor a(*from.socket, options.max_connections == 0, error);
    accept_all(
        start, server, [&](std::error_code& e) { return a.next(e); }, error);
  } else {
    const auto next = [&](std::error_code& e) { return from.accept(server, e), handle(); };
    accept_all(start, server, next, error);
  }
  if (!is_stopping() && error != std::errc::operation_canceled &&
      error != std::errc::bad_file_descriptor)
    throw std::system_error(error, "coir: accept");
}

void server_core::state::close(void* server) noexcept {
  if (from.socket != nullptr)
    from.socket->close();
  else
    from.close(server);
}

// Whom the kernel has connected, and nobody has accepted yet, may have sent a request; closing the
// listener would answer with a reset, unless somebody else goes on listening there.
void server_core::state::let_in(clock::time_point grace_ends) {
  if (from.socket == nullptr || from.socket->get() == nullptr || from.socket->get()->listens_on)
    return;
  const auto longest = std::min(grace_ends, clock::now() + longest_let_in);
  for (;;) {
    lock.lock();
    const bool can =
        accepting && !stopping && (options.max_connections == 0 || alive < options.max_connections);
    lock.unlock();
    if (!can || clock::now() >= longest || !sys::ready_now(from.socket->native(), POLLIN)) return;
    this_fiber::sleep_for(100us);
  }
}

// Each connection once, a few at a time: what is found idle is ended outside the lock.
void server_core::state::end_idle(std::chrono::milliseconds limit, look which) {
  const auto now = clock::now();
  const auto at_least = sched::saturated(limit);
  lock.lock();
  std::size_t left = alive;
  lock.unlock();
  while (left != 0) {
    connection* idle[looked_at_once];
    std::size_t found = 0;
    lock.lock();
    for (std::size_t n = std::min(left, looked_at_once); n != 0; --n, --left) {
      connection* const c = connections.pop_front();
      if (c == nullptr) {
        left = 0;
        break;
      }
      connections.push_back(*c);
      if (which == look::first) c->idle.begin_anew(now);
      if (!c->idle.lasts(at_least, now)) continue;
      ++c->holds;
      idle[found++] = c;
    }
    lock.unlock();
    for (connection* const c : std::span(idle, found)) {
      try {
        c->idle.end();
      } catch (const std::bad_alloc&) {  // the next look finds it again
      }
      drop(*c);
    }
  }
}

task<void> server_core::state::watch_idle() {
  if (options.idle_timeout == std::chrono::milliseconds::max()) return {};
  return spawn({.name = "idle connections"}, [this] {
    for (;;) {
      this_fiber::sleep_for(std::max(options.idle_timeout / 4, 1ms));
      end_idle(options.idle_timeout, look::again);
    }
  });
}

// False: the grace has ended.
bool server_core::state::wait_for_handlers(clock::time_point grace_ends) {
  const auto limit = options.idle_at_stop;
  const auto none = [&] { return alive == 0; };
  if (limit == limit.max()) return wait_until(none, grace_ends, true);
  for (look which = look::first;; which = look::again) {
    end_idle(limit, which);
    const auto next = clock::now() + std::max(limit / 4, 1ms);
    if (wait_until(none, std::min<clock::time_point>(next, grace_ends), true)) return true;
    if (clock::now() >= grace_ends) return false;
  }
}

void server_core::state::finish() noexcept {
  cancel_all();
  wait_until([&] { return alive == 0; }, sched::never, false);
}

server_core::server_core(source from, serve_options options)
    : state_(std::make_unique<state>(from, std::move(options))) {
  const auto& o = state_->options;
  for (const auto idle : {o.idle_timeout, o.idle_at_stop})
    if (idle <= 0ms || (from.socket == nullptr && idle != idle.max()))
      throw std::invalid_argument(
          "coir: idle_timeout and idle_at_stop are more than 0, and for sockets");
}
server_core::~server_core() = default;

server_core::ticket::~ticket() {
  if (c_ != nullptr) c_->of.end(*c_);
}

void server_core::serve(starter start, void* server) {
  state& s = *state_;
  bool refused = false;
  s.change([&] {
    refused = std::exchange(s.serving, true);
    s.accepting |= !refused;
  });
  if (refused) throw std::logic_error("coir: server::serve is for one fiber, once");
  const auto accepts_no_more = [&s] { s.change([&s] { s.accepting = false; }); };
  try {
    const task<void> watching = s.watch_idle();  // cancelled when all is over
    s.accept_from(start, server);
    accepts_no_more();
    s.wait_until([&] { return s.alive == 0; }, sched::never, true);
  } catch (...) {
    accepts_no_more();
    s.finish();
    throw;
  }
}

// A listener of the user's may just have given its last connection, and close() not have waited for
// that: so alive counts only when nobody accepts.
void server_core::stop(clock::time_point grace_ends, void* server) {
  state& s = *state_;
  s.let_in(grace_ends);
  s.change([&] { s.stopping = true; });
  s.close(server);
  s.wait_until([&] { return !s.accepting; }, sched::never, true);
  if (!s.wait_for_handlers(grace_ends)) s.cancel_all();
  s.wait_until([&] { return s.alive == 0; }, sched::never, true);
}

}  // namespace coir::io
