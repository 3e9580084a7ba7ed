// A TLS stream: the engine, its transport, and who of the calling fibers moves bytes between them.
//
// Always true: the engine is called under lock_, which nobody holds while it parks. One fiber at a
// time takes the engine's output and writes it (sending_), so bytes leave in the order in which
// they were made; one at a time reads input for it (receiving_). Reader and writer may each be
// either. Every change that another one waits for is told by changed_. Errors that end a direction
// stay; what came before an input_error_ is read first.
// Shared by the stream and the calls in flight. Protocol: io/README.md, "TLS".
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <system_error>

#include <coir/io/tls_transport.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/mutex.hpp>

#include "tls_engine.hpp"

namespace coir::io {

class tls_core {
 public:
  tls_core(std::unique_ptr<tls_transport>, std::shared_ptr<tls_settings>, const tls_peer&);

  using bytes = std::span<const std::byte>;

  // On a fiber; all throw coir::cancelled. How many bytes were moved; 0: the end, or `error`.
  void handshake(std::error_code& error);
  std::size_t read_some(std::span<std::byte> into, std::error_code& error);
  std::size_t read_exactly(std::span<std::byte> into, std::error_code& error);
  std::size_t write_some(bytes from, std::error_code& error);  // a record
  std::size_t write(std::span<const bytes> from, std::error_code& error);
  void shutdown_write(std::error_code& error);

  // Any fiber, any thread.
  void set_deadline(bool reading, clock::time_point);
  std::uint64_t bytes_read() const noexcept { return read_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_written() const noexcept { return written_.load(std::memory_order_relaxed); }
  tls_transport& transport() noexcept { return *transport_; }

  std::string alpn();
  std::string version();
  bool resumed();

 private:
  using lock = std::unique_lock<mutex>;
  class role;     // sending_ or receiving_, for a while
  class outside;  // lock_ is free meanwhile

  lock locked();
  bool begin(const std::atomic<clock::time_point>& deadline, std::error_code& error);
  bool receive(lock&, std::error_code& error);
  bool send(lock&, std::error_code& error);
  void send_what_is_left(lock&);
  void send_as_reader(lock&);
  std::size_t read(lock&, std::span<std::byte> into, std::error_code& error);
  bool write_record(lock&, bytes record, std::error_code& error);
  std::size_t write_records(std::span<const bytes> from, bool all, std::error_code& error);
  bool may_begin_record(std::error_code& error) const;

  const std::unique_ptr<tls_transport> transport_;
  mutex lock_;
  condition_variable changed_;

  // Under lock_, down to the next empty line.
  tls_engine engine_;
  bool sending_ = false;
  bool receiving_ = false;
  bool ended_ = false;            // the peer's close_notify has been read
  bool write_ended_ = false;      // ours has been sent
  std::error_code engine_error_;  // the engine can do nothing more
  std::error_code input_error_;   // no input comes any more
  std::error_code output_error_;  // no output can be sent any more

  // A call sets it for its time, so that a second one is refused.
  std::atomic<bool> reading_{false};
  std::atomic<bool> writing_{false};

  // Written by anybody, read by the calls when they begin; the transport has them as well.
  std::atomic<clock::time_point> read_deadline_{sched::never};
  std::atomic<clock::time_point> write_deadline_{sched::never};

  // Written by the one reader, and the one writer.
  std::atomic<std::uint64_t> read_{0};
  std::atomic<std::uint64_t> written_{0};
};

}  // namespace coir::io
