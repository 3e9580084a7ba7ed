#include <coir/fiber/transfer.hpp>

#include <coir/fiber/stack.hpp>

#include "fatal.hpp"
#include "sanitizers.hpp"

#include <cstdint>

// Always true: both sides run on one thread during a transfer, so everything that is the thread's
// is exchanged before the jump and nothing is left to be done after it.

#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__) && !defined(COIR_FIBER_ASAN) && \
    !defined(COIR_FIBER_TSAN)
#define COIR_FIBER_SLIM_TRANSFER 1
#endif

namespace coir::fiber {

#if defined(COIR_FIBER_SLIM_TRANSFER)

// The callee-saved registers go to the stack that is left, as if this were any function. But the
// return is a jump: the return predictor has the address of the call that was made on the other
// side last, so a `ret` would be predicted wrongly each time, and the next ones with it.
//
// A first entry finds entry_function in rbx. Carrier and context pass through in their registers.
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_transfer(void** from, void* to, carrier*,
                                                                  context*) noexcept;
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_transfer_thunk();
asm(R"(
  .pushsection .text
  .globl coir_fiber_transfer
  .hidden coir_fiber_transfer
  .type coir_fiber_transfer, @function
  .p2align 4
coir_fiber_transfer:
  .cfi_startproc
  endbr64
  pushq %rbp
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rbp, 0
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rbx, 0
  pushq %r12
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r12, 0
  pushq %r13
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r13, 0
  pushq %r14
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r14, 0
  pushq %r15
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r15, 0
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  .cfi_adjust_cfa_offset -8
  .cfi_restore r15
  popq %r14
  .cfi_adjust_cfa_offset -8
  .cfi_restore r14
  popq %r13
  .cfi_adjust_cfa_offset -8
  .cfi_restore r13
  popq %r12
  .cfi_adjust_cfa_offset -8
  .cfi_restore r12
  popq %rbx
  .cfi_adjust_cfa_offset -8
  .cfi_restore rbx
  popq %rbp
  .cfi_adjust_cfa_offset -8
  .cfi_restore rbp
  popq %rax
  .cfi_adjust_cfa_offset -8
  .cfi_register rip, rax
  notrack jmp *%rax
  .cfi_endproc
  .size coir_fiber_transfer, .-coir_fiber_transfer

  .globl coir_fiber_transfer_thunk
  .hidden coir_fiber_transfer_thunk
  .type coir_fiber_transfer_thunk, @function
coir_fiber_transfer_thunk:
  .cfi_startproc
  .cfi_undefined rip
  endbr64
  xorl %ebp, %ebp
  movq %rdx, %rdi
  movq %rcx, %rsi
  call *%rbx
  ud2
  .cfi_endproc
  .size coir_fiber_transfer_thunk, .-coir_fiber_transfer_thunk
  .popsection
)");

namespace {

// What the assembly above takes off a stack, lowest address first.
struct saved_registers {
  std::uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0;
  entry_function rbx = nullptr;
  std::uint64_t rbp = 0;
  void (*continue_at)() = nullptr;
  std::uint64_t above = 0;  // keeps the frame that follows aligned to 16
};
static_assert(sizeof(saved_registers) == 64);

}  // namespace

void make_transfer_context(context& to, stack& on, std::size_t reserved,
                           entry_function entry) noexcept {
  to = context{};
  to.entry = entry;
  to.on = &on;
  const auto top =
      reinterpret_cast<std::uintptr_t>(on.limit + on.size - reserved) & ~std::uintptr_t{15};
  // Behind continue_at the stack pointer has to be a multiple of 16, where `call` finds it.
  auto* first = reinterpret_cast<saved_registers*>(top - 8 - sizeof(saved_registers));
  *first = saved_registers{};
  first->rbx = entry;
  first->continue_at = &coir_fiber_transfer_thunk;
  to.stack_pointer = first;
}

void transfer(carrier& on, context& from, context& to) noexcept {
  exception_state& now = *on.exceptions;
  from.caught = now.caught;
  from.uncaught = now.uncaught;
  now.caught = to.caught;
  now.uncaught = to.uncaught;
  return coir_fiber_transfer(&from.stack_pointer, to.stack_pointer, &on, &to);
}

void transfer_ended(carrier& on, context& from, context& to) noexcept {
  transfer(on, from, to);
  stop_process("a coroutine that had ended was resumed");
}

#else

namespace {

void exchange(carrier& on, context& from, context& to, departure how) noexcept {
  to.error_number = *on.error_number;
  if (from.on->slab == nullptr) from.on->tsan_fiber = sanitizers::current_fiber();
  switch_context(on, from, to, how);
}

}  // namespace

void make_transfer_context(context& to, stack& on, std::size_t reserved,
                           entry_function entry) noexcept {
  make_context(to, on, entry, reserved);
}

void transfer(carrier& on, context& from, context& to) noexcept {
  exchange(on, from, to, departure::parked);
}

void transfer_ended(carrier& on, context& from, context& to) noexcept {
  exchange(on, from, to, departure::ended);
  stop_process("a coroutine that had ended was resumed");
}

#endif

}  // namespace coir::fiber
