// What a runtime is made of besides its options: objects, so that one library serves production,
// tests and simulators.
#pragma once
#include <cstdint>
#include <memory>

#include <coir/fiber/stack.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/driver.hpp>

namespace coir::sched {

// What clock::now() says on the workers. Any worker, at once.
class time_source {
 public:
  virtual ~time_source() = default;
  virtual clock::time_point now() noexcept = 0;
};

// Where a thief begins to look. Any worker, at once.
class chance {
 public:
  virtual ~chance() = default;
  virtual std::uint32_t next(unsigned worker) noexcept = 0;
};

// Makes schedules that a quiet machine seldom shows. Any worker, at once.
class disorder {
 public:
  virtual ~disorder() = default;
  // Whether a fiber that becomes ready on this worker, or yields, goes to any worker instead of
  // staying.
  virtual bool scatter(unsigned worker) noexcept = 0;
};

struct parts {
  parts(std::unique_ptr<driver_factory> d) : drivers(std::move(d)) {}

  std::unique_ptr<driver_factory> drivers;
  std::unique_ptr<time_source> time;  // null: steady_clock
  std::unique_ptr<chance> random;     // null: a generator of each worker's own
  std::unique_ptr<disorder>
      race;  // null: none; in a race build (-Drace=true): every other fiber migrates
  fiber::stack_pool_options stacks = {};
  // Whether who has slept for a second looks for fibers that join each other. It wakes for that, so
  // tests that nothing is lost do without.
  bool looks_for_deadlocks = true;
};

}  // namespace coir::sched
