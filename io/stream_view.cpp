#include <coir/io/stream_view.hpp>

namespace coir::io {

std::size_t stream_view::write_piecewise(decltype(calls::write_some) write_some, void* s,
                                         std::span<const std::byte> from, std::error_code& e) {
  e.clear();
  std::size_t done = 0;
  while (done != from.size() && !e) {
    const std::size_t n = write_some(s, from.subspan(done), e);
    if (n == 0 && !e) e = std::make_error_code(std::errc::io_error);  // it would never end
    done += n;
  }
  return done;
}

void stream_view::shutdown_write_by(void (*throwing)(void*), void* s, std::error_code& e) {
  e.clear();
  try {
    throwing(s);
  } catch (const std::system_error& error) {
    e = error.code();
  }
}

}  // namespace coir::io
