#include "session_cache.hpp"

namespace coir::io {

session_ptr session_cache::take(const std::string& host) {
  const std::lock_guard guard(lock_);
  const auto found = kept_.find(host);
  if (found == kept_.end()) return nullptr;
  auto& sessions = found->second;
  session_ptr newest = std::move(sessions.back());
  sessions.pop_back();
  if (SSL_SESSION_get_protocol_version(newest.get()) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(newest.get());
    sessions.emplace_back(newest.get());
  } else if (sessions.empty()) {
    kept_.erase(found);
  }
  return newest;
}

void session_cache::put(const std::string& host, std::uint64_t era, session_ptr session) {
  const std::lock_guard guard(lock_);
  if (era != era_) return;
  if (kept_.size() == hosts && !kept_.contains(host)) kept_.erase(kept_.begin());
  auto& sessions = kept_[host];
  sessions.push_back(std::move(session));
  if (sessions.size() > sessions_of_a_host) sessions.pop_front();
}

void session_cache::begin_era() {
  std::map<std::string, std::deque<session_ptr>> dropped;
  const std::lock_guard guard(lock_);
  ++era_;
  dropped.swap(kept_);
}

std::uint64_t session_cache::era() {
  const std::lock_guard guard(lock_);
  return era_;
}

}  // namespace coir::io
