#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "fiber/stack_guard.hpp"
#include "fiber/stack_slab.hpp"
#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

constexpr std::size_t kib = 1024;

stack* one(stack_pool& pool, std::size_t bytes) {
  std::size_t got = 0;
  return pool.acquire(stack_pool::rounded(bytes), 1, got);
}

// `count` stacks in one list, by batches of `batch`.
stack* many(stack_pool& pool, std::size_t bytes, std::size_t count, std::size_t batch = 64) {
  stack* list = nullptr;
  for (std::size_t have = 0; have < count;) {
    std::size_t got = 0;
    stack* more = pool.acquire(bytes, std::min(batch, count - have), got);
    if (more == nullptr) break;
    stack* last = more;
    while (last->next != nullptr) last = last->next;
    last->next = list;
    list = more;
    have += got;
  }
  return list;
}

std::size_t length(const stack* list) {
  std::size_t n = 0;
  for (; list != nullptr; list = list->next) ++n;
  return n;
}

// F5
TEST(rounded, gives_whole_pages_and_at_least_the_minimum) {
  for (const std::size_t bytes : {std::size_t{1}, 4096 * std::size_t{1}, 16 * kib})
    EXPECT_EQ(stack_pool::rounded(bytes), std::max(16 * kib, 4 * page_size()));
  EXPECT_EQ(stack_pool::rounded(256 * kib), 256 * kib);
  EXPECT_EQ(stack_pool::rounded(256 * kib + 1), 320 * kib);
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 39); bytes = bytes * 5 / 3 + 1) {
    const std::size_t r = stack_pool::rounded(bytes);
    EXPECT_GE(r, bytes);
    EXPECT_LE(r, std::max(4 * page_size(), bytes + bytes / 4 + page_size()));
    EXPECT_EQ(r % page_size(), 0U);
    EXPECT_EQ(stack_pool::rounded(r), r);
  }
}

