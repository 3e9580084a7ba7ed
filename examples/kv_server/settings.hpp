// What the program is told on its command line.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <coir/coir.hpp>

#include "append_log.hpp"

namespace kv {

struct settings {
  coir::endpoint listen = coir::endpoint::parse("127.0.0.1:6379");
  std::string folder;  // empty: nothing is kept
  fsync_policy appendfsync = fsync_policy::everysec;
  std::size_t max_clients = 10'000;
  std::size_t max_request = 64 * 1024 * 1024;         // bytes
  std::size_t output_limit = 8 * 1024 * 1024;         // bytes that a subscriber may leave unread
  std::chrono::milliseconds request_timeout{60'000};  // for the next bytes of a request begun
};

const char* name_of(fsync_policy);
void parse(std::string_view text, fsync_policy&);  // for examples::command_line

}  // namespace kv
