#include <coir/io/copy.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>

#include <coir/io/socket_stream.hpp>
#include <coir/sched/task_group.hpp>

#include "with_fibers.hpp"

namespace coir::io {
namespace {

// Small while little comes: most connections of a proxy are idle.
class copy_buffer {
 public:
  std::span<std::byte> all() noexcept { return {memory_.get(), size_}; }
  void was_filled() {
    if (size_ == longest) return;
    memory_ = std::make_unique_for_overwrite<std::byte[]>(4 * size_);
    size_ *= 4;
  }

 private:
  static constexpr std::size_t longest = 64 * 1024;
  std::size_t size_ = 4 * 1024;
  std::unique_ptr<std::byte[]> memory_ = std::make_unique_for_overwrite<std::byte[]>(size_);
};

void copy_and_end(stream_view from, stream_view to, std::error_code& error) {
  copy(from, to, error);
  if (error) return;
  to.shutdown_write(error);
  // The peer has gone, and whoever reads from it will learn why.
  if (error == std::errc::not_connected) error.clear();
}

void copy_at_once(stream_view a, stream_view b) {
  std::atomic<bool> failed{false};
  // Of two that fail together, the first says why: the second has no news.
  const auto one_way = [&failed](stream_view from, stream_view to) {
    std::error_code error;
    copy_and_end(from, to, error);
    if (error && !failed.exchange(true)) throw_error(error, "coir: copy_both_ways");
  };
  with_group([&](task_group& g) {
    g.spawn({.name = "copy_both_ways"}, one_way, a, b);
    one_way(b, a);
  });
}

}  // namespace

std::size_t copy(stream_view from, stream_view to, std::error_code& error) {
  error.clear();
  copy_buffer buffer;
  for (std::size_t done = 0;;) {
    const std::size_t n = from.read_some(buffer.all(), error);
    if (n == 0) return done;
    done += to.write(buffer.all().first(n), error);
    if (error) return done;
    if (n == buffer.all().size()) buffer.was_filled();
  }
}
std::size_t copy(stream_view from, stream_view to) {
  std::error_code error;
  const std::size_t n = copy(from, to, error);
  check(error, "coir: copy");
  return n;
}

void copy_both_ways(stream_view a, stream_view b) {
  with_fibers([&] { copy_at_once(a, b); });
}
void copy_both_ways(stream_view a, stream_view b, std::error_code& error) {
  error.clear();
  try {
    copy_both_ways(a, b);
  } catch (const std::system_error& e) {
    error = e.code();
  }
}

}  // namespace coir::io
