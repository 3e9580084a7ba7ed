#include "fiber_end.hpp"

#include <future>
#include <memory>
#include <utility>

#include <coir/sched/host.hpp>
#include <coir/sched/task_handle.hpp>

#include "end_watch.hpp"
#include "fiber_extras.hpp"
#include "record_store.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

namespace {

// Lock held. Those who wait for the end, claimed and to be woken; those who watch for it are told.
void take_joiners_locked(fiber_record& f, ready_list& joiners,
                         const runtime_core* not_of) noexcept {
  while (wait_node* n = f.joiners.front()) {
    f.joiners.erase(*n);
    if (n->who == nullptr) {
      if (waiter* w = static_cast<end_watch*>(n)->tell()) joiners.push(*w);
      continue;
    }
    // Fibers of a runtime that abandons them never run again.
    const host* home = n->who->home.load(std::memory_order_relaxed);
    const bool theirs = not_of != nullptr && home->kind == host_kind::worker &&
                        &static_cast<const worker*>(home)->core == not_of;
    if (!theirs && n->who->claim.claim(n->generation, outcome::granted)) joiners.push(*n->who);
  }
}

end_callback* take_callbacks_locked(fiber_record& f) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  return e != nullptr ? std::exchange(e->callbacks, nullptr) : nullptr;
}

void call(end_callback* first, fiber_record& f) noexcept {
  while (first != nullptr) {
    const std::unique_ptr<end_callback> c(std::exchange(first, first->next));
    try {
      c->call();
    } catch (...) {
      report_error(*record_slab::of(f).store, std::current_exception(), f);
    }
  }
}

}  // namespace

// Who comes to join meanwhile waits for the callbacks like everybody, though the fiber is done:
// they may borrow from a joiner's stack.
void tell_who_waits_locked(fiber_record& f) noexcept {
  ready_list joiners;
  take_joiners_locked(f, joiners, nullptr);
  if (end_callback* const callbacks = take_callbacks_locked(f)) {
    fiber_extras& e = *f.extras.load(std::memory_order_relaxed);
    e.telling = true;
    f.join_lock.unlock();
    call(callbacks, f);
    f.join_lock.lock();
    e.telling = false;
    take_joiners_locked(f, joiners, nullptr);
  }
  f.join_lock.unlock();
  while (waiter* w = joiners.pop()) wake(*w);
}

void break_promise(fiber_record& f, const runtime_core& of) noexcept {
  ready_list joiners;
  end_callback* callbacks = nullptr;
  f.join_lock.lock();
  const bool lives = !f.done();
  if (lives) {
    retain(f);  // for ever
    f.attention.fetch_or(given_up, std::memory_order_relaxed);
    f.ending.store(task_ending::abandoned, std::memory_order_release);
    f.error_seen.store(true, std::memory_order_relaxed);
    f.state.store(task_state::done, std::memory_order_release);
    callbacks = take_callbacks_locked(f);
  } else if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) {
    e->telling = false;  // a callback that never returns keeps nobody
  }
  take_joiners_locked(f, joiners, &of);
  f.join_lock.unlock();
  if (lives && f.functions->abandoned != nullptr) f.functions->abandoned(f);
  call(callbacks, f);
  while (waiter* w = joiners.pop()) wake(*w);
}

callback_id add_end_callback(fiber_record& f, std::function<void()> call) {
  fiber_extras& e = extras_of(f);
  auto made = std::make_unique<end_callback>(end_callback{nullptr, 0, std::move(call)});
  f.join_lock.lock();
  const std::uint64_t id = made->id = ++e.last_callback;
  if (!f.done()) {
    end_callback** at = &e.callbacks;
    while (*at != nullptr) at = &(*at)->next;
    *at = made.release();
  }
  f.join_lock.unlock();
  if (made != nullptr) sched::call(made.release(), f);
  return callback_id(id);
}

bool remove_end_callback(fiber_record& f, callback_id id) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return false;
  std::unique_ptr<end_callback> gone;
  f.join_lock.lock();
  for (end_callback** at = &e->callbacks; *at != nullptr; at = &(*at)->next)
    if ((*at)->id == id.value()) {
      gone.reset(*at);
      *at = gone->next;
      break;
    }
  f.join_lock.unlock();
  return gone != nullptr;
}

namespace {

[[gnu::always_inline]] inline void let_go_here(fiber_record& f) noexcept {
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

// By who had the last reference.
[[gnu::always_inline]] inline void destroy_result(fiber_record& f) noexcept {
  if (f.ending.load(std::memory_order_relaxed) == task_ending::error &&
      !f.error_seen.load(std::memory_order_relaxed)) [[unlikely]]
    report_unhandled(*record_slab::of(f).store, *reinterpret_cast<std::exception_ptr*>(f.payload()),
                     f);
  f.functions->destroy(f);
  // Not live; the next fiber's generation follows. Only who spawns it and the last release write
  // it.
  f.life.store(f.life.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  // What the next fiber writes here is seen after that; the walkers' second look is the partner.
  std::atomic_thread_fence(std::memory_order_release);
  let_go_here(f);
}

}  // namespace

void let_go(fiber_record& f) noexcept { let_go_here(f); }

void release(fiber_record& f) noexcept {
  if (f.references.release()) destroy_result(f);
}

void release_at_end(fiber_record& f) noexcept {
  if (f.references.release_at_end()) destroy_result(f);
}

void fiber_extras::clear() noexcept {
  std::optional<std::stop_source> gone;
  lock.lock();
  name.clear();
  reason.clear();
  has_reason = false;
  stack_used.store(0, std::memory_order_relaxed);
  stop.swap(gone);
  lock.unlock();
  storage.clear();
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
