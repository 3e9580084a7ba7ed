// How a coroutine that has not returned is ended: by close(), or by its destructor.
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "coroutine_fixture.hpp"

namespace coir::testing {
namespace {

class coroutine_close_test : public anywhere_test {};
INSTANTIATE_TEST_SUITE_P(, coroutine_close_test, worker_counts(), name_of);

// Says at its end how many exceptions it sees in flight, and on which stack it lies.
struct witness {
  std::vector<int>& seen;
  ~witness() {
    EXPECT_TRUE(coroutine_running());
    seen.push_back(std::uncaught_exceptions());
  }
};

TEST_P(coroutine_close_test, close_unwinds_the_body_where_it_stands) {
  anywhere([] {
    std::vector<int> seen;
    bool after = false;
    coroutine<int()> co([&](auto& yield) {
      witness outer{seen};
      try {
        witness inner{seen};
        yield(1);
        after = true;
      } catch (const std::exception&) {
        ADD_FAILURE() << "coroutine_closed is no std::exception";
      }
    });
    co.resume();
    co.close();
    EXPECT_FALSE(after);
    EXPECT_EQ(seen, (std::vector{1, 1}));
    EXPECT_EQ(co.status(), coroutine_status::dead);
    EXPECT_NO_THROW(co.close());  // dead: nothing
    EXPECT_THROW(co.resume(), dead_coroutine);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
}

// F15
TEST_P(coroutine_close_test, the_destructor_runs_the_bodys_destructors_once_on_its_own_stack) {
  struct nested {
    static void down(coroutine<void()>::yield_type& yield, int depth, int& alive) {
      counted here(alive);
      if (depth == 0)
        yield();
      else
        down(yield, depth - 1, alive);
    }
  };
  anywhere([] {
    int alive = 0;
    std::vector<int> seen;
    {
      coroutine<void()> co([&, captured = counted(alive)](auto& yield) {
        witness w{seen};
        nested::down(yield, 20, alive);
      });
      co.resume();
      EXPECT_EQ(alive, 22);
    }
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(seen, std::vector{1});
  });
}

// F15
TEST_P(coroutine_close_test, it_may_be_destroyed_while_the_destroyer_unwinds) {
  anywhere([] {
    std::vector<int> seen;
    try {
      try {
        coroutine<void()> co([&](auto& yield) {
          witness w{seen};
          try {
            throw std::string("the body's own");
          } catch (const std::string&) {
            yield();
            throw;
          }
        });
        co.resume();
        throw 5;
      } catch (int n) {
        EXPECT_EQ(n, 5);
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        coroutine<void()> again([&](auto& yield) {
          witness w{seen};
          EXPECT_EQ(std::current_exception(), nullptr);
          yield();
        });
        again.resume();
        throw;
      }
    } catch (int n) {
      EXPECT_EQ(n, 5);
    }
    EXPECT_EQ(seen, (std::vector{1, 1}));
    EXPECT_EQ(std::current_exception(), nullptr);
  });
}

TEST_P(coroutine_close_test, one_that_has_not_started_is_destroyed_without_running) {
  anywhere([] {
    int alive = 0;
    {
      coroutine<void()> by_destructor([c = counted(alive)](auto&) { ADD_FAILURE(); });
      coroutine<void()> by_close([c = counted(alive)](auto&) { ADD_FAILURE(); });
      EXPECT_EQ(alive, 2);
      by_close.close();
      EXPECT_EQ(alive, 1);
      EXPECT_EQ(by_close.status(), coroutine_status::dead);
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(coroutine_close_test, a_body_that_swallows_it_gets_it_again_at_every_later_yield) {
  anywhere([] {
    int thrown = 0;
    coroutine<int(int)> co([&](auto& yield, int) {
      for (int i = 0; i < 5; ++i) try {
          yield(i);
        } catch (const coroutine_closed&) {
          ++thrown;
        }
      return 9;
    });
    EXPECT_EQ(co.resume(0), 0);
    co.close();  // what it returns is dropped
    EXPECT_EQ(thrown, 5);
    EXPECT_EQ(co.status(), coroutine_status::dead);
  });
}

TEST_P(coroutine_close_test,
       another_error_that_leaves_the_body_is_rethrown_by_close_and_dropped_otherwise) {
  anywhere([] {
    const auto body = [](auto& yield) {
      try {
        yield();
      } catch (...) {
        throw std::runtime_error("while closing");
      }
    };
    coroutine<void()> closed(body);
    closed.resume();
    EXPECT_THROW(closed.close(), std::runtime_error);
    EXPECT_EQ(closed.status(), coroutine_status::dead);
    EXPECT_NO_THROW(closed.close());
    coroutine<void()> destroyed(body);
    destroyed.resume();
  });
}

TEST_P(coroutine_close_test, a_coroutine_closed_that_nobody_asked_for_is_an_error_like_any_other) {
  anywhere([] {
    coroutine<void()> co([](auto&) { throw coroutine_closed(); });
    EXPECT_THROW(co.resume(), coroutine_closed);
  });
}

// F81
TEST_P(coroutine_close_test, close_of_the_running_one_and_close_while_closing_are_errors) {
  anywhere([] {
    int refused = 0;
    coroutine<void()>* self = nullptr;
    struct closes {
      coroutine<void()>*& which;
      int& refused;
      ~closes() {
        try {
          which->close();
        } catch (const std::logic_error&) {
          ++refused;
        }
        EXPECT_EQ(which->status(), coroutine_status::running);
      }
    };
    coroutine<void()> co([&](auto& yield) {
      closes at_end{self, refused};
      EXPECT_THROW(self->close(), std::logic_error);
      yield();
    });
    self = &co;
    co.resume();
    co.close();
    EXPECT_EQ(refused, 1);
    EXPECT_EQ(co.status(), coroutine_status::dead);
  });
}

TEST_P(coroutine_close_test, a_destructor_that_resumes_others_runs_while_its_body_unwinds) {
  anywhere([] {
    int sum = 0;
    struct uses {
      int& sum;
      ~uses() {
        for (int v : generator<int>([](auto& yield) {
               EXPECT_EQ(std::uncaught_exceptions(), 0);
               yield(1);
               yield(2);
             }))
          sum += v;
        EXPECT_EQ(std::uncaught_exceptions(), 1);
      }
    };
    {
      coroutine<void()> co([&](auto& yield) {
        uses at_end{sum};
        yield();
      });
      co.resume();
    }
    EXPECT_EQ(sum, 3);
  });
}

// F82: each level is on a stack of its own, which is there already.
TEST_P(coroutine_close_test, ten_thousand_coroutines_each_close_the_one_before) {
  const int count = sanitized ? 2'000 : 10'000;
  anywhere([count] {
    int deepest = 0;
    int depth = 0;
    {
      std::vector<coroutine<void()>> all;
      all.reserve(static_cast<std::size_t>(count));
      struct closes {
        coroutine<void()>* before;
        int& depth;
        int& deepest;
        ~closes() {
          deepest = std::max(deepest, ++depth);
          if (before != nullptr) before->close();
          --depth;
        }
      };
      for (int i = 0; i < count; ++i) {
        coroutine<void()>* before = all.empty() ? nullptr : &all.back();
        all.emplace_back([&, before](auto& yield) {
          closes at_end{before, depth, deepest};
          yield();
        });
        all.back().resume();
      }
      all.back().close();
      EXPECT_EQ(deepest, count);
      for (auto& co : all) EXPECT_EQ(co.status(), coroutine_status::dead);
    }
    EXPECT_EQ(depth, 0);
  });
}

// F82
TEST_P(coroutine_close_test, ten_thousand_coroutines_each_own_the_one_before) {
  const int count = sanitized ? 2'000 : 10'000;
  anywhere([count] {
    int alive = 0;
    {
      coroutine<void()> last;
      for (int i = 0; i < count; ++i) {
        coroutine<void()> next([before = std::move(last), c = counted(alive)](auto& yield) mutable {
          const coroutine<void()> mine = std::move(before);
          yield();
        });
        next.resume();
        last = std::move(next);
      }
      EXPECT_EQ(alive, count);
    }
    EXPECT_EQ(alive, 0);
  });
}

// F83
TEST_P(coroutine_close_test, infinite_nesting_of_resumes_ends_in_an_error) {
  struct tool {
    static void nest(int& depth) {
      coroutine<void()> co([&depth](auto&) {
        ++depth;
        nest(depth);
      });
      co.resume();
    }
  };
  anywhere([] {
    int depth = 0;
    try {
      tool::nest(depth);
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()).find("coroutines have resumed each other"),
                std::string::npos);
    }
    EXPECT_EQ(depth, static_cast<int>(sched::most_nested_coroutines));
    EXPECT_FALSE(coroutine_running());
    EXPECT_EQ(std::current_exception(), nullptr);
  });
}

}  // namespace
}  // namespace coir::testing
