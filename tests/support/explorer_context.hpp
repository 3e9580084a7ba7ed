// A cooperative context inside one system thread, for the explorer alone.
//
// Always true: a context is entered at its function the first time and where it left off after
// that; it is never unwound, only forgotten. swapcontext makes a system call for the signal mask,
// so contexts switch by _setjmp and _longjmp, except under the sanitizers, which follow only
// swapcontext and their own calls.
#pragma once

#include <ucontext.h>
#include <csetjmp>
#include <cstddef>
#include <memory>

#include <coir/fiber/under_sanitizers.hpp>

#ifdef COIR_FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef COIR_FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace coir::explorer {

class context {
 public:
  context() {  // the context of the caller itself, left by its first switch
#ifdef COIR_FIBER_TSAN
    tsan_ = __tsan_get_current_fiber();
#endif
  }
  explicit context(void (*function)()) : stack_(new std::byte[stack_size]), entered_(false) {
    getcontext(&machine_);
    machine_.uc_stack.ss_sp = stack_.get();
    machine_.uc_stack.ss_size = stack_size;
    machine_.uc_link = nullptr;
    makecontext(&machine_, function, 0);
#ifdef COIR_FIBER_ASAN
    bottom_ = stack_.get();
    size_ = stack_size;
#endif
#ifdef COIR_FIBER_TSAN
    tsan_ = __tsan_create_fiber(0);
#endif
  }
  ~context() {
#ifdef COIR_FIBER_TSAN
    if (stack_) __tsan_destroy_fiber(tsan_);
#endif
  }
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  void switch_to(context& next) {
#if defined(COIR_FIBER_ASAN)
    __sanitizer_start_switch_fiber(&fake_stack_, next.bottom_, next.size_);
    came_from = this;
    swapcontext(&machine_, &next.machine_);
    arrived(fake_stack_);
#elif defined(COIR_FIBER_TSAN)
    __tsan_switch_to_fiber(next.tsan_, 0);
    swapcontext(&machine_, &next.machine_);
#else
    if (_setjmp(registers_) != 0) return;
    if (next.entered_) _longjmp(next.registers_, 1);
    next.entered_ = true;
    setcontext(&next.machine_);
#endif
  }

  // The first call of a context's function.
  static void entered() {
#ifdef COIR_FIBER_ASAN
    arrived(nullptr);
#endif
  }

 private:
  static constexpr std::size_t stack_size = 128 * 1024;

#ifdef COIR_FIBER_ASAN
  static void arrived(void* fake_stack) {
    __sanitizer_finish_switch_fiber(fake_stack, &came_from->bottom_, &came_from->size_);
  }
  static inline context* came_from = nullptr;
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
#endif
#ifdef COIR_FIBER_TSAN
  void* tsan_ = nullptr;
#endif
  std::unique_ptr<std::byte[]> stack_;
  [[maybe_unused]] bool entered_ = true;
  [[maybe_unused]] jmp_buf registers_;
  ucontext_t machine_;
};

}  // namespace coir::explorer
