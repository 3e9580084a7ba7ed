#include "driver_factory.hpp"

#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>

#include "epoll_reactor.hpp"
#include "uring_reactor.hpp"

namespace coir::io {
namespace {

class epoll_factory final : public sched::driver_factory {
 public:
  explicit epoll_factory(std::string why) : why_(std::move(why)) {}
  std::unique_ptr<sched::driver> make() override { return std::make_unique<epoll_reactor>(group_); }
  const char* name() const noexcept override { return "epoll"; }
  const char* reason() const noexcept override { return why_.c_str(); }

 private:
  static std::uint64_t next_group() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  const std::string why_;
  const std::uint64_t group_ = next_group();
};

class uring_factory final : public sched::driver_factory {
 public:
  uring_factory(uring_options how, std::string why) : how_(std::move(how)), why_(std::move(why)) {}
  std::unique_ptr<sched::driver> make() override { return std::make_unique<uring_reactor>(how_); }
  const char* name() const noexcept override { return how_.multishot ? "uring" : "uring_oneshot"; }
  const char* reason() const noexcept override { return why_.c_str(); }

 private:
  const uring_options how_;
  const std::string why_;
};

[[noreturn]] void refuse(int error, const std::string& why) {
  throw std::system_error(error, std::system_category(),
                          "coir: the reactor that was asked for cannot be had: " + why);
}

}  // namespace

std::unique_ptr<sched::driver_factory> make_driver_factory(const options& o) {
  if (o.reactor == reactor_kind::epoll) return std::make_unique<epoll_factory>("asked for");
  if (o.reactor == reactor_kind::iocp) refuse(EOPNOTSUPP, "iocp is there on Windows only");
  uring_options how;
  how.kernel = probe_uring();
  const bool forced = o.reactor != reactor_kind::automatic;
  if (!how.kernel.usable) {
    if (forced) refuse(how.kernel.error, how.kernel.reason);
    return std::make_unique<epoll_factory>(how.kernel.reason);
  }
  how.multishot = o.reactor != reactor_kind::uring_oneshot && how.kernel.multishot_accept;
  const char* why = forced          ? "asked for"
                    : how.multishot ? "the kernel allows it"
                                    : "the kernel has io_uring without multishot requests";
  return std::make_unique<uring_factory>(std::move(how), why);
}

}  // namespace coir::io