TEST(rounded, refuses_what_no_stack_can_have_and_says_why) {
  for (const std::size_t bytes : {std::numeric_limits<std::size_t>::max(),
                                  (std::size_t{1} << 40) + 1, std::size_t{1} << 63}) {
    try {
      stack_pool::rounded(bytes);
      FAIL() << bytes;
    } catch (const std::invalid_argument& e) {
      const std::string text = e.what();
      EXPECT_NE(text.find(std::to_string(bytes)), std::string::npos) << text;
      EXPECT_NE(text.find("1099511627776"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(stack_pool::rounded(std::size_t{1} << 40), std::size_t{1} << 40);
}

TEST(stack_pool, gives_memory_that_is_the_callers_from_limit_to_header) {
  stack_pool pool;
  for (const std::size_t bytes :
       {16 * kib, 20 * kib, 64 * kib, 256 * kib, 1024 * kib, 8192 * kib}) {
    stack* s = one(pool, bytes);
    ASSERT_NE(s, nullptr);
    EXPECT_EQ(s->limit + s->size, reinterpret_cast<std::byte*>(s));
    EXPECT_GE(s->size, bytes - 8 * kib);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(s) % 64, 0U);
    std::fill(s->limit, s->limit + s->size, std::byte{0xa5});
    EXPECT_EQ(s->next, nullptr);
    pool.release(s);
  }
  EXPECT_EQ(pool.metrics().stacks_in_use, 0U);
}

TEST(stack_pool, gives_as_many_as_asked_linked_and_distinct) {
  stack_pool pool;
  std::size_t got = 0;
  stack* list = pool.acquire(64 * kib, 300, got);
  EXPECT_EQ(got, 300U);
  EXPECT_EQ(length(list), 300U);
  std::set<stack*> distinct;
  for (stack* s = list; s != nullptr; s = s->next) distinct.insert(s);
  EXPECT_EQ(distinct.size(), 300U);
  EXPECT_EQ(pool.metrics().stacks_in_use, 300U);
  pool.release(list);
  EXPECT_EQ(pool.metrics().stacks_in_use, 0U);
  EXPECT_EQ(pool.metrics().stacks_cached, 300U);
}

TEST(stack_pool, spreads_the_tops_of_stacks_over_cache_sets_at_one_size) {
  stack_pool pool;
  stack* list = many(pool, 64 * kib, 48);
  std::set<std::uintptr_t> places;
  for (stack* s = list; s != nullptr; s = s->next) {
    places.insert(reinterpret_cast<std::uintptr_t>(s) % page_size());
    EXPECT_EQ(s->size, list->size);
  }
  EXPECT_GE(places.size(), 8U);
  pool.release(list);
}

TEST(stack_pool, hands_out_a_stack_that_still_has_its_page_before_a_fresh_one) {
  stack_pool pool;
  stack* list = many(pool, 64 * kib, 40);
  stack* const second = list->next;
  list->next = second->next;
  second->next = nullptr;
  pool.release(second);
  stack* again = one(pool, 64 * kib);
  EXPECT_EQ(again, second);
  again->next = list;
  pool.release(again);
}

TEST(stack_pool, fills_the_fullest_slab_first) {
  stack_pool pool;
  stack* list = many(pool, 16 * kib, 192);  // slabs of 64, 64 and 128
  std::vector<stack*> all;
  for (stack* s = list; s != nullptr; s = s->next) all.push_back(s);
  stack_slab* first = all.back()->slab;
  // One place in a slab that is otherwise full, and all of another but one.
  stack* released = nullptr;
  std::vector<stack*> kept;
  bool one_of_first = false;
  for (stack* s : all) {
    if (s->slab == first ? !std::exchange(one_of_first, true) : kept.size() > 63) {
      s->next = released;
      released = s;
    } else {
      kept.push_back(s);
    }
  }
  pool.release(released);
  stack* s = one(pool, 16 * kib);
  EXPECT_TRUE(s->slab->full() || s->slab == first);
  kept.push_back(s);
  for (stack* k : kept) {
    k->next = nullptr;
    pool.release(k);
  }
}

TEST(stack_pool, reserves_little_for_a_small_program) {
  stack_pool pool;
  stack* s = one(pool, 256 * kib);
  EXPECT_LE(pool.metrics().reserved_bytes, std::size_t{16} << 20);
  pool.release(s);
}

TEST(stack_pool, gives_none_where_no_address_space_is_left) {
  if (sanitized) GTEST_SKIP() << "the shadow of so much address space is memory";
  stack_pool pool;
  std::size_t got = 7;
  stack* list = pool.acquire(std::size_t{1} << 40, 200, got);
  EXPECT_LT(got, 200U);
  EXPECT_EQ(length(list), got);
  pool.release(list);
  EXPECT_EQ(pool.acquire(std::size_t{1} << 50, 1, got), nullptr);
  EXPECT_EQ(got, 0U);
}

// Guards.

bool faults(const std::byte* at) {  // the kernel says so, without a signal
  static int pipes[2] = {-1, -1};
  if (pipes[0] < 0 && ::pipe(pipes) != 0) std::abort();
  if (::write(pipes[1], at, 1) != 1) return true;
  char c = 0;
  return ::read(pipes[0], &c, 1) != 1;
}

std::byte* page_below(const stack& s) { return s.slab->place(s.index); }

void expect_enforced(guard_kind kind) {
  stack_pool_options o;
  o.guard = kind;
  stack_pool pool(o);
  EXPECT_EQ(pool.metrics().guard, kind);
  stack* list = many(pool, 64 * kib, 100);
  for (stack* s = list; s != nullptr; s = s->next) {
    ASSERT_TRUE(faults(page_below(*s)));
    ASSERT_TRUE(faults(page_below(*s) + page_size() - 1));
    ASSERT_FALSE(faults(s->limit));
    ASSERT_LT(static_cast<std::size_t>(s->limit - page_below(*s)), 2 * page_size());
  }
  pool.release(list);
  pool.trim();
  list = many(pool, 64 * kib, 20);
  for (stack* s = list; s != nullptr; s = s->next)
    ASSERT_TRUE(faults(page_below(*s))) << "after a trim";
  pool.release(list);
}

TEST(guards, installed_ones_fault_also_after_a_trim) {
  if (!can_install_guards()) GTEST_SKIP() << "the kernel has no MADV_GUARD_INSTALL";
  expect_enforced(guard_kind::install);
}

TEST(guards, protected_ones_fault_also_after_a_trim) { expect_enforced(guard_kind::protect); }

TEST(guards, automatic_takes_the_best_there_is) {
  stack_pool pool;
  EXPECT_EQ(pool.metrics().guard, can_install_guards() ? guard_kind::install : guard_kind::protect);
}

TEST(guards, past_the_budget_stacks_get_canaries) {
  stack_pool_options o;
  o.guard = guard_kind::protect;
  o.protect_budget = 10;
  stack_pool pool(o);
  stack* list = many(pool, 64 * kib, 30);
  EXPECT_EQ(length(list), 30U);
  std::size_t enforced = 0;
  for (stack* s = list; s != nullptr; s = s->next) {
    if (faults(page_below(*s))) {
      ++enforced;
    } else {
      EXPECT_TRUE(canary_intact(*s));
    }
  }
  EXPECT_EQ(enforced, 10U);
  EXPECT_EQ(pool.metrics().guard, guard_kind::canary);
  pool.release(list);
}

TEST(guards, past_the_budget_none_are_given_if_canaries_are_not_wanted) {
  stack_pool_options o;
  o.guard = guard_kind::protect;
  o.protect_budget = 10;
  o.canary_when_spent = false;
  stack_pool pool(o);
  std::size_t got = 0;
  stack* list = pool.acquire(64 * kib, 30, got);
  EXPECT_EQ(got, 10U);
  EXPECT_EQ(length(list), 10U);
  EXPECT_EQ(pool.acquire(64 * kib, 1, got), nullptr);
  pool.release(list);
  list = pool.acquire(64 * kib, 30, got);
  EXPECT_EQ(got, 10U) << "guarded places are found again";
  pool.release(list);
}

TEST(guards, unmapping_a_slab_returns_its_part_of_the_budget) {
  stack_pool_options o;
  o.guard = guard_kind::protect;
  o.protect_budget = 200;
  o.canary_when_spent = false;
  stack_pool pool(o);
  for (int cycle = 0; cycle < 5; ++cycle) {
    const std::size_t bytes = cycle % 2 == 0 ? 16 * kib : 64 * kib;
    std::size_t got = 0;
    stack* list = pool.acquire(bytes, 130, got);
    EXPECT_GE(got, 72U) << cycle;  // at most one empty slab of the other class stays
    pool.release(list);
    pool.trim();
  }
}

// Giving back.

TEST(trim, returns_the_memory_of_released_stacks) {
  stack_pool pool;
  stack* keep = one(pool, 128 * kib);
  stack* list = many(pool, 128 * kib, 600);
  for (stack* s = list; s != nullptr; s = s->next) std::fill_n(s->limit, s->size, std::byte{1});
  const long peak = status_kib("VmRSS:");
  pool.release(list);
  pool.trim();
  EXPECT_LT(status_kib("VmRSS:"), peak - 60 * 1024);
  EXPECT_EQ(pool.metrics().stacks_cached, 0U);
  EXPECT_EQ(pool.metrics().stacks_in_use, 1U);
  EXPECT_LE(pool.metrics().slabs, 2U);
  pool.release(keep);
}

TEST(trim, leaves_stacks_in_use_alone) {
  stack_pool pool;
  stack* list = many(pool, 64 * kib, 100);
  stack* in_use = nullptr;
  stack* released = nullptr;
  for (bool odd = false; list != nullptr; odd = !odd) {
    stack* next = list->next;
    stack*& into = odd ? in_use : released;
    list->next = into;
    into = list;
    list = next;
  }
  for (stack* s = in_use; s != nullptr; s = s->next) std::fill_n(s->limit, s->size, std::byte{7});
  pool.release(released);
  pool.trim();
  for (stack* s = in_use; s != nullptr; s = s->next)
    ASSERT_TRUE(
        std::all_of(s->limit, s->limit + s->size, [](std::byte b) { return b == std::byte{7}; }));
  pool.release(in_use);
}

TEST(trim, keeps_mappings_and_memory_stable_over_cycles) {
  if (sanitized) GTEST_SKIP() << "the sanitizer's own memory is counted too";
  stack_pool pool;
  std::vector<long> maps;
  std::vector<long> resident;
  for (int cycle = 0; cycle < 10; ++cycle) {
    stack* list = many(pool, 256 * kib, 5000);
    pool.release(list);
    pool.trim();
    maps.push_back(mappings());
    resident.push_back(status_kib("VmRSS:"));
  }
  EXPECT_LE(*std::max_element(maps.begin() + 1, maps.end()), maps[1]);
  EXPECT_LT(*std::max_element(resident.begin() + 1, resident.end()), resident[1] + 1024);
}

TEST(stack_pool, guards_twenty_thousand_stacks_in_few_mappings) {
  if (!can_install_guards()) GTEST_SKIP() << "the kernel has no MADV_GUARD_INSTALL";
  const long before = mappings();
  const long rss = status_kib("VmRSS:") + status_kib("VmPTE:");
  stack_pool pool;
  stack* list = many(pool, 256 * kib, 20'000, 32);
  ASSERT_EQ(length(list), 20'000U);
  if (!sanitized) {
    EXPECT_LT(mappings(), before + 20);
    const long grown = status_kib("VmRSS:") + status_kib("VmPTE:") - rss;
    EXPECT_LT(grown * 1024 / 20'000, 5000) << "bytes a stack, page tables included";
  }
  pool.release(list);
}

TEST(stack_pool, agrees_with_a_model_at_random) {
  stack_pool pool;
  std::mt19937 random(11);
  const std::size_t sizes[] = {16 * kib, 40 * kib, 64 * kib, 256 * kib};
  struct held {
    stack* s;
    std::uint32_t tag;
  };
  std::vector<held> model;
  const auto mark = [](const held& h) {
    reinterpret_cast<std::uint32_t*>(h.s->limit)[0] = h.tag;
    reinterpret_cast<std::uint32_t*>(h.s)[-1] = h.tag;
  };
  const auto intact = [](const held& h) {
    return reinterpret_cast<std::uint32_t*>(h.s->limit)[0] == h.tag &&
           reinterpret_cast<std::uint32_t*>(h.s)[-1] == h.tag;
  };
  const int steps = sanitized ? 1'000 : 5'000;
  for (int step = 0; step < steps; ++step) {
    const auto choice = random() % 100;
    if (choice < 45) {
      std::size_t got = 0;
      const std::size_t wanted = 1 + random() % 20;
      stack* list = pool.acquire(stack_pool::rounded(sizes[random() % 4]), wanted, got);
      ASSERT_EQ(got, wanted);
      while (list != nullptr) {
        model.push_back({list, static_cast<std::uint32_t>(random())});
        list = list->next;
        mark(model.back());
      }
    } else if (choice < 97) {
      stack* list = nullptr;
      for (auto n = random() % 24; n > 0 && !model.empty(); --n) {
        const std::size_t i = random() % model.size();
        ASSERT_TRUE(intact(model[i]));
        model[i].s->next = list;
        list = model[i].s;
        model[i] = model.back();
        model.pop_back();
      }
      pool.release(list);
    } else {
      pool.trim();
      ASSERT_EQ(pool.metrics().stacks_cached, 0U);
    }
    ASSERT_EQ(pool.metrics().stacks_in_use, model.size());
  }
  for (const held& h : model) {
    ASSERT_TRUE(intact(h));
    h.s->next = nullptr;
    pool.release(h.s);
  }
  EXPECT_EQ(pool.metrics().stacks_in_use, 0U);
}

// The worker's cache.

TEST(stack_cache, gives_the_last_stack_put_first) {
  stack_pool pool;
  stack_cache cache(pool, stack_pool::rounded(64 * kib));
  stack* a = cache.take(64 * kib);
  stack* b = cache.take(64 * kib);
  cache.put(a);
  cache.put(b);
  EXPECT_EQ(cache.take(64 * kib), b);
  EXPECT_EQ(cache.take(64 * kib), a);
  cache.put(a);
  cache.put(b);
}

TEST(stack_cache, keeps_at_most_its_limit_and_only_the_common_size) {
  stack_pool pool;
  {
    stack_cache cache(pool, stack_pool::rounded(64 * kib));
    std::vector<stack*> taken;
    for (int i = 0; i < 1000; ++i) taken.push_back(cache.take(64 * kib));
    stack* other = cache.take(stack_pool::rounded(128 * kib));
    for (stack* s : taken) {
      cache.put(s);
      ASSERT_LE(cache.cached(), stack_cache::limit);
    }
    const std::size_t cached = cache.cached();
    cache.put(other);
    EXPECT_EQ(cache.cached(), cached);
    EXPECT_EQ(pool.metrics().stacks_in_use, cached);
    EXPECT_EQ(cache.take(64 * kib), taken.back()) << "the hottest stayed";
    cache.put(taken.back());
    cache.give_back();
    EXPECT_LE(cache.cached(), 16U);
    EXPECT_EQ(pool.metrics().stacks_cached, 0U);
  }
  EXPECT_EQ(pool.metrics().stacks_in_use, 0U);
}

}  // namespace
}  // namespace coir::fiber
