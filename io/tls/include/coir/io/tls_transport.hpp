// The stream of bytes that TLS runs over, whatever its type.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <coir/io/endpoint.hpp>
#include <coir/io/stream.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/timeout.hpp>

namespace coir::io {

// The calls are byte_stream's. One reads and one writes at a time; deadlines and close come from
// anybody.
class tls_transport {
 public:
  tls_transport() = default;
  tls_transport(const tls_transport&) = delete;
  tls_transport& operator=(const tls_transport&) = delete;
  virtual ~tls_transport();

  virtual std::size_t read_some(std::span<std::byte> into, std::error_code&) = 0;
  virtual void write(std::span<const std::byte> from, std::error_code&) = 0;  // all of it
  virtual void shutdown_write(std::error_code&) = 0;
  virtual void close() noexcept = 0;
  virtual bool is_open() = 0;
  virtual void set_read_deadline(clock::time_point) = 0;
  virtual void set_write_deadline(clock::time_point) = 0;
  virtual endpoint local(std::error_code&) = 0;  // none: the transport has no addresses
  virtual endpoint remote(std::error_code&) = 0;
};

template <class S>
concept has_deadlines = requires(S& s, clock::time_point t) {
  s.set_read_deadline(t);
  s.set_write_deadline(t);
};

// For streams without deadlines of their own: one that is set during a call counts from the next.
template <class F>
void call_before(clock::time_point deadline, std::error_code& error, F&& call) {
  try {
    with_deadline(deadline, std::forward<F>(call));
  } catch (const timed_out&) {
    error = std::make_error_code(std::errc::timed_out);
  }
}

template <byte_stream S>
class tls_transport_of final : public tls_transport {
 public:
  explicit tls_transport_of(S stream) : stream_(std::move(stream)) {}

  std::size_t read_some(std::span<std::byte> into, std::error_code& error) override {
    if constexpr (has_deadlines<S>) return stream_.read_some(into, error);
    std::size_t n = 0;
    call_before(read_deadline_, error, [&] { n = stream_.read_some(into, error); });
    return n;
  }
  void write(std::span<const std::byte> from, std::error_code& error) override {
    if constexpr (has_deadlines<S>)
      stream_.write(from, error);
    else
      call_before(write_deadline_, error, [&] { stream_.write(from, error); });
  }
  void shutdown_write(std::error_code& error) override {
    if constexpr (requires { stream_.shutdown_write(error); }) {
      stream_.shutdown_write(error);
    } else {
      try {
        stream_.shutdown_write();
        error.clear();
      } catch (const std::system_error& e) {
        error = e.code();
      }
    }
  }
  void close() noexcept override { stream_.close(); }
  bool is_open() override { return stream_.is_open(); }
  void set_read_deadline(clock::time_point t) override {
    if constexpr (has_deadlines<S>) stream_.set_read_deadline(t);
    read_deadline_ = t;
  }
  void set_write_deadline(clock::time_point t) override {
    if constexpr (has_deadlines<S>) stream_.set_write_deadline(t);
    write_deadline_ = t;
  }
  endpoint local(std::error_code& error) override {
    if constexpr (requires { stream_.local(error); }) return stream_.local(error);
    return error.clear(), endpoint();
  }
  endpoint remote(std::error_code& error) override {
    if constexpr (requires { stream_.remote(error); }) return stream_.remote(error);
    return error.clear(), endpoint();
  }

 private:
  S stream_;
  std::atomic<clock::time_point> read_deadline_{sched::never};
  std::atomic<clock::time_point> write_deadline_{sched::never};
};

}  // namespace coir::io
