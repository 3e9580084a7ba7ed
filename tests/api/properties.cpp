// What the interface says of its types as a whole: what the errors derive from, what moves and what
// does not, what is a range, and that every wait has its timed forms. It has to compile.
#include <coir/coir.hpp>

#include <chrono>
#include <concepts>
#include <mutex>
#include <ranges>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

namespace {

template <class E>
concept runtime_error = std::derived_from<E, std::runtime_error>;
static_assert(runtime_error<coir::channel_closed> && runtime_error<coir::timed_out> &&
              runtime_error<coir::broken_barrier> && runtime_error<coir::lagged> &&
              runtime_error<coir::all_failed> && runtime_error<coir::interrupted> &&
              runtime_error<coir::incomplete_read> && runtime_error<coir::limit_exceeded>);
static_assert(std::derived_from<coir::dead_coroutine, std::logic_error> &&
              std::derived_from<coir::connect_error, std::system_error>);
static_assert(!std::derived_from<coir::cancelled, std::exception> &&
              !std::derived_from<coir::coroutine_closed, std::exception>);
static_assert(std::is_same_v<coir::mutex, coir::timed_mutex>);
static_assert(std::ranges::input_range<coir::completed_view<std::vector<coir::task<int>>>>);
static_assert(std::ranges::input_range<coir::channel<int>>);
static_assert(std::ranges::input_range<coir::generator<int>> &&
              std::ranges::view<coir::generator<int>>);
template <class T>
concept fixed = !std::movable<T> && !std::copyable<T>;
static_assert(fixed<coir::mutex> && fixed<coir::recursive_mutex> && fixed<coir::shared_mutex> &&
              fixed<coir::condition_variable> && fixed<coir::condition_variable_any> &&
              fixed<coir::counting_semaphore<>> && fixed<coir::latch> && fixed<coir::barrier<>> &&
              fixed<coir::once_flag> && fixed<coir::event> && fixed<coir::notifier> &&
              fixed<coir::channel<int>> && fixed<coir::work_queue<int>> &&
              fixed<coir::broadcast<int>> && fixed<coir::watch<int>> && fixed<coir::task_group> &&
              fixed<coir::runtime> && fixed<coir::fiber_local<int>> &&
              fixed<coir::context_var<int>> && fixed<coir::pin_guard> &&
              fixed<coir::no_suspend_scope> && fixed<coir::timeout_scope>);
static_assert(std::movable<coir::task<int>> && !std::copyable<coir::task<int>> &&
              std::copyable<coir::task_ref<int>> && std::movable<coir::future<int>> &&
              std::copyable<coir::shared_future<int>> && std::movable<coir::promise<int>> &&
              std::movable<coir::broadcast<int>::receiver> &&
              std::movable<coir::watch<int>::receiver> && std::movable<coir::generator<int>> &&
              std::movable<coir::coroutine<int(int)>> && std::movable<coir::timer>);
// Never called.
[[maybe_unused]] void timed() {
  auto t = coir::clock::now();
  coir::mutex m;
  (void)m.try_lock_for(1s);
  (void)m.try_lock_until(t);
  coir::recursive_mutex r;
  (void)r.try_lock_for(1s);
  (void)r.try_lock_until(t);
  coir::shared_mutex s;
  (void)s.try_lock_for(1s);
  (void)s.try_lock_until(t);
  (void)s.try_lock_shared_for(1s);
  (void)s.try_lock_shared_until(t);
  coir::condition_variable c;
  std::unique_lock l(m);
  c.wait_for(l, 1s);
  c.wait_until(l, t);
  c.wait_for(l, 1s, [] { return true; });
  c.wait_until(l, t, [] { return true; });
  coir::condition_variable_any a;
  a.wait_for(s, 1s);
  a.wait_until(s, t);
  a.wait_for(s, 1s, [] { return true; });
  a.wait_until(s, t, [] { return true; });
  coir::counting_semaphore<5> q(1);
  q.acquire();
  q.acquire(2);
  (void)q.try_acquire(2);
  (void)q.try_acquire_for(1s);
  (void)q.try_acquire_until(t);
  q.release();
  q.release(2);
  static_assert(q.max() == 5);
  coir::latch la(1);
  (void)la.wait_for(1s);
  (void)la.wait_until(t);
  la.arrive_and_wait();
  (void)la.try_wait();
  coir::barrier b(1, []() noexcept {});
  (void)b.arrive_and_wait_for(1s);
  (void)b.arrive_and_wait_until(t);
  b.wait(b.arrive());
  b.arrive_and_drop();
  coir::event e;
  (void)e.wait_for(1s);
  (void)e.wait_until(t);
  coir::notifier n;
  (void)n.wait_for(1s);
  (void)n.wait_until(t);
  coir::promise<int> p;
  auto f = p.get_future();
  (void)f.wait_for(1s);
  (void)f.wait_until(t);
  coir::channel<std::string> ch;
  const std::string x;
  std::string y;
  (void)ch.try_push(x);
  (void)ch.try_push(std::move(y));
  (void)ch.push_for(x, 1s);
  (void)ch.push_until(x, t);
  (void)ch.push_for("a", 1s);
  (void)ch.pop_for(1s);
  (void)ch.pop_until(t);
  coir::work_queue<std::string> w;
  (void)w.put_for("a", 1s);
  (void)w.put_until("a", t);
  (void)w.get_for(1s);
  (void)w.get_until(t);
  (void)w.join_for(1s);
  (void)w.try_put("s");
  (void)w.try_get();
  (void)w.put_for(x, 1s);
  (void)w.put_until(x, t);
  (void)w.try_put(x);
  coir::broadcast<int> br(1);
  auto rx = br.subscribe();
  (void)rx.pop_for(1s);
  (void)rx.pop_until(t);
  (void)rx.try_pop();
  coir::watch<int> wa(1);
  auto wr = wa.subscribe();
  (void)wr.changed_for(1s);
  (void)wr.changed_until(t);
  coir::select(coir::on_timeout(t, [] {}), coir::on_timeout(1s, [] {}),
               coir::on_push(ch, x, [] {}));
  coir::task<int> k;
  (void)k.wait_for(1s);
  (void)k.wait_until(t);
  coir::task_ref<int> kr;
  (void)kr.wait_for(1s);
  kr = coir::task_ref<int>(k);
  auto id = kr.on_done([] {});
  (void)kr.remove_on_done(id);
  (void)kr.state();
  (void)kr.name();
  (void)kr.id();
  (void)kr.cancelled();
  (void)kr.error();
  std::hash<coir::fiber_id>{}(k.id());
}

}  // namespace

int main() {}
