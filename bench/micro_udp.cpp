// One UDP socket that sends back what comes, and the limit: a plain thread that does nothing but
// recvfrom(2) and sendto(2) on such a socket.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <coir/io/udp.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

constexpr std::size_t message = 64, under_way = 16, longest = 2048;

ssize_t check(ssize_t result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::system_category(), call);
  return result;
}

struct figures {
  double cpu_ns;  // of the server's thread, a message
  double rate;    // messages a second, as the client sees it
};

int bound_socket(sockaddr_in& at) {
  const int fd = static_cast<int>(check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
  at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&at), size), "bind");
  check(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size), "getsockname");
  return fd;
}

// The kernel may drop a message while others flood its loopback: after a while those under way
// count as lost.
bool is_lost(ssize_t result) { return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK); }

// On a plain thread, whoever the server is: keeps some messages under way, then says the end with
// an empty one. Messages a second.
double drive(const void* server, socklen_t size, std::uint64_t count,
             const std::atomic<bool>& ended) {
  sockaddr_in own;
  const int fd = bound_socket(own);
  const timeval patience{0, 200'000};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  check(::connect(fd, static_cast<const sockaddr*>(server), size), "connect");
  std::array<char, message> out{};
  std::array<char, longest> in{};
  const std::uint64_t begin = now_ns();
  for (std::uint64_t sent = 0, received = 0; received < count;) {
    for (; sent < count && sent - received < under_way; ++sent)
      check(::send(fd, out.data(), out.size(), 0), "send");
    const ssize_t n = ::recv(fd, in.data(), in.size(), 0);
    if (n < 0 && errno == EINTR) continue;  // a ring that has gone leaves work to this thread
    if (is_lost(n)) {
      received = sent;
      continue;
    }
    if (check(n, "recv") != message)
      throw std::runtime_error("udp_echo: another message came back");
    received += received < sent;
  }
  const double rate = static_cast<double>(count) * 1e9 / static_cast<double>(now_ns() - begin);
  while (!ended) {
    ::send(fd, out.data(), 0, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::close(fd);
  return rate;
}

double per_message(double cpu_seconds, std::uint64_t count) {
  return cpu_seconds * 1e9 / static_cast<double>(count);
}

figures raw(const settings&, std::uint64_t count) {
  figures f{};
  std::atomic<bool> ended{false};
  sockaddr_in at;
  const int fd = bound_socket(at);
  std::thread server([&] {
    const double begin = cpu_seconds_of_this_thread();
    std::array<char, longest> buffer;
    for (;;) {
      sockaddr_storage from;
      socklen_t size = sizeof from;
      auto* const address = reinterpret_cast<sockaddr*>(&from);
      const auto n = check(::recvfrom(fd, buffer.data(), buffer.size(), 0, address, &size), "recv");
      if (n == 0) break;
      check(::sendto(fd, buffer.data(), static_cast<std::size_t>(n), 0, address, size), "send");
    }
    f.cpu_ns = per_message(cpu_seconds_of_this_thread() - begin, count);
    ended = true;
  });
  f.rate = drive(&at, sizeof at, count, ended);
  server.join();
  ::close(fd);
  return f;
}

void echo_one_by_one(coir::udp_socket& socket) {
  std::array<std::byte, longest> buffer;
  for (;;) {
    const coir::datagram got = socket.recv_from(buffer);
    if (got.size == 0) return;
    socket.send_to(std::span(buffer).first(got.size), got.from);
  }
}

void echo_in_batches(coir::udp_socket& socket) {
  std::vector<std::array<std::byte, longest>> memory(under_way);
  std::vector<coir::receive_slot> in;
  for (auto& m : memory) in.push_back({m});
  std::vector<coir::send_slot> out(under_way);
  for (;;) {
    const std::size_t n = socket.recv_batch(in);
    for (std::size_t i = 0; i < n; ++i) out[i] = {in[i].into.first(in[i].got.size), in[i].got.from};
    for (std::size_t i = 0; i < n; ++i)
      if (in[i].got.size == 0) return;
    socket.send_batch(std::span(out).first(n));
  }
}

// One worker, whose thread is the server's.
figures with_fibers(const settings& s, std::uint64_t count, void (*echo)(coir::udp_socket&)) {
  figures f{};
  std::atomic<bool> ended{false};
  std::jthread client;  // an error here does not leave it running
  on_workers(s, 1, [&] {
    auto socket = coir::udp_socket::bind(coir::endpoint::parse("127.0.0.1:0"));
    const coir::endpoint at = socket.local();
    client = std::jthread([&f, &ended, at, count] {
      f.rate = drive(at.native(), static_cast<socklen_t>(at.native_size()), count, ended);
    });
    const double begin = cpu_seconds_of_this_thread();
    echo(socket);
    f.cpu_ns = per_message(cpu_seconds_of_this_thread() - begin, count);
    ended = true;
  });
  client.join();
  return f;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

struct contestant {
  const char* name;
  std::vector<figures> rounds;

  std::vector<double> all(double figures::*which) const {
    std::vector<double> v;
    for (const figures& f : rounds) v.push_back(f.*which);
    return v;
  }
  std::vector<double> ratios(const contestant& to, double figures::*which) const {
    std::vector<double> v = all(which);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] /= to.rounds[i].*which;
    return v;
  }
};

}  // namespace

// In turn, so that the machine's moods are everybody's.
bool measure_udp_echo(const settings& s) {
  return in_child(s, [&] {
    const std::uint64_t count = s.count_or(200'000, 2'000);
    contestant limit{"udp_echo_raw", {}}, single{"udp_echo", {}}, batches{"udp_echo_batch", {}};
    for (int i = 0; i < (s.quick ? 1 : 7); ++i) {
      limit.rounds.push_back(raw(s, count));
      single.rounds.push_back(with_fibers(s, count, &echo_one_by_one));
      batches.rounds.push_back(with_fibers(s, count, &echo_in_batches));
    }
    for (const contestant* c : {&limit, &single, &batches}) {
      const std::string name = c->name;
      report(name + "_cpu", median(c->all(&figures::cpu_ns)), "ns");
      report(name + "_rate", median(c->all(&figures::rate)), "1/s");
      if (c == &limit) continue;
      report(name + "_cpu_to_raw", median(c->ratios(limit, &figures::cpu_ns)), "ratio");
      report(name + "_rate_to_raw", median(c->ratios(limit, &figures::rate)), "ratio");
    }
  });
}

}  // namespace bench
