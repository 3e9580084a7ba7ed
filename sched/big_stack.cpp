#include <coir/sched/big_stack.hpp>

#include <coir/coroutine/coroutine_frame.hpp>
#include <coir/fiber/transfer.hpp>

#include "thread_coroutines.hpp"
#include "worker.hpp"

namespace coir::sched {

namespace {

// The switch is a coroutine's, but it is in no chain: who yields in it yields from the coroutine
// that it was called in. Whoever describes the stack that runs (the fiber's record, the coroutine)
// names the big one meanwhile. The call may park, and be resumed on another thread; if it is in a
// coroutine, by another fiber as well.
struct big_call : fiber::context {
  fiber::context caller;
  fiber::stack outside;  // describes a caller's stack that is no fiber's of a runtime
  waiter* who = nullptr;
  coroutine_frame* in = nullptr;
  void (*call)(void*) noexcept = nullptr;
  void* of = nullptr;
};

void describe(big_call& c, fiber::stack* runs) noexcept {
  waiter& w = c.in != nullptr ? *c.in->runner : *c.who;
  if (c.in != nullptr) c.in->on = runs;
  if (w.home.load(std::memory_order_relaxed)->kind == host_kind::worker)
    static_cast<fiber_record&>(w).context.on = runs;
}

void big_main(fiber::carrier&, fiber::context& self) noexcept {
  auto& c = static_cast<big_call&>(self);
  c.call(c.of);
  describe(c, c.caller.on);
  const waiter& w = c.in != nullptr ? *c.in->runner : *c.who;
  host& here = *w.home.load(std::memory_order_relaxed);  // the waiter runs, so that is the host
  fiber::transfer_ended(*here.switches_with, c, c.caller);
}

}  // namespace

void run_on_stack(std::size_t bytes, void (*call)(void*) noexcept, void* of) {
  big_call c;
  c.call = call;
  c.of = of;
  constexpr std::size_t own = 16 * 1024;  // header, colour, and the frames of this file
  if (bytes < ~std::size_t{0} - own) bytes += own;
  const coroutine_place place = take_coroutine_place(bytes, 64, 64);
  host& here = current_host();
  if (here.switches_with == nullptr) make_thread_coroutines(here);
  waiter& w = *here.running;
  c.who = &w;
  c.in = w.coroutine;
  fiber::make_transfer_context(c, *place.stack, 64, &big_main);
  // Who calls while unwinding goes on unwinding: no cancellation strikes.
  c.uncaught = here.switches_with->exceptions->uncaught;
  if (c.in != nullptr)
    c.caller.on = c.in->on;
  else if (here.kind == host_kind::worker)
    c.caller.on = static_cast<fiber_record&>(w).context.on;
  else
    c.caller.on = &c.outside;
  describe(c, place.stack);
  fiber::transfer(*here.switches_with, c.caller, c);
  give_back(place);
}

}  // namespace coir::sched
