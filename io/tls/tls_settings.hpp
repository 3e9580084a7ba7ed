// What a tls_context shares with the streams that are made with it.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include <coir/sched/clock.hpp>

#include "openssl.hpp"
#include "session_cache.hpp"

namespace coir::io {

// Written while it is set up; afterwards only read, but for the sessions.
struct tls_settings {
  ssl_context_ptr context;
  bool is_server = false;
  bool verifies = false;
  clock::duration handshake_limit = std::chrono::seconds(60);
  std::uint64_t key_update_interval = std::uint64_t{1} << 23;
  std::string alpn;  // as on the wire: each behind its length
  session_cache sessions;
};

}  // namespace coir::io
