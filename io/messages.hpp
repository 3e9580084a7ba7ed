// Moving messages: the loops around a driver's attempts, which are the same for every datagram
// socket.
#pragma once
#include <cstddef>
#include <span>
#include <system_error>

#include <coir/io/datagram_socket.hpp>

#include "descriptor.hpp"

namespace coir::io {

// Null stands for a closed socket. All throw coir::cancelled; no message has been taken then.
datagram receive_message(descriptor*, std::span<std::byte> into, bool ask_for_sender, int flags,
                         std::error_code& error);
std::size_t receive_messages(descriptor*, std::span<receive_slot>, std::error_code& error);

// `to` names no address: to the peer.
std::size_t send_message(descriptor*, std::span<const std::byte> from, const endpoint& to,
                         std::error_code& error);
std::size_t send_messages(descriptor*, std::span<const send_slot>, std::error_code& error);

}  // namespace coir::io
