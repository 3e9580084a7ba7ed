// Ctrl-C ends a program in order: options::cancel_on_interrupt.
#pragma once
#include <memory>
#include <stdexcept>

namespace coir {

// What run() throws when SIGINT has ended main.
struct interrupted : std::runtime_error {
  interrupted() : std::runtime_error("coir: interrupted") {}
};

namespace sched {

struct fiber_record;

// While one lives and is wanted: the first SIGINT cancels the fiber that it follows, or the one to
// come; the second ends the process as if nobody had ever handled it.
class interruption {
 public:
  explicit interruption(bool wanted);  // throws std::system_error if there can be no thread
  ~interruption();
  interruption(const interruption&) = delete;
  interruption& operator=(const interruption&) = delete;

  // The record stays while this lives, or until the next follow(); null: none.
  void follow(fiber_record*) noexcept;
  bool came() const noexcept;

 private:
  class watcher;
  std::unique_ptr<watcher> watcher_;  // null: not wanted
};

}  // namespace sched
}  // namespace coir
