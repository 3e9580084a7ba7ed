// futex(2), with deadlines of the monotonic clock.
#pragma once
#include <atomic>
#include <cstdint>

#include <coir/sched/clock.hpp>

namespace coir::sched {

enum class futex_result : std::uint8_t {
  woken,
  timed_out
};  // woken: perhaps for nothing, look again

// Blocks while the word has that value, at most until the deadline. Any thread.
futex_result futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value,
                        clock::time_point deadline) noexcept;
void futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept;

}  // namespace coir::sched
