#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>

#include "fatal.hpp"
#include "sanitizers.hpp"

#include <boost/context/detail/fcontext.hpp>

#include <cxxabi.h>
#include <pthread.h>
#include <cerrno>
#include <cstddef>

// The only file that knows Boost.Context. It keeps the callee-saved registers and, on x86-64, the
// floating-point control words; the exception state, errno and the sanitizers are ours.
//
// Always true:
// - a context that is not running has its registers at `stack_pointer`, and its exception state and
// errno in the
//   context; one that is running has them in the thread, and the copies mean nothing;
// - between the jump and the first line after it nothing of a thread may be known: the carrier that
// comes with the
//   jump is the only way to this thread's state, because `on` may be another's by now;
// - the predecessor's context is complete before anything else runs on the stack that was jumped
// to.

namespace coir::fiber {

namespace {

struct arrival {
  void* stack_pointer;  // of who jumped here
  void* data;           // what it brought: its carrier
};

#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__)

#if defined(COIR_FIBER_NO_RED_ZONE)  // this file is built with -mno-red-zone
#define COIR_SKIP_RED_ZONE ""
#define COIR_UNSKIP_RED_ZONE ""
#else
#define COIR_SKIP_RED_ZONE "leaq -128(%%rsp), %%rsp\n\t"
#define COIR_UNSKIP_RED_ZONE "\n\tleaq 128(%%rsp), %%rsp"
#endif

#if !defined(COIR_FIBER_JUMP)  // what the linker calls it, if not by its C name
#define COIR_FIBER_JUMP "jump_fcontext"
#endif

// jump_fcontext leaves by an indirect jump. A call would put a return address into the processor's
// return predictor that no `ret` takes out, and the next `ret`, ours, would be predicted to go
// there. So push the address and jump. Through the offset table and not the linkage table: it is
// bound at load, and needs no stack of the fiber's. The frame is addressed by rbp
// (-fno-omit-frame-pointer), so the push does not change how it is unwound.
[[gnu::always_inline]] inline arrival jump(void* to, void* data) noexcept {
  arrival result;
  asm volatile(
      COIR_SKIP_RED_ZONE
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "jmpq *" COIR_FIBER_JUMP
      "@GOTPCREL(%%rip)\n"
      "1:"
#if defined(__CET__)
      "\n\tendbr64"
#endif
      COIR_UNSKIP_RED_ZONE
      : "=&a"(result.stack_pointer), "=&d"(result.data), "+D"(to), "+S"(data)
      :
      : "rcx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
        "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#if defined(__AVX512F__)
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",
        "k7",
#endif
        "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");
  return result;
}

#else

#if defined(__aarch64__)
// FPCR: how rounding is done, and which exceptions trap.
inline std::uint32_t floating_point_control() noexcept {
  std::uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control) : : "memory");
  return static_cast<std::uint32_t>(control);  // the upper half is reserved
}
// Looked at first: a write may drain the pipeline, and is nearly never needed.
inline void set_floating_point_control(std::uint32_t control) noexcept {
  if (floating_point_control() == control) [[likely]]
    return;
  asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{control}) : "memory");
}
#endif

// Elsewhere jump_fcontext either ends in a return (aarch64) or has not been measured. On aarch64
// most versions of Boost leave FPCR as it is; it waits on the stack that is left.
[[gnu::always_inline]] inline arrival jump(void* to, void* data) noexcept {
#if defined(__aarch64__)
  const std::uint32_t control = floating_point_control();
#endif
  const boost::context::detail::transfer_t result = boost::context::detail::jump_fcontext(to, data);
#if defined(__aarch64__)
  set_floating_point_control(control);
#endif
  return {result.fctx, result.data};
}

#endif

[[gnu::always_inline]] inline void save_thread_state(const carrier& from, context& into) noexcept {
  into.caught = from.exceptions->caught;
  into.uncaught = from.exceptions->uncaught;
  into.error_number = *from.error_number;
}

[[gnu::always_inline]] inline void restore_thread_state(const carrier& into,
                                                        const context& from) noexcept {
  into.exceptions->caught = from.caught;
  into.exceptions->uncaught = from.uncaught;
  *into.error_number = from.error_number;
}

[[gnu::always_inline]] inline void tell_departure(context& from, const context& to,
                                                  departure how) noexcept {
  if constexpr (sanitizers::address)
    sanitizers::start_switch(how == departure::ended ? nullptr : &from.on->fake_stack, to.on->limit,
                             to.on->size);
  if constexpr (sanitizers::thread) sanitizers::switch_fiber(to.on->tsan_fiber);
}

[[gnu::always_inline]] inline carrier& arrive(const arrival& from, const context& self) noexcept {
  carrier& on = *static_cast<carrier*>(from.data);
  on.previous->stack_pointer = from.stack_pointer;
  if constexpr (sanitizers::address) {
    const auto left = sanitizers::finish_switch(self.on->fake_stack);
    stack& was = *on.previous->on;
    if (was.slab == nullptr) {  // a thread's, or a guest's: nobody else knows its bounds
      was.limit = left.limit;
      was.size = left.size;
    }
  }
  restore_thread_state(on, self);
  return on;
}

// Both are declared const, and so merged by the compiler with a call before a switch; each is asked
// once a thread, from a function of its own.
[[gnu::noinline]] exception_state* exception_state_of_thread() noexcept {
  void* address = abi::__cxa_get_globals();
  asm volatile("" : "+r"(address) : : "memory");
  return static_cast<exception_state*>(address);
}

