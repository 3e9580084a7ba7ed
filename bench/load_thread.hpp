// A thread of the load client: an epoll set and the connections in it.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "load_client.hpp"
#include "load_connection.hpp"

namespace bench {

class load_thread {
 public:
  load_thread(const load_options&, const load_pattern&, unsigned first, unsigned connections);
  ~load_thread();  // after join()
  load_thread(const load_thread&) = delete;
  load_thread& operator=(const load_thread&) = delete;

  // Any thread.
  void add_to(load_figures&) const;
  void ask_to_stop(std::chrono::milliseconds patience) noexcept;
  void join();

 private:
  struct entry {
    load_connection connection;
    bool connecting = true;
    bool counted = false;       // as connected; once, however often it is made anew
    std::uint32_t watched = 0;  // what epoll looks for
    std::uint64_t sent_counted = 0, received_counted = 0;
  };

  void run();
  void connect();
  void handle(entry&, std::uint32_t events);
  void begin_messages(entry&);
  void connect_again(entry&);
  bool receive(entry&);
  void send(entry&);
  void watch(entry&, std::uint32_t events);
  void count(entry&) noexcept;
  void lost(entry&);
  bool finished();

  const load_options& how_;
  const load_pattern& pattern_;
  const unsigned first_, wanted_;
  const int epoll_;

  // The thread's own.
  std::vector<entry> entries_;
  std::vector<std::byte> buffer_;
  bool stopping_ = false;

  // Written by the thread, read by anybody.
  std::atomic<std::uint64_t> answered_{0}, sent_{0}, received_{0};
  std::atomic<unsigned> connected_{0}, failed_{0};
  std::atomic<double> cpu_seconds_{0};
  shared_histogram latency_;
  mutable std::mutex mutex_;
  std::string first_failure_;  // under mutex_

  std::atomic<std::uint64_t> give_up_at_{0};  // written by who stops it; 0: go on
  std::thread thread_;                        // last: it uses the rest
};

}  // namespace bench
