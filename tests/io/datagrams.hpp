// For tests of datagram sockets.
#pragma once
#include <string_view>

#include "io_fixture.hpp"

namespace coir::testing {

inline std::string_view text(const datagram& d, const char* buffer) { return {buffer, d.size}; }
inline udp_socket here() { return udp_socket::bind(any_port); }

}  // namespace coir::testing
