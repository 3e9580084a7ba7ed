// Whether the calls of a stream wait for a client that does nothing. What a server looks at now and
// then, so that it costs no timer a call.
#pragma once
#include <coir/sched/clock.hpp>

#include "descriptor.hpp"

namespace coir::io {

// Keeps the descriptor from serving another socket while it lives. One user at a time.
class idleness {
 public:
  explicit idleness(descriptor* of) noexcept : of_(of) {
    if (of_ != nullptr) retain(*of_);
  }
  ~idleness() {
    if (of_ != nullptr) release(*of_);
  }
  idleness(const idleness&) = delete;
  idleness& operator=(const idleness&) = delete;

  // Whether, each time that somebody has looked for so long, a call has waited and no byte had
  // moved.
  bool lasts(clock::duration at_least, clock::time_point now) noexcept;

  // Has looked just now, and seen bytes move.
  void begin_anew(clock::time_point now) noexcept;

  // The calls that wait end with timed_out. Throws std::bad_alloc.
  void end() const;

 private:
  std::uint64_t moved() const noexcept;

  descriptor* const of_;
  std::uint64_t moved_ = 0;
  clock::time_point since_ = clock::now();
};

}  // namespace coir::io
