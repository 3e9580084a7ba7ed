// A node of a random program: one fiber or thread, what it knows about itself, and the checks
// around each of its blocking calls.
//
// Always true:
//  - What a node does is drawn from dice of its own, seeded by its path; a seed is a program.
//  - Nobody can wait for ever by himself: a wait for somebody else is under a timeout opened right
//    around it; locks are taken in the order of their levels, are never held over a join, and
//    whoever holds one is bounded; what a parent waits for ends by itself.
//  - Whoever asks for a cancellation counts it before (asking) and after (asked), so that whoever
//    meets one can say whether it may be, and whoever meets none whether it had to be.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/fiber_local.hpp>
#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sched/timeout.hpp>

#include "tests/support/racing.hpp"

namespace coir::testing::programs {

struct world;

enum class ending : std::uint8_t { unstarted, running, value, error, cancelled };

// The fibers that are cancelled together, and who cancels them with himself.
struct identity;
struct kinship {
  std::shared_ptr<identity> owner;
  std::atomic<std::uint64_t> struck{0};  // how often somebody was about to cancel all of them
};

// What is left of a node when its fiber has ended.
struct identity {
  identity(world& in, const identity* above, std::uint32_t number, std::shared_ptr<kinship> with);
  ~identity();
  identity(const identity&) = delete;
  identity& operator=(const identity&) = delete;

  // Whether anybody at all has asked for its end.
  bool may_be_cancelled() const;

  world& of;
  const std::string path;
  const std::uint64_t seed;
  const std::shared_ptr<kinship> kin;              // null: none
  std::atomic<std::uint64_t> asking{0}, asked{0};  // through a handle of its own
  std::atomic<clock::rep> earliest{clock::time_point::max().time_since_epoch().count()};
  std::atomic<std::uint64_t> body_struck{0};  // the same of the kinships that it owns
  std::atomic<ending> how{ending::unstarted};
  std::exception_ptr error;  // what has left it; for who knows that it has ended
};
inline void strike(kinship& all) {
  ++all.struck;
  ++all.owner->body_struck;
}

// What programs throw: whose it is.
struct random_error {
  std::string path;
  std::uint64_t serial;
};

// A result, which is counted.
class token {
 public:
  explicit token(std::shared_ptr<const identity> of);
  token(token&& other) noexcept : of_(std::move(other.of_)) {}
  token& operator=(token&&) = delete;
  ~token();
  const identity* of() const { return of_.get(); }

 private:
  std::shared_ptr<const identity> of_;
};

// What is open on a node's stack, the innermost first, and has a say in its cancellation.
enum class opened : std::uint8_t { timeout, group, shield };
struct frame {
  frame* outer;
  opened kind;
  std::atomic<clock::rep> deadline;  // of a timeout: the earliest that it ever had
  kinship* children;                 // of a group
  bool struck() const;
};

class node {
 public:
  node(std::shared_ptr<identity> who, std::uint32_t fuel_for_it, unsigned how_deep);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;
  static node& here();  // of the calling fiber or thread

  // Around one blocking call: what must hold before and after it. `always`: a pending request
  // strikes on entry even if it need not wait.
  enum class entry : bool { sometimes, always };
  template <class F>
  decltype(auto) block(const char* what, F&& f, entry strikes = entry::always) {
    const before b = enter(what, strikes);
    struct leaving {
      node& of;
      const char* what;
      const before& b;
      bool struck = false;
      ~leaving() {
        if (!struck) of.leave(what, b);
      }
    } guard{*this, what, b};
    try {
      return f();
    } catch (const cancelled& c) {
      guard.struck = true;
      if (on_fiber && c.fiber() == fiber) delivered(what, c, b);
      throw;
    } catch (...) {
      guard.struck = true;  // has left in a way of its own
      throw;
    }
  }
  // Not forever: false, the time was over.
  template <class F>
  bool patiently(const char* what, F&& f, entry strikes = entry::always);
  // A fiber's own, pending or not, that has struck.
  void note_delivery();

  bool mine(const cancelled& c) const { return on_fiber && c.fiber() == fiber; }
  bool whose(const random_error& e) const { return e.path.starts_with(me->path); }
  bool unwinding() const { return callers_unwind > 0 || std::uncaught_exceptions() > 0; }
  void fail(const std::string& text) const;
  void expect(bool holds, const char* text) const {
    if (!holds) fail(text);
  }
  clock::duration moment() {
    return std::chrono::nanoseconds(random(8) == 0 ? 0 : random(300'000));
  }

  world& of;
  const std::shared_ptr<identity> me;
  const bool on_fiber;
  const fiber_id fiber;
  dice random;
  std::uint32_t fuel;
  const unsigned depth;
  std::uint32_t children = 0;  // so far
  unsigned level = 0;          // of the locks that it holds: only higher ones may be taken
  unsigned nesting = 0;        // of steps within steps
  unsigned shields = 0;
  int callers_unwind = 0;  // of code with exceptions of its own, elsewhere
  frame* innermost = nullptr;
  std::uint64_t serial = 0;   // of its errors
  std::uint64_t context = 0;  // what the context variable has to be

  // All requests that had begun when one was last thrown or taken back.
  std::uint64_t seen_asking = 0, deliveries = 0, expiries = 0;
  void take_notice() { seen_asking = me->asking.load(); }

  // What it may be about to be cancelled for; and one that names the innermost shield's inside.
  bool may_be_struck() const;

 private:
  struct before {
    bool must;
    std::uint64_t context;
    int exceptions;
  };
  before enter(const char* what, entry strikes);
  void leave(const char* what, const before&);
  void delivered(const char* what, const cancelled&, const before&);
  void check_self(const char* what, const before&);

  node* const outer_;
  // The calls that came last, for who reads a failure.
  std::array<const char*, 8> trail_{};
  std::size_t calls_ = 0;
};

// A frame for as long as it lives.
class open_frame : public frame {
 public:
  open_frame(node& n, opened kind, clock::time_point until = clock::time_point::max(),
             kinship* children = nullptr);
  ~open_frame();
  open_frame(const open_frame&) = delete;
  open_frame& operator=(const open_frame&) = delete;
  void move_deadline(clock::time_point);

 private:
  node& of_;
};

template <class F>
bool node::patiently(const char* what, F&& f, entry strikes) {
  if (!on_fiber || unwinding()) return false;
  const auto until = clock::now() + moment();
  open_frame here_now(*this, opened::timeout, until);
  try {
    with_deadline(until, [&] { block(what, f, strikes); });
    return true;
  } catch (const timed_out&) {
    expect(clock::now() >= until, "a timeout was early");
    return false;
  }
}

}  // namespace coir::testing::programs
