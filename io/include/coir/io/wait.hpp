// Waiting for a descriptor that a foreign library owns (asyncio's add_reader).
#pragma once
#include <system_error>

#include <coir/io/stream.hpp>

namespace coir {

// Waits until reading (writing) would not block, an error or a hang-up included; other fibers run
// meanwhile. Keeps nothing of the descriptor when it returns; closing it during the call is the
// caller's mistake, and the call may then never end. Regular files are always ready. Throws
// std::system_error (bad_file_descriptor; operation_not_permitted: not on a fiber) and
// coir::cancelled. A fiber; any number at once on one descriptor.
void wait_readable(handle_type);
void wait_readable(handle_type, std::error_code&);
void wait_writable(handle_type);
void wait_writable(handle_type, std::error_code&);

}  // namespace coir
