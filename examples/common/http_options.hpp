// The command line of what serves HTTP.
#pragma once
#include <chrono>
#include <string>

#include <coir/coir.hpp>

#include "command_line.hpp"
#include "http_service.hpp"

namespace examples {

struct http_settings {
  coir::endpoint listen = coir::endpoint::parse("127.0.0.1:8080");
  std::string log = "-";
  http_limits limits;
  std::chrono::seconds grace{10};

  void add_to(command_line& line) {
    line.option("--listen", "ADDRESS:PORT", "where clients connect", listen);
    line.option("--access-log", "FILE", "- (the default): standard output; none: no log", log);
    line.option("--header-bytes", "N", "the longest head of a request", limits.header_bytes);
    line.option("--body-bytes", "N", "the longest body of a request", limits.body_bytes);
    line.option("--header-time", "MS", "for a head, from its first byte on", limits.header_time);
    line.option("--body-time", "MS", "for a body, or a part of one that is passed on",
                limits.body_time);
    line.option("--idle-time", "MS", "between two requests, or while nothing moves",
                limits.idle_time);
    line.option("--grace", "SECONDS", "for the requests under way after SIGTERM", grace);
  }
};

}  // namespace examples
