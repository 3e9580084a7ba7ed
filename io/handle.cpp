#include <coir/io/handle.hpp>

#include <new>

#include "descriptor.hpp"
#include "system_calls.hpp"

namespace coir::io {

handle::handle(handle_type fd) : handle(fd, medium::socket) {}

handle::handle(handle_type fd, medium through) {
  try {
    d_ = make_descriptor(fd);
    d_->through = through;
  } catch (const std::bad_alloc&) {
    sys::close(fd);
    throw;
  }
}

bool handle::is_open() const noexcept { return d_ != nullptr && !d_->reading.is_closing(); }
handle_type handle::native() const noexcept { return is_open() ? d_->fd : -1; }

void handle::close() noexcept {
  if (d_ != nullptr) end_descriptor(*d_, parting::close);
}

handle_type handle::release() noexcept {
  return d_ == nullptr ? -1 : end_descriptor(*d_, parting::keep);
}

void handle::forget() noexcept {
  end_descriptor(*d_, parting::close);
  io::release(*d_);
}

}  // namespace coir::io
