#include <coir/sched/fiber_storage.hpp>

#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include <coir/sched/host.hpp>

#include "fiber_extras.hpp"
#include "fiber_of.hpp"
#include "thread_host.hpp"

namespace coir::sched {

namespace {

// Numbers of slots that are free again. Never destroyed: a fiber_local may be static.
struct slot_numbers {
  std::mutex mutex;
  std::vector<std::uint32_t> free;  // under mutex
  std::uint32_t made = 0;           // under mutex
  std::uint64_t last_key = 0;       // under mutex
};

slot_numbers& numbers() {
  static slot_numbers& all = *new slot_numbers;
  return all;
}

}  // namespace

local_slot::local_slot() {
  slot_numbers& all = numbers();
  std::lock_guard lock(all.mutex);
  key = ++all.last_key;
  if (all.free.empty()) {
    all.free.reserve(all.made + 1);  // so that it can be given back
    index = all.made++;
  } else {
    index = all.free.back();
    all.free.pop_back();
  }
}

local_slot::~local_slot() {
  slot_numbers& all = numbers();
  std::lock_guard lock(all.mutex);
  all.free.push_back(index);
}

void fiber_storage::unlink(local_value* v) noexcept {
  local_value** at = &newest_;
  while (*at != v) at = &(*at)->older;
  *at = v->older;
}

void fiber_storage::keep(const local_slot& s, local_value* v) {
  if (s.index >= slots_.size()) slots_.resize(s.index + 1);
  local_value* const gone = slots_[s.index];  // of a fiber_local that had this slot before
  v->key = s.key;
  v->older = std::exchange(newest_, v);
  slots_[s.index] = v;
  if (gone == nullptr) return;
  unlink(gone);
  delete gone;
}

void fiber_storage::drop(const local_slot& s) noexcept {
  local_value* const v = find(s);
  if (v == nullptr) return;
  slots_[s.index] = nullptr;
  unlink(v);
  delete v;
}

void fiber_storage::clear_locals() noexcept {
  while (local_value* v = newest_) {
    newest_ = v->older;
    for (local_value*& at : slots_)
      if (at == v) at = nullptr;
    delete v;
  }
}

void fiber_storage::clear() noexcept {
  clear_locals();
  release(std::exchange(context, nullptr));
  compact_at = 16;
}

fiber_storage* storage_here_if_any() noexcept {
  host* const h = current_host_if_any();
  if (h == nullptr) return nullptr;
  if (h->kind == host_kind::thread) return &storage_of_thread(*h);
  if (h->kind != host_kind::worker || h->running == nullptr) return nullptr;
  fiber_extras* const e =
      static_cast<fiber_record*>(h->running)->extras.load(std::memory_order_acquire);
  return e != nullptr ? &e->storage : nullptr;
}

fiber_storage& storage_here() {
  host* here = current_host_if_any();
  if (here == nullptr) here = make_thread_host_if_possible();
  if (here == nullptr) throw std::bad_alloc();
  host& h = *here;
  if (h.kind == host_kind::thread) return storage_of_thread(h);
  if (h.kind != host_kind::worker)
    throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                            "coir: a fiber of another library has no values of ours");
  return extras_of(static_cast<fiber_record&>(*h.running)).storage;
}

void end_fiber_locals() noexcept {
  if (fiber_storage* s = storage_here_if_any()) s->clear_locals();
}

}  // namespace coir::sched
