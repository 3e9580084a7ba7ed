// Serving until somebody says that it is enough.
#pragma once
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <string>

#include <coir/coir.hpp>

namespace examples {

struct serving {
  std::string name;                         // of the program
  std::chrono::milliseconds grace{2000};    // for connections, once no more are accepted
  std::string more = {};                    // to be said after the address
  std::string last = "stopped";             // to be said at the end
  std::function<void()> on_signal = [] {};  // before it stops to accept
};

// Says where it listens, serves until SIGINT or SIGTERM, and lets the connections finish.
template <class Server>
void serve_until_signal(Server& server, const serving& how) {
  coir::signal_set signals{SIGINT, SIGTERM};  // before anybody is told that we are there
  std::printf("%s: %s%s\n", how.name.c_str(), to_string(server.listener().local()).c_str(),
              how.more.c_str());
  std::fflush(stdout);
  auto stopper = coir::spawn([&] {
    signals.wait();
    how.on_signal();
    server.stop(how.grace);
  });
  server.serve();
  stopper.get();
  std::printf("%s: %s\n", how.name.c_str(), how.last.c_str());
}

}  // namespace examples
