// Memory as the threads of a model see it: store buffers, and vector clocks against races.
#include "explorer_engine.hpp"

#include <algorithm>

namespace coir::explorer {

namespace {

bool acquires(std::memory_order order) {
  return order != std::memory_order_relaxed && order != std::memory_order_release;
}

bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

}  // namespace

// ---- memory -----------------------------------------------------------------------------------

std::uint64_t engine::load(const cell& from, std::memory_order order) {
  before_step();
  touch(from);
  if (order == std::memory_order_seq_cst) drain_for_seq_cst_load();
  if (const buffered_store* own = own_store(from)) {
    record("load own", from, 0, own->value, step::reads, order, current_);
    return own->value;
  }
  acquire_from(from, order);
  record("load", from, 0, from.value_, step::reads, order, current_);
  return from.value_;
}

// The youngest store of the running thread to it that nobody else sees yet.
const buffered_store* engine::own_store(const cell& at) const {
  const auto& buffer = threads_[current_]->buffer;
  for (auto store = buffer.rbegin(); store != buffer.rend(); ++store)
    if (store->where == &at) return &*store;
  return nullptr;
}

// A store that waits in a buffer is seen by nobody, so giving way before it is the same as giving
// way after it without draining it. A heavy fence in another thread makes the difference: it
// drains.
void engine::store(cell& to, std::uint64_t value, std::memory_order order) {
  auto& thread = self();
  const bool seq_cst = order == std::memory_order_seq_cst;
  if (options_.buffer == 0 || (seq_cst && options_.model == memory::tso)) {
    before_step();
    touch(to);
    drain_all(current_);
    drain_delayed_rmw(to);
    record("store", to, to.value_, value, step::changes, order, current_);
    write_memory(current_, to, value, release_of(thread, order));
  } else {
    if (options_.light == light_fence_is::compiler_barrier) before_step();
    touch(to);
    if (thread.buffer.size() >= options_.buffer) {
      before_step();
      if (!thread.buffer.empty()) drain(current_, 1);
    }
    record("buffer", to, 0, value, step::writes, order, current_);
    thread.buffer.push_back({&to, value, release_of(thread, order), seq_cst, false});
    fresh_ = false;  // to give way now, with the store drained, is something new
  }
  tick();
}

std::uint64_t engine::modify(cell& at, const char* verb, cell::operation change,
                             std::uint64_t operand, std::memory_order order) {
  const std::uint64_t old = begin_rmw(at, order);
  const std::uint64_t value = change(old, operand);
  record(verb, at, old, value, step::changes, order, current_);
  acquire_from(at, order);
  write_rmw(at, value, order);
  return old;
}

bool engine::compare_exchange(cell& at, std::uint64_t& expected, std::uint64_t desired,
                              std::memory_order success, std::memory_order failure, bool weak) {
  const std::uint64_t old = begin_rmw(at, success);
  bool fails = old != expected;
  if (!fails && weak && options_.spurious_failures) {
    fails = decide(affordable(2, 1), true) == 1;
    if (fails) ++paid_;
  }
  if (fails) {
    record("compare fails", at, expected, old, step::changes, failure, current_);
    acquire_from(at, failure);
    expected = old;
    return false;
  }
  record("compare_exchange", at, old, desired, step::changes, success, current_);
  acquire_from(at, success);
  write_rmw(at, desired, success);
  return true;
}

// The value that a read-modify-write reads: the last in the cell's order of writes.
std::uint64_t engine::begin_rmw(cell& at, std::memory_order order) {
  before_step();
  touch(at);
  if (options_.model == memory::tso || others_delay_an_rmw()) {
    drain_all(current_);
  } else if (order == std::memory_order_seq_cst) {
    drain_for_seq_cst_load();
  }
  if (at.delayed_rmw_ != current_) drain_delayed_rmw(at);
  const buffered_store* own = own_store(at);
  return own ? own->value : at.value_;
}

bool engine::others_delay_an_rmw() const {
  for (const auto& thread : threads_) {
    if (thread.get() == threads_[current_].get()) continue;
    for (const auto& store : thread->buffer)
      if (store.delayed_rmw) return true;
  }
  return false;
}

// A read-modify-write goes on with the release sequence of the value that it read.
void engine::write_rmw(cell& at, std::uint64_t value, std::memory_order order) {
  auto& thread = self();
  const buffered_store* own = own_store(at);
  auto released = own ? own->released : at.released_;
  join(released, release_of(thread, order));
  if (options_.model == memory::weak && options_.buffer != 0) {
    const bool seq_cst = order == std::memory_order_seq_cst;
    thread.buffer.push_back({&at, value, released, seq_cst, true});
    at.delayed_rmw_ = current_;
    fresh_ = false;
  } else {
    write_memory(current_, at, value, released);
  }
  tick();
}

void engine::write_memory(int thread, cell& to, std::uint64_t value, const time_stamps& released) {
  if (to.value_ != value) {
    ++changes_;
    ++threads_[thread]->changes;
    idle_turns_ = 0;
  }
  to.value_ = value;
  to.released_ = released;
}

void engine::drain(int thread, std::size_t count) {
  auto& buffer = threads_[thread]->buffer;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& store = buffer[i];
    if (store.where->delayed_rmw_ != thread) drain_delayed_rmw(*store.where);
    record("drain", *store.where, store.where->value_, store.value, step::changes, {}, thread);
    write_memory(thread, *store.where, store.value, store.released);
    const auto waits_still = [&](const buffered_store& later) {
      return later.where == store.where && later.delayed_rmw;
    };
    if (store.delayed_rmw && std::none_of(buffer.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                          buffer.end(), waits_still))
      store.where->delayed_rmw_ = nobody;
  }
  buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
}

