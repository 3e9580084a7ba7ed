// One connection of the load client.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "load_pattern.hpp"

namespace bench {

// Always true: received <= sent <= due; due is a multiple of the size of a message.
class load_connection {
 public:
  enum class progress { fine, full, failed };  // full: more can be sent once the socket takes it

  // Begins to connect; failure() says why if it could not.
  load_connection(std::size_t number, std::size_t size, unsigned depth, const void* address,
                  std::size_t address_size);
  load_connection(load_connection&& other) noexcept;
  load_connection& operator=(load_connection&&) = delete;
  ~load_connection();

  int descriptor() const noexcept { return descriptor_; }
  const std::string& failure() const noexcept { return failure_; }
  bool answered_all() const noexcept { return received_ == due_; }
  std::uint64_t sent() const noexcept { return sent_; }
  std::uint64_t received() const noexcept { return received_; }

  bool finish_connecting();  // once it is writable; false: failure()
  // Closes, and begins to connect anew; what has been counted stays. From one of many addresses of
  // this machine in turn, if the server is on its loopback: one has too few ports for the closed
  // connections of a minute.
  void connect_again(const void* address, std::size_t address_size);
  void start_message(std::uint64_t now) noexcept;
  progress send_due(const load_pattern&);

  // Reads once into `buffer`. For each message of which the last byte has come: answered(the time
  // when it started).
  template <class Answered>
  bool receive(const load_pattern& pattern, std::span<std::byte> buffer, Answered&& answered) {
    const std::size_t before = received_ / size_;
    if (!read_some(pattern, buffer)) return false;
    for (std::uint64_t m = before; m < received_ / size_; ++m)
      answered(started_[m % started_.size()]);
    return true;
  }

  void close() noexcept;
  void fail(std::string why);

 private:
  void begin_to_connect(const void* address, std::size_t address_size);
  void take_another_address() const noexcept;
  bool read_some(const load_pattern&, std::span<std::byte> buffer);

  std::size_t number_;
  std::size_t size_;
  int descriptor_ = -1;
  std::uint32_t times_ = 0;                          // it has been connected
  std::uint64_t due_ = 0, sent_ = 0, received_ = 0;  // bytes
  std::vector<std::uint64_t> started_;               // by number of message, modulo the depth
  std::string failure_;
};

}  // namespace bench
