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
  // One that was abandoned and comes back all the same: those who asked have been told already.
  if (f.ending.load(std::memory_order_relaxed) != task_ending::abandoned)
    f.ending.store(f.how, std::memory_order_relaxed);
  f.state.store(task_state::done, std::memory_order_release);
  while (waiter* w = f.joiners.claim_first()) joiners.push(*w);
  f.join_lock.unlock();
  while (waiter* w = joiners.pop()) wake(*w);
  release(f);
  return first != nullptr && first->claim.claim(joined, outcome::granted) ? first : nullptr;
}

void break_promise(fiber_record& f, const runtime_core& of) noexcept {
  ready_list joiners;
  f.join_lock.lock();
  if (!f.done()) {
    retain(f);  // for ever
    f.ending.store(task_ending::abandoned, std::memory_order_relaxed);
    f.error_seen.store(true, std::memory_order_relaxed);
    f.state.store(task_state::done, std::memory_order_release);
    while (wait_node* n = f.joiners.front()) {
      f.joiners.erase(*n);
      // Fibers of this runtime are abandoned as well.
      const host* home = n->who->home.load(std::memory_order_relaxed);
      const bool ours =
          home->kind == host_kind::worker && &static_cast<const worker*>(home)->core == &of;
      if (!ours && n->who->claim.claim(n->generation, outcome::granted)) joiners.push(*n->who);
    }
  }
  f.join_lock.unlock();
  while (waiter* w = joiners.pop()) wake(*w);
}

void release(fiber_record& f) noexcept {
  if (f.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (f.ending.load(std::memory_order_relaxed) == task_ending::error &&
      !f.error_seen.load(std::memory_order_relaxed))
    report_unhandled(*record_slab::of(f).store, *reinterpret_cast<std::exception_ptr*>(f.payload()),
                     f);
  f.functions->destroy(f);
  f.life.fetch_add(1, std::memory_order_release);  // not live; the next fiber's generation follows
  let_go(f);
}

void let_go(fiber_record& f) noexcept {
  // Without references nobody can hold it anew: who finds one hold has the only one.
  if (f.holds.load(std::memory_order_acquire) != 1 &&
      f.holds.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  record_store& store = *record_slab::of(f).store;
  host* here = current_host_if_any();
  if (here != nullptr && here->kind == host_kind::worker) {
    auto& w = static_cast<worker&>(*here);
    if (&w.core.records == &store) return w.recycle(f);
  }
  store.free(f);
}

void fiber_extras::clear() noexcept {
  std::optional<std::stop_source> gone;
  lock.lock();
  name.clear();
  reason.clear();
  has_reason = false;
  stop.swap(gone);
  lock.unlock();
}

fiber_extras& extras_of(fiber_record& f) {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e != nullptr) return *e;
  auto* made = new fiber_extras(f);
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
