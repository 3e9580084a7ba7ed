// A TCP stream as Beast's websocket takes it, for one fiber that reads and others that write.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/teardown.hpp>
#include <coir/coir.hpp>
#include <coir/interop/asio.hpp>

#include "common/throwing.hpp"

namespace chat {

// What a websocket is laid on: a reader and a writer may use it at once, because each frame, be it
// a line or the answer to a ping that the reader gives, goes out as a whole.
class frames {
 public:
  using executor_type = coir::asio_stream<coir::tcp_stream&>::executor_type;
  using next_layer_type = coir::tcp_stream;
  using lowest_layer_type = frames;

  frames(coir::tcp_stream& s, std::chrono::milliseconds silence)
      : stream_(s), below_(s), silence_(silence) {}
  executor_type get_executor() const { return below_.get_executor(); }
  lowest_layer_type& lowest_layer() noexcept { return *this; }
  coir::tcp_stream& stream() noexcept { return stream_; }

  template <class Buffers>
  std::size_t read_some(const Buffers& into, boost::system::error_code& error) {
    if (!ended_) stream_.set_read_deadline(coir::clock::now() + silence_);
    return below_.read_some(into, error);
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from, boost::system::error_code& error) {
    const std::lock_guard held(writing_);
    error = {};
    // Nothing follows a closing frame.
    return ended_ ? boost::asio::buffer_size(from) : below_.write_some(from, error);
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& into) {
    return examples::throwing([&](auto& error) { return read_some(into, error); });
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from) {
    return examples::throwing([&](auto& error) { return write_some(from, error); });
  }

  // The closing frame, with its reason; the reader may go on for a while, for the answer.
  void end(boost::beast::websocket::close_code code) {
    const std::lock_guard held(writing_);
    if (std::exchange(ended_, true)) return;
    const auto number = static_cast<unsigned>(code);
    const std::array<char, 4> frame{'\x88', 2, static_cast<char>(number >> 8),
                                    static_cast<char>(number)};
    std::error_code gone;
    stream_.write({frame.data(), frame.size()}, gone);
    stream_.set_read_deadline(coir::clock::now() + std::chrono::seconds(1));
  }

 private:
  coir::tcp_stream& stream_;
  coir::asio_stream<coir::tcp_stream&> below_;
  const std::chrono::milliseconds silence_;
  coir::mutex writing_;
  bool ended_ = false;  // of one worker's fibers, as all of a websocket is
};

// Beast's way to end a connection: what still comes is read, for a second, so that what we have
// said meets no reset.
inline void teardown(boost::beast::role_type, frames& f, boost::system::error_code& error) {
  std::error_code gone;
  f.stream().shutdown_write(gone);
  f.stream().set_read_deadline(coir::clock::now() + std::chrono::seconds(1));
  std::array<char, 2048> rest;
  while (!gone && f.stream().read_some(rest, gone) != 0) {}
  f.stream().close();
  error = {};
}

}  // namespace chat
