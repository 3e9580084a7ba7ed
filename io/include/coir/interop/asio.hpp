// Streams of coir for what is written against Boost.Asio's synchronous streams: Boost.Beast's HTTP
// and WebSocket run unmodified on fibers, and park where they would block. For programs that have
// Boost.Asio; the library itself needs none of it.
#pragma once
#include <array>
#include <cstddef>
#include <iterator>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <coir/interop/boost_error.hpp>
#include <coir/io/stream.hpp>

#if __has_include(<boost/beast/core/role.hpp>)
#include <boost/beast/core/role.hpp>
#endif

namespace coir {

// Asio's SyncReadStream and SyncWriteStream, and what Beast asks of a lowest layer. It owns its
// stream, or borrows it if made from an lvalue: asio_stream a(std::move(s)), asio_stream b(s). Its
// calls wait as the stream's do, and on fibers only; the stream's deadlines and close() apply.
// Errors keep number and category; the end of the stream is asio::error::eof. Both forms of a call
// throw coir::cancelled. One fiber may read while another writes.
template <class S>
requires byte_stream<std::remove_reference_t<S>>
class asio_stream {
 public:
  using next_layer_type = std::remove_reference_t<S>;
  using lowest_layer_type = asio_stream;
  using executor_type = boost::asio::io_context::executor_type;

  explicit asio_stream(S&& stream) : stream_(std::forward<S>(stream)) {}

  next_layer_type& next_layer() noexcept { return stream_; }
  const next_layer_type& next_layer() const noexcept { return stream_; }
  lowest_layer_type& lowest_layer() noexcept { return *this; }

  // Of a context that nobody runs: synchronous calls need none, asynchronous ones would never end.
  executor_type get_executor() const { return interop::idle_context().get_executor(); }

  // Waits for some bytes, which go into the first of the buffers that has room. 0: no buffer has.
  template <class Buffers>
  std::size_t read_some(const Buffers& into, boost::system::error_code& error) {
    error = {};
    const boost::asio::mutable_buffer first = first_of<boost::asio::mutable_buffer>(into);
    if (first.size() == 0) return 0;
    std::error_code failure;
    const std::size_t n =
        stream_.read_some({static_cast<std::byte*>(first.data()), first.size()}, failure);
    if (failure)
      error = interop::boost_error(failure);
    else if (n == 0)
      error = boost::asio::error::eof;
    return n;
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& into) {
    boost::system::error_code error;
    const std::size_t n = read_some(into, error);
    if (error) throw boost::system::system_error(error, "read_some");
    return n;
  }

  // Waits until bytes of the buffers have gone out: of up to 16 of them at once, where the stream
  // can gather.
  template <class Buffers>
  std::size_t write_some(const Buffers& from, boost::system::error_code& error) {
    std::error_code failure;
    const std::size_t n = write_first(from, failure);
    error = failure ? interop::boost_error(failure) : boost::system::error_code();
    return n;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from) {
    boost::system::error_code error;
    const std::size_t n = write_some(from, error);
    if (error) throw boost::system::system_error(error, "write_some");
    return n;
  }

  void close() noexcept { stream_.close(); }
  bool is_open() const noexcept { return stream_.is_open(); }

 private:
  using part = std::span<const std::byte>;

  template <class Buffer, class Buffers>
  static Buffer first_of(const Buffers& buffers) {
    const auto end = boost::asio::buffer_sequence_end(buffers);
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != end; ++it)
      if (Buffer b(*it); b.size() != 0) return b;
    return {};
  }

  template <class Buffers>
  std::size_t write_first(const Buffers& from, std::error_code& failure) {
    if constexpr (requires(next_layer_type & s, std::span<const part> parts) {
                    { s.write(parts, failure) } -> std::same_as<std::size_t>;
                  }) {
      std::array<part, 16> parts;
      std::size_t count = 0;
      const auto end = boost::asio::buffer_sequence_end(from);
      for (auto it = boost::asio::buffer_sequence_begin(from); it != end && count != parts.size();
           ++it)
        if (boost::asio::const_buffer b(*it); b.size() != 0)
          parts[count++] = {static_cast<const std::byte*>(b.data()), b.size()};
      return stream_.write(std::span<const part>(parts.data(), count), failure);
    } else {
      const auto b = first_of<boost::asio::const_buffer>(from);
      return stream_.write_some(part(static_cast<const std::byte*>(b.data()), b.size()), failure);
    }
  }

  S stream_;
};

template <class S>
asio_stream(S&&) -> asio_stream<S>;

#if __has_include(<boost/beast/core/role.hpp>)
// How Beast's websocket ends the connection below it (its customisation point): the end is sent,
// and what still comes is read and dropped, so that the peer's last bytes meet no reset.
template <class S>
void teardown(boost::beast::role_type, asio_stream<S>& stream, boost::system::error_code& error) {
  std::error_code failure;
  if constexpr (requires { stream.next_layer().shutdown_write(failure); })
    stream.next_layer().shutdown_write(failure);
  error = {};
  std::array<std::byte, 2048> rest;
  while (!error) stream.read_some(boost::asio::buffer(rest), error);
  if (error == boost::asio::error::eof) error = {};
  stream.close();
}
template <class S>
void beast_close_socket(asio_stream<S>& stream) {
  stream.close();
}
#endif

}  // namespace coir
