#include <coir/coroutine/coroutine_frame.hpp>

#include <cstdint>
#include <string>
#include <utility>

#include <coir/fiber/transfer.hpp>

#include "fatal.hpp"
#include "thread_coroutines.hpp"
#include "worker.hpp"

// Always true: the context of the fiber's record describes the stack that really runs, so that the
// fiber may park on a coroutine's stack. resume() and leave() change both: the chain, and that.
//
// Nothing of a thread is kept over a body, which may park and go on elsewhere. resume() asks for
// the host; on the way back the waiter's home is the host, because the waiter runs.

namespace coir {

bool coroutine_running() noexcept {
  const sched::host* here = sched::current_host_if_any();
  return here != nullptr && here->running != nullptr && here->running->coroutine != nullptr;
}

namespace sched {

namespace {

inline std::uintptr_t stack_pointer() noexcept {
#if defined(__x86_64__)
  std::uintptr_t here;
  asm volatile("movq %%rsp, %0" : "=r"(here));
  return here;
#elif defined(__aarch64__)
  std::uintptr_t here;
  asm volatile("mov %0, sp" : "=r"(here));
  return here;
#else
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
#endif
}

// The frame lies at the upper end of its stack: between the two there are only the body's frames.
inline bool on_stack_of(const coroutine_frame& c) noexcept {
  return reinterpret_cast<std::uintptr_t>(&c) - stack_pointer() < c.own->size;
}

// Elsewhere it may still be the body that calls: on a bigger stack that it has taken for a while.
[[gnu::cold, gnu::noinline]] void check_elsewhere(const coroutine_frame& c) {
  const host* here = current_host_if_any();
  if (here == nullptr || here->running == nullptr || here->running->coroutine != &c)
    throw std::logic_error("coir: yield was called outside its coroutine");
}

[[gnu::cold, gnu::noinline]] void refuse(coroutine_status s) {
  if (s == coroutine_status::dead) throw dead_coroutine("coir: a dead coroutine was resumed");
  throw std::logic_error(s == coroutine_status::running
                             ? "coir: a running coroutine was resumed"
                             : "coir: a coroutine was resumed by one that it has resumed");
}

[[gnu::cold, gnu::noinline]] void refuse_depth() {
  throw std::runtime_error("coir: " + std::to_string(most_nested_coroutines) +
                           " coroutines have resumed each other; no more may");
}

[[gnu::cold, gnu::noinline]] void scopes_left_open(unsigned open, unsigned before) noexcept {
  fatal(
      "a coroutine yielded while a timeout, shield, group or guard that its body had opened was "
      "alive (%u open, %u when it was resumed); close it before the yield",
      open, before);
}

// Puts it on top of the chain and runs it, until it leaves.
inline void enter(coroutine_frame& c, host& here, waiter& w) noexcept {
  coroutine_frame* const below = w.coroutine;
  if (below != nullptr) below->status = coroutine_status::normal;
  c.below = below;
  c.runner = &w;
  c.status = coroutine_status::running;
  c.started = true;
  w.coroutine = &c;
  if (here.kind == host_kind::worker) {
    auto& f = static_cast<fiber_record&>(w);
    c.scopes = f.scopes;
    c.resumer.on = f.context.on;
    f.context.on = c.on;
  } else {
    c.resumer.on = below != nullptr ? below->on : &c.outside;
  }
  fiber::transfer(*here.switches_with, c.resumer, c);
}

// Only fibers of a runtime have scopes.
inline std::uint16_t open_scopes(const coroutine_frame& c) noexcept {
  const waiter& w = *c.runner;
  const bool fiber = w.home.load(std::memory_order_relaxed)->kind == host_kind::worker;
  return fiber ? static_cast<const fiber_record&>(w).scopes : 0;
}

// Takes it off the chain. The thread's carrier.
inline fiber::carrier& leave(coroutine_frame& c, coroutine_status as) noexcept {
  waiter& w = *c.runner;
  host& here = *w.home.load(std::memory_order_relaxed);
  if (here.kind == host_kind::worker) static_cast<fiber_record&>(w).context.on = c.resumer.on;
  w.coroutine = c.below;
  if (c.below != nullptr) c.below->status = coroutine_status::running;
  c.status = as;
  return *here.switches_with;
}

void keep_error(coroutine_frame& c) noexcept {
  try {
    throw;
  } catch (const coroutine_closed&) {
    if (!c.closing) c.error = std::current_exception();
  } catch (...) {
    c.error = std::current_exception();
  }
}

void coroutine_main(fiber::carrier&, fiber::context& self) noexcept {
  auto& c = static_cast<coroutine_frame&>(self);
  try {
    c.functions->run(c);
  } catch (...) {
    keep_error(c);
  }
  fiber::transfer_ended(leave(c, coroutine_status::dead), c, c.resumer);
}

// Coroutines end on a thread that has no memory for its own: it switches with this one meanwhile.
class lent_carrier {
 public:
  explicit lent_carrier(host& h) noexcept : here_(h) {
    if (h.switches_with != nullptr || thread_coroutines_if_possible(h) != nullptr) return;
    carrier_.attach();
    h.switches_with = &carrier_;
  }
  ~lent_carrier() {
    if (here_.switches_with != &carrier_) return;
    here_.switches_with = here_.coroutines != nullptr ? &here_.coroutines->carrier : nullptr;
  }
  lent_carrier(const lent_carrier&) = delete;
  lent_carrier& operator=(const lent_carrier&) = delete;

