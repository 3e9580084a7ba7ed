#include "driver_factory.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "epoll_reactor.hpp"
#include "system_calls.hpp"
#include "uring_reactor.hpp"

namespace coir::io {
namespace {

class epoll_factory final : public sched::driver_factory {
 public:
  explicit epoll_factory(const std::string& why)
      : why_(why + "; by system call and epoll: sockets, pipes; by threads: files, names") {}
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

// All rings of a runtime are made before the first is handed out, so that one which is refused
// leaves no runtime with two kinds.
class uring_factory final : public sched::driver_factory {
 public:
  uring_factory(uring_options how, std::string why, bool forced)
      : how_(std::move(how)), why_(std::move(why)), forced_(forced) {}

  void prepare(unsigned workers) override {
    try {
      while (made_.size() < workers) made_.push_back(std::make_unique<uring_reactor>(how_));
    } catch (const std::system_error& e) {
      if (forced_) throw;
      why_ = "the ring of worker " + std::to_string(made_.size()) + " of " +
             std::to_string(workers) +
             " was refused: " + explain_refusal("io_uring_setup", e.code().value());
      made_.clear();
      instead_ = std::make_unique<epoll_factory>(why_);
    }
  }
  std::unique_ptr<sched::driver> make() override {
    if (instead_ != nullptr) return instead_->make();
    if (made_.empty()) return std::make_unique<uring_reactor>(how_);
    auto next = std::move(made_.back());
    made_.pop_back();
    return next;
  }
  const char* name() const noexcept override {
    return instead_ != nullptr ? instead_->name() : how_.multishot ? "uring" : "uring_oneshot";
  }
  const char* reason() const noexcept override {
    return instead_ != nullptr ? instead_->reason() : why_.c_str();
  }

 private:
  const uring_options how_;
  std::string why_;
  const bool forced_;
  std::vector<std::unique_ptr<sched::driver>> made_;  // for workers to come
  std::unique_ptr<epoll_factory> instead_;            // since a ring was refused
};

// The kernel doubles a process's table of descriptors when it is full, and once there are threads
// it waits until every processor has let go of the old one: 10 to 20 ms, more on a busy machine, in
// the call that makes the 65th descriptor, the 257th, the 513th, and so on; its worker stands
// still. So the table grows before the workers start, to what the process may have open now. Eight
// bytes of the kernel's memory each, hence the most. Whatever fails, it grows later.
void make_room_for_descriptors() noexcept {
  constexpr rlim_t most = 65'536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const auto wanted = static_cast<int>(std::min(limit.rlim_cur, most));
  const int any = ::eventfd(0, EFD_CLOEXEC);
  if (any < 0) return;
  if (const int last = ::fcntl(any, F_DUPFD_CLOEXEC, wanted - 1); last >= 0) sys::close(last);
  sys::close(any);
}

[[noreturn]] void refuse(int error, const std::string& why) {
  throw std::system_error(error, std::system_category(),
                          "coir: the reactor that was asked for cannot be had: " + why);
}

}  // namespace

std::unique_ptr<sched::driver_factory> make_driver_factory(const options& o) {
  make_room_for_descriptors();
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
  const std::string why = forced          ? "asked for"
                          : how.multishot ? "the kernel allows it"
                                          : "the kernel has io_uring without multishot requests";
  const std::string with = describe(how.kernel, how.multishot);
  return std::make_unique<uring_factory>(std::move(how), why + "; " + with, forced);
}

}  // namespace coir::io
