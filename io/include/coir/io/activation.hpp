// Listening sockets that whoever started the process has made for it: systemd's socket activation.
#pragma once
#include <string>
#include <vector>

#include <coir/io/stream.hpp>

namespace coir {

// One socket that was open when the program started; name: what its unit calls it.
struct inherited_handle {
  handle_type handle;  // the caller's; close-on-exec
  std::string name;    // FileDescriptorName= of its unit; "unknown": it has none
};

// sd_listen_fds_with_names(3): what the environment says has been handed to this process
// (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), in the order of the unit; for tcp_listener::adopt and
// the like. Empty: nothing was. Does not change the environment, in which a child finds a process
// id that is not its own. Throws std::invalid_argument that names the variable if one is malformed,
// std::system_error if such a handle is not open. Any thread; once, because each call gives the
// same handles.
std::vector<inherited_handle> listen_handles();

}  // namespace coir
