#include <coir/sched/this_fiber.hpp>

#include <coir/fiber/stack.hpp>
#include <coir/sched/cancellation.hpp>
#include <coir/sched/host.hpp>

#include "delivery.hpp"
#include "fiber_extras.hpp"
#include "worker.hpp"

namespace coir {

namespace sched {

namespace {

fiber_record* this_record() noexcept {
  host* h = current_host_if_any();
  return h != nullptr && h->kind == host_kind::worker ? static_cast<worker*>(h)->current()
                                                      : nullptr;
}

}  // namespace

void sleep_until(clock::time_point deadline) {
  host& here = current_host();
  waiter& w = *here.running;
  cancellation_point(w);
  if (deadline <= clock::now()) return here.yield();
  here.make_room_for_deadline();
  w.claim.begin(outcome::waiting, may_be_cancelled(w));
  w.waits_for_id.store(static_cast<std::uint64_t>(deadline.time_since_epoch().count()),
                       std::memory_order_relaxed);
  w.waits_for.store(wait_kind::sleep, std::memory_order_relaxed);
  here.park(w, {}, deadline);
  w.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  if (w.claim.finish() == outcome::cancelled) throw_cancelled(w);
}

}  // namespace sched

namespace this_fiber {

void yield() {
  sched::host& here = sched::current_host();
  sched::cancellation_point(*here.running);
  here.yield();
}

fiber_id id() noexcept {
  sched::fiber_record* f = sched::this_record();
  return f != nullptr ? f->id() : fiber_id{};
}

std::string_view name() noexcept {
  sched::fiber_record* f = sched::this_record();
  if (f == nullptr) return {};
  sched::fiber_extras* e = f->extras.load(std::memory_order_relaxed);
  return e != nullptr ? std::string_view(e->name) : std::string_view{};
}

void set_name(std::string name) {
  sched::fiber_record* f = sched::this_record();
  if (f == nullptr) return;
  sched::fiber_extras& e = sched::extras_of(*f);
  e.lock.lock();
  e.name.swap(name);
  e.lock.unlock();
}

bool cancel_requested() noexcept {
  sched::fiber_record* f = sched::this_record();
  return f != nullptr && sched::delivery::pending(*f);
}

void check_cancelled() {
  if (sched::fiber_record* f = sched::this_record()) sched::cancellation_point(*f);
}

bool uncancel() noexcept {
  sched::fiber_record* f = sched::this_record();
  return f != nullptr && sched::delivery::take_back(*f);
}

std::stop_token stop_token() {
  sched::fiber_record* f = sched::this_record();
  if (f == nullptr) return {};
  sched::fiber_extras& e = sched::extras_of(*f);
  std::stop_source fresh;
  e.lock.lock();
  if (!e.stop) e.stop.emplace(std::nostopstate);
  if (!e.stop->stop_possible() || e.stop->stop_requested()) e.stop->swap(fresh);
  std::stop_token token = e.stop->get_token();
  e.lock.unlock();
  if (sched::delivery::pending(*f)) sched::request_stop(*f);
  return token;
}

std::size_t stack_used() noexcept {
  sched::fiber_record* f = sched::this_record();
  if (f == nullptr) return 0;
  auto& w = static_cast<sched::worker&>(sched::current_host());
  const bool painted = w.measures_stacks() && f->coroutine == nullptr;  // their stacks are not
  return painted ? fiber::painted_high_water(*f->context.on)
                 : fiber::stack_used_now(*f->context.on);
}

std::size_t stack_size() noexcept {
  sched::fiber_record* f = sched::this_record();
  return f != nullptr ? f->context.on->size : 0;
}

}  // namespace this_fiber
}  // namespace coir
