// What others leave for a worker: an intrusive stack that anybody pushes to and that whoever is
// behind the gate takes whole, in the order of the pushes.
//
// Always true: a node is in at most one inbox; between push and take it belongs to the inbox.
#pragma once
#include <coir/sched/atomics.hpp>

namespace coir::sched {

// Link is the member of Node that the inbox may use while the node is in it.
template <class Node, Node* Node::*Link, class Atomics = std_atomics>
class basic_inbox {
 public:
  // Anybody. True if the inbox was empty. A full fence on every architecture: the pusher then reads
  // whether the worker sleeps, and the sleeper looks here after it has announced itself
  // (sched/README.md, "Falling asleep").
  bool push(Node& node) noexcept {
    Node* head = head_.load(std::memory_order_relaxed);
    do {
      node.*Link = head;
    } while (!head_.compare_exchange_weak(head, &node, std::memory_order_release,
                                          std::memory_order_relaxed));
    Atomics::fence();
    return head == nullptr;
  }

  bool empty() const noexcept { return head_.load(std::memory_order_acquire) == nullptr; }

  // Whoever is behind the gate. The list, oldest first, linked by inbox_next.
  Node* take() noexcept {
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    Node* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest = nullptr;
    while (newest != nullptr) {
      Node* before = newest->*Link;
      newest->*Link = oldest;
      oldest = newest;
      newest = before;
    }
    return oldest;
  }

 private:
  typename Atomics::template atomic<Node*> head_{nullptr};
};

}  // namespace coir::sched
