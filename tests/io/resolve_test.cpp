// Names to addresses: what is answered, what is refused, and a resolver that blocks (F70).
#include <algorithm>
#include <random>

#include <netdb.h>
#include <sys/wait.h>

#include "fake_names.hpp"
#include "io/resolver.hpp"
#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class resolve_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, resolve_test, every_rung(), rung_name);

std::vector<std::string> texts(const std::vector<endpoint>& all) {
  std::vector<std::string> t;
  for (const endpoint& e : all) t.push_back(to_string(e));
  return t;
}
using strings = std::vector<std::string>;

TEST_P(resolve_test, a_numeric_address_is_answered_without_a_question) {
  on_fiber([] {
    const unsigned before = fake_names::asked();
    EXPECT_EQ(texts(resolve("127.0.0.1", "80")), strings{"127.0.0.1:80"});
    EXPECT_EQ(texts(resolve("::1", "65535")), strings{"[::1]:65535"});
    EXPECT_EQ(texts(resolve("10.1.2.3", "")), strings{"10.1.2.3:0"});
    EXPECT_EQ(fake_names::asked(), before);
  });
}

TEST_P(resolve_test, the_system_knows_localhost) {
  on_fiber([] {
    const auto found = resolve("localhost", "8080");
    ASSERT_FALSE(found.empty());
    for (const endpoint& e : found) {
      EXPECT_EQ(e.port(), 8080);
      EXPECT_TRUE(to_string(e).starts_with("127.") || to_string(e).starts_with("[::1]"))
          << to_string(e);
    }
    std::error_code error;
    const auto http = resolve("127.0.0.1", "http", error);
    if (!error) {
      EXPECT_EQ(texts(http), strings{"127.0.0.1:80"});
    } else {
      EXPECT_EQ(error, resolve_errc::unknown_service) << "/etc/services is missing?";
    }
    EXPECT_EQ(error_of([] { (void)resolve("127.0.0.1", "no-such-service"); }),
              resolve_errc::unknown_service);
  });
}

TEST_P(resolve_test, each_address_comes_once_in_the_systems_order) {
  fake_names::set("many.test", {"::2", "127.0.0.9", "::2", "127.0.0.1", "127.0.0.9"});
  on_fiber([] {
    EXPECT_EQ(texts(resolve("many.test", "7")), (strings{"[::2]:7", "127.0.0.9:7", "127.0.0.1:7"}));
  });
}

TEST_P(resolve_test, each_failure_has_an_error_and_a_text_of_its_own) {
  fake_names::fail("none.test", EAI_NONAME);
  fake_names::fail("empty.test", EAI_NODATA);
  fake_names::fail("again.test", EAI_AGAIN);
  fake_names::fail("fail.test", EAI_FAIL);
  fake_names::fail("memory.test", EAI_MEMORY);
  fake_names::fail("system.test", EAI_SYSTEM, EMFILE);
  fake_names::set("list.test", {});
  on_fiber([] {
    const std::pair<const char*, std::error_code> expected[] = {
        {"none.test", resolve_errc::host_not_found},
        {"empty.test", resolve_errc::no_address},
        {"again.test", resolve_errc::try_again},
        {"fail.test", resolve_errc::refused},
        {"memory.test", std::make_error_code(std::errc::not_enough_memory)},
        {"system.test", {EMFILE, std::system_category()}},
        {"list.test", resolve_errc::no_address},
        {"", resolve_errc::empty_host},
    };
    std::vector<std::string> messages;
    for (const auto& [host, code] : expected) {
      std::error_code error;
      EXPECT_TRUE(resolve(host, "80", error).empty());
      EXPECT_EQ(error, code) << host << ": " << error.message();
      try {
        (void)resolve(host, "80");
        ADD_FAILURE() << host;
      } catch (const std::system_error& e) {
        EXPECT_EQ(e.code(), code);
        EXPECT_NE(std::string(e.what()).find('"' + std::string(host) + '"'), std::string::npos);
      }
    }
    for (int e = 1; e <= static_cast<int>(resolve_errc::bad_port); ++e)
      messages.push_back(resolve_category().message(e));
    std::sort(messages.begin(), messages.end());
    EXPECT_EQ(std::unique(messages.begin(), messages.end()), messages.end());
    EXPECT_EQ(std::error_code(resolve_errc::try_again), std::errc::resource_unavailable_try_again);
    EXPECT_EQ(std::error_code(resolve_errc::bad_host), std::errc::invalid_argument);
    EXPECT_STREQ(resolve_category().name(), "coir.resolve");
  });
}

