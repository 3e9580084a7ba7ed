#include <coir/sched/runtime.hpp>

#include <cstdio>
#include <iostream>
#include <mutex>
#include <ostream>
#include <stdexcept>

#include <coir/sched/driver.hpp>

#include "fatal.hpp"
#include "fiber_extras.hpp"
#include "runtime_core.hpp"

namespace coir {

namespace sched {

namespace {

std::string text_of(wait_kind kind, std::uint64_t id) {
  const auto with = [id](const char* what, const char* of) {
    return id == 0 ? std::string(what) : std::string(what) + of + std::to_string(id);
  };
  switch (kind) {
    case wait_kind::nothing:
      return {};
    case wait_kind::sleep:
      return "sleep";
    case wait_kind::mutex:
      return with("mutex", " held by fiber ");
    case wait_kind::condition:
      return "condition_variable";
    case wait_kind::event:
      return "event";
    case wait_kind::semaphore:
      return "semaphore";
    case wait_kind::push:
      return "channel to push to";
    case wait_kind::pop:
      return "channel to pop from";
    case wait_kind::select:
      return "select";
    case wait_kind::put:
      return "work_queue to put into";
    case wait_kind::get:
      return "work_queue to get from";
    case wait_kind::tasks_done:
      return "work_queue to be done";
    case wait_kind::broadcast:
      return "broadcast";
    case wait_kind::watch:
      return "watch";
    case wait_kind::shared_mutex:
      return with("shared_mutex", " held by fiber ");
    case wait_kind::latch:
      return "latch";
    case wait_kind::barrier:
      return "barrier";
    case wait_kind::once:
      return with("call_once", " in fiber ");
    case wait_kind::notifier:
      return "notifier";
    case wait_kind::future:
      return with("future", " of fiber ");
    case wait_kind::join:
      return with("join", " of fiber ");
    case wait_kind::group:
      return "task_group";
    case wait_kind::offload:
      return "offload";
    case wait_kind::resolve:
      return "the address of a name";
    case wait_kind::stack:
      return "a stack";
    case wait_kind::read:
      return with("read", " on descriptor ");
    case wait_kind::write:
      return with("write", " on descriptor ");
    case wait_kind::accept:
      return with("accept", " on descriptor ");
    case wait_kind::connect:
      return with("connect", " on descriptor ");
    case wait_kind::readable:
      return with("readable", ": descriptor ");
    case wait_kind::writable:
      return with("writable", ": descriptor ");
    case wait_kind::close:
      return with("close", " of descriptor ");
    case wait_kind::connections:
      return "connections to end";
    case wait_kind::file:
      return with("file", " of descriptor ");
    case wait_kind::signal:
      return "signal";
  }
  return {};
}

const char* text_of(task_state s) {
  switch (s) {
    case task_state::ready:
      return "ready";
    case task_state::running:
      return "running";
    case task_state::parked:
      return "parked";
    case task_state::done:
      return "done";
  }
  return "";
}

}  // namespace

}  // namespace sched

runtime::runtime(options o, sched::parts made_of) {
  sched::refuse_on_fiber("runtime::runtime");  // its destructor could not wait here
  core_ = std::make_unique<sched::runtime_core>(std::move(o), std::move(made_of), *this);
}

runtime::~runtime() {
  const sched::host* here = sched::current_host_if_any();
  if (here != nullptr && here->kind == sched::host_kind::worker)
    sched::fatal("a runtime was destroyed on a fiber, which cannot wait for its end");
  shutdown();
  if (!core_->abandoned()) return;
  if (core_->hogs() != 0)
    std::fprintf(stderr, "coir: ~runtime leaves %zu workers behind whose fiber never returned\n",
                 core_->hogs());
  if (const unsigned left = core_->offloads.threads(); left != 0)
    std::fprintf(
        stderr, "coir: ~runtime leaves %u threads of offload() behind that never returned\n", left);
  // What was abandoned may still be found by a late wake or completion: it stays, and reachable.
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::unique_ptr<sched::runtime_core>>;
  std::lock_guard lock(mutex);
  kept.push_back(std::move(core_));
}

void runtime::shutdown() {
  sched::refuse_on_fiber("runtime::shutdown");
  if (core_->abandoned()) return;  // before: nothing more to do
  core_->shutdown(sched::deadline_after(core_->opts.shutdown_limit), [this] {
    dump(std::cerr);
    sched::fatal(
        "%zu fibers ignore cancellation, %u threads of offload() still run, and "
        "options::shutdown_limit has passed",
        fibers().size(), core_->offloads.threads());
  });
}

bool runtime::shutdown_before(clock::time_point limit) {
  sched::refuse_on_fiber("runtime::shutdown");
  return core_->shutdown(limit, [] {});
}

runtime_metrics runtime::metrics() const {
  runtime_metrics m;
  m.reactor = core_->reactor_name;
  m.reactor_reason = core_->reactor_reason;
  m.workers = static_cast<unsigned>(core_->workers.size());
  m.fibers_alive = core_->alive();
  m.fibers_spawned = core_->spawned_outside.load(std::memory_order_relaxed);
  for (auto& w : core_->workers) {
    const auto& c = w->counts;
    m.fibers_spawned += c.spawned.load(std::memory_order_relaxed);
    m.switches += c.switches.load(std::memory_order_relaxed);
    m.steals += c.steals.load(std::memory_order_relaxed);
    m.stolen += c.stolen.load(std::memory_order_relaxed);
    m.io_in_flight += w->io_in_flight();
    m.timers += w->timers();
    const sched::zero_copy_counts lent = w->zero_copies();
    m.zero_copy_sends += lent.sends;
    m.zero_copy_copied += lent.copied;
    m.zero_copy_refused += lent.refused;
    m.sleeps += c.sleeps.load(std::memory_order_relaxed);
  }
  const auto stacks = core_->stacks.metrics();
  m.stacks_in_use = stacks.stacks_in_use;
  m.stacks_cached = stacks.stacks_cached;
  m.stack_slabs = stacks.slabs;
  m.blocking_threads = core_->offloads.threads();
  m.fibers_without_stack = core_->starving.size();
  return m;
}

std::vector<fiber_info> runtime::fibers() const {
  std::vector<fiber_info> rows;
  const std::uint32_t now = sched::worker::moment(clock::now());
  core_->records.for_each([&](sched::fiber_record& f) {
    const std::uint32_t life = f.life.load(std::memory_order_acquire);
    fiber_info row;
    row.id = f.id();
    row.state = f.state.load(std::memory_order_relaxed);
    const bool abandoned =
        f.ending.load(std::memory_order_relaxed) == sched::task_ending::abandoned;
    if (row.state == task_state::done && !abandoned) return;  // only a handle keeps it
    if (abandoned) row.state = task_state::parked;
    row.name = sched::name_of(f, 31);
    if (row.state == task_state::parked) {
      const std::uint32_t steps = now - f.since.load(std::memory_order_relaxed);
      if (static_cast<std::int32_t>(steps) > 0)
        row.waits = std::chrono::milliseconds(steps * std::uint64_t{1000} / 128);
      row.waits_for = sched::text_of(f.waits_for.load(std::memory_order_relaxed),
                                     f.waits_for_id.load(std::memory_order_relaxed));
    } else if (f.starving.load(std::memory_order_relaxed))
      row.waits_for = sched::text_of(sched::wait_kind::stack, 0);
    if (const auto* e = f.extras.load(std::memory_order_acquire))
      row.stack_used = e->stack_used.load(std::memory_order_relaxed);
    if (auto* home = f.home.load(std::memory_order_relaxed))
      row.worker = static_cast<sched::worker*>(home)->index;
    // All of the row was read before this: the last release has the other fence.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (f.life.load(std::memory_order_relaxed) == life) rows.push_back(std::move(row));
  });
  return rows;
}

void runtime::dump(std::ostream& out) const {
  for (const fiber_info& f : fibers()) {
    out << "fiber " << f.id.value() << " '" << f.name << "' " << sched::text_of(f.state)
        << " on worker " << f.worker;
    if (!f.waits_for.empty())
      out << ", waits for " << f.waits_for << " since " << f.waits.count() << " ms";
    out << '\n';
  }
}

runtime& runtime::current() {
  sched::host* h = sched::current_host_if_any();
  if (h == nullptr || h->kind != sched::host_kind::worker)
    throw std::logic_error("coir: runtime::current was called on a plain thread");
  return static_cast<sched::worker*>(h)->core.owner;
}

clock::time_point clock::now() noexcept {
  sched::host* h = sched::current_host_if_any();
  if (h != nullptr && h->kind == sched::host_kind::worker)
    if (sched::time_source* time = static_cast<sched::worker*>(h)->core.made_of.time.get())
      return time->now();
  return std::chrono::steady_clock::now();
}

}  // namespace coir
