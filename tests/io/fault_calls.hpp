// Calls on which faults are injected, as the operations of the fault sweep make them.
#pragma once
#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {

// What an operation makes its calls with. A call that tells of the injected error is made again,
// and has to succeed then.
class calls {
 public:
  explicit calls(int injected) : injected_(injected) {}

  // call(std::error_code&). `fine`: an error that is the result.
  template <class Call>
  auto operator()(Call&& call, std::errc fine = {}) {
    for (;;) {
      std::error_code error;
      if constexpr (std::is_void_v<decltype(call(error))>) {
        call(error);
        if (has_told(error, fine)) continue;
        return;
      } else {
        auto result = call(error);
        if (has_told(error, fine)) continue;
        return result;
      }
    }
  }
  unsigned told() const { return told_; }

  // --- what most operations need

  auto pair() {
    return (*this)([](std::error_code& e) { return unix_stream::pair(e); });
  }
  tcp_listener listener() {
    return (*this)([](std::error_code& e) { return tcp_listener::bind(any_port, e); });
  }
  // Connected by a plain thread, which no fault strikes.
  std::pair<tcp_stream, tcp_stream> tcp_pair() {
    int made = -1, accepted = -1;
    std::thread([&] {
      const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_storage at{};
      socklen_t size = sizeof at;
      if (::listen(listener, 1) != 0 ||
          ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) != 0)
        std::abort();
      made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(made, reinterpret_cast<sockaddr*>(&at), size) != 0) std::abort();
      accepted = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      ::close(listener);
    }).join();
    return {adopt(made), adopt(accepted)};
  }
  tcp_stream adopt(int fd) {
    return (*this)([fd](std::error_code& e) {
      tcp_stream adopted;
      e = error_of([&] { adopted = tcp_stream::adopt(fd); });
      return adopted;
    });
  }
  template <class Stream>
  std::string read(Stream& from, std::size_t count) {
    std::string got(count, '\0');
    const std::uint64_t before = from.bytes_read();
    (*this)([&](std::error_code& e) {
      from.read_exactly(std::span(got).subspan(from.bytes_read() - before), e);
    });
    return got;
  }
  template <class Stream>
  void write(Stream& to, std::string_view text) {
    const std::uint64_t before = to.bytes_written();
    (*this)([&](std::error_code& e) { to.write(text.substr(to.bytes_written() - before), e); });
  }

 private:
  bool has_told(const std::error_code& error, std::errc fine) {
    if (!error || error == fine) return false;
    if (error.value() == injected_ && told_++ == 0) return true;
    ADD_FAILURE() << "it says " << error.message();
    return false;
  }
  const int injected_;
  std::atomic<unsigned> told_{0};
};

}  // namespace coir::testing
