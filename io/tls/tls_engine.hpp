// One TLS connection without its transport: ciphertext comes in and goes out through memory.
//
// Always true: its owner holds a lock around every call, and no call parks. Output is in the order
// in which it was made, and has to leave so. Input is taken in as a whole before more is wanted, so
// that its buffer is empty whenever there is room to be asked for.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "openssl.hpp"
#include "tls_settings.hpp"

namespace coir::io {

// Whom a client wants to meet.
struct tls_peer {
  std::string host;  // lower case, without brackets, zone and final dot
  bool is_address = false;
};
tls_peer parse_peer(std::string_view host);  // throws std::invalid_argument

class tls_engine {
 public:
  enum class step : std::uint8_t {
    done,
    wants_input,  // again, after feed()
    ended,        // read: the peer's close_notify
    failed,       // `error`; there may be a last alert in the output
  };

  tls_engine(std::shared_ptr<tls_settings>, const tls_peer&);
  tls_engine(const tls_engine&) = delete;
  tls_engine& operator=(const tls_engine&) = delete;
  ~tls_engine();

  step handshake(std::error_code&);
  step read(std::span<std::byte> into, std::size_t& n, std::error_code&);  // what is there
  step write(std::span<const std::byte> from, std::error_code&);  // one record, with all of it
  void end_writing();                                             // a close_notify

  std::span<std::byte> input_room();
  void feed(std::size_t n) noexcept { end_ += n; }
  std::size_t output_size() const noexcept { return output_.size(); }
  std::vector<std::byte> take_output() noexcept { return std::move(output_); }

  static constexpr std::size_t most_of_a_record = 16 * 1024;

  std::string alpn() const;
  std::string version() const;
  bool resumed() const;

  static int keep_session(SSL*, SSL_SESSION*) noexcept;  // OpenSSL's callback

 private:
  friend struct engine_bio;

  void expect(const tls_peer&);
  void resume();
  void update_key_in_time();
  step conclude(int result, std::error_code&);

  const std::shared_ptr<tls_settings> settings_;
  ssl_ptr ssl_;
  std::string host_;         // of the sessions
  std::uint64_t era_ = 0;    // of them
  std::uint64_t under_key_;  // records since the sending key was new

  std::unique_ptr<std::byte[]> input_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;  // of input_
  std::vector<std::byte> output_;
};

}  // namespace coir::io
