// Each blocking call on the real drivers, begun on one worker and ended on another, both named. The
// fiber becomes ready behind one that never lets go of its worker, so a thief has to take it.
#include <sys/socket.h>
#include <unistd.h>

#include "io_fixture.hpp"
#include "moving.hpp"

namespace coir::testing {
namespace {

class moved_call_test : public io_test {
 protected:
  struct trip {
    std::atomic<unsigned> before{nowhere}, after{nowhere};
  };

  // Starts on the calling worker, where the caller is pinned, and may be stolen once it has begun.
  template <class Block>
  static task<void> start(trip& t, Block block) {
    return spawn(here_only, [&t, block = std::move(block)]() mutable {
      t.before = this_worker();
      set_pinned(false);
      block();
      t.after = this_worker();
    });
  }

  static void expect_moved(const char* call, const trip& t) {
    std::printf("%s began on worker %u and ended on worker %u\n", call, t.before.load(),
                t.after.load());
    EXPECT_EQ(t.before.load(), this_worker());
    EXPECT_NE(t.after.load(), t.before.load());
  }

  // `wake` ends the call from the calling fiber, which is the hog itself. A deadline may end it
  // before that one comes to be the hog, on a busy machine.
  template <class Block, class Wake>
  void moves(const char* call, Block block, Wake wake) {
    on_fiber([&] {
      set_pinned(true);
      for (int attempt = 1; attempt <= 50; ++attempt) {
        trip t;
        auto moving = start(t, block);
        ASSERT_TRUE(eventually_on_fiber(
            [&] { return t.after != nowhere || moving.state() == task_state::parked; }));
        if (t.after != nowhere) continue;
        wake();
        EXPECT_TRUE(hog_until([&] { return t.after != nowhere; })) << call;
        moving.wait();
        return expect_moved(call, t);
      }
      ADD_FAILURE() << call << " was always over too soon";
    });
  }

  // The kernel ends the call: in one look of its worker two fibers become ready, the hog first as a
  // rule. `begin` gives the call and what ends it, which must not park.
  template <class Begin>
  void moves_at_completion(const char* call, Begin begin) {
    on_fiber([&] {
      set_pinned(true);
      for (int attempt = 1; attempt <= 50; ++attempt) {
        trip t;
        auto [mine, peer] = unix_stream::pair();
        auto [block, end] = begin();
        auto hog = spawn(here_only, [&t, &mine = mine] {
          char c[1];
          EXPECT_EQ(mine.read_some(c), 1U);
          hog_until([&] { return t.after != nowhere; }, 500ms);
        });
        await_parked(hog);
        auto moving = start(t, std::move(block));
        await_parked(moving);
        EXPECT_EQ(::send(peer.native_handle(), "x", 1, 0), 1);
        end();
        hog.wait();
        moving.wait();
        if (t.before == t.after && attempt != 50) continue;  // the hog came second
        return expect_moved(call, t);
      }
    });
  }
};
INSTANTIATE_TEST_SUITE_P(rungs, moved_call_test, ::testing::ValuesIn(rungs({2, 4})), rung_name);

TEST_P(moved_call_test, read_some) {
  moves_at_completion("read_some", [] {
    auto ends = std::make_shared<std::pair<tcp_stream, tcp_stream>>(tcp_pair());
    return std::pair(
        [ends] {
          char c[4];
          EXPECT_EQ(ends->first.read_some(c), 1U);
          EXPECT_EQ(c[0], 'y');
        },
        [ends] { EXPECT_EQ(::send(ends->second.native_handle(), "y", 1, 0), 1); });
  });
}

TEST_P(moved_call_test, write_some) {
  moves_at_completion("write_some", [] {
    auto ends = std::make_shared<std::pair<unix_stream, unix_stream>>(unix_stream::pair());
    const std::vector<char> much(64 * 1024);
    while (::send(ends->first.native_handle(), much.data(), much.size(), MSG_DONTWAIT) > 0) {}
    return std::pair(
        [ends] { EXPECT_EQ(ends->first.write_some(std::string_view("y")), 1U); },
        [ends] {
          std::vector<char> into(64 * 1024);
          while (::recv(ends->second.native_handle(), into.data(), into.size(), MSG_DONTWAIT) > 0) {
          }
        });
  });
}

TEST_P(moved_call_test, accept) {
  moves_at_completion("accept", [] {
    auto listener = std::make_shared<tcp_listener>(tcp_listener::bind(any_port));
    return std::pair([listener] { EXPECT_TRUE(listener->accept().is_open()); },
                     [listener] {
                       const endpoint at = listener->local();
                       const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                       EXPECT_EQ(::connect(client, static_cast<const sockaddr*>(at.native()),
                                           static_cast<socklen_t>(at.native_size())),
                                 0);
                       ::close(client);
                     });
  });
}

TEST_P(moved_call_test, wait_readable) {
  moves_at_completion("wait_readable", [] {
    auto ends = std::make_shared<std::pair<unix_stream, unix_stream>>(unix_stream::pair());
    return std::pair([ends] { wait_readable(ends->first.native_handle()); },
                     [ends] { EXPECT_EQ(::send(ends->second.native_handle(), "y", 1, 0), 1); });
  });
}

TEST_P(moved_call_test, sleep_for) {
  moves(
      "sleep_for", [] { this_fiber::sleep_for(10ms); }, [] {});
}

TEST_P(moved_call_test, read_some_with_a_deadline) {
  // Under the home contract only the owner can stop an operation: it waits for the hog.
  if (GetParam().kind != reactor_kind::epoll) GTEST_SKIP() << "the ring is the hog's";
  auto ends = std::make_shared<std::pair<unix_stream, unix_stream>>();
  moves(
      "read_some, by its deadline",
      [ends] {
        *ends = unix_stream::pair();
        ends->first.set_read_deadline(clock::now() + 10ms);
        char c[1];
        EXPECT_EQ(error_of([&] { (void)ends->first.read_some(c); }), std::errc::timed_out);
        *ends = {};
      },
      [] {});
}

TEST_P(moved_call_test, mutex_lock) {
  mutex m;
  on_fiber([&] {
    set_pinned(true);
    trip t;
    m.lock();
    auto moving = start(t, [&] {
      m.lock();
      m.unlock();
    });
    await_parked(moving);
    m.unlock();
    EXPECT_TRUE(hog_until([&] { return t.after != nowhere; }));
    moving.wait();
    expect_moved("mutex::lock", t);
  });
}

TEST_P(moved_call_test, event_wait) {
  event e;
  moves(
      "event::wait", [&] { e.wait(); }, [&] { e.set(); });
}

TEST_P(moved_call_test, task_get) {
  on_fiber([&] {
    set_pinned(true);
    trip t;
    event go;
    auto joined = spawn(here_only, [&] {
      go.wait();
      return 5;
    });
    while (joined.state() != task_state::parked) this_fiber::yield();
    auto moving = start(t, [&] { EXPECT_EQ(joined.get(), 5); });
    await_parked(moving);
    // Of those who joined it the last runs first.
    auto hog = spawn(here_only, [&] {
      joined.wait();
      EXPECT_TRUE(hog_until([&] { return t.after != nowhere; }));
    });
    await_parked(hog);
    go.set();
    hog.wait();
    moving.wait();
    expect_moved("task::get", t);
  });
}

}  // namespace
}  // namespace coir::testing
