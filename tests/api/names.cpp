// Names what the public headers promise, as a user would write it. It has to compile and link; only
// main runs, and it runs none of this. Under COIR_WHOLE_SECTIONS: what is promised and not there.
#include <coir/coir.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;

namespace {

// Which coir it is.
#if COIR_VERSION < 10000 * COIR_VERSION_MAJOR + 100 * COIR_VERSION_MINOR + COIR_VERSION_PATCH
#error COIR_VERSION is wrong
#endif
bool which() { return coir::library_version() == coir::version; }

// Where code runs.
int running() {
  int n = coir::run([] { return 1; });
  coir::run({.workers = 4, .stack_size = 64 * 1024, .reactor = coir::reactor_kind::epoll}, [] {});
  std::unique_ptr<int> moved = coir::run([] { return std::make_unique<int>(1); });
  coir::options o = coir::options::from_environment();
  o.idle_poll = 50us;
  o.measure_stacks = true;
  o.blocking_threads = 8;
  o.cancel_on_interrupt = false;
  o.shutdown_limit = 10s;
  o.on_unhandled = [](std::exception_ptr, std::string_view) {};
  for (auto kind :
       {coir::reactor_kind::automatic, coir::reactor_kind::uring, coir::reactor_kind::uring_oneshot,
        coir::reactor_kind::epoll, coir::reactor_kind::iocp}) {
    o.reactor = kind;
  }

  coir::runtime runtime{o};
  static_assert(!std::is_copy_constructible_v<coir::runtime> &&
                !std::is_move_constructible_v<coir::runtime>);
  auto task = runtime.spawn([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3));
  std::unique_ptr<int> got = task.get();
  runtime.spawn({.name = "named"}, [] {}).detach();
  n += runtime.block_on([] { return 1; });
  runtime.block_on([] { coir::runtime::current().dump(std::cout); });
  for (const coir::fiber_info& f : runtime.fibers()) {
    std::cout << f.name << f.waits_for << f.stack_used << f.worker;
    n += f.id == coir::fiber_id{} || f.state == coir::task_state::parked;
  }
  coir::runtime_metrics m = runtime.metrics();
  std::cout << m.reactor << m.reactor_reason;
  n += int(m.steals + m.switches + m.fibers_alive + m.stacks_cached);
  runtime.shutdown();
#ifdef COIR_WHOLE_SECTIONS
  n += int(m.io_in_flight + m.timers) + runtime.shutdown(1s);
#endif
  return n + *got + *moved;
}

// Tasks, and the fiber itself.
struct counter {
  int next(int) { return 1; }
};

int tasks() {
  counter c;
  int x = 0;
  int n = coir::spawn(&counter::next, &c, 3).get();
  static_assert(std::is_same_v<decltype(coir::spawn(&counter::next, &c, 3)), coir::task<int>>);
  coir::spawn([](int& v) -> int& { return v; }, std::ref(x)).get() = 4;
  coir::spawn({.name = "a", .stack_size = 1 << 20, .pinned = true}, [] {}).detach();
  coir::task<void> e;
  static_assert(!std::is_copy_constructible_v<coir::task<void>> &&
                std::is_nothrow_move_constructible_v<coir::task<void>>);
  if (!e.valid()) e = coir::spawn([] {});
#ifdef COIR_WHOLE_SECTIONS
  auto id = e.on_done([] {});
  n += e.remove_on_done(id);
#endif
  e.wait();
  bool b = e.cancel("why") && e.cancel() && e.wait_for(10ms) &&
           e.wait_until(coir::clock::now() + 1s) && e.done() && e.cancelled();
  if (e.error() || e.id() == coir::this_fiber::id()) std::cout << e.name();
  for (auto s : {coir::task_state::ready, coir::task_state::running, coir::task_state::parked,
                 coir::task_state::done}) {
    n += e.state() == s;
  }
  try {
    e.get();
  } catch (const coir::cancelled& stop) {
    std::cout << stop.reason();
  }
  static_assert(!std::is_base_of_v<std::exception, coir::cancelled>);
  return n + b;
}

int this_fiber() {
  coir::this_fiber::yield();
  coir::this_fiber::sleep_for(std::chrono::duration<double>(.5));
  coir::this_fiber::sleep_for(1min);
  coir::this_fiber::sleep_until(coir::clock::now() + 1ms);
  coir::this_fiber::sleep_until(coir::clock::time_point::max());
  coir::this_fiber::set_name("b");
  coir::this_fiber::check_cancelled();
  std::cout << coir::this_fiber::name();
  static_assert(std::is_same_v<coir::clock::time_point, std::chrono::steady_clock::time_point>);
  int n = 0;
#ifdef COIR_WHOLE_SECTIONS
  n += coir::this_fiber::stop_token().stop_requested();
#endif
  return n + coir::this_fiber::cancel_requested() + coir::this_fiber::uncancel() +
         int(coir::this_fiber::stack_used() + coir::this_fiber::stack_size());
}

// Between fibers and threads.
int synchronisation() {
  coir::mutex one, two;
  { std::scoped_lock both(one, two); }
  int n = one.try_lock_for(1ms) + one.try_lock_until(coir::clock::now() + 1ms);
  static_assert(std::is_same_v<coir::mutex, coir::timed_mutex>);
  std::unique_lock lock(one, std::defer_lock);
  coir::condition_variable changed;
  changed.wait(lock, [] { return true; });
  n += changed.wait_for(lock, 1ms) == std::cv_status::timeout;
  n += changed.wait_for(lock, 1ms, [] { return true; });
  n += changed.wait_until(lock, coir::clock::now() + 1ms) == std::cv_status::no_timeout;
  changed.notify_one();
  changed.notify_all();
  coir::counting_semaphore<> many(3);
  coir::counting_semaphore<8> few(3);
  many.acquire();
  many.acquire(3);
  many.release(2);
  n += many.try_acquire_for(1s) + many.try_acquire() + few.try_acquire(2);
  n += many.try_acquire_until(coir::clock::now());
  coir::event event;
  event.set();
  event.reset();
  event.wait();
  return n + event.wait_for(1s) + event.wait_until(coir::clock::now()) + event.is_set();
}

// Coroutines and generators.
void walk(int depth, coir::generator<int>::yield_type& yield) {
  if (depth == 0) return;
  yield(depth);
  walk(depth - 1, yield);
}

int coroutines() {
  auto co = coir::coroutine<int(std::string)>([](auto& yield, std::string) {
    std::string next = yield(1);
    yield(int(next.size()));
  });
  std::optional<int> y = co.resume("a");
  bool dead = co.status() == coir::coroutine_status::dead;
  co.close();
  auto steps = coir::coroutine<void()>([](auto& yield) { yield(); }, 64 * 1024);
  bool alive = steps.resume();
  static_assert(!std::is_base_of_v<std::exception, coir::coroutine_closed> &&
                std::is_base_of_v<std::logic_error, coir::dead_coroutine>);
  int n = coir::coroutine_running();
  for (auto s : {coir::coroutine_status::suspended, coir::coroutine_status::running,
                 coir::coroutine_status::normal, coir::coroutine_status::dead})
    n += steps.status() == s;
  for (int v : coir::generator<int>([](auto& yield) {
         yield(1);
         yield.from(std::vector{1, 2});
         walk(3, yield);
       }))
    n += v;
#if !defined(__clang__) || __clang_major__ >= 16  // older ones cannot compile libstdc++'s views
  auto three = coir::generator<int>([](auto& yield) { yield(1); }) | std::views::take(3);
  for (int v : three) n += v;
#endif
  return n + y.value_or(0) + dead + alive;
}

int channels() {
  coir::channel<std::unique_ptr<int>> ch(3);
  std::unique_ptr<int> p;
  int n = ch.try_push(std::move(p)) + ch.push_for(nullptr, 1s);
  n += ch.push_until(nullptr, coir::clock::now()) + ch.pop_for(1s).has_value();
  n += ch.pop_until(coir::clock::now()).has_value() + ch.try_pop().has_value();
  coir::channel<int> ci;
  const int copied = 3;
  n += ci.try_push(copied) + ci.push_for(copied, 1s);
  coir::channel<int>* none = nullptr;
  n += int(coir::select(coir::on_pop(ci, [](std::optional<int>) {}),
                        coir::on_pop(none, [](auto) {}), coir::on_push(ch, nullptr, [] {}),
                        coir::on_timeout(1s, [] {}), coir::otherwise([] {})));
  ch.close();
  for (auto& q : ch) n += q != nullptr;
  n += ch.drained() + ch.closed() + int(ch.size() + ch.capacity()) + !ci.try_pop();
  coir::work_queue<int, coir::by<std::less<>>> sorted(3);
  sorted.put(1);
  n += sorted.get() + sorted.try_put(1) + sorted.put_for(1, 1s) + int(sorted.size());
  n += sorted.try_get().has_value() + sorted.get_for(1s).has_value();
  sorted.task_done();
  sorted.join();
  sorted.shutdown();
  coir::work_queue<int, coir::lifo> newest;
  newest.shutdown(true);
  coir::broadcast<int> radio(3);
  auto listener = radio.subscribe();
  radio.push(1);
  try {
    n += listener.pop().value() + listener.try_pop().has_value() + listener.drained();
  } catch (const coir::lagged& e) {
    n += int(e.missed());
  }
  radio.close();
  coir::watch<std::string> setting("a");
  auto seen = setting.subscribe();
  setting.set(seen.get() + setting.get());
  setting.close();
  return n + seen.changed() + seen.changed_for(1s);
}

int more_synchronisation() {
  coir::recursive_mutex recursive;
  coir::shared_mutex shared;
  {
    std::lock_guard lock(recursive);
    std::shared_lock reads(shared);
  }
  int n = shared.try_lock_shared_for(1ms) + shared.try_lock_until(coir::clock::now());
  shared.unlock_and_lock_shared();
  coir::condition_variable_any any;
  any.wait(recursive, std::stop_token(), [] { return true; });
  n += any.wait_for(recursive, 1ms) == std::cv_status::timeout;
  coir::latch latch(1);
  latch.count_down();
  n += latch.wait_for(1s) + latch.try_wait();
  coir::barrier barrier(1, []() noexcept {});
  n += int(barrier.arrive_and_wait()) + barrier.arrive_and_wait_for(1s).has_value();
  barrier.abort();
  barrier.reset();
  n += barrier.broken();
  static_assert(std::is_base_of_v<std::runtime_error, coir::broken_barrier>);
  coir::once_flag once;
  coir::call_once(once, [] {});
  coir::notifier notifier;
  notifier.notify_one();
  notifier.notify_all();
  notifier.wait();
  n += notifier.wait_for(1s);
  return n;
}

int values_between() {
  coir::promise<int> promise;
  coir::future<int> future = promise.get_future();
  future.on_done([] {});
  int n = promise.try_set_value(6) + promise.cancelled() + future.done() + future.cancel();
  n += future.wait_for(1ms) == std::future_status::ready;
  coir::shared_future<int> shared = future.share();
  n += shared.get() + coir::make_ready_future(3).get();
  n += coir::async([](int i) { return i; }, 3).get();
  coir::fiber_local<int> local([] { return 3; });
  n += *local;
  local.reset();
  coir::context_var<std::string> context("x");
  {
    auto restore = context.scoped("y");
    context.set("z");
  }
  coir::pin_guard pin;
  coir::no_suspend_scope still;
  return n + int(context.get().size());
}

int unix_streams() {
  auto [a, b] = coir::unix_stream::pair();
  std::error_code error;
  a.send_handle(0);
  a.send_handle(0, error);
  const coir::unix_credentials peer = a.peer_credentials();
  return b.receive_handle() + b.receive_handle(error) + int(peer.pid) + int(peer.uid + peer.gid);
}

int readers_and_writers(coir::tcp_stream& stream) {
  static_assert(coir::byte_stream<coir::tcp_stream> && coir::byte_stream<coir::unix_stream>);
  std::error_code error;
  coir::server lines(coir::tcp_listener::bind(coir::endpoint::parse("[::1]:0")),
                     [](coir::tcp_stream c) {
                       coir::reader r(c);
                       while (auto line = r.read_line()) c.write(*line);
                     });
  coir::reader r(stream, 1024);
  int n = int(r.read_until("\r\n").size() + r.read_until({"\n", "x"}).size() + r.read(3).size());
  n += int(r.read_exactly(3).size() + r.read_exactly(3, error).size() + r.read_all().size());
  n += r.read_line(error).has_value() + int(r.buffered());
  coir::writer w(stream);
  w.write("x");
  w.flush();
  w.drain();
  n += int(coir::copy(stream, stream));
  coir::copy_both_ways(stream, stream);
  try {
    n += int(r.read(3).size());
  } catch (const coir::limit_exceeded& e) {
    n += int(e.limit());
  } catch (const coir::incomplete_read& e) {
    n += int(e.partial() + e.expected());
  }
  return n;
}

// Files, pipes, processes, signals.
int files_and_processes(coir::tcp_stream& stream) {
  static_assert(coir::byte_stream<coir::pipe_stream> && coir::byte_stream<coir::file>);
  std::error_code error;
  char text[64];
  auto [from, to] = coir::make_pipe();
  to.write("x");
  to.shutdown_write();
  coir::pipe_stream adopted = coir::pipe_stream::adopt(from.release());
  auto in = coir::standard_input();
  auto out = coir::standard_output();
  auto err = coir::standard_error();
  int n = int(in.read_some(text) + out.write_some("x") + err.write_some("x", error));
  auto f = coir::file::open("x.tmp", coir::open_mode::write | coir::open_mode::create, 0600);
  f = coir::file::open("x.tmp", coir::open_mode::read, error);
  f.write("x");
  n += int(f.read_at(text, 3) + f.write_at("x", 3) + f.read_some(text) + f.size());
  f.sync();
  f.truncate(3);
  n += int(coir::send_file(stream, f, 0, 3) + coir::send_file(stream, f, 0, 3, error));
  f.close();
  f = coir::file::temporary();
  auto child =
      coir::process::spawn({"cat", "-"}, {.in = coir::stdio::pipe, .out = coir::stdio::pipe});
  child.stdin_().write("x");
  n += int(child.stdout_().read_some(text)) + child.stderr_().is_open() + child.pid();
  child.kill(9);
  coir::exit_status ended = child.wait();
  n += ended.code().value_or(0) + ended.signal().value_or(0) + ended.success();
  child = coir::process::spawn({"true"},
                               {.in = coir::stdio::null,
                                .out = 2,
                                .err = coir::stdio::to_stdout,
                                .env = {{"A", "b"}},
                                .cwd = "/",
                                .handles = {3},
                                .new_session = true,
                                .uid = 1,
                                .gid = 1,
                                .kill_on_destroy = false},
                               error);
  coir::run_result all = coir::run_process({"ls", "x"}, "in", {.cwd = "/"});
  n += all.status.success() + int(all.out.size() + all.err.size());
  coir::signal_set signals{2, 15};
  n += signals.wait() + signals.wait_for(1s).value_or(0);
  try {
    coir::options interruptible;
    interruptible.cancel_on_interrupt = true;
    coir::run(interruptible, [] {});
  } catch (const coir::interrupted&) {}
  return n;
}

// Streams.
int streams() {
  std::error_code error;
  auto stream = coir::tcp_stream::connect(coir::endpoint::parse("127.0.0.1:80"));
  stream = coir::tcp_stream::connect(coir::endpoint::parse("[::1]:80"), error);
  char text[64];
  std::array<std::byte, 3> bytes{};
  std::array<std::span<const std::byte>, 2> parts{bytes, bytes};
  int n = int(stream.read_some(text) + stream.read_some(bytes, error) + stream.write_some("abc"));
  stream.read_exactly(bytes);
  stream.write("abc");
  stream.write(bytes, error);
  stream.write(parts);
  n += int(stream.bytes_read() + stream.bytes_written());
  stream.set_no_delay(true);
  stream.set_zero_copy(64 * 1024);
  stream.set_zero_copy(64 * 1024, 100ms);
  stream.shutdown_write();
  n += stream.is_open() && stream.local() == stream.remote();
  coir::tcp_stream again = coir::tcp_stream::adopt(stream.release());
  n += again.native_handle();
  again.close();
  auto listener = coir::tcp_listener::bind(coir::endpoint::parse("[::1]:0"), {.reuse_port = true});
  n += listener.local().port();
  std::cout << to_string(listener.local());
  stream = listener.accept();
  coir::server server(std::move(listener), [](coir::tcp_stream client) { client.write("x"); },
                      {.max_connections = 3});
  server.serve();
  server.stop(1s);
  const coir::serve_options limits{.max_connections = 3, .idle_timeout = 30s};
  n += limits.idle_timeout == 30s && limits.idle_at_stop > 30s;
  const coir::listen_options options{.backlog = 9, .v6_only = true, .replace_stale = true};
  for (const auto& inherited : coir::listen_handles())
    n += coir::tcp_listener::adopt(inherited.handle).is_open() + int(inherited.name.size());
  n += options.backlog;
  coir::wait_readable(0);
  coir::wait_writable(1, error);
  return n + readers_and_writers(stream) + unix_streams() + files_and_processes(stream);
}

// Messages.
int datagrams() {
  auto socket = coir::udp_socket::bind(coir::endpoint::parse("0.0.0.0:0"));
  char text[64];
  coir::datagram got = socket.recv_from(text);
  int n = int(socket.send_to("x", got.from) + got.size) + got.truncated;
  socket.connect(got.from);
  std::error_code error;
  n += int(socket.send("x", error) + socket.recv(text).size + socket.peek_from(text).size);
  socket.set_broadcast(true);
  socket.join_group(coir::endpoint::parse("239.1.2.3:0"), "lo");
  socket.leave_group(coir::endpoint::parse("239.1.2.3:0"), "lo");
  socket.set_read_deadline(coir::clock::now() + 1s);
  coir::receive_slot slots[2] = {{std::as_writable_bytes(std::span(text))}, {}};
  n += int(socket.recv_batch(slots));
  auto stream = coir::tcp_stream::connect("localhost", "80");
  for (const coir::endpoint& e : coir::resolve("localhost", "80", error)) n += e.port();
  static_assert(std::is_base_of_v<std::system_error, coir::connect_error>);
  auto [left, right] = coir::unix_datagram::pair();
  left.send("x");
  n += int(right.recv(text).size);
  socket.close();
  return n;
}

#if __has_include(<coir/io/tls_stream.hpp>)
int encrypted() {
  static_assert(coir::byte_stream<coir::tls_stream>);
  std::error_code error;
  auto trusting = coir::tls_context::client();
  trusting.add_trusted("ca.pem");
  trusting.add_trusted("ca.pem", error);
  trusting.set_verify(true);
  trusting.set_alpn({"h2", "http/1.1"});
  trusting.set_handshake_timeout(3s);
  auto shown = coir::tls_context::server("chain.pem", "key.pem");
  shown = coir::tls_context::server("chain.pem", "key.pem", error);
  auto stream = coir::tls_stream::connect(coir::tcp_stream(), trusting, "host");
  auto served = coir::tls_stream::accept(coir::unix_stream(), shown);
  stream = coir::tls_stream::connect(std::move(served), trusting, "host", error);
  served.set_read_deadline(coir::clock::now() + 1s);
  char text[64];
  int n = int(stream.read_some(text) + stream.write_some("abc") + stream.alpn().size());
  stream.read_exactly(text, error);
  stream.write("x", error);
  stream.shutdown_write();
  n += int(stream.bytes_read() + served.bytes_written()) + stream.resumed() + stream.is_open();
  n += error == coir::tls_errc::certificate_rejected;
  std::cout << to_string(stream.remote()) << stream.version();
  return n;
}
#else
int encrypted() { return 0; }
#endif

}  // namespace

int main(int argc, char**) {
  // Never true; the compiler does not know.
  if (argc < 0)
    return which() + running() + tasks() + this_fiber() + synchronisation() +
           more_synchronisation() + values_between() + coroutines() + channels() + streams() +
           datagrams() + encrypted();
}