// F70
TEST_P(resolve_test, hostile_names_are_refused_without_a_question) {
  on_fiber([] {
    const unsigned before = fake_names::asked();
    const auto refused = [](std::string_view host, std::string_view service) {
      try {
        (void)resolve(host, service);
      } catch (const std::system_error& e) {
        EXPECT_EQ(std::string_view(e.what()).find('\n'), std::string_view::npos);
        EXPECT_LT(std::string_view(e.what()).size(), 400U);
        return e.code();
      }
      return std::error_code();
    };
    EXPECT_EQ(refused(std::string(300, 'a'), "80"), resolve_errc::host_too_long);
    EXPECT_EQ(refused(std::string(254, 'a'), "80"), resolve_errc::host_too_long);
    EXPECT_EQ(refused(std::string(1 << 20, 'a'), "80"), resolve_errc::host_too_long);
    EXPECT_EQ(refused(std::string_view("a\0b", 3), "80"), resolve_errc::bad_host);
    EXPECT_EQ(refused("a\nb", "80"), resolve_errc::bad_host);
    EXPECT_EQ(refused("", "80"), resolve_errc::empty_host);
    for (const std::string_view port :
         {"65536", "-1", "+80", " 80", "80 ", "99999999999999999999", "\n",
          "a-name-that-is-longer-than-the-names-of-services-are-in-any-system"})
      EXPECT_EQ(refused("localhost", port), resolve_errc::bad_port) << port;
    EXPECT_EQ(refused("localhost", std::string_view("80\0", 3)), resolve_errc::bad_port);
    EXPECT_EQ(fake_names::asked(), before);
    fake_names::set(std::string(253, 'a'), {"127.0.0.1"});  // the longest that there may be
    EXPECT_EQ(resolve(std::string(253, 'a'), "80").size(), 1U);
  });
}

// F70: more names than are asked for at a time, and nobody answers.
TEST_P(resolve_test, a_blocked_resolver_blocks_those_alone_who_ask_it) {
  fake_names::set("quick.test", {"127.0.0.1"});
  on_fiber([] {
    std::vector<task<void>> stuck;
    task<std::size_t> behind;
    {
      const fake_names::blockade none_answers;
      for (unsigned i = 0; i < io::most_questions + 8; ++i)
        stuck.push_back(spawn([i] { (void)resolve(std::to_string(i) + ".blocked", "80"); }));
      EXPECT_TRUE(
          eventually_on_fiber([] { return fake_names::blocked_now() == io::most_questions; }));
      behind = spawn([] { return resolve("quick.test", "80").size(); });
      await_parked(behind);

      auto [a, b] = tcp_pair();
      char buffer[8];
      for (int i = 0; i < 100; ++i) {
        a.write("x");
        EXPECT_EQ(b.read_some(buffer), 1U);
      }
      EXPECT_EQ(offload([] { return 7; }), 7);
      EXPECT_EQ(resolve("127.0.0.1", "80").size(), 1U);
      bool said = false;
      for (const fiber_info& f : runtime::current().fibers())
        said = said || f.waits_for == "the address of a name";
      EXPECT_TRUE(said);

      // Cancelled, they return while the resolver goes on.
      for (auto& t : stuck) t.cancel();
      for (auto& t : stuck) EXPECT_THROW(t.get(), cancelled);
      EXPECT_EQ(fake_names::blocked_now(), io::most_questions);
      EXPECT_THROW(with_timeout(5ms, [] { (void)resolve("t.blocked", "80"); }), timed_out);
      EXPECT_FALSE(behind.done());
    }
    EXPECT_EQ(behind.get(), 1U);
  });
}

