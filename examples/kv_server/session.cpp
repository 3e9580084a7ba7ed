#include "session.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace std::chrono_literals;

namespace kv {
namespace {

constexpr std::size_t usual_input = 16 * 1024;
constexpr std::size_t much_output = 64 * 1024;  // sent before more is carried out
constexpr auto last_words = 1s;                 // for a client to take them

}  // namespace

session::session(server_state& all, coir::tcp_stream stream)
    : all_(all), stream_(std::move(stream)), parser_(all.given.max_request) {
  std::error_code gone;
  peer_ = to_string(stream_.remote(gone));
  if (gone) peer_ = "a client that has gone";
}

session::~session() {
  while (!channels_.empty()) unsubscribe(*channels_.begin());
  if (!sender_.valid() || subscriber_->overflowed()) return;
  coir::shield([this] {
    stream_.set_write_deadline(coir::clock::now() + last_words);
    sender_.cancel();
    sender_.wait();
    subscriber_->flush();
  });
}

void session::say(const char* what) const {
  std::fprintf(stderr, "kv_server: %s: %s\n", peer_.c_str(), what);
}

void session::serve() try {
  while (!quits_ && receive()) {
    execute();
    send();
  }
  if (subscriber_ && subscriber_->overflowed()) say("a subscriber that does not read is cut off");
} catch (const coir::cancelled&) {
  send_rest();
  throw;
}

// --- in ---

void session::make_room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (in_.size() > usual_input) in_ = {};
  }
  if (in_.empty()) in_.resize(usual_input);
  if (in_.size() - end_ >= usual_input / 4) return;
  if (begin_ >= in_.size() / 2) {
    std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  } else {
    in_.resize(2 * in_.size());
  }
}

// More input. False: it ends.
bool session::receive() {
  make_room();
  time_reads(parser_.in_request());
  if (subscriber_ && subscriber_->overflowed()) return false;
  std::error_code error;
  const std::size_t n = stream_.read_some(std::span(in_).subspan(end_), error);
  end_ += n;
  if (error == std::errc::timed_out && !(subscriber_ && subscriber_->overflowed()))
    reject("half a request, and then nothing");
  return n != 0;
}

// Half a request is not waited for for ever.
void session::time_reads(bool timed) {
  if (!timed && !timed_) return;
  timed_ = timed;
  stream_.set_read_deadline(timed ? coir::clock::now() + all_.given.request_timeout
                                  : coir::clock::time_point::max());
}

void session::execute() {
  using result = request_parser::result;
  std::uint64_t done = 0;
  while (!quits_) {
    const result r = parser_.parse({in_.data() + begin_, end_ - begin_});
    if (r == result::incomplete) break;
    if (r == result::bad) {
      reject(parser_.error());
      break;
    }
    begin_ += parser_.size();  // the words stay where they are until more is read
    if (r == result::empty) continue;
    ++done;
    call c{.all = all_,
           .client = this,
           .words = parser_.words(),
           .encoded = parser_.encoded(),
           .reply = out_};
    if (last_ == nullptr || c.words[0] != last_name_) {
      last_ = find_command(c.words[0]);
      last_name_ = c.words[0];
    }
    last_ != nullptr ? execute(*last_, c) : put_error(out_, "ERR unknown command");
    if (out_.size() >= much_output) send();
  }
  all_.commands.fetch_add(done, std::memory_order_relaxed);
}

void session::execute(const command& what, call& c) {
  const std::size_t begin = out_.size();
  if (!channels_.empty() && what.kind != command::of_subscribers)
    return put_error(out_,
                     "ERR a connection that has subscribed may only send SUBSCRIBE, "
                     "UNSUBSCRIBE, PING and QUIT");
  run(what, c);
  if (c.waits) return wait_for_item(*c.waits);
  note_shown(begin, c.shows);
}

void session::note_shown(std::size_t begin, std::uint64_t position) {
  if (all_.log == nullptr) return;
  shown_ = std::max(shown_, position);
  if (!all_.log->is_safe(position)) unsafe_.push_back({begin, out_.size(), position});
}

