#include "world.hpp"

#include <gtest/gtest.h>

#include <coir/sched/task.hpp>

namespace coir::testing::programs {
namespace {

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15U + b + 0x632be59bd9b4e019U;
  x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9U;
  return x ^ (x >> 32);
}

fiber_local<node*> current{[] { return static_cast<node*>(nullptr); }};

}  // namespace

// --- identity

identity::identity(world& in, const identity* above, std::uint32_t number,
                   std::shared_ptr<kinship> with)
    : of(in),
      path(above == nullptr ? "/" + std::to_string(number)
                            : above->path + "/" + std::to_string(number)),
      seed(mixed(above == nullptr ? in.seed : above->seed, number)),
      kin(std::move(with)) {
  ++of.identities;
}
identity::~identity() { --of.identities; }

bool identity::may_be_cancelled() const {
  if (asking > 0 || of.shut_down) return true;
  if (kin == nullptr) return false;
  const identity& owner = *kin->owner;
  return kin->struck > 0 || owner.body_struck > 0 ||
         clock::now().time_since_epoch().count() >= owner.earliest || owner.may_be_cancelled();
}

token::token(std::shared_ptr<const identity> of) : of_(std::move(of)) { ++of_->of.tokens; }
token::~token() {
  if (of_ != nullptr) --of_->of.tokens;
}

// --- node

node::node(std::shared_ptr<identity> who, std::uint32_t fuel_for_it, unsigned how_deep)
    : of(who->of),
      me(std::move(who)),
      on_fiber(this_fiber::id() != fiber_id{}),
      fiber(this_fiber::id()),
      random(static_cast<std::uint32_t>(me->seed)),
      fuel(fuel_for_it),
      depth(how_deep),
      outer_(current.get()) {
  expect(outer_ == nullptr || !on_fiber, "a fiber began with the local value of another");
  current.get() = this;
  ++of.nodes;
}
node::~node() {
  expect(innermost == nullptr, "a scope was left behind");
  current.get() = outer_;
  --of.nodes;
}

node& node::here() { return *current.get(); }

void node::fail(const std::string& text) const {
  std::string last;
  for (std::size_t i = calls_ - std::min(calls_, trail_.size()); i < calls_; ++i)
    last += std::string(last.empty() ? "" : ", ") + trail_[i % trail_.size()];
  of.fail(me->path, text + " (its last calls: " + last + ")");
}

bool frame::struck() const {
  if (kind == opened::timeout) return clock::now().time_since_epoch().count() >= deadline;
  return kind == opened::group && children->struck > 0;
}

bool node::may_be_struck() const {
  for (const frame* f = innermost; f != nullptr; f = f->outer) {
    if (f->kind == opened::shield) return false;
    if (f->struck()) return true;
  }
  return me->may_be_cancelled();
}

node::before node::enter(const char* what, entry strikes) {
  trail_[calls_++ % trail_.size()] = what;
  of.progress.fetch_add(1, std::memory_order_relaxed);
  before b{false, context, std::uncaught_exceptions()};
  check_self("before", b);
  b.must = on_fiber && strikes == entry::always && !unwinding() && shields == 0 &&
           (me->asked > seen_asking || this_fiber::cancel_requested());
  return b;
}

void node::leave(const char* what, const before& b) {
  check_self(what, b);
  if (b.must)
    fail(std::string("what was pending did not strike at ") + what + "; asked " +
         std::to_string(me->asked) + " times, known of " + std::to_string(seen_asking) +
         (this_fiber::cancel_requested() ? ", still pending" : ", gone"));
}

void node::check_self(const char* what, const before& b) {
  if (this_fiber::id() != fiber) fail(std::string(what) + ": runs as another fiber");
  if (current.get() != this) fail(std::string(what) + ": has another fiber's local value");
  if (of.context.get() != b.context) fail(std::string(what) + ": has another's context");
  if (std::uncaught_exceptions() != b.exceptions)
    fail(std::string(what) + ": has another's exceptions");
}

void node::delivered(const char* what, const cancelled&, const before& b) {
  if (unwinding() || b.exceptions > 0)
    fail(std::string("cancellation struck while unwinding, at ") + what);
  check_self(what, b);
  if (!may_be_struck()) fail(std::string("cancelled, and nobody asked for it, at ") + what);
  note_delivery();
}

// Each request is thrown once at most. Of a group's nobody knows how many there are.
void node::note_delivery() {
  ++deliveries;
  std::uint64_t reasons = me->asking + expiries;
  for (const frame* f = innermost; f != nullptr; f = f->outer) reasons += f->struck() ? 1 : 0;
  const bool known =
      !of.shut_down && me->body_struck == 0 &&
      (me->kin == nullptr || (me->kin->struck == 0 && !me->kin->owner->may_be_cancelled() &&
                              me->kin->owner->body_struck == 0));
  if (known && deliveries > reasons && me->kin == nullptr)
    fail("cancelled " + std::to_string(deliveries) + " times for " + std::to_string(reasons) +
         " requests");
  take_notice();
}

// --- frames

