// The kernels on which faults are injected: the rungs of the ladder, and io_uring as older kernels,
// or filters, leave it.
#pragma once
#include "io/driver_factory.hpp"
#include "io/probe.hpp"
#include "io/uring_reactor.hpp"
#include "io_fixture.hpp"

namespace coir::testing {

enum class kernel {
  uring,
  uring_oneshot,
  uring_old,     // an eventfd as doorbell, relative timeouts, an answer to each cancellation
  uring_polled,  // what can be done without is missing: operations are polls and system calls
  epoll
};
inline const char* name_of(kernel k) {
  constexpr const char* names[] = {"uring", "uring_oneshot", "uring_old", "uring_polled", "epoll"};
  return names[static_cast<int>(k)];
}

struct kernel_setting {
  kernel on;
  unsigned workers;
};
inline std::string to_string(const kernel_setting& s) {
  return std::string(name_of(s.on)) + "_" + std::to_string(s.workers);
}
inline void PrintTo(const kernel_setting& s, std::ostream* out) { *out << to_string(s); }
inline std::string kernel_name(const ::testing::TestParamInfo<kernel_setting>& i) {
  return to_string(i.param);
}
inline std::vector<kernel_setting> kernels(std::vector<unsigned> workers) {
  std::vector<kernel> all{kernel::uring, kernel::uring_oneshot, kernel::uring_old,
                          kernel::uring_polled, kernel::epoll};
  if (uring_is_denied()) all = {kernel::epoll};
  std::vector<kernel_setting> settings;
  for (const kernel k : all)
    for (const unsigned w : workers) settings.push_back({k, w});
  return settings;
}

// Rings with less than the kernel has.
class lesser_rings final : public sched::driver_factory {
 public:
  explicit lesser_rings(io::uring_options o) : how_(std::move(o)) {}
  std::unique_ptr<sched::driver> make() override {
    return std::make_unique<io::uring_reactor>(how_);
  }
  const char* name() const noexcept override { return "uring"; }
  const char* reason() const noexcept override { return "a test's"; }

 private:
  const io::uring_options how_;
};

inline std::unique_ptr<sched::driver_factory> drivers_of(kernel k) {
  options o;
  io::uring_options lesser;
  lesser.kernel = io::probe_uring();
  switch (k) {
    case kernel::uring_old:
      lesser.kernel.setup_flags = 0;
      lesser.kernel.message_by_register = false;
      lesser.kernel.absolute_timeout = false;
      lesser.kernel.skip_success = false;
      lesser.kernel.multishot_accept = false;
      return std::make_unique<lesser_rings>(lesser);
    case kernel::uring_polled:
      for (const unsigned op : {IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG,
                                IORING_OP_SENDMSG_ZC, IORING_OP_ACCEPT, IORING_OP_CONNECT})
        lesser.kernel.operations &= ~(std::uint64_t{1} << op);
      lesser.kernel.files = false;
      return std::make_unique<lesser_rings>(lesser);
    case kernel::uring:
      o.reactor = reactor_kind::uring;
      break;
    case kernel::uring_oneshot:
      o.reactor = reactor_kind::uring_oneshot;
      break;
    case kernel::epoll:
      o.reactor = reactor_kind::epoll;
      break;
  }
  return io::make_driver_factory(o);
}

inline std::unique_ptr<runtime> runtime_on(const kernel_setting& s, options o = {}) {
  o.workers = s.workers;
  return std::make_unique<runtime>(std::move(o), sched::parts(drivers_of(s.on)));
}

}  // namespace coir::testing
