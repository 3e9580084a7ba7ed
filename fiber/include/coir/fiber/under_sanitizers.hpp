// Which sanitizers this is compiled for. gcc says it by a macro, clang by a feature.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define COIR_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COIR_FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define COIR_FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COIR_FIBER_TSAN 1
#endif
#endif

namespace coir::fiber::sanitizers {

#if defined(COIR_FIBER_ASAN)
inline constexpr bool address = true;
#else
inline constexpr bool address = false;
#endif
#if defined(COIR_FIBER_TSAN)
inline constexpr bool thread = true;
#else
inline constexpr bool thread = false;
#endif

}  // namespace coir::fiber::sanitizers
