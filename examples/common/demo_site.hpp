// A site to be crawled: a tree of pages that link to each other, some of which are slow, gone,
// moved, or have a bad day.
#pragma once
#include <coir/coir.hpp>

#include "http_service.hpp"

namespace examples {

// Page i of `pages` is /i, and links to three more; page 0 is /. Until the client ends.
void serve_demo_site(coir::tcp_stream peer, http_service&, unsigned pages);

}  // namespace examples
