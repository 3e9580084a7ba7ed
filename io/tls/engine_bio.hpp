// The BIO between OpenSSL and a tls_engine's buffers.
#pragma once
#include <openssl/bio.h>

namespace coir::io {

class tls_engine;

// For both directions; throws std::bad_alloc. Freed with the SSL that it is given to.
BIO* make_engine_bio(tls_engine&);

}  // namespace coir::io
