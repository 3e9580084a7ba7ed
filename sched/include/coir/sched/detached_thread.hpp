// Threads of the library's own that are no workers, and what is said when there can be none.
#pragma once
#include <string>
#include <system_error>

namespace coir::sched {

// Nobody joins it, and it takes no signals. Needs no memory of ours, which std::thread would give
// back when main has told everybody that it ends. Throws std::system_error; any thread.
void start_detached(const char* which, void* (*main)(void*), void* argument);

// That `which` thread cannot be started, why, and the remedy; `or_else`: another one.
std::system_error no_thread(int error, const std::string& which, const char* or_else = "");

}  // namespace coir::sched