 private:
  host& here_;
  fiber::carrier carrier_;
};

// Of one that is suspended. Returns when it is dead.
void end(coroutine_frame& c) noexcept {
  if (!c.started) {
    c.status = coroutine_status::dead;
    return c.functions->drop(c);
  }
  host& here = current_host();
  const lent_carrier switches(here);
  c.closing = true;
  c.depth = 0;
  enter(c, here, *here.running);
}

// What it waits for while it unwinds is not cancelled: the error would be dropped, and the request
// lost.
void end_shielded(coroutine_frame& c) noexcept {
  host& here = current_host();
  auto* f = here.kind == host_kind::worker ? static_cast<fiber_record*>(here.running) : nullptr;
  if (f != nullptr) ++f->shields;
  end(c);
  if (f != nullptr) --f->shields;
}

}  // namespace

void prepare(coroutine_frame& c, const coroutine_place& place) noexcept {
  c.own = place.stack;
  const std::byte* const top = place.stack->limit + place.stack->size;
  fiber::make_transfer_context(
      c, *place.stack, static_cast<std::size_t>(top - static_cast<const std::byte*>(place.at)),
      &coroutine_main);
}

void resume(coroutine_frame& c) {
  if (c.status != coroutine_status::suspended) [[unlikely]]
    refuse(c.status);
  host& here = current_host();
  if (here.switches_with == nullptr) [[unlikely]]
    make_thread_coroutines(here);
  waiter& w = *here.running;
  const std::uint32_t depth = w.coroutine != nullptr ? w.coroutine->depth + 1 : 1;
  if (depth > most_nested_coroutines) [[unlikely]]
    refuse_depth();
  c.depth = depth;
  return enter(c, here, w);
}

void suspend(coroutine_frame& c) {
  if (!on_stack_of(c)) [[unlikely]]
    check_elsewhere(c);
  if (c.closing) [[unlikely]]
    throw_closed();
  if (open_scopes(c) > c.scopes) [[unlikely]]
    scopes_left_open(open_scopes(c), c.scopes);
  fiber::carrier& on = leave(c, coroutine_status::suspended);
  return fiber::transfer(on, c, c.resumer);
}

void throw_closed() { throw coroutine_closed(); }

void close(coroutine_frame& c) {
  if (c.status == coroutine_status::dead) return;
  if (c.status != coroutine_status::suspended)
    throw std::logic_error("coir: a coroutine was closed while it was running");
  end(c);
  rethrow_error(c);
}

void destroy(coroutine_frame& c) noexcept {
  if (c.status == coroutine_status::suspended) end_shielded(c);
  if (c.status != coroutine_status::dead)
    fatal("a coroutine was destroyed by its own body, or by one that it had resumed");
  const coroutine_place place{c.own, &c};
  c.error = nullptr;
  c.functions->destroy(c);
  give_back(place);
}

void rethrow_error(coroutine_frame& c) {
  if (c.error != nullptr) std::rethrow_exception(std::exchange(c.error, nullptr));
}

}  // namespace sched
}  // namespace coir
