// epoll's system calls; as in system_calls.hpp, one value each.
#pragma once
#include <cstdint>

#include <sys/epoll.h>

#include <coir/sched/clock.hpp>

namespace coir::io::sys {

int epoll_add(int epoll, int fd, std::uint32_t events, void* data) noexcept;
int epoll_remove(int epoll, int fd) noexcept;
// The number of events. A deadline that has passed: does not wait. Never returns early but for an
// event or a signal.
int epoll_wait_until(int epoll, epoll_event* events, int room, clock::time_point deadline) noexcept;

}  // namespace coir::io::sys
