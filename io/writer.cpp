#include <coir/io/writer.hpp>

#include <coir/io/socket_stream.hpp>
#include <coir/sched/this_fiber.hpp>

namespace coir::io {

void writer_core::write(std::span<const std::byte> from) {
  const std::lock_guard held(adding_);
  added_.append(from);
  written_.fetch_add(from.size(), std::memory_order_relaxed);
}

std::size_t writer_core::buffered() const noexcept {
  const std::uint64_t sent = sent_.load(std::memory_order_acquire);
  return static_cast<std::size_t>(written_.load(std::memory_order_relaxed) - sent);
}

// What has been added becomes what leaves, without a copy; the two memories change places.
void writer_core::fetch() noexcept {
  const std::lock_guard held(adding_);
  leaving_.swap(added_);
}

// By write_some, which either sends something or throws: a cancelled write() of it all would leave
// open how much went out.
void writer_core::send_until(std::uint64_t position, std::error_code& error) {
  const std::lock_guard turn(sending_);
  while (sent_.load(std::memory_order_relaxed) < position) {
    if (leaving_.empty()) fetch();
    const std::size_t n = to_.write_some(leaving_.bytes(), error);
    if (n == 0 && !error) error = std::make_error_code(std::errc::io_error);
    leaving_.drop(n);
    sent_.fetch_add(n, std::memory_order_release);
    if (error) return;
  }
}

void writer_core::flush(std::error_code& error) {
  this_fiber::check_cancelled();
  error.clear();
  send_until(written_.load(std::memory_order_relaxed), error);
}

void writer_core::drain(std::error_code& error) {
  this_fiber::check_cancelled();
  error.clear();
  const std::uint64_t written = written_.load(std::memory_order_relaxed);
  const std::size_t may_stay = high_water_ == 0 ? 0 : high_water_ - 1;
  if (written > may_stay) send_until(written - may_stay, error);
}

void writer_core::flush() {
  std::error_code error;
  flush(error);
  check(error, "coir: flush");
}
void writer_core::drain() {
  std::error_code error;
  drain(error);
  check(error, "coir: drain");
}

}  // namespace coir::io
