// One TCP connection that carries as much as it can, and the limit: two plain threads that do
// nothing but read(2) and write(2) on such a connection.
#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coir/io/tcp.hpp>
#include <coir/sched/task.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

constexpr std::size_t chunk = 64 * 1024;

double gigabytes_a_second(std::uint64_t bytes, std::uint64_t begin_ns) {
  return static_cast<double>(bytes) / static_cast<double>(now_ns() - begin_ns);
}

struct connected {
  coir::tcp_stream sender, receiver;
};
connected connect() {
  auto listener = coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0"));
  auto dialled = coir::spawn([at = listener.local()] { return coir::tcp_stream::connect(at); });
  auto accepted = listener.accept();
  return {dialled.get(), std::move(accepted)};
}

int check(ssize_t result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::system_category(), call);
  return static_cast<int>(result);
}

// The same sockets, out of the library's hands and blocking.
double raw(const settings& s, std::uint64_t bytes) {
  int sender = -1, receiver = -1;
  on_workers(s, 1, [&] {
    connected c = connect();
    sender = c.sender.release();
    receiver = c.receiver.release();
  });
  for (const int fd : {sender, receiver}) check(::fcntl(fd, F_SETFL, 0), "fcntl");
  const std::uint64_t begin = now_ns();
  std::thread writing([&] {
    const std::vector<char> from(chunk);
    for (std::uint64_t left = bytes; left != 0;)
      left -= static_cast<std::uint64_t>(
          check(::write(sender, from.data(), std::min<std::uint64_t>(left, chunk)), "write"));
  });
  std::vector<char> into(chunk);
  for (std::uint64_t left = bytes; left != 0;)
    left -= static_cast<std::uint64_t>(check(::read(receiver, into.data(), chunk), "read"));
  const double rate = gigabytes_a_second(bytes, begin);
  writing.join();
  ::close(sender);
  ::close(receiver);
  return rate;
}

double with_fibers(const settings& s, unsigned workers, std::uint64_t bytes) {
  double rate = 0;
  on_workers(s, workers, [&] {
    connected c = connect();
    const std::uint64_t begin = now_ns();
    auto writing = coir::spawn([&] {
      const std::vector<std::byte> from(chunk);
      for (std::uint64_t left = bytes; left != 0;) {
        const auto n = std::min<std::uint64_t>(left, chunk);
        c.sender.write(std::span(from).first(n));
        left -= n;
      }
    });
    std::vector<std::byte> into(chunk);
    for (std::uint64_t left = bytes; left != 0;) left -= c.receiver.read_some(into);
    rate = gigabytes_a_second(bytes, begin);
    writing.get();
  });
  return rate;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

// In turn, so that the machine's moods are everybody's.
bool measure_stream(const settings& s) {
  return in_child(s, [&] {
    const std::uint64_t bytes = s.count_or(1'000, 20) * 1'000'000;
    const int rounds = s.quick ? 1 : 7;
    const auto workers = s.worker_counts();
    std::vector<double> of_raw;
    std::vector<std::vector<double>> of_coir(workers.size());
    for (int i = 0; i < rounds; ++i) {
      of_raw.push_back(raw(s, bytes));
      for (std::size_t w = 0; w < workers.size(); ++w)
        of_coir[w].push_back(with_fibers(s, workers[w], bytes));
    }
    report("stream_raw", median(of_raw), "GB/s");
    for (std::size_t w = 0; w < workers.size(); ++w) {
      report(with_workers("stream", workers[w]), median(of_coir[w]), "GB/s");
      std::vector<double> ratios;
      for (std::size_t i = 0; i < of_raw.size(); ++i) ratios.push_back(of_coir[w][i] / of_raw[i]);
      report(with_workers("stream_to_raw", workers[w]), median(ratios), "ratio");
    }
  });
}

}  // namespace bench
