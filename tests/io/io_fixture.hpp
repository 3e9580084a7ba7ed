// The fixture of every I/O test: each case at 1, 2, 4 and 8 workers on each rung of the ladder. It
// fails if a fiber or a descriptor is left. With COIR_TEST_DENY_URING the process lives behind a
// seccomp filter that refuses io_uring, and the only rung is what `automatic` then chooses.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <coir/coir.hpp>

#include "fiber/sanitizers.hpp"
#include "tests/support/asking.hpp"

namespace coir::testing {

// Makes every io_uring system call of this process and its children fail from now on.
void deny_uring(int error);
inline bool uring_is_denied() { return std::getenv("COIR_TEST_DENY_URING") != nullptr; }

struct rung {
  reactor_kind kind;
  unsigned workers;
};
inline const char* name_of(reactor_kind k) {
  switch (k) {
    case reactor_kind::uring:
      return "uring";
    case reactor_kind::uring_oneshot:
      return "uring_oneshot";
    case reactor_kind::epoll:
      return "epoll";
    default:
      return "automatic";
  }
}
inline std::string to_string(const rung& r) {
  return std::string(name_of(r.kind)) + "_" + std::to_string(r.workers);
}
inline void PrintTo(const rung& r, std::ostream* out) { *out << to_string(r); }
inline std::string rung_name(const ::testing::TestParamInfo<rung>& i) { return to_string(i.param); }

inline std::vector<rung> rungs(std::vector<unsigned> workers) {
  std::vector<reactor_kind> kinds{reactor_kind::uring, reactor_kind::uring_oneshot,
                                  reactor_kind::epoll};
  if (uring_is_denied()) kinds = {reactor_kind::automatic};
  std::vector<rung> all;
  for (const reactor_kind k : kinds)
    for (const unsigned w : workers) all.push_back({k, w});
  return all;
}
inline auto every_rung() { return ::testing::ValuesIn(rungs({1, 2, 4, 8})); }

inline int rounds(int usual) {
  return (sanitized ? usual / 10 + 1 : usual) * static_cast<int>(scale());
}

inline const endpoint any_port = endpoint::parse("127.0.0.1:0");

// Two ends of a TCP connection. On a fiber.
inline std::pair<tcp_stream, tcp_stream> tcp_pair() {
  tcp_listener listener = tcp_listener::bind(any_port);
  const endpoint at = listener.local();
  auto dialled = spawn([at] { return tcp_stream::connect(at); });
  tcp_stream accepted = listener.accept();
  return {dialled.get(), std::move(accepted)};
}

// Until the fiber is parked, in I/O as a rule.
template <class T>
void await_parked(const task<T>& t) {
  ASSERT_TRUE(eventually_on_fiber([&] { return t.state() == task_state::parked; }));
}

template <class F>
std::error_code error_of(F&& f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

class io_test : public ::testing::TestWithParam<rung> {
 protected:
  // Runs f as a fiber; nothing may be left afterwards.
  template <class F>
  void on_fiber(F&& f) {
    const std::size_t before = open_descriptors();
    {
      options o;
      o.workers = GetParam().workers;
      o.reactor = GetParam().kind;
      o.on_unhandled = unhandled;
      runtime r(o);
      r.block_on(std::forward<F>(f));
      EXPECT_TRUE(eventually([&] { return r.metrics().fibers_alive == 0; })) << "a fiber is left";
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor is left";
  }
  std::function<void(std::exception_ptr, std::string_view)> unhandled = {};
};

}  // namespace coir::testing
