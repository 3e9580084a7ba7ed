// A connection's server: a fiber that sends back what comes.
#pragma once
#include <array>
#include <cstddef>
#include <string_view>

#include <coir/coir.hpp>

namespace bench {

inline void echo(coir::unix_stream peer) {
  std::array<char, 64> buffer;
  while (const std::size_t n = peer.read_some(buffer))
    peer.write(std::string_view(buffer.data(), n));
}

}  // namespace bench
