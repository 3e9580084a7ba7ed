// What the sanitizers and Valgrind have to be told about stacks, as functions that are empty in a
// plain build.
//
// Always true: the state that a tool keeps for a stack lies in that stack's header, so it travels
// with the stack; nothing here knows a thread.
#pragma once
#include <cstddef>
#include <cstdint>

#include <coir/fiber/under_sanitizers.hpp>

#if defined(COIR_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if defined(COIR_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

// Between the start and the finish of a switch a function runs on one stack while AddressSanitizer
// believes it on another; and the painted part of a stack is read while its fiber writes it.
#define COIR_FIBER_NO_ASAN __attribute__((no_sanitize("address")))
#define COIR_FIBER_NO_TSAN __attribute__((no_sanitize("thread")))

namespace coir::fiber::sanitizers {

struct bounds {
  std::byte* limit = nullptr;
  std::size_t size = 0;
};

#if defined(COIR_FIBER_ASAN)
inline void start_switch(void** fake_stack, const void* limit, std::size_t size) noexcept {
  __sanitizer_start_switch_fiber(fake_stack, limit, size);
}
// Gives the stack that was left.
inline bounds finish_switch(void* fake_stack) noexcept {
  const void* limit = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &limit, &size);
  return {static_cast<std::byte*>(const_cast<void*>(limit)), size};
}
inline void read_for_leaks(const void* from, std::size_t size) noexcept {
  __lsan_register_root_region(from, size);
}
inline void ignore_for_leaks(const void* from, std::size_t size) noexcept {
  __lsan_unregister_root_region(from, size);
}
// A stack that is in use may hold the only pointer to a block. One region a stack and not one a
// slab: the leak checker reads what /proc/self/maps calls readable, and a guard made by
// MADV_GUARD_INSTALL looks so.
inline void enter_use(const void* limit, std::size_t size) noexcept {
  __lsan_register_root_region(limit, size);
}
// Frames that never returned, the last switch's among them, left their red zones.
inline void forget_frames(void* limit, std::size_t size) noexcept {
  __asan_unpoison_memory_region(limit, size);
}
inline void leave_use(void* limit, std::size_t size) noexcept {
  __lsan_unregister_root_region(limit, size);
  forget_frames(limit, size);
}
#else
inline void start_switch(void**, const void*, std::size_t) noexcept {}
inline void read_for_leaks(const void*, std::size_t) noexcept {}
inline void ignore_for_leaks(const void*, std::size_t) noexcept {}
inline bounds finish_switch(void*) noexcept { return {}; }
inline void enter_use(const void*, std::size_t) noexcept {}
inline void leave_use(void*, std::size_t) noexcept {}
inline void forget_frames(void*, std::size_t) noexcept {}
#endif

#if defined(COIR_FIBER_TSAN)
inline void* current_fiber() noexcept { return __tsan_get_current_fiber(); }
inline void* create_fiber() noexcept { return __tsan_create_fiber(0); }
inline void destroy_fiber(void* fiber) noexcept { __tsan_destroy_fiber(fiber); }
// Flag 0: the switch orders what ran before it on this thread before what runs after it, as it does
// in truth.
inline void switch_fiber(void* fiber) noexcept { __tsan_switch_to_fiber(fiber, 0); }
#else
inline void* current_fiber() noexcept { return nullptr; }
inline void* create_fiber() noexcept { return nullptr; }
inline void destroy_fiber(void*) noexcept {}
inline void switch_fiber(void*) noexcept {}
#endif

#if defined(VALGRIND_STACK_REGISTER)
inline bool under_valgrind() noexcept { return RUNNING_ON_VALGRIND != 0; }
inline std::uint32_t register_stack(const std::byte* low, const std::byte* high) noexcept {
  return static_cast<std::uint32_t>(VALGRIND_STACK_REGISTER(low, high));
}
inline void deregister_stack(std::uint32_t id) noexcept { VALGRIND_STACK_DEREGISTER(id); }
// While one lives, this thread may read below a stack pointer.
struct unchecked_read {
  unchecked_read() noexcept { VALGRIND_DISABLE_ERROR_REPORTING; }
  ~unchecked_read() { VALGRIND_ENABLE_ERROR_REPORTING; }
};
#else
inline bool under_valgrind() noexcept { return false; }
inline std::uint32_t register_stack(const std::byte*, const std::byte*) noexcept { return 0; }
inline void deregister_stack(std::uint32_t) noexcept {}
struct unchecked_read {
  unchecked_read() noexcept {}
  ~unchecked_read() {}
};
#endif

}  // namespace coir::fiber::sanitizers
