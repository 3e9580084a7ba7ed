// Fibers that belong together and do not outlive what they were started in.
//
// Always true: alive_ counts the places taken: members that have not told their end, and spawners
// that are on their way. Who counts the last one down touches the nursery no more after it has let
// go of lock_, because a join that sees 0 may destroy it.
#pragma once
#include <atomic>
#include <cstddef>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/sched/scope.hpp>
#include <coir/sched/task.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::sched {

class nursery;

// What a member's payload has more than another task's.
struct group_member : fiber::intrusive_hook {
  explicit group_member(nursery& n) noexcept : group(n) {}
  group_member(group_member&& other) noexcept : group(other.group) {}
  ~group_member();

  void enter(fiber_record&) noexcept;  // as soon as it lies in its record, which has not started
  void ended() noexcept;               // on its own stack, when everybody else has been told

  nursery& group;
  fiber_record* record = nullptr;
  bool entered = false;  // and has neither ended nor been withdrawn
};

class nursery {
 public:
  enum class rule : unsigned char {
    first_error_ends,  // the first member to fail cancels the others
    first_value_ends,  // the first to succeed does
    all_end,           // nobody cancels anybody
  };
  // body: the scope of the code that is to be cancelled with the members; or null.
  nursery(runtime_core& core, rule r, std::size_t at_most = 0, scope* body = nullptr) noexcept
      : core_(core), rule_(r), at_most_(at_most), body_(body) {}
  ~nursery();  // nobody lives
  nursery(const nursery&) = delete;
  nursery& operator=(const nursery&) = delete;

  // Waits for a place if only so many may live. Throws cancelled once the nursery has been
  // cancelled, std::logic_error once it has been joined, and what spawn throws. Any thread.
  template <class F, class... A>
  fiber_record& start(spawn_options* o, F&& f, A&&... arguments) {
    take_place();
    struct place_taken {
      nursery* in;
      ~place_taken() {
        if (in != nullptr) in->leave();
      }
    } place{this};
    fiber_record& child = spawn_member(spawn_request{&core_, o}, group_member(*this),
                                       std::forward<F>(f), std::forward<A>(arguments)...);
    place.in = nullptr;
    if (cancelled_.load(std::memory_order_seq_cst)) sched::cancel(child, {});
    return child;
  }

  void cancel() noexcept;  // any thread
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }

  // Waits until nobody lives, and lets nobody in any more. If the caller is cancelled meanwhile, it
  // cancels the members and waits on; true: that has happened, and the request is still pending.
  bool join(bool cancellable) noexcept;

  // Once joined. Of the members that failed, the first first; taking them reads them.
  std::exception_ptr first_error() noexcept;
  std::vector<std::exception_ptr> errors();
  void report_errors(std::size_t but_first) noexcept;        // to options::on_unhandled
  fiber_record* winner() const noexcept { return winner_; }  // under first_value_ends; or null

  void throw_pending();  // the cancellation that join() met

 private:
  friend struct group_member;

  void take_place();
  void enter(group_member&) noexcept;
  void withdraw(group_member&) noexcept;  // its spawn has failed
  void leave() noexcept;                  // gives a place up, or on to a spawner that waits
  void told(group_member&) noexcept;
  void cancel_members() noexcept;

  using members = fiber::intrusive_list<group_member>;

  runtime_core& core_;
  const rule rule_;
  const std::size_t at_most_;
  scope* const body_;
  fiber_record* winner_ = nullptr;  // under lock_; a reference

  spin_lock lock_;
  std::size_t alive_ = 0;               // under lock_
  bool joined_ = false;                 // under lock_
  std::atomic<bool> cancelled_{false};  // written under lock_
  members living_;                      // under lock_; not asked to end yet
  members asked_;                       // under lock_
  members failed_;                      // under lock_; a reference each
  wait_queue spawners_, joiners_;       // under lock_
};

}  // namespace coir::sched
