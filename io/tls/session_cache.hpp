// The sessions that servers have offered to a client, by host.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "openssl.hpp"

namespace coir::io {

// Any thread. The lock is a thread's, and short: put() is called by OpenSSL, where nothing may
// park.
class session_cache {
 public:
  // The newest one that is left, or null. A session of TLS 1.3 is given away once (RFC 8446, C.4).
  session_ptr take(const std::string& host);
  void put(const std::string& host, std::uint64_t era, session_ptr);

  // Sessions made under other settings would resume what these do not allow (they are not verified
  // again), so whoever changes them begins an era: earlier sessions are dropped, also those of
  // connections made before, which come later.
  void begin_era();
  std::uint64_t era();

 private:
  static constexpr std::size_t sessions_of_a_host = 4;
  static constexpr std::size_t hosts = 1000;

  std::mutex lock_;
  std::map<std::string, std::deque<session_ptr>> kept_;  // under lock_, and so is the next
  std::uint64_t era_ = 0;
};

}  // namespace coir::io
