#include <coir/fiber/transfer.hpp>

#include <coir/fiber/stack.hpp>

#include "fatal.hpp"
#include "sanitizers.hpp"

#include <cstdint>

// Always true: both sides run on one thread during a transfer, so everything that is the thread's
// is exchanged before the jump and nothing is left to be done after it.

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__ELF__) && !defined(__ILP32__) && \
    !defined(COIR_FIBER_ASAN) && !defined(COIR_FIBER_TSAN)
#define COIR_FIBER_SLIM_TRANSFER 1
#endif

namespace coir::fiber {

#if defined(COIR_FIBER_SLIM_TRANSFER)

// The callee-saved registers go to the stack that is left, as if this were any function. A first
// entry finds entry_function in one of them (rbx, x19). Carrier and context pass through in their
// registers.
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_transfer(void** from, void* to, carrier*,
                                                                  context*) noexcept;
extern "C" [[gnu::visibility("hidden")]] void coir_fiber_transfer_thunk();

#if defined(__x86_64__)

// The return is a jump: the return predictor has the address of the call that was made on the other
// side last, so a `ret` would be predicted wrongly each time, and the next ones with it.
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
  entry_function entry = nullptr;  // rbx
  std::uint64_t rbp = 0;
  void (*continue_at)() = nullptr;
  std::uint64_t above[2] = {};  // behind continue_at the stack pointer is a multiple of 16
};
static_assert(sizeof(saved_registers) == 72);

}  // namespace

#else  // aarch64

// It returns by `ret` and not by a jump as on x86-64: where branch targets are enforced (BTI), a
// jump may not go behind a call, and nobody has measured what it would be worth.
asm(R"(
  .pushsection .text
  .globl coir_fiber_transfer
  .hidden coir_fiber_transfer
  .type coir_fiber_transfer, %function
  .p2align 4
coir_fiber_transfer:
  .cfi_startproc
  hint #34
  stp x29, x30, [sp, #-160]!
  .cfi_def_cfa_offset 160
  .cfi_rel_offset x29, 0
  .cfi_rel_offset x30, 8
  stp x19, x20, [sp, #16]
  .cfi_rel_offset x19, 16
  .cfi_rel_offset x20, 24
  stp x21, x22, [sp, #32]
  .cfi_rel_offset x21, 32
  .cfi_rel_offset x22, 40
  stp x23, x24, [sp, #48]
  .cfi_rel_offset x23, 48
  .cfi_rel_offset x24, 56
  stp x25, x26, [sp, #64]
  .cfi_rel_offset x25, 64
  .cfi_rel_offset x26, 72
  stp x27, x28, [sp, #80]
  .cfi_rel_offset x27, 80
  .cfi_rel_offset x28, 88
  stp d8, d9, [sp, #96]
  .cfi_rel_offset d8, 96
  .cfi_rel_offset d9, 104
  stp d10, d11, [sp, #112]
  .cfi_rel_offset d10, 112
  .cfi_rel_offset d11, 120
  stp d12, d13, [sp, #128]
  .cfi_rel_offset d12, 128
  .cfi_rel_offset d13, 136
  stp d14, d15, [sp, #144]
  .cfi_rel_offset d14, 144
  .cfi_rel_offset d15, 152
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp d14, d15, [sp, #144]
  ldp d12, d13, [sp, #128]
  ldp d10, d11, [sp, #112]
  ldp d8, d9, [sp, #96]
  ldp x27, x28, [sp, #80]
  ldp x25, x26, [sp, #64]
  ldp x23, x24, [sp, #48]
  ldp x21, x22, [sp, #32]
  ldp x19, x20, [sp, #16]
  ldp x29, x30, [sp], #160
  .cfi_def_cfa_offset 0
  .cfi_restore x29
  .cfi_restore x30
  .cfi_restore x19
  .cfi_restore x20
  .cfi_restore x21
  .cfi_restore x22
  .cfi_restore x23
  .cfi_restore x24
  .cfi_restore x25
  .cfi_restore x26
  .cfi_restore x27
  .cfi_restore x28
  .cfi_restore d8
  .cfi_restore d9
  .cfi_restore d10
  .cfi_restore d11
  .cfi_restore d12
  .cfi_restore d13
  .cfi_restore d14
  .cfi_restore d15
  ret
  .cfi_endproc
  .size coir_fiber_transfer, .-coir_fiber_transfer

  .globl coir_fiber_transfer_thunk
  .hidden coir_fiber_transfer_thunk
  .type coir_fiber_transfer_thunk, %function
coir_fiber_transfer_thunk:
  .cfi_startproc
  .cfi_undefined x30
  mov x29, xzr
  mov x30, xzr
  mov x0, x2
  mov x1, x3
  blr x19
  brk #0
  .cfi_endproc
  .size coir_fiber_transfer_thunk, .-coir_fiber_transfer_thunk
  .popsection
)");

namespace {

// What the assembly above takes off a stack, lowest address first.
struct saved_registers {
  std::uint64_t x29 = 0;
  void (*continue_at)() = nullptr;  // x30
  entry_function entry = nullptr;   // x19
  std::uint64_t x20_to_x28[9] = {};
  std::uint64_t d8_to_d15[8] = {};
};
static_assert(sizeof(saved_registers) == 160);  // so the stack pointer stays a multiple of 16

}  // namespace

#endif

void make_transfer_context(context& to, stack& on, std::size_t reserved,
                           entry_function entry) noexcept {
  to = context{};
  to.entry = entry;
  to.on = &on;
  const auto top =
      reinterpret_cast<std::uintptr_t>(on.limit + on.size - reserved) & ~std::uintptr_t{15};
  auto* first = reinterpret_cast<saved_registers*>(top - sizeof(saved_registers));
  *first = saved_registers{};
  first->entry = entry;
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
