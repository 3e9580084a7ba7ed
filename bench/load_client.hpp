// A load client: connections that send messages and check every byte that comes back. Plain
// threads, epoll and non-blocking sockets, nothing of what is measured but the parsing of an
// address.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <coir/io/endpoint.hpp>

#include "histogram.hpp"

namespace bench {

struct load_options {
  coir::endpoint to;
  unsigned connections = 64;
  unsigned threads = 1;
  unsigned depth = 1;     // messages of one connection on their way at once
  std::size_t size = 64;  // bytes of a message
  bool churn = false;     // a message on each connection, and then a new one in its place
};

// What has happened since the client was made.
struct load_figures {
  std::uint64_t answered = 0;            // messages that came back, whole and right
  std::uint64_t sent = 0, received = 0;  // bytes
  unsigned connected = 0, failed = 0;    // connections: alive now; lost, or never made
  double cpu_seconds = 0;                // of the client's threads
  histogram latency;  // ns, from the call that sends a message to the one that reads its end
  std::string first_failure;  // text; empty: none
};

class load_thread;

class load_client {
 public:
  explicit load_client(const load_options&);  // starts; throws std::system_error
  ~load_client();
  load_client(const load_client&) = delete;
  load_client& operator=(const load_client&) = delete;

  // All of them. False: some are not.
  bool wait_until_connected(std::chrono::milliseconds patience) const;
  load_figures figures() const;  // any thread, at any time

  // Starts no further message, waits for the answers that are due, and closes. What does not come
  // back counts as a failure.
  void stop(std::chrono::milliseconds patience = std::chrono::seconds(5));

 private:
  const load_options how_;
  std::vector<std::unique_ptr<load_thread>> threads_;
};

}  // namespace bench
