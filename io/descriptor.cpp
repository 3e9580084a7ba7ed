#include "descriptor.hpp"

#include "epoll_calls.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

// Free descriptors of the whole process. A static, because sockets outlive runtimes; never
// destroyed, because they may be closed by the destructors of other statics.
struct descriptor_pool {
  static constexpr std::size_t block_size = 64;
  struct block {
    block* next = nullptr;
    descriptor members[block_size];
  };

  descriptor* take() {
    lock.lock();
    descriptor* d = free;
    if (d != nullptr) free = d->next_free;
    lock.unlock();
    return d != nullptr ? d : grow();
  }
  void put(descriptor& d) noexcept {
    lock.lock();
    d.next_free = free;
    free = &d;
    lock.unlock();
  }

 private:
  descriptor* grow() {
    block* b = new block;
    for (std::size_t i = 1; i + 1 < block_size; ++i) b->members[i].next_free = &b->members[i + 1];
    lock.lock();
    b->next = blocks;
    blocks = b;
    b->members[block_size - 1].next_free = free;
    free = &b->members[1];
    lock.unlock();
    return &b->members[0];
  }

  sched::spin_lock lock;
  descriptor* free = nullptr;  // under lock, both
  block* blocks = nullptr;     // all of them, so that a leak checker sees who owns them
};
constinit descriptor_pool pool;

void reset(direction& side) noexcept {
  side.deadline.store(sched::never.time_since_epoch().count(), std::memory_order_relaxed);
  side.bytes.store(0, std::memory_order_relaxed);
  side.user.store(0, std::memory_order_relaxed);
  side.ready = false;
}

// Lock held: claims whoever waits in the queue, to be woken when the lock is free.
void claim_all_locked(sched::wait_queue& queue, sched::ready_list& to_wake) noexcept {
  while (sched::waiter* w = queue.claim_first()) to_wake.push(*w);
}
void wake_all(sched::ready_list& list) noexcept {
  while (sched::waiter* w = list.pop()) sched::wake(*w);
}

// A call that waits for readiness is woken, to look again. True: there was one.
bool wake_waiting(descriptor& d, direction& side) noexcept {
  d.lock.lock();
  sched::waiter* w = side.waiting.claim_first();
  d.lock.unlock();
  if (w != nullptr) sched::wake(*w);
  return w != nullptr;
}

void end_call(descriptor& d, direction& side, stop_message& message) noexcept {
  if (wake_waiting(d, side) || !address(message, side)) return;
  message.about = &d;
  message.handled = [](sched::request& r) noexcept {
    release(*static_cast<stop_message&>(r).about);
  };
  retain(d);
  sched::send_request(message);
}

// Got before anything has changed, because this may fail.
stop_message& message_of_a_deadline(descriptor& d) {
  const bool taken = d.earlier_is_used.exchange(true, std::memory_order_acquire);
  stop_message& m = taken ? *new stop_message : d.earlier;
  m.about = &d;
  return m;
}
void put_back(stop_message& m) noexcept {
  if (&m == &m.about->earlier)
    m.about->earlier_is_used.store(false, std::memory_order_release);
  else
    delete &m;
}

bool in_use(const descriptor& d) noexcept {
  return direction::waiter_of(d.reading.user.load(std::memory_order_acquire)) != nullptr ||
         direction::waiter_of(d.writing.user.load(std::memory_order_acquire)) != nullptr;
}

// Waits until `done` holds, which is looked at under the lock; those who make it true wake the
// closers under it.
template <class Done>
void wait_for_closers(descriptor& d, Done done) noexcept {
  for (;;) {
    d.lock.lock();
    if (done()) return d.lock.unlock();
    sched::wait_node node;
    sched::wait_in(d.closers, d.lock, node,
                   {.kind = sched::wait_kind::close,
                    .id = static_cast<std::uint64_t>(d.fd),
                    .cancellable = false},
                   sched::never);
  }
}

}  // namespace

bool address(sched::request& message, const direction& side) noexcept {
  const std::uintptr_t word = side.user.load(std::memory_order_seq_cst);
  sched::waiter* w = direction::waiter_of(word);
  if (w == nullptr || (word & direction::operating) == 0) return false;
  message.target = w;
  message.generation = w->claim.look().generation;
  message.what = sched::request::kind::stop_operation;
  return direction::waiter_of(side.user.load(std::memory_order_seq_cst)) == w;
}

descriptor* make_descriptor(handle_type fd) {
  descriptor* d = pool.take();
  d->lock.lock();  // against late events
  reset(d->reading);
  reset(d->writing);
  d->closed = false;
  d->lock.unlock();
  d->registered.store(0, std::memory_order_relaxed);
  d->epoll.store(-1, std::memory_order_relaxed);
  d->fd = fd;
  d->through = medium::socket;
  d->listens_on = false;
  d->zero_copy.set(zero_copy_setting::never, {});
  d->references.store(1, std::memory_order_relaxed);
  return d;
}

void retain(descriptor& d) noexcept { d.references.fetch_add(1, std::memory_order_relaxed); }
void release(descriptor& d) noexcept {
  if (d.references.fetch_sub(1, std::memory_order_acq_rel) == 1) pool.put(d);
}

handle_type end_descriptor(descriptor& d, parting how) noexcept {
  const auto before = d.reading.user.fetch_or(direction::closing, std::memory_order_seq_cst);
  if ((before & direction::closing) != 0) {  // somebody else closes it, or has
    wait_for_closers(d, [&] { return d.closed; });
    return -1;
  }
  d.writing.user.fetch_or(direction::closing, std::memory_order_seq_cst);
  if (in_use(d)) {
    if (how == parting::close && d.through == medium::socket && !d.listens_on)
      sys::shutdown(d.fd, SHUT_RDWR);  // the peer gets its FIN even if a duplicate stays open
    end_call(d, d.reading, d.stop_reading);
    end_call(d, d.writing, d.stop_writing);
    wait_for_closers(d, [&] { return !in_use(d); });
  }
  const handle_type fd = d.fd;
  // An epoll registration goes with the description, which others may have, too.
  if (const int epoll = d.epoll.load(std::memory_order_relaxed);
      epoll >= 0 && (how == parting::keep || d.through != medium::socket || d.listens_on))
    sys::epoll_remove(epoll, fd);
  if (how == parting::close) sys::close(fd);
  sched::ready_list others;
  d.lock.lock();
  d.closed = true;
  claim_all_locked(d.closers, others);
  d.lock.unlock();
  wake_all(others);
  return fd;
}

void leave_while_closing(descriptor& d, direction& side) noexcept {
  sched::ready_list closers;
  d.lock.lock();
  side.user.fetch_and(direction::closing, std::memory_order_acq_rel);
  claim_all_locked(d.closers, closers);
  d.lock.unlock();
  wake_all(closers);
}

void set_deadline(descriptor& d, direction& side, clock::time_point when) {
  stop_message& message = message_of_a_deadline(d);
  const clock::rep ticks = when.time_since_epoch().count();
  const clock::rep before = side.deadline.exchange(ticks, std::memory_order_seq_cst);
  // A later one the call in flight finds when the earlier one strikes.
  if (ticks >= before || wake_waiting(d, side) || !address(message, side)) return put_back(message);
  message.handled = [](sched::request& r) noexcept {
    auto& m = static_cast<stop_message&>(r);
    descriptor& about = *m.about;
    put_back(m);
    release(about);
  };
  retain(d);
  sched::send_request(message);
}

}  // namespace coir::io