// A last word to a client that cannot be understood. What it has sent is read, and dropped, because
// closing a socket with something unread takes from the peer what was on its way to it.
void session::reject(const char* why) {
  say(why);
  put_error(out_, std::string("ERR ") + why);
  send();
  quits_ = true;
  std::error_code gone;
  if (!subscriber_) stream_.shutdown_write(gone);
  stream_.set_read_deadline(coir::clock::now() + last_words);
  for (std::size_t n = 1, all = 0; !gone && n != 0 && all < (1 << 24); all += n)
    n = stream_.read_some(in_, gone);
}

// --- out ---

void session::send() {
  if (out_.empty()) return;
  settle();
  if (!channels_.empty()) {
    subscriber_->push(out_);
  } else {
    if (subscriber_) subscriber_->flush();  // and then nobody else sends
    std::error_code gone;
    sent_ = 0;
    const std::uint64_t before = stream_.bytes_written();
    try {
      stream_.write(out_, gone);
    } catch (...) {
      sent_ = stream_.bytes_written() - before;
      throw;
    }
    if (gone) quits_ = true;
  }
  out_.clear();
  if (out_.capacity() > 2 * much_output) out_.shrink_to_fit();
}

// Nothing goes out that is not on the disk, where that was promised.
void session::settle() {
  if (all_.log == nullptr) return;
  const std::error_code error = all_.log->commit(shown_);
  if (error) {
    std::string kept, refusal;
    put_error(refusal, "MISCONF the append-only file cannot be written: " + error.message());
    std::size_t at = 0;
    for (const unsafe_reply& r : unsafe_) {
      if (all_.log->is_safe(r.position)) continue;
      kept.append(out_, at, r.begin - at) += refusal;
      at = r.end;
    }
    out_ = kept.append(out_, at);
  }
  unsafe_.clear();
}

// After a cancellation, that is, while the server stops: what had been carried out is told.
void session::send_rest() noexcept try {
  std::error_code gone;
  stream_.set_write_deadline(coir::clock::now() + last_words);
  if (sent_ == 0) settle();
  if (channels_.empty()) stream_.write(std::string_view(out_).substr(sent_), gone);
} catch (...) {}

// --- subscriptions, and waiting for an item ---

bool session::begin_subscription(std::string_view channel) {
  if (!subscriber_) {
    subscriber_ = std::make_unique<subscriber>(stream_, all_.given.output_limit);
    sender_ = coir::spawn([this] { subscriber_->send(); });
  }
  return channels_.emplace(channel).second;
}

// The confirmation comes before the first message.
void session::join(std::string_view channel) {
  send();
  all_.channels.join(channel, *subscriber_);
}

bool session::unsubscribe(std::string_view channel) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return false;
  all_.channels.leave(channel, *subscriber_);
  channels_.erase(found);
  return true;
}

// Reads on while the connection's own fiber waits: it may be told that the client has gone, and an
// item must not be given to nobody.
void session::watch_for_end(waiting_pop& w) {
  std::error_code error;
  for (bool more = true; more && end_ - begin_ < all_.given.max_request;) {
    make_room();
    const std::size_t n = stream_.read_some(std::span(in_).subspan(end_), error);
    end_ += n;
    more = n != 0;
  }
  if (end_ - begin_ >= all_.given.max_request || w.claimed.exchange(true)) return;
  quits_ = true;
  w.given.set();
}

void session::wait_for_item(waiting_pop& w) {
  struct in_queues {
    store& data;
    waiting_pop& w;
    std::atomic<std::uint64_t>& count;
    ~in_queues() {
      leave_queues(data, w);
      count.fetch_sub(1);
    }
  };
  bool given = false;
  {
    const in_queues q{all_.data, w, all_.waiting};
    send();
    time_reads(false);
    const auto watcher = coir::spawn([&] { watch_for_end(w); });
    w.given.wait_until(w.until);
    given = w.claimed.exchange(true);
  }
  if (quits_) return;
  if (!given) return put_null_array(out_);
  const std::size_t begin = out_.size();
  put_array(out_, 2);
  put_bulk(out_, w.key);
  put_bulk(out_, w.item);
  note_shown(begin, w.shows);
}

}  // namespace kv
