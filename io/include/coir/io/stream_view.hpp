// A stream of any type, borrowed: what readers, writers and copies are compiled against, once.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>

#include <coir/io/stream.hpp>

namespace coir {

// The half of a byte_stream that a reader needs, and the half that a writer needs.
template <class S>
concept byte_source = requires(S& s, std::span<std::byte> into, std::error_code& ec) {
  { s.read_some(into, ec) } -> std::same_as<std::size_t>;
};
template <class S>
concept byte_sink = requires(S& s, std::span<const std::byte> from, std::error_code& ec) {
  { s.write_some(from, ec) } -> std::same_as<std::size_t>;
};

namespace io {

// Calls what the stream itself has, for who holds its address only. A call that the stream's type
// lacks is for nobody: the templates that make views ask for it by a concept.
class stream_view {
 public:
  template <class S>
  requires(!std::same_as<S, stream_view>)  // which would be taken for a stream itself
      explicit stream_view(S& s) noexcept
      : stream_(&s), calls_(&calls_of<S>) {}

  std::size_t read_some(std::span<std::byte> into, std::error_code& e) const {
    return calls_->read_some(stream_, into, e);
  }
  std::size_t write_some(std::span<const std::byte> from, std::error_code& e) const {
    return calls_->write_some(stream_, from, e);
  }
  // All of it; how much went out.
  std::size_t write(std::span<const std::byte> from, std::error_code& e) const {
    return calls_->write(stream_, from, e);
  }
  void shutdown_write(std::error_code& e) const { calls_->shutdown_write(stream_, e); }

 private:
  struct calls {
    std::size_t (*read_some)(void*, std::span<std::byte>, std::error_code&);
    std::size_t (*write_some)(void*, std::span<const std::byte>, std::error_code&);
    std::size_t (*write)(void*, std::span<const std::byte>, std::error_code&);
    void (*shutdown_write)(void*, std::error_code&);
  };

  template <class S>
  static std::size_t read_some_of(void* s, std::span<std::byte> into, std::error_code& e) {
    return static_cast<S*>(s)->read_some(into, e);
  }
  template <class S>
  static std::size_t write_some_of(void* s, std::span<const std::byte> from, std::error_code& e) {
    return static_cast<S*>(s)->write_some(from, e);
  }
  // In one call where that tells how far it came: a kernel that is asked for all of it may go on
  // by itself.
  template <class S>
  static std::size_t write_of(void* s, std::span<const std::byte> from, std::error_code& e) {
    if constexpr (requires(S & t) {
                    { t.write(from, e) } -> std::same_as<std::size_t>;
                  })
      return static_cast<S*>(s)->write(from, e);
    else
      return write_piecewise(&write_some_of<S>, s, from, e);
  }
  template <class S>
  static void shutdown_write_of(void* s, std::error_code& e) {
    if constexpr (requires(S & t) { t.shutdown_write(e); })
      static_cast<S*>(s)->shutdown_write(e);
    else
      shutdown_write_by([](void* t) { static_cast<S*>(t)->shutdown_write(); }, s, e);
  }
  static std::size_t write_piecewise(decltype(calls::write_some), void* s,
                                     std::span<const std::byte> from, std::error_code& e);
  static void shutdown_write_by(void (*throwing)(void*), void* s, std::error_code& e);

  template <class S>
  static constexpr calls all_of() {
    calls c{};
    if constexpr (byte_source<S>) c.read_some = &read_some_of<S>;
    if constexpr (byte_sink<S>) {
      c.write_some = &write_some_of<S>;
      c.write = &write_of<S>;
    }
    if constexpr (byte_stream<S>) c.shutdown_write = &shutdown_write_of<S>;
    return c;
  }
  template <class S>
  static constexpr calls calls_of = all_of<S>();

  void* stream_;
  const calls* calls_;
};

}  // namespace io
}  // namespace coir
