// The owner of a descriptor that operations may be in flight on: what every socket class is made
// of.
#pragma once
#include <utility>

#include <coir/io/stream.hpp>

namespace coir::io {

struct descriptor;
enum class medium : unsigned char;

// Move-only; the destructor closes. Moving is for one user at a time, operations in flight stay
// with the descriptor.
class handle {
 public:
  handle() noexcept = default;
  // Takes it over, and closes it if there is no memory.
  explicit handle(handle_type fd);  // a socket
  handle(handle_type fd, medium);
  handle(handle&& other) noexcept : d_(std::exchange(other.d_, nullptr)) {}
  handle& operator=(handle&& other) noexcept {
    if (this != &other) {
      drop();
      d_ = std::exchange(other.d_, nullptr);
    }
    return *this;
  }
  ~handle() { drop(); }

  descriptor* get() const noexcept { return d_; }
  bool is_open() const noexcept;
  handle_type native() const noexcept;  // -1: closed
  void close() noexcept;  // ends what is in flight, waits for it, then closes; any fiber or thread
  handle_type
  release() noexcept;  // ends what is in flight and waits for it; the caller owns the descriptor

 private:
  void drop() noexcept {
    if (d_ != nullptr) forget();
  }
  void forget() noexcept;

  descriptor* d_ =
      nullptr;  // stays until the destructor, so that close() may race with the calls that it ends
};

}  // namespace coir::io
