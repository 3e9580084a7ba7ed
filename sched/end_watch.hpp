// Somebody who watches for the ends of several fibers at once: a node in the line of each one's
// joiners that names no waiter.
#pragma once
#include <coir/sched/wait_queue.hpp>

namespace coir::sched {

struct end_watch : wait_node {
  // Behind the fiber's join_lock, once: the fiber has ended, and the node is out of its line.
  // Pointer work only. A waiter that it has claimed and that is to be woken, or null.
  waiter* (*told)(end_watch&) noexcept = nullptr;
  waiter* tell() noexcept { return told(*this); }
};

}  // namespace coir::sched
