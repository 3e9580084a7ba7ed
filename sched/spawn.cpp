// How a fiber begins: a record is reserved, the caller puts its function into it, and it is
// launched.
//
// Always true: from its reservation on a record has two references, the fiber's and the handle's,
// and takes requests of cancellation: a group knows its member as soon as that lies in its record.
// Until it is launched it is not live, and its functions do nothing.
#include <stdexcept>

#include <coir/sched/task.hpp>

#include "fiber_extras.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

namespace {

void nothing(fiber_record&) noexcept {}
constexpr task_functions no_functions{&nothing, &nothing, &nothing, nullptr, nullptr};

worker* this_worker() noexcept {
  host* const here = current_host_if_any();
  return here != nullptr && here->kind == host_kind::worker ? static_cast<worker*>(here) : nullptr;
}

// Nobody looks before the record has references; they come last.
[[gnu::always_inline]] inline fiber_record& prepare(fiber_record& f, std::uint32_t stack_pages,
                                                    bool pinned, std::uint64_t number) noexcept {
  f.functions = &no_functions;
  f.stack_pages = stack_pages;
  f.pinned = pinned;
  f.started = false;
  f.shields = 0;
  f.scopes = 0;
  f.how = task_ending::none;
  f.number.store(number, std::memory_order_relaxed);
  f.holds.store(1, std::memory_order_relaxed);
  f.home.store(nullptr, std::memory_order_relaxed);
  f.attention.store(0, std::memory_order_relaxed);
  f.state.store(task_state::ready, std::memory_order_relaxed);
  f.ending.store(task_ending::none, std::memory_order_relaxed);
  f.error_seen.store(false, std::memory_order_relaxed);
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) [[unlikely]]
    e->clear();
  f.references.begin();  // from now on cancel_all may take one more
  return f;
}

// The context of whoever starts a fiber.
context_node* starts_with(const worker* w) noexcept {
  if (w == nullptr) [[unlikely]]
    return context_here();
  const fiber_record* const starter = w->current();  // null: the loop
  const fiber_extras* const e =
      starter != nullptr ? starter->extras.load(std::memory_order_acquire) : nullptr;
  return e != nullptr ? e->storage.context : nullptr;
}

void make_live(fiber_record& f) noexcept {
  f.life.store(f.life.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

}  // namespace

// --- the usual way: everything is asked of the worker that runs the caller ---

fiber_record& reserve_record(usual, std::uint32_t size_class) {
  worker* const w = this_worker();
  if (w == nullptr) [[unlikely]]
    core_of_this_fiber("spawn");
  w->core.refuse_forked();
  w->core.refuse_late();
  return prepare(w->allocate(size_class), w->core.default_stack_pages(), false, w->next_number());
}

fiber_record& start_record(usual, fiber_record& f, const task_functions& functions) {
  worker& w = *this_worker();  // an argument's constructor may have parked, and moved the caller
  f.functions = &functions;
  make_live(f);
  if (context_node* const context = starts_with(&w)) [[unlikely]]
    w.core.equip(f, {}, context);
  w.core.admit(f, w);
  w.start(f);
  return f;
}

// --- every other way ---

fiber_record& reserve_record(const spawn_request& r, std::uint32_t size_class) {
  const spawn_options* const o = r.options;
  worker* w = this_worker();
  if (r.in == nullptr && w == nullptr) core_of_this_fiber("spawn");
  runtime_core& core = r.in != nullptr ? *r.in : w->core;
  if (w != nullptr && &w->core != &core) w = nullptr;
  std::uint32_t pages = core.default_stack_pages();
  if (o != nullptr && o->stack_size != 0)
    pages = static_cast<std::uint32_t>(fiber::stack_pool::rounded(o->stack_size) / page);
  core.refuse_forked();
  core.refuse_late();
  if (r.until != nullptr) w->make_room_for_deadline();
  return prepare(
      w != nullptr ? w->allocate(size_class) : core.records.allocate(size_class), pages,
      o != nullptr && o->pinned,
      w != nullptr ? w->next_number() : core.next_number.fetch_add(1, std::memory_order_relaxed));
}

fiber_record& start_record(const spawn_request& r, fiber_record& f,
                           const task_functions& functions) {
  worker* w = this_worker();
  runtime_core& core = r.in != nullptr ? *r.in : w->core;
  if (w != nullptr && &w->core != &core) w = nullptr;
  f.functions = &functions;
  make_live(f);
  context_node* const context = starts_with(w);
  if (context != nullptr || (r.options != nullptr && !r.options->name.empty()))
    core.equip(f, r.options != nullptr ? std::move(r.options->name) : std::string(), context);
  if (w == nullptr) {
    core.admit(f);
    core.enqueue(f);
  } else {
    core.admit(f, *w);
    if (r.until != nullptr)
      w->put_off(f, *r.until);
    else
      w->start(f);
  }
  return f;
}

void discard_record(fiber_record& f) noexcept {
  make_live(f);  // the last release counts it as ended
  release(f);
  release(f);
}

void runtime_core::admit(fiber_record& f) {
  spawned_outside.fetch_add(1, std::memory_order_relaxed);
  std_atomics::fence();
  if (refusing.load(std::memory_order_relaxed)) refuse(f);
}

void runtime_core::refuse(fiber_record& f) {
  drop_unstarted(f);  // may park, and move the caller
  if (worker* const w = this_worker())
    w->counts.add(w->counts.ended);
  else
    spawned_outside.fetch_sub(1, std::memory_order_relaxed);
  fiber_ended();  // the last one may have ended meanwhile, and have counted this one
  say_refused();
}

void runtime_core::say_refused() {
  throw std::logic_error("coir: spawn on a runtime that has been shut down");
}

void runtime_core::equip(fiber_record& f, std::string name, context_node* context) {
  try {
    fiber_extras& e = extras_of(f);
    e.lock.lock();
    e.name.swap(name);
    e.lock.unlock();
    e.storage.context = retained(context);
  } catch (...) {
    drop_unstarted(f);
    throw;
  }
}

// A record that nobody has been given; shutdown may hold it all the same.
void runtime_core::drop_unstarted(fiber_record& f) noexcept {
  f.functions->drop(f);
  release(f);
  release(f);
}

void runtime_core::enqueue(fiber_record& f) noexcept {
  const sender counted(records);  // once it is pushed, it may run and end, and the runtime with it
  injected.push(f);
  const unsigned sleeper = idle.pick_for_work();
  if (sleeper != idle_set::nobody) workers[sleeper]->interrupt();
}

worker* runtime_core::this_worker() noexcept {
  worker* const w = sched::this_worker();
  return w != nullptr && &w->core == this ? w : nullptr;
}

}  // namespace coir::sched
