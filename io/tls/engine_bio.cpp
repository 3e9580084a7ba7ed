#include "engine_bio.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "tls_engine.hpp"

namespace coir::io {

// OpenSSL's own memory BIO would copy the input once more, and never give memory back.
struct engine_bio {
  static tls_engine& engine_of(BIO* b) noexcept {
    return *static_cast<tls_engine*>(BIO_get_data(b));
  }

  static int read(BIO* b, char* into, std::size_t size, std::size_t* n) noexcept {
    tls_engine& e = engine_of(b);
    BIO_clear_retry_flags(b);
    *n = std::min(size, e.end_ - e.begin_);
    if (*n == 0) {
      BIO_set_retry_read(b);
      return 0;
    }
    std::memcpy(into, e.input_.get() + e.begin_, *n);
    e.begin_ += *n;
    return 1;
  }

  static int write(BIO* b, const char* from, std::size_t size, std::size_t* n) noexcept {
    BIO_clear_retry_flags(b);
    *n = 0;
    try {
      const auto* const bytes = reinterpret_cast<const std::byte*>(from);
      auto& output = engine_of(b).output_;
      output.insert(output.end(), bytes, bytes + size);
    } catch (const std::bad_alloc&) {
      return 0;
    }
    *n = size;
    return 1;
  }

  static long control(BIO*, int what, long, void*) noexcept {
    return what == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const m = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "coir");
      if (made == nullptr) throw std::bad_alloc();
      BIO_meth_set_read_ex(made, &read);
      BIO_meth_set_write_ex(made, &write);
      BIO_meth_set_ctrl(made, &control);
      return made;
    }();
    return m;
  }
};

BIO* make_engine_bio(tls_engine& engine) {
  BIO* const b = BIO_new(engine_bio::method());
  if (b == nullptr) throw std::bad_alloc();
  BIO_set_data(b, &engine);
  BIO_set_init(b, 1);
  return b;
}

}  // namespace coir::io
