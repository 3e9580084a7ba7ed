// F9: an error that nobody reads is reported once, with the name of its fiber.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <algorithm>
#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class unhandled_test : public runtime_test {
 protected:
  unhandled_test() {
    opts.on_unhandled = [this](const std::exception_ptr& error, std::string_view name) {
      std::lock_guard lock(lock_);
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        reports_.push_back(std::string(name) + ": " + e.what());
      } catch (...) {
        reports_.push_back(std::string(name) + ": unknown");
      }
    };
  }
  std::vector<std::string> reports() {
    std::lock_guard lock(lock_);
    return reports_;
  }
  void expect_reports(std::vector<std::string> expected) {
    EXPECT_TRUE(eventually([&] { return reports().size() >= expected.size(); }, 3s));
    std::this_thread::sleep_for(1ms);
    EXPECT_EQ(reports(), expected);
  }
  static spawn_options named(const char* name) {
    return {.name = name, .stack_size = 0, .pinned = false};
  }

 private:
  std::mutex lock_;
  std::vector<std::string> reports_;
};
INSTANTIATE_TEST_SUITE_P(, unhandled_test, every_setting(), name_of);

TEST_P(unhandled_test, of_a_detached_task) {
  rt().spawn(named("lost"), [] { throw std::runtime_error("boom"); }).detach();
  expect_reports({"lost: boom"});
  EXPECT_EQ(rt().block_on([] { return 1; }), 1) << "the runtime goes on";
}

TEST_P(unhandled_test, of_a_task_whose_handle_goes) {
  on_fiber([] {
    auto t = spawn(named("dropped"), [] { throw 7; });
    t.wait();
    EXPECT_TRUE(t.done());
  });
  expect_reports({"dropped: unknown"});
}

TEST_P(unhandled_test, not_of_an_error_that_was_read) {
  on_fiber([] {
    auto got = spawn(named("got"), [] { throw std::runtime_error("read"); });
    EXPECT_THROW(got.get(), std::runtime_error);
    auto seen = spawn(named("seen"), [] { throw std::runtime_error("read"); });
    EXPECT_NE(seen.error(), nullptr);
  });
  expect_reports({});
}

TEST_P(unhandled_test, not_of_a_task_that_was_cancelled) {
  on_fiber([] {
    auto t = spawn(named("cancelled"), [] { event().wait(); });
    t.cancel();
    t.wait();
    spawn(named("never ran"), [] {}).cancel();
  });
  expect_reports({});
}

TEST_P(unhandled_test, of_one_that_fails_while_it_is_cancelled) {
  on_fiber([] {
    auto t = spawn(named("clumsy"), [] {
      try {
        event().wait();
      } catch (const cancelled&) {
        throw std::runtime_error("on the way out");
      }
    });
    while (t.state() != task_state::parked) this_fiber::yield();
  });
  expect_reports({"clumsy: on the way out"});
}

// F7: what the last words of a cancelled fiber throw is its error; a destructor that may throw
// while it unwinds ends the process, as the language wants.
TEST_P(unhandled_test, of_one_that_finds_no_memory_while_it_is_cancelled) {
  struct careful {
    std::atomic<int>& coped;
    ~careful() {
      try {
        throw std::bad_alloc();
      } catch (const std::bad_alloc&) {
        ++coped;
      }
    }
  };
  std::atomic<int> coped{0};
  on_fiber([&] {
    auto cleans_up = spawn(named("forgetful"), [&] {
      const careful guard{coped};
      try {
        event().wait();
      } catch (...) {
        throw std::bad_alloc();
      }
    });
    auto unwinds = spawn(named("careful"), [&] {
      const careful guard{coped};
      event().wait();
    });
    while (cleans_up.state() != task_state::parked || unwinds.state() != task_state::parked)
      this_fiber::yield();
    cleans_up.cancel();
    unwinds.cancel();
    unwinds.wait();
    EXPECT_TRUE(unwinds.cancelled());
    cleans_up.wait();
    EXPECT_FALSE(cleans_up.cancelled());
  });
  EXPECT_EQ(coped, 2);
  expect_reports({"forgetful: std::bad_alloc"});
}

TEST_P(unhandled_test, each_once_when_many_fail_at_once) {
  on_fiber([] {
    for (int i = 0; i < 100; ++i) spawn([] { throw std::runtime_error("x"); }).detach();
  });
  expect_reports(std::vector<std::string>(100, ": x"));
}

TEST_P(unhandled_test, without_a_handler_it_is_a_line_on_stderr) {
  opts.on_unhandled = nullptr;
  ::testing::internal::CaptureStderr();
  rt().spawn(named("talker"), [] { throw std::runtime_error("read me"); }).detach();
  EXPECT_TRUE(eventually([&] { return rt().metrics().fibers_alive == 0; }));
  stop();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("'talker'"), std::string::npos) << text;
  EXPECT_NE(text.find("read me"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_P(unhandled_test, a_cancellation_that_was_met_in_a_join_names_whose_it_was) {
  opts.on_unhandled = nullptr;
  ::testing::internal::CaptureStderr();
  on_fiber([] {
    auto joined = spawn([] { this_fiber::sleep_for(1h); });
    auto joiner = spawn([of = task_ref<void>(joined)]() mutable { of.get(); });
    while (joiner.state() != task_state::parked) this_fiber::yield();
    joined.cancel();
    joiner.detach();
    joined.wait();
  });
  stop();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("for which it waited, was cancelled"), std::string::npos) << text;
}

TEST_P(unhandled_test, a_handler_that_throws_does_no_harm) {
  opts.on_unhandled = [](const std::exception_ptr&, std::string_view) { throw 1; };
  ::testing::internal::CaptureStderr();
  rt().spawn([] { throw 2; }).detach();
  EXPECT_TRUE(eventually([&] { return rt().metrics().fibers_alive == 0; }));
  stop();
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("on_unhandled"), std::string::npos);
}

// In a process of its own, because a mistake here is a crash.
TEST(late_references, a_result_whose_last_reference_was_a_cancellation_may_wait_in_its_destructor) {
  struct waits {
    mutex* m;
    explicit waits(mutex* held) : m(held) {}
    waits(waits&& other) noexcept : m(std::exchange(other.m, nullptr)) {}
    ~waits() {
      if (m == nullptr) return;
      m->lock();
      m->unlock();
    }
  };
  const int status = in_child(10s, [] {
    mutex m;
    auto r = make_runtime(1);
    std::atomic<bool> started{false}, go{false};
    auto t = r->spawn([&] {
      started = true;
      while (!go) std::this_thread::yield();
      return waits(&m);
    });
    while (!started) std::this_thread::yield();
    t.cancel();  // a message that is handled once the fiber has ended
    t.detach();
    go = true;
    r.reset();
    return 0;
  });
  EXPECT_EQ(status, 0) << "the worker destroyed it on no fiber";
}

}  // namespace
}  // namespace coir::testing
