// Connecting to the first of several addresses that answers: happy eyeballs, RFC 8305.
#pragma once
#include <vector>

#include <coir/io/connect_error.hpp>
#include <coir/io/handle.hpp>
#include <coir/sched/clock.hpp>

namespace coir::io {

// How long an attempt is alone before the next begins, unless it fails earlier.
inline constexpr std::chrono::milliseconds attempt_delay{250};

// The families in turn, beginning with that of the first; the order within each stays.
std::vector<endpoint> interleaved(const std::vector<endpoint>&);

// Attempts in that order, each in a fiber; when it returns, all but the one that succeeded first
// have been cancelled and closed. A closed handle: all have failed, as `failed` says in the order
// of the addresses. Throws coir::cancelled.
handle dial(const std::vector<endpoint>& to, clock::duration delay,
            std::vector<connect_attempt>& failed);

// Of several errors the one to report; of none no_address.
std::error_code most_telling(const std::vector<connect_attempt>&) noexcept;

}  // namespace coir::io
