// Descriptors that travel through a Unix-domain stream, each with a byte of its own.
#pragma once
#include <system_error>

#include "descriptor.hpp"

namespace coir::io {

// Null stands for a closed stream. Both throw coir::cancelled; nothing has been sent or taken then.
void send_handle(descriptor*, handle_type, std::error_code& error);
handle_type receive_handle(descriptor*, std::error_code& error);  // -1: the end, or `error`

}  // namespace coir::io
