// What a fiber asks and does about itself. Outside of a fiber: no id, an empty name, nothing ever
// requested.
#pragma once
#include <chrono>
#include <cstddef>
#include <stop_token>
#include <string>
#include <string_view>

#include <coir/sched/clock.hpp>
#include <coir/sched/fiber_id.hpp>

namespace coir::sched {
void sleep_until(clock::time_point);
}

namespace coir::this_fiber {

// Blocking calls, all three: cancellation strikes there. On a plain thread they yield or block that
// thread.
void yield();  // behind every fiber that is ready on this worker
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> d) {  // 0 or less: yields
  if (sched::saturated(d) <= clock::duration::zero()) return yield();
  sched::sleep_until(sched::deadline_after(d));
}
// Never early. Equal deadlines that were set on one worker become ready in the order in which they
// were set.
template <class Duration>
void sleep_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
  sched::sleep_until(sched::deadline_at(t));
}

fiber_id id() noexcept;
std::string_view name() noexcept;  // until the next set_name
void set_name(std::string);

bool cancel_requested() noexcept;  // a request that has not been thrown
void check_cancelled();            // throws it, if it may strike now
bool uncancel() noexcept;  // takes back a request that has not been thrown, but shutdown's; whether
                           // there was one

// Stops when the fiber is next asked to end; has stopped if a request is pending. For code that
// speaks std::stop_token. Its callbacks run where the request is made, or on a fiber of their own.
std::stop_token stop_token();

// Bytes. In use here and now; with options::measure_stacks, the most since this fiber began.
std::size_t stack_used() noexcept;
std::size_t stack_size() noexcept;

}  // namespace coir::this_fiber
