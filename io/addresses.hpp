// The addresses of sockets, and sockets for addresses.
#pragma once
#include <system_error>

#include <coir/io/endpoint.hpp>
#include <coir/io/socket_stream.hpp>

namespace coir::io {

endpoint local_address(handle_type fd, std::error_code& error);
endpoint remote_address(handle_type fd, std::error_code& error);

// Whether a socket of that transport can have the address; else `error`.
bool suits(const endpoint&, transport, std::error_code& error);

}  // namespace coir::io
