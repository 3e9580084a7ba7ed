#include <coir/fiber/stack.hpp>

#include "fatal.hpp"
#include "sanitizers.hpp"
#include "stack_guard.hpp"
#include "stack_slab.hpp"

#include <sys/mman.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <limits>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

// Always true, whenever the lock is free:
// - every slab is in its class's `slabs`, and in `open` exactly if it has a free place;
// - a place that is taken belongs to one thread: the one that acquired it, or the one that trims
// it. Guards are set,
//   headers written and pages given back outside the lock, on places that are taken;
// - only trim unmaps a slab, and one thread trims at a time.

namespace coir::fiber {

namespace {

constexpr std::size_t smallest_stack = 16 * 1024;
constexpr std::size_t largest_stack = std::size_t{1} << 40;
constexpr std::size_t steps_per_doubling =
    4;  // 16, 20, 24, 28, 32, 40 KiB ...: at most a quarter is wasted
constexpr std::size_t class_count = 26 * steps_per_doubling + 1;

// A slab is as large as all before it together, within these: a small program reserves little, and
// a million stacks of the default size need 260 mappings.
constexpr std::size_t first_slab_bytes = std::size_t{16} << 20;
constexpr std::size_t largest_slab_bytes = std::size_t{1} << 30;
constexpr std::size_t first_slab_stacks = 64;
constexpr std::size_t largest_slab_stacks = 4096;

// Stacks that are prepared together. Small: who parks does it for its successor, and may have the
// smallest stack itself.
constexpr std::size_t batch = 32;

std::size_t smallest() noexcept { return std::max(smallest_stack, 4 * page_size()); }

// The lowest class size that is at least `bytes`, which is within the limits.
std::size_t class_size(std::size_t bytes) noexcept {
  bytes = std::max(bytes, smallest());
  const std::size_t step = std::max(std::bit_floor(bytes - 1) / steps_per_doubling, page_size());
  return (bytes + step - 1) / step * step;
}

// Which class a class size is.
std::size_t class_index(std::size_t size) noexcept {
  const std::size_t octave = std::bit_floor(size);
  const auto doublings =
      static_cast<std::size_t>(std::countr_zero(octave) - std::countr_zero(smallest_stack));
  return doublings * steps_per_doubling + (size - octave) / (octave / steps_per_doubling);
}

struct size_class {
  std::vector<std::unique_ptr<stack_slab>> slabs;
  std::vector<stack_slab*> open;
  std::size_t capacity = 0;

  stack_slab* fullest() const noexcept {
    stack_slab* best = nullptr;
    const auto fuller = [](const stack_slab& a, const stack_slab& b) {
      return std::uint64_t{a.in_use()} * b.capacity() > std::uint64_t{b.in_use()} * a.capacity();
    };
    for (stack_slab* s : open)
      if (best == nullptr || fuller(*s, *best)) best = s;
    return best;
  }
  void unlist(stack_slab& slab) noexcept {
    const auto at = std::find(open.begin(), open.end(), &slab);
    *at = open.back();
    open.pop_back();
    slab.listed_open = false;
  }
  void list(stack_slab& slab) noexcept {
    if (slab.listed_open) return;
    open.push_back(&slab);  // has room: grow() reserved it
    slab.listed_open = true;
  }
  bool grow(std::size_t stride) noexcept;
};

bool size_class::grow(std::size_t stride) noexcept {
  const std::size_t least =
      std::clamp<std::size_t>(first_slab_bytes / stride, 1, first_slab_stacks);
  const std::size_t most =
      std::clamp<std::size_t>(largest_slab_bytes / stride, 1, largest_slab_stacks);
  try {
    slabs.reserve(slabs.size() + 1);
    open.reserve(slabs.size() + 1);
  } catch (const std::bad_alloc&) {
    return false;
  }
  // Address space may be limited (RLIMIT_AS, strict overcommit): then a small slab is better than
  // none.
  for (std::size_t stacks = std::clamp(capacity, least, most); stacks > 0; stacks /= 2) {
    auto slab = stack_slab::map(stride, static_cast<std::uint32_t>(stacks));
    if (slab == nullptr) continue;
    capacity += stacks;
    list(*slab);
    slabs.push_back(std::move(slab));
    return true;
  }
  return false;
}

// A place that acquire has taken and not yet handed out.
struct taken {
  stack_slab* slab;
  std::uint32_t index;
  bool warm, guarded;
  guard_kind newly =
      guard_kind::automatic;  // install or protect: the guard that it has got just now
};

}  // namespace

struct stack_pool::state {
  stack_pool_options options;
  std::size_t protect_budget = 0;
  bool valgrind = false;
  std::atomic<guard_kind> guard{guard_kind::canary};  // what is tried for a place that has none
  std::atomic<std::size_t> protected_stacks{0};

