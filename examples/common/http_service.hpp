// What the connections of an HTTP server have in common: limits, a log, and the end of it all.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>

#include <coir/coir.hpp>

#include "access_log.hpp"

namespace examples {

struct http_limits {
  std::uint32_t header_bytes = 16 * 1024;
  std::uint64_t body_bytes = 1024 * 1024;
  std::chrono::milliseconds header_time{10'000};  // from its first byte to its last
  std::chrono::milliseconds body_time{30'000};
  std::chrono::milliseconds idle_time{60'000};  // between requests, or while nothing moves
  // Once the server ends: since its last answer, for who is just about to ask again.
  std::chrono::milliseconds last_call{100};
};

class http_service {
 public:
  // A connection, as seen by who ends the service.
  class guest {
   public:
    guest() = default;
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;

   protected:
    virtual ~guest() = default;

   private:
    friend http_service;
    virtual void read_until(coir::clock::time_point) = 0;
    std::atomic<bool> idle_{false};
    std::atomic<coir::clock::time_point> since_{};  // written before idle_ is set
  };

  http_service(const http_limits& l, const std::string& log_path) : limits(l), log(log_path) {}

  const http_limits limits;
  access_log log;
  std::atomic<std::uint64_t> connections{0}, requests{0};  // until now

  void enter(guest& g) {
    const std::lock_guard held(lock_);
    guests_.insert(&g);
  }
  void leave(guest& g) {
    const std::lock_guard held(lock_);
    guests_.erase(&g);
  }

  // From then on each answer is the last one of its connection. One that waits for a request is
  // closed, as nginx does: at once, unless it was at work until just now. What has come by then is
  // read and answered, since a deadline leaves out nothing that is there when it strikes.
  void end() {
    ending_ = true;
    const std::lock_guard held(lock_);
    for (guest* g : guests_)
      if (g->idle_) g->read_until(last_call(*g));
  }
  bool ending() const { return ending_.load(std::memory_order_relaxed); }

  // A connection's wait for a request. Either end() sees that it is idle, or it sees the ending.
  void begin_wait(guest& g) {
    g.since_.store(coir::clock::now(), std::memory_order_relaxed);
    g.idle_ = true;
    if (ending_) g.read_until(last_call(g));
  }
  void end_wait(guest& g) {
    g.idle_ = false;
    if (!ending_) return;
    const std::lock_guard held(lock_);  // end() is through with it
    g.read_until(coir::clock::time_point::max());
  }

 private:
  coir::clock::time_point last_call(const guest& g) const {
    return g.since_.load(std::memory_order_relaxed) + limits.last_call;
  }

  std::atomic<bool> ending_{false};
  std::mutex lock_;  // native, so that leave(), which destructors call, is no cancellation point
  std::set<guest*> guests_;  // under lock_
};

}  // namespace examples
