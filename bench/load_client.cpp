#include "load_client.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "load_thread.hpp"
#include "process.hpp"

namespace bench {
namespace {

load_options checked(load_options o) {
  if (o.connections == 0 || o.threads == 0 || o.depth == 0 || o.size == 0)
    throw std::invalid_argument("load: connections, threads, depth and size are at least 1");
  o.threads = std::min(o.threads, o.connections);
  return o;
}

const load_pattern& pattern() {
  static const load_pattern one;
  return one;
}

}  // namespace

load_client::load_client(const load_options& how) : how_(checked(how)) {
  const load_pattern& shared = pattern();
  unsigned first = 0;
  for (unsigned i = 0; i < how_.threads; ++i) {
    const unsigned connections = (how_.connections - first) / (how_.threads - i);
    threads_.push_back(std::make_unique<load_thread>(how_, shared, first, connections));
    first += connections;
  }
}

load_client::~load_client() { stop(std::chrono::milliseconds(0)); }

bool load_client::wait_until_connected(std::chrono::milliseconds patience) const {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const load_figures f = figures();
    if (f.connected == how_.connections) return true;
    if (f.failed != 0 || std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

load_figures load_client::figures() const {
  load_figures sum;
  for (const auto& t : threads_) t->add_to(sum);
  return sum;
}

void load_client::stop(std::chrono::milliseconds patience) {
  for (auto& t : threads_) t->ask_to_stop(patience);
  for (auto& t : threads_) t->join();
}

}  // namespace bench
