// A line for each request, written in batches, so that no request waits for the disk.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

#include <coir/coir.hpp>

namespace examples {

class access_log {
 public:
  // "-": standard output; "none": nothing is written. Throws std::system_error.
  explicit access_log(const std::string& path);
  ~access_log();

  bool wanted() const noexcept { return to_ != nullptr; }

  // Who is at the other end, for add(); "-": it has gone, or there is no log.
  template <class S>
  std::string name_of(const S& stream) const {
    std::error_code error;
    const auto peer = wanted() ? stream.remote(error) : coir::endpoint();
    return peer == coir::endpoint() ? "-" : to_string(peer);
  }

  // Any fiber; does not wait. A line that the disk is too slow for is dropped, and counted.
  void add(std::string_view peer, std::string_view what, unsigned status, std::uint64_t bytes);

 private:
  void write_on();  // until cancelled
  void write_gathered();

  std::FILE* to_ = nullptr;
  coir::mutex lock_;
  std::string gathered_;       // under lock_
  std::uint64_t dropped_ = 0;  // under lock_
  coir::task<void> writer_;
};

}  // namespace examples