  std::mutex trimming;  // before `lock`
  mutable std::mutex lock;
  // Under the lock.
  std::array<size_class, class_count> classes;
  std::size_t in_use = 0;
  std::size_t reserved = 0;
  std::size_t warm_free = 0;

  size_class& class_of(std::size_t stride) noexcept { return classes[class_index(stride)]; }
  std::size_t take_places(std::size_t stride, std::span<taken> into) noexcept;
  void put_place_locked(const taken&) noexcept;
  void guard_places(std::span<taken>) noexcept;
  void install(std::span<taken>) noexcept;
  bool protect(taken&) noexcept;
  void remember_guards(std::span<const taken>) noexcept;
  stack* prepare(const taken&) noexcept;
  stack* acquire_batch(std::size_t stride, std::size_t count, std::size_t& got,
                       stack*& last) noexcept;
  void release_locked(stack&) noexcept;
  void forget(stack&) noexcept;
  void forget_warm(stack_slab&) noexcept;
  void unmap_empty() noexcept;
  void give_back_pages(stack_slab&) noexcept;
};

stack_pool::stack_pool(stack_pool_options options) : state_(std::make_unique<state>()) {
  state_->options = options;
  state_->valgrind = sanitizers::under_valgrind();
  state_->protect_budget =
      options.protect_budget != 0 ? options.protect_budget : max_map_count() / 4;
  if (options.guard == guard_kind::automatic) {
    state_->guard = can_install_guards() ? guard_kind::install : guard_kind::protect;
  } else {
    if (options.guard == guard_kind::install && !can_install_guards())
      throw std::system_error(
          errno, std::generic_category(),
          "coir: the kernel refuses MADV_GUARD_INSTALL (it needs Linux 6.13 and memory that is "
          "not locked); use guard_kind::automatic");
    state_->guard = options.guard;
  }
}

stack_pool::~stack_pool() {
  if (state_->in_use != 0) stop_process("a stack pool is destroyed while stacks of it are in use");
  for (size_class& c : state_->classes)
    for (auto& slab : c.slabs) state_->forget_warm(*slab);
}

std::size_t stack_pool::rounded(std::size_t bytes) {
  if (bytes > largest_stack)
    throw std::invalid_argument("coir: a stack of " + std::to_string(bytes) +
                                " bytes is too large; the limit is " +
                                std::to_string(largest_stack) + " bytes");
  return class_size(bytes);
}

// --- acquire ---

std::size_t stack_pool::state::take_places(std::size_t stride, std::span<taken> into) noexcept {
  const std::lock_guard hold(lock);
  size_class& of = class_of(stride);
  std::size_t got = 0;
  while (got < into.size()) {
    stack_slab* slab = of.fullest();
    if (slab == nullptr) {
      if (!of.grow(stride)) break;
      reserved += of.slabs.back()->bytes();
      continue;
    }
    while (got < into.size() && !slab->full()) {
      const std::uint32_t index = slab->take();
      const bool warm = slab->is_warm(index);
      if (warm) --warm_free;
      into[got++] = {slab, index, warm, slab->is_guarded(index)};
    }
    if (slab->full()) of.unlist(*slab);
  }
  in_use += got;
  return got;
}

void stack_pool::state::put_place_locked(const taken& t) noexcept {
  if (t.warm) {
    t.slab->put(t.index);
    ++warm_free;
  } else {
    t.slab->put_untouched(t.index);
  }
  class_of(t.slab->stride()).list(*t.slab);
  --in_use;
}

void stack_pool::state::install(std::span<taken> places) noexcept {
  std::array<std::byte*, batch> where;
  std::array<taken*, batch> which;
  std::size_t count = 0;
  for (taken& t : places)
    if (!t.guarded) {
      where[count] = t.slab->place(t.index);
      which[count++] = &t;
    }
  const std::size_t done = install_guards(std::span(where).first(count));
  for (std::size_t i = 0; i < done; ++i) {
    which[i]->guarded = true;
    which[i]->newly = guard_kind::install;
  }
  // Memory that has been locked (mlockall) takes no such guards; it takes the other kind.
  if (done < count && errno == EINVAL && options.guard == guard_kind::automatic)
    guard = guard_kind::protect;
}

bool stack_pool::state::protect(taken& t) noexcept {
  if (protected_stacks.fetch_add(1, std::memory_order_relaxed) < protect_budget &&
      protect_guard(t.slab->place(t.index))) {
    t.newly = guard_kind::protect;
    return t.guarded = true;
  }
  protected_stacks.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void stack_pool::state::guard_places(std::span<taken> places) noexcept {
  if (guard == guard_kind::install) install(places);
  if (guard == guard_kind::protect)
    for (taken& t : places)
      if (!t.guarded && !protect(t)) break;
  remember_guards(places);
}

void stack_pool::state::remember_guards(std::span<const taken> places) noexcept {
  if (std::none_of(places.begin(), places.end(),
                   [](const taken& t) { return t.newly != guard_kind::automatic; }))
    return;
  const std::lock_guard hold(lock);
  for (const taken& t : places)
    if (t.newly != guard_kind::automatic) t.slab->mark_guarded(t.index, t.newly);
}

stack* stack_pool::state::prepare(const taken& t) noexcept {
  stack* s = t.warm ? t.slab->header(t.index) : t.slab->write_header(t.index);
  s->next = nullptr;
  if (!t.guarded) write_canary(*s);
  if (valgrind && s->valgrind_id == 0) {
    // 0 is a number that Valgrind gives out; kept with one added.
    s->valgrind_id = sanitizers::register_stack(s->limit, s->limit + s->size) + 1;
  }
  sanitizers::enter_use(s->limit, s->size);
  return s;
}

stack* stack_pool::state::acquire_batch(std::size_t stride, std::size_t count, std::size_t& got,
                                        stack*& last) noexcept {
  std::array<taken, batch> room;
  const std::span places = std::span(room).first(take_places(stride, std::span(room).first(count)));
  guard_places(places);
  // Without a guard a stack is handed out only if its owner agreed to canaries.
  const bool unguarded_too = options.guard == guard_kind::canary ||
                             (options.guard != guard_kind::install && options.canary_when_spent);
  stack* list = nullptr;
  for (const taken& t : places) {
    if (!t.guarded && !unguarded_too) {
      const std::lock_guard hold(lock);
      put_place_locked(t);
      continue;
    }
    stack* s = prepare(t);
    (list == nullptr ? list : last->next) = s;
    last = s;
    ++got;
  }
  return list;
}

stack* stack_pool::acquire(std::size_t bytes, std::size_t count, std::size_t& got) noexcept {
  got = 0;
  if (bytes > largest_stack) return nullptr;
  const std::size_t stride = class_size(bytes);
  stack* list = nullptr;
  stack* last = nullptr;
  while (got < count) {
    const std::size_t wanted = std::min(batch, count - got);
    std::size_t more = 0;
    stack* end = nullptr;
    stack* part = state_->acquire_batch(stride, wanted, more, end);
    if (part != nullptr) {
      (list == nullptr ? list : last->next) = part;
      last = end;
    }
    got += more;
    if (more < wanted) break;
  }
  return list;
}

// --- release ---

void stack_pool::state::release_locked(stack& s) noexcept {
  stack_slab& slab = *s.slab;
  if (slab.is_free(s.index)) stop_process("a stack is released twice");
  if (!slab.is_guarded(s.index) && !canary_intact(s))
    stop_process(
        "stack overflow: the memory below a stack without a guard has been overwritten; give the "
        "fiber more "
        "with spawn_options::stack_size or COIR_STACK_SIZE");
  sanitizers::leave_use(s.limit, s.size);
  put_place_locked({&slab, s.index, true, false});
}

void stack_pool::release(stack* list) noexcept {
  const std::lock_guard hold(state_->lock);
  while (list != nullptr) {
    stack* next = list->next;  // first: from the release on it is another's
    state_->release_locked(*list);
    list = next;
  }
}

// --- trim ---

// What the tools keep for a stack, before its header goes.
void stack_pool::state::forget(stack& s) noexcept {
  if constexpr (sanitizers::thread)
    if (s.tsan_fiber != nullptr) sanitizers::destroy_fiber(s.tsan_fiber);
  if (s.valgrind_id != 0) sanitizers::deregister_stack(s.valgrind_id - 1);
}

void stack_pool::state::forget_warm(stack_slab& slab) noexcept {
  if (!sanitizers::thread && !valgrind) return;
  for (std::uint32_t i = 0; i < slab.capacity(); ++i)
    if (slab.is_warm(i)) forget(*slab.header(i));
}

void stack_pool::state::unmap_empty() noexcept {
  for (size_class& c : classes) {
    for (;;) {
      std::unique_ptr<stack_slab> victim;
      {
        const std::lock_guard hold(lock);
        const auto is_empty = [](const auto& slab) { return slab->empty(); };
        if (std::count_if(c.slabs.begin(), c.slabs.end(), is_empty) < 2) break;
        // The oldest, which is the smallest, stays: the next spawn finds it.
        const auto at = std::find_if(c.slabs.rbegin(), c.slabs.rend(), is_empty);
        victim = std::move(*at);
        c.slabs.erase(std::next(at).base());
        c.unlist(*victim);
        c.capacity -= victim->capacity();
        reserved -= victim->bytes();
        warm_free -= victim->warm_free();
        protected_stacks -= victim->protected_places();
      }
      forget_warm(*victim);
    }
  }
}

void stack_pool::state::give_back_pages(stack_slab& slab) noexcept {
  size_class& c = class_of(slab.stride());
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  for (;;) {
    {
      const std::lock_guard hold(lock);
      if (!slab.take_warm_run(first + count, first, count)) return;
      if (slab.full() && slab.listed_open) c.unlist(slab);
      warm_free -= count;
    }
    for (std::uint32_t i = first; i < first + count; ++i) forget(*slab.header(i));
    // One call for the whole run: it passes over installed guards, and stops at none.
    ::madvise(slab.place(first), slab.stride() * count, MADV_DONTNEED);
    const std::lock_guard hold(lock);
    slab.put_cold_run(first, count);
    c.list(slab);
  }
}

void stack_pool::trim() noexcept {
  const std::unique_lock one_at_a_time(state_->trimming, std::try_to_lock);
  if (!one_at_a_time.owns_lock()) return;
  {
    const std::lock_guard hold(state_->lock);
    if (state_->warm_free == 0) return;
  }
  state_->unmap_empty();
  for (size_class& c : state_->classes) {
    std::size_t count = 0;
    {
      const std::lock_guard hold(state_->lock);
      count = c.slabs.size();
    }
    for (std::size_t i = 0; i < count; ++i) {
      stack_slab* slab = nullptr;
      {
        const std::lock_guard hold(
            state_->lock);  // acquire may move the vector; it never shrinks but here
        slab = c.slabs[i].get();
      }
      state_->give_back_pages(*slab);
    }
  }
}

stack_pool_metrics stack_pool::metrics() const {
  stack_pool_metrics m;
  const std::lock_guard hold(state_->lock);
  m.guard = state_->guard;
  if (m.guard == guard_kind::protect && state_->protected_stacks >= state_->protect_budget)
    m.guard = guard_kind::canary;
  for (const size_class& c : state_->classes) m.slabs += c.slabs.size();
  m.stacks_in_use = state_->in_use;
  m.stacks_cached = state_->warm_free;
  m.reserved_bytes = state_->reserved;
  return m;
}

}  // namespace coir::fiber