[[gnu::noinline]] int* errno_of_thread() noexcept {
  int* address = &errno;
  asm volatile("" : "+r"(address) : : "memory");
  return address;
}

}  // namespace

extern "C" void coir_fiber_first_entry(void* stack_pointer, void* data) noexcept;

namespace {

// Boost gives a new stack the control words of whoever called make_context, the worker's loop, or a
// fiber that has changed its rounding (on aarch64 those of whoever switches to it first). Which of
// them is chance, so a fiber starts with its thread's. They are looked at first, because loading
// them right after the jump has costs 70 ns, three times the rest of a fiber's start and end.
#if defined(__x86_64__)
inline void store_floating_point_control(std::uint32_t& vector, std::uint16_t& x87) noexcept {
  asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(vector), "=m"(x87));
}
inline void save_floating_point_control(carrier& of) noexcept {
  store_floating_point_control(of.vector_control, of.x87_control);
}
inline void load_floating_point_control(const carrier& of) noexcept {
  constexpr std::uint32_t exception_flags = 0x3f;  // what has happened, and no control
  std::uint32_t vector = 0;
  std::uint16_t x87 = 0;
  store_floating_point_control(vector, x87);
  if (((vector ^ of.vector_control) & ~exception_flags) == 0 && x87 == of.x87_control) [[likely]]
    return;
  asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(of.vector_control), "m"(of.x87_control));
}
#elif defined(__aarch64__)
inline void save_floating_point_control(carrier& of) noexcept {
  of.vector_control = floating_point_control();
}
inline void load_floating_point_control(const carrier& of) noexcept {
  set_floating_point_control(of.vector_control);
}
#else
inline void save_floating_point_control(carrier&) noexcept {}
inline void load_floating_point_control(const carrier&) noexcept {}
#endif

}  // namespace

// The first frame of a stack. Called by the thunk below, which is where a backtrace ends.
extern "C" [[gnu::used, gnu::visibility("hidden")]] COIR_FIBER_NO_ASAN void coir_fiber_first_entry(
    void* stack_pointer, void* data) noexcept {
  context& self = *static_cast<carrier*>(data)->next;
  carrier& on = arrive({stack_pointer, data}, self);
  load_floating_point_control(on);
  self.entry(on, self);
  stop_process("the entry function of a fiber has returned");
}

// An undefined return address is how unwinders are told that a frame is the outermost: without it
// they would go on into Boost's trampoline, which has no unwind information. The frame pointer is
// zeroed for those that follow it.
#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__)
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_thunk(boost::context::detail::transfer_t);
asm(R"(
  .pushsection .text
  .globl coir_fiber_thunk
  .hidden coir_fiber_thunk
  .type coir_fiber_thunk, @function
coir_fiber_thunk:
  .cfi_startproc
  .cfi_undefined rip
  endbr64
  subq $8, %rsp
  .cfi_def_cfa_offset 16
  xorl %ebp, %ebp
  call coir_fiber_first_entry
  ud2
  .cfi_endproc
  .size coir_fiber_thunk, .-coir_fiber_thunk
  .popsection
)");
#elif defined(__aarch64__) && defined(__ELF__)
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_thunk(boost::context::detail::transfer_t);
asm(R"(
  .pushsection .text
  .globl coir_fiber_thunk
  .hidden coir_fiber_thunk
  .type coir_fiber_thunk, %function
coir_fiber_thunk:
  .cfi_startproc
  .cfi_undefined x30
  mov x29, xzr
  mov x30, xzr
  bl coir_fiber_first_entry
  brk #0
  .cfi_endproc
  .size coir_fiber_thunk, .-coir_fiber_thunk
  .popsection
)");
#else
namespace {
void coir_fiber_thunk(boost::context::detail::transfer_t from) {
  coir_fiber_first_entry(from.fctx, from.data);
}
}  // namespace
#endif

void carrier::attach() noexcept {
  exceptions = exception_state_of_thread();
  error_number = errno_of_thread();
  save_floating_point_control(*this);
}

void make_context(context& to, stack& on, entry_function entry, std::size_t reserved) noexcept {
  to = context{};
  to.entry = entry;
  to.on = &on;
  sanitizers::forget_frames(on.limit, on.size);  // a cached stack's last fiber never returned
  to.stack_pointer = boost::context::detail::make_fcontext(on.limit + on.size - reserved,
                                                           on.size - reserved, coir_fiber_thunk);
  on.fake_stack = nullptr;
  if constexpr (sanitizers::thread) {
    // The context of the stack's last fiber still holds the call stack that this one never returned
    // from.
    if (on.tsan_fiber != nullptr) sanitizers::destroy_fiber(on.tsan_fiber);
    on.tsan_fiber = sanitizers::create_fiber();
  }
}

void make_thread_context(context& of_thread, stack& header) noexcept {
  of_thread = context{};
  header = stack{};
  of_thread.on = &header;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* low = nullptr;
    std::size_t size = 0;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
      header.limit = static_cast<std::byte*>(low);
      header.size = size;
    }
    pthread_attr_destroy(&attributes);
  }
  header.tsan_fiber = sanitizers::current_fiber();
}

#if defined(__clang__)
[[gnu::noinline]]
#else
[[gnu::noipa]]
#endif
COIR_FIBER_NO_ASAN carrier&
switch_context(carrier& on, context& from, context& to, departure how) noexcept {
  void* const target = to.stack_pointer;
  save_thread_state(on, from);
  on.previous = &from;
  on.next = &to;
  tell_departure(from, to, how);
  return arrive(jump(target, &on), from);
}

}  // namespace coir::fiber