open_frame::open_frame(node& n, opened k, clock::time_point until, kinship* all)
    : frame{n.innermost, k, until.time_since_epoch().count(), all}, of_(n) {
  n.innermost = this;
  if (k == opened::shield) ++n.shields;
  if (k == opened::timeout) move_deadline(until);
}
open_frame::~open_frame() {
  if (kind == opened::shield) --of_.shields;
  if (struck()) ++of_.expiries;
  of_.innermost = outer;
}
void open_frame::move_deadline(clock::time_point t) {
  const clock::rep at = t.time_since_epoch().count();
  if (at < deadline) deadline = at;
  if (at < of_.me->earliest) of_.me->earliest = at;
}

// --- items

item::item(world& of, bool slow) : of_(&of), slow_(slow) {
  static std::atomic<std::uint64_t> next{0};
  key_ = mixed(of.seed, ++next);
  ++of.items;
}
item::item(item&& other) noexcept : of_(other.of_), slow_(other.slow_), key_(other.key_) {
  if (slow_ && of_ != nullptr) shield([] { this_fiber::yield(); });
  other.of_ = nullptr;
}
item& item::operator=(item&& other) noexcept {
  if (this == &other) return *this;
  if (of_ != nullptr) --of_->items;
  of_ = std::exchange(other.of_, nullptr);
  slow_ = other.slow_;
  key_ = other.key_;
  return *this;
}
item::~item() {
  if (of_ != nullptr) --of_->items;
}

// --- world

void world::fail(const std::string& who, const std::string& text) const {
  if (failures_.fetch_add(1) < 10)
    ADD_FAILURE() << "COIR_TEST_SEED=" << seed << ", node " << who << ": " << text;
}

void world::enlist(const std::shared_ptr<identity>& who, task_ref<token> ref) {
  enlisted old;
  std::lock_guard lock(enlisted_mutex_);
  enlisted& place = enlisted_[next_place_++ % enlisted_.size()];
  old = std::exchange(place, enlisted{who, std::move(ref)});
}

void world::cancel_somebody(node& by) {
  enlisted one;
  {
    std::lock_guard lock(enlisted_mutex_);
    one = enlisted_[by.random(enlisted_.size())];
  }
  if (one.who == nullptr) return;
  ++cancels;
  const bool lived = ask(one.who, one.ref, "at random");
  if (!lived && !one.ref.done()) by.fail("cancel found a task ended that has not");
  if (lived && one.who == by.me && !this_fiber::cancel_requested())
    by.fail("has cancelled itself, and nothing is requested");
}

template <class M>
void world::check_lock(guarded<M>& g, const char* name) {
  if (!g.lock.try_lock()) return fail(name, "is held by nobody and not free");
  if (g.plain != g.entries) fail(name, "let two in at once: a count was lost");
  g.lock.unlock();
}

template <class Q>
void world::check_queue(Q& q, const char* name) {
  std::uint64_t left = 0;
  for (;; ++left) {
    if constexpr (requires { q.queue.try_pop(); }) {
      if (!q.queue.try_pop()) break;
    } else {
      if (!q.queue.try_get()) break;
      q.queue.task_done();
    }
  }
  if (q.pushed != q.popped + left)
    fail(name, std::to_string(q.pushed) + " items went in, " + std::to_string(q.popped) +
                   " came out and " + std::to_string(left) + " are left");
}

void world::check_end() {
  for (enlisted& e : enlisted_) e = {};
  {
    node closes(std::make_shared<identity>(*this, nullptr, 99, nullptr), 0, 1);
    for (counter& c : wanderers) c = {};
  }
  check_lock(mutexes[0], "mutex 0");
  check_lock(mutexes[1], "mutex 1");
  check_lock(shared_mutexes[0], "shared_mutex 0");
  check_lock(shared_mutexes[1], "shared_mutex 1");
  check_lock(recursive, "recursive_mutex");
  unsigned there = 0;
  while (semaphore.try_acquire()) ++there;
  if (there != permits)
    fail("semaphore", std::to_string(there) + " permits are back of " + std::to_string(permits));
  check_queue(meeting, "channel of 0");
  check_queue(narrow, "channel of 1");
  check_queue(wide, "channel of 7");
  check_queue(jobs, "work_queue");
  if (!jobs.queue.join_for(0ms)) fail("work_queue", "all is done, and join waits");
  check_queue(ranked, "work_queue by rank");
  if (heard > rung) fail("notifier", "more have heard it than it was rung");
  if (!shut_down && calls_made != calls_ran + calls_dropped)
    fail("call_later", std::to_string(calls_made) + " calls were made, " +
                           std::to_string(calls_ran) + " ran and " + std::to_string(calls_dropped) +
                           " were cancelled");
  const auto none = [&](const std::atomic<std::int64_t>& n, const char* of_what) {
    if (n != 0) fail("world", std::to_string(n) + ' ' + of_what + " are left");
  };
  none(nodes, "nodes");
  none(tokens, "results");
  none(items, "items");
  none(dropping, "objects on stacks");
  none(identities, "identities");
}

}  // namespace coir::testing::programs