TEST_P(resolve_test, a_question_that_nobody_waits_for_any_more_is_not_asked) {
  on_fiber([] {
    std::vector<task<void>> stuck, dropped;
    unsigned asked = 0;
    {
      const fake_names::blockade none_answers;
      for (unsigned i = 0; i < io::most_questions; ++i)
        stuck.push_back(spawn([] { (void)resolve("a.blocked", "80"); }));
      EXPECT_TRUE(
          eventually_on_fiber([] { return fake_names::blocked_now() == io::most_questions; }));
      asked = fake_names::asked();
      for (int i = 0; i < 10; ++i) {
        dropped.push_back(spawn([] { (void)resolve("b.blocked", "80"); }));
        await_parked(dropped.back());
      }
      for (auto& t : dropped) t.cancel();
      for (auto& t : dropped) EXPECT_THROW(t.get(), cancelled);
    }
    for (auto& t : stuck) EXPECT_EQ(error_of([&] { t.get(); }), resolve_errc::host_not_found);
    fake_names::set("last.test", {"127.0.0.1"});
    (void)resolve("last.test", "80");  // behind them, if they were still in the line
    EXPECT_EQ(fake_names::asked(), asked + 1);
  });
}

TEST_P(resolve_test, a_runtime_ends_while_its_names_are_still_looked_for) {
  const fake_names::blockade none_answers;
  runtime r({.workers = GetParam().workers, .reactor = GetParam().kind});
  auto left = r.spawn([] { (void)resolve("end.blocked", "80"); });
  EXPECT_TRUE(eventually([] { return fake_names::blocked_now() == 1; }));
  r.shutdown();
  EXPECT_THROW(left.get(), cancelled);
  EXPECT_EQ(fake_names::blocked_now(), 1U);
}

TEST_P(resolve_test, cancellation_races_with_the_answer) {
  fake_names::set("race.test", {"127.0.0.1"});
  on_fiber([] {
    std::atomic<unsigned> values{0}, cancellations{0};
    const auto race = [&](unsigned seed) {
      std::mt19937 random(seed);
      for (int i = 0; i < rounds(300); ++i) {
        auto t = spawn([] { return resolve("race.test", "80").size(); });
        if (random() % 2) {
          const auto end = clock::now() + std::chrono::microseconds(random() % 200);
          while (!t.done() && clock::now() < end) this_fiber::yield();
        } else if (random() % 2) {
          while (!t.done()) this_fiber::yield();
        }
        t.cancel();
        try {
          EXPECT_EQ(t.get(), 1U);
          ++values;
        } catch (const cancelled&) {
          ++cancellations;
        }
      }
    };
    std::vector<task<void>> races;
    for (unsigned t = 1; t <= 4; ++t) races.push_back(spawn(race, t));
    for (auto& r : races) r.get();
    std::printf("values %u, cancellations %u\n", values.load(), cancellations.load());
    EXPECT_GT(values.load() * 100, values.load() + cancellations.load());
    EXPECT_GT(cancellations.load() * 100, values.load() + cancellations.load());
  });
}

TEST(plain_thread, may_not_resolve) {
  EXPECT_EQ(error_of([] { (void)resolve("localhost", "80"); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { (void)resolve("127.0.0.1", "80"); }), std::errc::operation_not_permitted);
}

// Its parent's threads are not there, and the parent may have held a lock.
TEST(forked_child, can_resolve) {
  if (fiber::sanitizers::thread) GTEST_SKIP() << "no threads in a child of several";
  fake_names::set("child.test", {"127.0.0.1"});
  const auto ask = [] {
    runtime r({.workers = 1});
    return r.block_on([] { return resolve("child.test", "80").size() == 1; });
  };
  EXPECT_TRUE(ask());
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(ask() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace coir::testing
