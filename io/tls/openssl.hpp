// OpenSSL's objects with owners, and how it is called.
//
// Always true: no call into OpenSSL parks, because its bytes come from and go to memory. Its error
// queue belongs to the thread: it is emptied before a call that may fail and read behind it, in one
// function that does not park.
#pragma once
#include <memory>
#include <system_error>
#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <coir/sched/big_stack.hpp>
#include <coir/sched/this_fiber.hpp>

namespace coir::io {

template <auto Free>
struct openssl_free {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
template <class T, auto Free>
using openssl_ptr = std::unique_ptr<T, openssl_free<Free>>;

using ssl_ptr = openssl_ptr<SSL, &SSL_free>;
using ssl_context_ptr = openssl_ptr<SSL_CTX, &SSL_CTX_free>;
using session_ptr = openssl_ptr<SSL_SESSION, &SSL_SESSION_free>;
using certificate_ptr = openssl_ptr<X509, &X509_free>;
using key_ptr = openssl_ptr<EVP_PKEY, &EVP_PKEY_free>;

// What the thread's queue says, which is empty then: the first error of the TLS part, because those
// of the parts below it are often about what was tried in vain on the way; else the first.
// `otherwise` if there is none.
std::error_code take_openssl_error(std::error_code otherwise) noexcept;
// What X509_V_ERR_... stands for.
std::error_code certificate_error(long verify_result) noexcept;

// What a call may need of the stack: four times what handshakes took (io/README.md).
inline constexpr std::size_t openssl_stack = 32 * 1024;

// Runs f, which calls OpenSSL, here if there is room, else on a bigger stack.
template <class F>
auto with_openssl_stack(F&& f) {
  const std::size_t size = this_fiber::stack_size();  // 0: a thread's, which is big
  if (size == 0 || size - this_fiber::stack_used() >= openssl_stack) return f();
  return on_big_stack(openssl_stack, std::forward<F>(f));
}

}  // namespace coir::io
