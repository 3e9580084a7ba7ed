// What is open on a fiber and has a say in its cancellation: timeouts, groups and shields, each an
// object on the fiber's stack, the innermost first.
//
// Always true: a request's origin is either from outside (a handle, the group that the fiber is a
// child of, shutdown) or one of the fiber's own open scopes. A request is pending until a blocking
// call throws it; the exception then knows how many origins it was thrown for, and each scope that
// it passes takes its own out. Protocol: sched/README.md, "Scopes".
#pragma once
#include <cstdint>

#include <coir/sched/clock.hpp>
#include <coir/sched/fiber_id.hpp>

namespace coir {
class cancelled;
}

namespace coir::sched {

struct fiber_record;

enum class scope_kind : std::uint8_t { timeout, group, shield };

struct scope {
  scope* outer = nullptr;
  fiber_record* of = nullptr;
  scope_kind kind = scope_kind::shield;
  // Under the lock of the fiber's extras:
  bool pending = false;         // asks for the fiber's cancellation, which has not been thrown
  bool expired = false;         // a timeout's deadline has come
  std::uint64_t delivered = 0;  // the serial of the exception that was thrown for it
  clock::time_point deadline = never;
};

// By the running fiber, in the order of a stack. open_scope throws std::bad_alloc, and
// std::system_error(operation_not_permitted), which names the call, on a plain thread.
void open_scope(scope&, scope_kind, clock::time_point deadline, const char* call);
void close_scope(scope&) noexcept;

// What is open on the running fiber and is no scope here: counted as long as it lives. Another
// fiber may destroy it, whose count is then left alone.
class open_here {
 public:
  open_here() noexcept;
  ~open_here();
  open_here(const open_here&) = delete;
  open_here& operator=(const open_here&) = delete;

 private:
  fiber_id on_;
};
bool on_fiber() noexcept;  // whether the caller runs on a fiber of a runtime

// Takes the scope's origin out of an exception that passes it. True: it was the last one.
bool strike_out(scope&, cancelled&) noexcept;

// Asks for the cancellation of the fiber that has it open; any thread, while it is open.
void request_of(scope&) noexcept;

// Of a timeout; any thread, while it is open. Throws std::logic_error once it has expired.
void set_deadline(scope&, clock::time_point);
clock::time_point deadline_of(const scope&) noexcept;
bool has_expired(const scope&) noexcept;

}  // namespace coir::sched
