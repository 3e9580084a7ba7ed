// Buffered writing with backpressure (asyncio.StreamWriter).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <system_error>

#include <coir/io/byte_queue.hpp>
#include <coir/io/char_range.hpp>
#include <coir/io/stream_view.hpp>
#include <coir/sync/mutex.hpp>

namespace coir {
namespace io {

// What of a writer does not depend on the type of its stream.
//
// For any number of fibers at once: what one write() takes goes out in one piece, in the order of
// the writes. Of those that flush or drain, one sends and the others wait their turn; if it is
// cancelled, the next goes on. The two forms of a call: as in socket_stream. After an error, a
// timeout or a cancellation, exactly what has not gone out is still buffered; flushing again goes
// on there.
class writer_core {
 public:
  writer_core(const writer_core&) = delete;
  writer_core& operator=(const writer_core&) = delete;

  // Keeps a copy for the next flush or drain; never waits, sends nothing, needs no fiber. Throws
  // std::bad_alloc, and then none of it is buffered.
  void write(std::span<const std::byte> from);
  void write(std::string_view from) { write(std::as_bytes(std::span(from))); }
  template <io::char_range R>
  void write(const R& from) {
    write(io::text_of(from));
  }
  template <class Bytes>
  void write(const Bytes& from, std::error_code& e) {  // as a stream's, without an error ever
    write(from);
    e.clear();
  }

  // Waits until all that had been written before the call has gone out.
  void flush();
  void flush(std::error_code&);

  // At the high-water mark or above, waits until less than that is left of what had been written
  // before the call; below it, sends nothing and returns.
  void drain();
  void drain(std::error_code&);

  std::size_t buffered() const noexcept;  // bytes that have not gone out; any thread
  std::size_t high_water() const noexcept { return high_water_; }

 protected:
  writer_core(stream_view to, std::size_t high_water) noexcept : to_(to), high_water_(high_water) {}
  ~writer_core() = default;

 private:
  void send_until(std::uint64_t position, std::error_code&);
  void fetch() noexcept;

  const stream_view to_;
  const std::size_t high_water_;

  std::mutex adding_;  // native: for the time of a copy, never across a park
  byte_queue added_;   // under adding_

  mutex sending_;
  byte_queue leaving_;  // under sending_; the kernel reads it while the holder waits

  // Positions in the stream of all bytes ever written. What has been sent had been added before, so
  // whoever acquires sent_ and then reads written_ finds it no smaller.
  std::atomic<std::uint64_t> written_{0};  // changed under adding_
  std::atomic<std::uint64_t> sent_{0};     // changed under sending_; released
};

}  // namespace io

// Borrows the stream, which outlives it. The destructor does not flush: it may neither wait nor
// fail. `high_water`: bytes, 64 KiB as in asyncio.
template <byte_sink S>
class writer : public io::writer_core {
 public:
  explicit writer(S& stream, std::size_t high_water = 64 * 1024) noexcept
      : writer_core(io::stream_view(stream), high_water) {}
};

}  // namespace coir
