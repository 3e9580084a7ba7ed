// The exceptions in flight belong to the coroutine: its resumer sees its own, and a yield may stand
// anywhere.
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "coroutine_fixture.hpp"

namespace coir::testing {
namespace {

class coroutine_exceptions_test : public anywhere_test {};
INSTANTIATE_TEST_SUITE_P(, coroutine_exceptions_test, worker_counts(), name_of);

// Runs f on a thread that has done nothing else.
template <class F>
void on_a_new_thread(F&& f) {
  std::thread(std::forward<F>(f)).join();
}

// F10
TEST_P(coroutine_exceptions_test,
       a_yield_in_a_catch_block_keeps_the_exception_over_a_change_of_threads) {
  anywhere([] {
    coroutine<int()> co([](auto& yield) {
      try {
        try {
          throw std::string("kept");
        } catch (const std::string&) {
          yield(1);
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          throw;
        }
      } catch (const std::string& s) {
        EXPECT_EQ(s, "kept");
        yield(2);
      }
    });
    EXPECT_EQ(co.resume(), 1);
    EXPECT_EQ(std::current_exception(), nullptr);
    on_a_new_thread([&] {
      try {
        throw 7;
      } catch (int n) {
        EXPECT_EQ(co.resume(), 2);
        EXPECT_EQ(n, 7);
        EXPECT_THROW(std::rethrow_exception(std::current_exception()), int);
      }
      EXPECT_EQ(std::current_exception(), nullptr);
    });
    EXPECT_FALSE(co.resume());
    EXPECT_EQ(std::current_exception(), nullptr);
  });
}

TEST_P(coroutine_exceptions_test, a_body_begins_without_any_and_leaves_the_resumers_alone) {
  anywhere([] {
    struct resumes {
      ~resumes() {
        EXPECT_EQ(std::uncaught_exceptions(), 1);
        coroutine<void()> co([](auto& yield) {
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          EXPECT_EQ(std::current_exception(), nullptr);
          try {
            throw 1;
          } catch (int) {
            yield();
          }
        });
        co.resume();
        EXPECT_EQ(std::uncaught_exceptions(), 1);
        co.resume();
        EXPECT_EQ(std::uncaught_exceptions(), 1);
      }
    };
    try {
      resumes at_end;
      throw std::string("the resumer's");
    } catch (const std::string& s) {
      EXPECT_EQ(s, "the resumer's");
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
}

// F11
TEST_P(coroutine_exceptions_test,
       a_yield_in_a_destructor_while_unwinding_counts_right_on_both_sides) {
  anywhere([] {
    coroutine<int()> co([](auto& yield) {
      struct yields {
        coroutine<int()>::yield_type& yield;
        ~yields() {
          EXPECT_EQ(std::uncaught_exceptions(), 1);
          yield(std::uncaught_exceptions());
          EXPECT_EQ(std::uncaught_exceptions(), 1);
        }
      };
      try {
        yields at_end{yield};
        throw std::runtime_error("in flight");
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "in flight");
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        yield(0);
      }
    });
    EXPECT_EQ(co.resume(), 1);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    on_a_new_thread([&] {
      EXPECT_EQ(co.resume(), 0);
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
    EXPECT_FALSE(co.resume());
  });
}

// F12
struct deep {
  static void down(coroutine<int()>::yield_type& yield, int number, int level) {
    try {
      throw number * 1000 + level;
    } catch (int) {
      yield(level);
      if (level % 5 == 0) this_fiber::sleep_for(20us);
      if (level < 32) down(yield, number, level + 1);
      yield(-level);
      EXPECT_EQ(std::uncaught_exceptions(), 0);
      try {
        throw;
      } catch (int again) {
        EXPECT_EQ(again, number * 1000 + level);
      }
    }
  }
};

TEST_P(coroutine_exceptions_test, nested_32_deep_with_a_yield_at_each_level_they_keep_their_order) {
  on_fiber([] {
    std::vector<task<int>> all;
    for (int fiber = 1; fiber <= 4; ++fiber)
      all.push_back(spawn([fiber] {
        std::vector<coroutine<int()>> several;
        for (int n = 0; n < 3; ++n)
          several.emplace_back(
              [number = fiber * 10 + n](auto& yield) { deep::down(yield, number, 1); });
        int values = 0;
        for (bool any = true; any;) {
          any = false;
          for (auto& co : several) {
            if (co.status() == coroutine_status::dead || !co.resume()) continue;
            any = true;
            ++values;
            EXPECT_EQ(std::current_exception(), nullptr);
            if (values % 7 == 0) this_fiber::yield();
          }
        }
        return values;
      }));
    for (auto& t : all) EXPECT_EQ(t.get(), 3 * 64);
  });
}

TEST_P(coroutine_exceptions_test, an_error_passes_through_a_chain_of_coroutines) {
  anywhere([] {
    struct tool {
      static void nest(int depth) {
        if (depth == 0) throw std::runtime_error("from below");
        coroutine<void()>([depth](auto&) { nest(depth - 1); }).resume();
      }
    };
    try {
      tool::nest(100);
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "from below");
    }
    EXPECT_EQ(std::current_exception(), nullptr);
    EXPECT_FALSE(coroutine_running());
  });
}

}  // namespace
}  // namespace coir::testing
