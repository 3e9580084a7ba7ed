// A server's handler that echoes, and a client that sees whether it does.
#pragma once
#include "io_fixture.hpp"

namespace coir::testing {

inline void echo(tcp_stream s) {
  char buffer[4096];
  while (const std::size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
}
inline bool echoes(tcp_stream& s) {
  char buffer[4];
  s.write("ping");
  s.read_exactly(buffer);
  return std::string_view(buffer, 4) == "ping";
}

}  // namespace coir::testing