// Under memory::tso there is nothing to do: there no seq_cst store waits in a buffer.
void engine::drain_for_seq_cst_load() {
  const auto& buffer = self().buffer;
  std::size_t count = buffer.size();
  while (count > 0 && !buffer[count - 1].seq_cst) --count;
  drain(current_, count);
}

// Whoever writes a cell comes after a read-modify-write that another thread has made of it.
void engine::drain_delayed_rmw(const cell& at) {
  if (at.delayed_rmw_ == nobody) return;
  const auto& buffer = threads_[at.delayed_rmw_]->buffer;
  std::size_t count = buffer.size();
  while (buffer[count - 1].where != &at || !buffer[count - 1].delayed_rmw) --count;
  drain(at.delayed_rmw_, count);
}

void engine::fence(const char* name, bool in_every_thread) {
  bool waiting = !self().buffer.empty();
  for (const auto& thread : threads_)
    waiting = waiting || (in_every_thread && !thread->buffer.empty());
  if (waiting) before_step();
  record({current_, name, nullptr, nullptr, 0, 0, 0, step::plain, {}});
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    if (i != current_ && !in_every_thread) continue;
    drain_all(i);
    full_fence_clock(*threads_[i]);
  }
  tick();
}

void engine::heavy_fence() {
  fence("heavy fence", options_.light == light_fence_is::compiler_barrier);
}

void engine::light_fence() {
  if (options_.light == light_fence_is::full_fence) fence("light fence (full)", false);
}

// ---- vector clocks ----------------------------------------------------------------------------

void engine::acquire_from(const cell& from, std::memory_order order) {
  join(acquires(order) ? self().knows : self().fence_acquires, from.released_);
}

time_stamps engine::release_of(const model_thread& thread, std::memory_order order) const {
  return releases(order) ? thread.knows : thread.fence_released;
}

void engine::full_fence_clock(model_thread& thread) {
  join(thread.knows, thread.fence_acquires);
  thread.fence_released = thread.knows;
}

// After a release, so that what the thread does next is not covered by it.
void engine::tick() { ++self().knows[current_]; }

void engine::touch(const cell& at) {
  if (at.alive_ != cell::living) fail("an atomic is used after its destruction");
  at.accessed_[current_] = self().knows[current_];
}

void engine::destroy(cell& gone) {
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    for (const auto& store : threads_[i]->buffer)
      if (store.where == &gone && i != current_)
        fail("an atomic is destroyed while another thread's store to it is on its way");
    if (gone.accessed_[i] > self().knows[i])
      fail(std::string("an atomic is destroyed, but nothing orders that after its use by ") +
           model_.threads[i].name);
  }
  drain_all(current_);
}

void engine::plain_access(const char* verb, const void* object, int& writer, std::uint32_t& written,
                          time_stamps& read, bool writes) {
  const auto& knows = self().knows;
  record({current_, verb, object, nullptr, 0, 0, 0, step::plain, {}});
  int other = nobody;
  const char* did = "write";
  if (writer != nobody && written > knows[writer]) other = writer;
  for (int i = 0; writes && i < static_cast<int>(threads_.size()); ++i) {
    if (read[i] <= knows[i]) continue;
    other = i;
    did = "read";
  }
  if (other != nobody)
    fail("data race: " + std::string(verb) + " by " + model_.threads[current_].name + " of " +
         place_of(steps_.back()) + ", unordered with a " + did + " by " +
         model_.threads[other].name);
  if (writes) {
    writer = current_;
    written = knows[current_];
    read = {};
  } else {
    read[current_] = knows[current_];
  }
}

}  // namespace coir::explorer
