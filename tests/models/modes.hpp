// Each model runs in four modes: with the light fence as a compiler barrier and as a full fence,
// and with the memory of x86 and of Arm.
#pragma once

#include "explorer.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include <coir/fiber/under_sanitizers.hpp>

namespace coir::explorer {

constexpr bool sanitized = fiber::sanitizers::address || fiber::sanitizers::thread;

struct mode {
  light_fence_is light;
  memory model;
};

inline std::string name_of(const testing::TestParamInfo<mode>& tested) {
  std::string name = tested.param.light == light_fence_is::full_fence ? "fallback" : "asymmetric";
  return name + (tested.param.model == memory::weak ? "_weak" : "_tso");
}

// For types that contain no light fence.
inline auto both_memories() {
  return testing::Values(mode{light_fence_is::full_fence, memory::tso},
                         mode{light_fence_is::full_fence, memory::weak});
}

inline auto all_modes() {
  using enum light_fence_is;
  return testing::Values(mode{compiler_barrier, memory::tso}, mode{full_fence, memory::tso},
                         mode{compiler_barrier, memory::weak}, mode{full_fence, memory::weak});
}

class in_each_mode : public testing::TestWithParam<mode> {
 protected:
  // Under a sanitizer, which makes each switch dear, one preemption has to do; it looks at the
  // memory, and not for every outcome.
  // COIR_MODEL_BOUND is the bound of a thorough run: a preemption more costs a factor of ten or
  // more. The weak memory has more choices, so some models take one less there.
  static options named(const char* name, int preemptions, int in_weak_memory = -1) {
    if (in_weak_memory >= 0 && GetParam().model == memory::weak) preemptions = in_weak_memory;
    if (sanitized) preemptions = std::min(preemptions, 1);
    const char* wanted = std::getenv("COIR_MODEL_BOUND");
    if (wanted != nullptr) preemptions = std::atoi(wanted);
    options chosen;
    chosen.name = name;
    chosen.preemptions = preemptions;
    chosen.light = GetParam().light;
    chosen.model = GetParam().model;
    return chosen;
  }

  // For long models: stores may wait for long, and then become visible together.
  static options long_buffers(options chosen) {
    chosen.buffer = 32;
    chosen.partial_drains = false;
    return chosen;
  }

  static void holds(const result& found, std::initializer_list<const char*> outcomes) {
    EXPECT_TRUE(found.ok) << found.message;
    EXPECT_TRUE(found.complete || found.random);
    if (sanitized) return;
    for (const char* each : outcomes)
      EXPECT_TRUE(!found.ok || found.count(each) > 0) << "never happens: " << each;
  }
};

}  // namespace coir::explorer
