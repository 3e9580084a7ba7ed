#include "pubsub.hpp"

#include "resp.hpp"

namespace kv {

void subscriber::push(std::string_view bytes) {
  if (overflowed()) return;
  if (out_.buffered() + bytes.size() > limit_) {
    overflowed_.store(true);
    return end_stream();
  }
  out_.write(bytes);
  more_.notify_one();
}

// By a deadline, because closing may wait.
void subscriber::end_stream() {
  stream_.set_read_deadline(coir::clock::time_point());
  stream_.set_write_deadline(coir::clock::time_point());
}

void subscriber::send() {
  for (std::error_code error; !error;) {
    more_.wait();
    out_.flush(error);
  }
  end_stream();
}

void subscriber::flush() {
  std::error_code gone;
  out_.flush(gone);
}

void hub::join(std::string_view channel, subscriber& s) {
  const std::lock_guard locked(lock_);
  const auto found = channels_.find(channel);
  auto& members = found != channels_.end() ? found->second : channels_[std::string(channel)];
  members.push_back(&s);
}

void hub::leave(std::string_view channel, subscriber& s) {
  const std::lock_guard locked(lock_);
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  std::erase(found->second, &s);
  if (found->second.empty()) channels_.erase(found);
}

std::size_t hub::publish(std::string_view channel, std::string_view text) {
  const std::lock_guard locked(lock_);
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return 0;
  std::string message;
  put_array(message, 3);
  for (const std::string_view part : {std::string_view("message"), channel, text})
    put_bulk(message, part);
  for (subscriber* s : found->second) s->push(message);
  return found->second.size();
}

std::size_t hub::channels() const {
  const std::lock_guard locked(lock_);
  return channels_.size();
}

}  // namespace kv
