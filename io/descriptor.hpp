// An open socket, shared by its handle, the calls in flight and late messages about them.
//
// Always true: one call at most holds a direction, by its waiter in `user`. The descriptor's number
// goes back to the system only when no call holds a direction and none can begin (closing is set in
// both). Descriptors are never freed: an event of the kernel or a message that comes late finds one
// that is closed, or somebody else's, and at worst wakes a call that looks again. The protocol of
// close, numbered: io/README.md.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

#include <coir/io/stream.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::io {

// One of reading and writing.
struct direction {
  // The waiter of the call that holds this direction, and two bits. Taken and left by the call;
  // `closing` is set by the closer. Every change is a read-modify-write, so caller and closer (or a
  // deadline) never miss each other.
  std::atomic<std::uintptr_t> user{0};
  static constexpr std::uintptr_t closing =
      1;  // no call may begin; the one that is there has to end
  static constexpr std::uintptr_t operating =
      2;  // the call parks in an operation of its home's driver

  // Ticks of coir::clock. Read by the call after it has become findable in `user`; written by
  // anybody, who then looks for a call to wake.
  std::atomic<clock::rep> deadline{sched::never.time_since_epoch().count()};

  std::atomic<std::uint64_t> bytes{
      0};  // moved so far; written by the call that holds the direction

  // Roaming drivers only, under descriptor::lock.
  sched::wait_queue waiting;  // the call that holds the direction, while it waits for readiness
  bool ready = false;         // an event came when nobody waited

  static sched::waiter* waiter_of(std::uintptr_t word) noexcept {
    return reinterpret_cast<sched::waiter*>(word & ~(closing | operating));
  }
  bool is_closing() const noexcept { return (user.load(std::memory_order_acquire) & closing) != 0; }
};

struct descriptor;

// Which system calls move its bytes, and whether they could block.
enum class medium : unsigned char {
  socket,
  pipe,     // nobody else has this description, and it is O_NONBLOCK
  shared,   // others may have the description, so its O_NONBLOCK is not ours to set
  regular,  // a file: nothing to wait for, yet reading it may take long
};

// From which size on the bytes of a write stay where they are, and the kernel sends from there.
struct zero_copy_setting {
  static constexpr std::size_t never = SIZE_MAX;
  static constexpr unsigned in_vain = 8;  // sends in a row that the kernel copied: enough

  // Written by anybody, read by calls: numbers, relaxed.
  std::atomic<std::size_t> from{never};
  std::atomic<std::chrono::milliseconds::rep> patience_ms{0};
  std::atomic<unsigned> copied_in_a_row{0};  // written by the rings that send

  void set(std::size_t at_least, std::chrono::milliseconds patience) noexcept {
    patience_ms.store(patience.count(), std::memory_order_relaxed);
    copied_in_a_row.store(0, std::memory_order_relaxed);
    from.store(at_least, std::memory_order_relaxed);
  }
  bool is_on() const noexcept { return from.load(std::memory_order_relaxed) != never; }
  bool wants(std::size_t size) const noexcept {
    return size >= from.load(std::memory_order_relaxed);
  }
  void note(bool copied) noexcept {
    if (!copied)
      copied_in_a_row.store(0, std::memory_order_relaxed);
    else if (copied_in_a_row.fetch_add(1, std::memory_order_relaxed) + 1 >= in_vain)
      from.store(never, std::memory_order_relaxed);
  }
  clock::time_point patience_from_now() const noexcept {
    return sched::deadline_after(
        std::chrono::milliseconds(patience_ms.load(std::memory_order_relaxed)));
  }
};

// What is sent to the home of a call in flight that has to look again: its descriptor is closed, or
// its deadline is earlier now. Lies in the descriptor, because closing cannot fail, and because a
// deadline is set for each request of a connection.
struct stop_message : sched::request {
  descriptor* about = nullptr;
};

struct descriptor {
  direction reading, writing;
  stop_message stop_reading, stop_writing;   // the closer's, sent once in the descriptor's life
  stop_message earlier;                      // of who has set earlier_is_used
  std::atomic<bool> earlier_is_used{false};  // while set_deadline is at it, or it is under way
  std::atomic<std::uint32_t> references{0};  // the handle, and messages in flight
  handle_type fd = -1;              // written before it is shared, and by the closer at the end
  medium through = medium::socket;  // written before it is shared
  bool listens_on = false;  // the same: others have this listener too, and go on when we close
  zero_copy_setting zero_copy;

  sched::spin_lock lock;
  sched::wait_queue closers;  // under lock: those who wait until the directions are free, or the
                              // descriptor closed
  bool closed = false;        // under lock: the number has gone back to the system

  // A roaming driver's registration: which group of drivers, 0 none; and whether it is being made.
  std::atomic<std::uint64_t> registered{0};
  std::atomic<int> epoll{-1};  // the instance that holds it

  descriptor* next_free = nullptr;
};

descriptor* make_descriptor(handle_type fd);  // one reference; throws std::bad_alloc
void retain(descriptor&) noexcept;
void release(descriptor&) noexcept;  // the last one makes it free for another socket

enum class parting : std::uint8_t { close, keep };  // what becomes of the number

// Ends all calls in flight, waits for them, parts with the number. The number, or -1: it was closed
// before.
handle_type end_descriptor(descriptor&, parting) noexcept;

// For the call that held `side` when it was closed: leaves it and wakes the closers.
void leave_while_closing(descriptor&, direction& side) noexcept;

// Fills a message to the call that holds `side` and is in an operation of its home's driver now.
// False: there is none. A generation that is read while the call still holds the direction is that
// of its operation, or older: then the call, before it begins the next one, sees what was stored
// before this.
bool address(sched::request& message, const direction& side) noexcept;

// A deadline for one direction from now on, also for the call in flight. Throws std::bad_alloc, but
// only if one that was set just before is still on its way to its call.
void set_deadline(descriptor&, direction&, clock::time_point);

}  // namespace coir::io
