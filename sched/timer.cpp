#include <coir/sched/timer.hpp>

#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>

#include "runtime_core.hpp"
#include "worker.hpp"

namespace coir {

namespace sched {

// A call that waits is a task that has not started: its record is put off instead of being queued.
// So cancelling it, shutting down and a record that is used again are what they always are.
//
// Always true: there is a record from the first call on, and the reference to it pins its store.
// While it is put off, its function has a share in the delayed call, and gives it up when it has
// run or was dropped.
struct delayed_call::state {
  ~state() {
    if (record != nullptr) release(*record);
  }

  std::mutex lock;                 // never held over a wait
  fiber_record* record = nullptr;  // of the last call
  bool armed = false;              // it is put off
  deferral until;
  // By a thread that has no heap: a fiber is on its way to set it.
  std::optional<clock::time_point> wanted;
};

delayed_call::delayed_call() : state_(std::make_unique<state>()) {}
delayed_call::~delayed_call() = default;

// What is done to a state, its lock held.
class delayed_calls {
 public:
  using state = delayed_call::state;
  static state& of(delayed_call& c) noexcept { return *c.state_; }

  static void begin(delayed_call& c) {
    is_put_off_no_more(*current_host().running);
    {
      std::lock_guard held(of(c).lock);
      of(c).armed = false;
    }
    c.call();
  }

  // A new task takes the place of the old one, which has run or was dropped.
  static void arm_new(const std::shared_ptr<delayed_call>& c, runtime_core& core,
                      clock::time_point at) {
    state& s = of(*c);
    deferral until{at};
    fiber_record& f =
        spawn_member(spawn_request{&core, nullptr, &until}, no_group{}, [c] { begin(*c); });
    if (s.record != nullptr) release(*s.record);
    s.record = &f;
    s.until = until;
    s.armed = true;
  }

  // True: it will not run at its time. It is the caller's, who puts it off again or drops it.
  static bool take(state& s) noexcept {
    if (!s.armed || !s.record->claim.claim(s.until.wait, outcome::cancelled)) return false;
    s.until.where->abandon_timer(s.until.timer);
    return true;
  }
  static void drop(state& s) noexcept {
    s.armed = false;
    s.record->attention.fetch_or(cancel_requested);
    is_put_off_no_more(*s.record);
    wake(*s.record);
  }

 private:
  // Its record may be another task's next, which has not waited for its time.
  static void is_put_off_no_more(waiter& w) noexcept {
    w.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  }
};

namespace {

// The runtime of a call, kept from ending; null: it has ended.
struct runtime_of {
  explicit runtime_of(delayed_calls::state& s) noexcept
      : counted(*record_slab::of(*s.record).store),
        core(record_slab::of(*s.record).store->owner.load(std::memory_order_seq_cst)) {}
  sender counted;
  runtime_core* const core;
};

}  // namespace

void start_later(const std::shared_ptr<delayed_call>& c, clock::time_point at, const char* call) {
  runtime_core& core = core_of_this_fiber(call);
  std::lock_guard held(delayed_calls::of(*c).lock);
  delayed_calls::arm_new(c, core, at);
}

bool cancel_later(delayed_call& c) noexcept {
  delayed_calls::state& s = delayed_calls::of(c);
  std::lock_guard held(s.lock);
  const runtime_of runs(s);
  if (runs.core == nullptr) return false;
  const bool on_its_way = std::exchange(s.wanted, std::nullopt).has_value();
  if (!delayed_calls::take(s)) return on_its_way;
  delayed_calls::drop(s);
  return true;
}

// Its lock is held, so that a cancellation meets it before or after.
static bool move_locked(const std::shared_ptr<delayed_call>& c, clock::time_point at) {
  delayed_calls::state& s = delayed_calls::of(*c);
  const runtime_of runs(s);
  if (runs.core == nullptr || runs.core->refusing.load(std::memory_order_relaxed)) return false;
  worker* const here = runs.core->this_worker();
  try {
    if (here == nullptr) {
      spawn_in(spawn_request{runs.core}, [c] {
        delayed_calls::state& its = delayed_calls::of(*c);
        std::lock_guard held(its.lock);
        if (its.wanted) move_locked(c, *its.wanted);
      }).detach();
      if (delayed_calls::take(s)) delayed_calls::drop(s);  // once nothing can fail
      s.wanted = at;
      return true;
    }
    here->make_room_for_deadline();
    const bool taken = delayed_calls::take(s);
    if (!taken) delayed_calls::arm_new(c, *runs.core, at);
    s.wanted.reset();
    if (!taken) return true;
    s.until.at = at;
    here->put_off(*s.record, s.until);
    return true;
  } catch (const std::logic_error&) {
    return false;  // it has begun to end meanwhile
  }
}

bool move_later(const std::shared_ptr<delayed_call>& c, clock::time_point at) {
  std::lock_guard held(delayed_calls::of(*c).lock);
  return move_locked(c, at);
}

}  // namespace sched

interval::interval(clock::duration period, missed m, int)
    : period_(period), next_(sched::deadline_after(period)), missed_(m) {
  if (period <= clock::duration::zero())
    throw std::invalid_argument("coir: the period of an interval is not positive");
}

void interval::tick() {
  this_fiber::sleep_until(next_);
  const auto now = clock::now();
  next_ = sched::later(next_, period_);
  if (next_ > now || missed_ == missed::burst) return;
  if (missed_ == missed::delay)
    next_ = sched::later(now, period_);
  else
    next_ = sched::later(next_ + (now - next_) / period_ * period_, period_);
}

}  // namespace coir
