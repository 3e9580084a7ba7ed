// Large writes to one TCP connection, plain ones and ones from the caller's memory, in turn. To a
// process of this machine, whose loopback device copies all the same; or by --to through the
// network card to a sink elsewhere, which is what it is for.
#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <vector>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coir/io/tcp.hpp>
#include <coir/sched/runtime.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

int check(ssize_t result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::system_category(), call);
  return static_cast<int>(result);
}

// A process that reads whatever comes, from one connection after another, until it is killed.
class local_sink {
 public:
  local_sink() : listener_(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
    check(::listen(listener_, 16), "listen");
    process_ = check(::fork(), "fork");
    if (process_ == 0) swallow();
  }
  ~local_sink() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::close(listener_);
  }
  local_sink(const local_sink&) = delete;
  local_sink& operator=(const local_sink&) = delete;

  coir::endpoint address() const {
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    check(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), "getsockname");
    const auto any = coir::endpoint::from_native(&at, size);
    return coir::endpoint::parse("127.0.0.1:" + std::to_string(any.port()));
  }

 private:
  [[noreturn]] void swallow() const {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it outlives nobody, whatever ends us
    std::vector<char> into(1024 * 1024);
    for (;;) {
      const int from = ::accept(listener_, nullptr, nullptr);
      if (from < 0) ::_exit(1);
      while (::read(from, into.data(), into.size()) > 0) {}
      ::close(from);
    }
  }
  const int listener_;
  pid_t process_ = -1;
};

struct figures {
  std::vector<double> rate, cpu;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// The stream would give up what is copied all the same; here it is asked each time.
void send(const coir::endpoint& to, std::size_t size, std::uint64_t bytes, bool zero_copy,
          figures& into) {
  auto stream = coir::tcp_stream::connect(to);
  const std::vector<std::byte> from(size);
  const std::uint64_t begin = now_ns();
  const double cpu = cpu_seconds();
  for (std::uint64_t left = bytes; left != 0;) {
    const auto n = std::min<std::uint64_t>(left, size);
    if (zero_copy) stream.set_zero_copy(1);
    stream.write(std::span(from).first(n));
    left -= n;
  }
  const auto gigabytes = static_cast<double>(bytes) / 1e9;
  into.rate.push_back(gigabytes * 1e9 / static_cast<double>(now_ns() - begin));
  into.cpu.push_back((cpu_seconds() - cpu) * 1e3 / gigabytes);
}

void say(const std::string& name, const figures& f) {
  report(name, median(f.rate), "GB/s");
  report(name + "_cpu", median(f.cpu), "ms/GB");
}

void send_to(const settings& s, const coir::endpoint& to) {
  const std::uint64_t bytes = s.count_or(500, 8) * 1'000'000;
  const int rounds = s.quick ? 1 : 7;
  for (const std::size_t kib : {16U, 64U, 256U, 1024U, 8192U}) {
    figures plain, lent;
    for (int i = 0; i < rounds; ++i) {
      send(to, kib * 1024, bytes, false, plain);
      send(to, kib * 1024, bytes, true, lent);
    }
    const std::string name = "zero_copy_" + std::to_string(kib) + "k";
    say(name, lent);
    say(name + "_plain", plain);
  }
  const auto m = coir::runtime::current().metrics();
  report("zero_copy_sends", static_cast<double>(m.zero_copy_sends), "sends");
  report("zero_copy_copied", static_cast<double>(m.zero_copy_copied), "sends");
  report("zero_copy_refused", static_cast<double>(m.zero_copy_refused), "sends");
}

}  // namespace

bool measure_zero_copy(const settings& s) {
  return in_child(s, [&] {
    if (!s.to.empty()) return on_workers(s, 1, [&] { send_to(s, coir::endpoint::parse(s.to)); });
    const local_sink sink;
    on_workers(s, 1, [&] { send_to(s, sink.address()); });
  });
}

}  // namespace bench
