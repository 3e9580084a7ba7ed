// The file by which a bound Unix-domain socket is found, and its end.
#pragma once
#include <cstdint>
#include <utility>

#include <coir/io/endpoint.hpp>

namespace coir::io {

// Owns a file that bind(2) made. Removes it when it goes, unless another has taken its place.
class socket_file {
 public:
  socket_file() noexcept = default;
  // Of the address that has just been bound; an abstract name has none.
  explicit socket_file(const endpoint& bound) noexcept;
  socket_file(socket_file&& other) noexcept
      : at_(std::exchange(other.at_, {})), device_(other.device_), inode_(other.inode_) {}
  socket_file& operator=(socket_file&& other) noexcept {
    if (this == &other) return *this;
    remove();
    at_ = std::exchange(other.at_, {});
    device_ = other.device_;
    inode_ = other.inode_;
    return *this;
  }
  ~socket_file() { remove(); }

  void remove() noexcept;
  void forget() noexcept { at_ = {}; }  // it is somebody else's now

  // Before bind(2): a file to which no socket answers, left by a process that has died, goes away.
  static void remove_stale(const endpoint& at) noexcept;

 private:
  endpoint at_;  // of no family: there is no file
  std::uint64_t device_ = 0, inode_ = 0;
};

}  // namespace coir::io
