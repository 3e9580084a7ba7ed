// Sends each datagram back to who sent it, until SIGINT or SIGTERM.
//   udp_echo --listen 127.0.0.1:7777
//   udp_echo --listen unix:/tmp/udp_echo.sock
#include <csignal>
#include <cstdio>
#include <vector>

#include <coir/coir.hpp>

#include "common/command_line.hpp"

namespace {

// Many at a time, with two system calls: what comes while it answers is the next batch.
void echo(coir::datagram_socket& socket) {
  constexpr std::size_t many = 32, longest = 65'507;
  std::vector<std::byte> memory(many * longest);
  std::vector<coir::receive_slot> in;
  for (std::size_t i = 0; i < many; ++i)
    in.push_back({std::span(memory).subspan(i * longest, longest)});
  std::vector<coir::send_slot> out(many);
  for (;;) {
    const std::size_t n = socket.recv_batch(in);
    for (std::size_t i = 0; i < n; ++i) out[i] = {in[i].into.first(in[i].got.size), in[i].got.from};
    // One that cannot be answered (it has no address, or its sender has gone) is passed over.
    std::error_code unanswered;
    for (std::size_t done = 0; done < n; ++done)
      done += socket.send_batch(std::span(out).subspan(done, n - done), unanswered);
  }
}

template <class Socket>
void serve(const coir::endpoint& where) {
  coir::signal_set signals{SIGINT, SIGTERM};
  auto socket = Socket::bind(where);
  std::printf("udp_echo: %s\n", to_string(socket.local()).c_str());
  std::fflush(stdout);
  auto echoing = coir::spawn([&] { echo(socket); });
  signals.wait();
  echoing.cancel();
  echoing.wait();
  std::puts("udp_echo: stopped");
}

}  // namespace

int main(int argc, char** argv) {
  auto listen = coir::endpoint::parse("127.0.0.1:7777");
  examples::command_line line("udp_echo", "sends each datagram back to who sent it.");
  line.option("--listen", "ADDRESS:PORT|unix:PATH", "where datagrams come", listen);
  return line.run(argc, argv, [&] {
    if (listen.kind() == coir::endpoint::family::unix_domain)
      serve<coir::unix_datagram>(listen);
    else
      serve<coir::udp_socket>(listen);
  });
}
