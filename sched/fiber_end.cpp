#include "fiber_end.hpp"

#include <future>

#include <coir/sched/host.hpp>

#include "fiber_extras.hpp"
#include "record_store.hpp"
#include "runtime_core.hpp"

namespace coir::sched {

waiter* end_fiber(fiber_record& f) noexcept {
  waiter* const first = f.first_joiner;
  const wait_generation joined = f.first_joined;
  ready_list joiners;
  f.join_lock.lock();
  f.state.store(task_state::done, std::memory_order_release);
  while (waiter* w = f.joiners.claim_first()) joiners.push(*w);
  f.join_lock.unlock();
  while (waiter* w = joiners.pop()) wake(*w);
  release(f);
  return first != nullptr && first->claim.claim(joined, outcome::granted) ? first : nullptr;
}

void break_promise(fiber_record& f) noexcept {
  retain(f);  // for ever
  ready_list joiners;
  f.join_lock.lock();
  *reinterpret_cast<std::exception_ptr*>(f.payload()) =
      std::make_exception_ptr(std::future_error(std::future_errc::broken_promise));
  f.error_seen.store(true, std::memory_order_relaxed);
  f.ending.store(task_ending::abandoned, std::memory_order_relaxed);
  f.state.store(task_state::done, std::memory_order_release);
  while (waiter* w = f.joiners.claim_first()) {
    // Fibers of this runtime are abandoned as well.
    if (w->home.load(std::memory_order_relaxed)->kind == host_kind::thread) joiners.push(*w);
  }
  f.join_lock.unlock();
  while (waiter* w = joiners.pop()) wake(*w);
}

void release(fiber_record& f) noexcept {
  if (f.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  record_store& store = *record_slab::of(f).store;
  if (f.ending.load(std::memory_order_relaxed) == task_ending::error &&
      !f.error_seen.load(std::memory_order_relaxed))
    report_unhandled(store, *reinterpret_cast<std::exception_ptr*>(f.payload()), f);
  f.functions->destroy(f);
  f.life.fetch_add(1, std::memory_order_release);  // not live; the next fiber's generation follows
  host* here = current_host_if_any();
  if (here != nullptr && here->kind == host_kind::worker) {
    auto& w = static_cast<worker&>(*here);
    if (&w.core.records == &store) return w.recycle(f);
  }
  store.free(f);
}

fiber_extras& extras_of(fiber_record& f) {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e != nullptr) return *e;
  auto* made = new fiber_extras;
  if (f.extras.compare_exchange_strong(e, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *e;
}

std::string name_of(const fiber_record& f, std::size_t most) {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return {};
  std::string name;
  name.reserve(32);
  e->lock.lock();
  if (e->name.size() <= name.capacity() || most <= name.capacity())
    name.assign(e->name, 0, most);
  else {
    e->lock.unlock();  // no allocation under a spin lock: look again with room
    name.reserve(4096);
    e->lock.lock();
    name.assign(e->name, 0, std::min<std::size_t>(most, 4096));
  }
  e->lock.unlock();
  return name;
}

}  // namespace coir::sched
