#include "append_log.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include <sys/file.h>

#include "text_hash.hpp"

using namespace std::chrono_literals;

namespace kv {
namespace {

// "#kv SIZE SUM CHECK\r\n", in hexadecimal digits, 8, 16 and 16: bytes that follow, their hash, the
// hash of the line so far. A size that is damaged must not pass for the end of the file.
constexpr std::size_t line_size = 4 + 8 + 1 + 16 + 1 + 16 + 2;
constexpr std::size_t largest_backlog = 64 * 1024 * 1024;  // not even written; then clients wait
constexpr std::size_t small_buffer = 1024 * 1024;          // of more, memory is given back

struct block_line {
  std::size_t size;
  std::uint64_t sum;
};

std::string format(block_line b) {
  char text[line_size + 1];
  std::snprintf(text, sizeof text, "#kv %08zx %016llx", b.size,
                static_cast<unsigned long long>(b.sum));
  const std::string begin(text);
  std::snprintf(text, sizeof text, " %016llx\r\n",
                static_cast<unsigned long long>(hash_of(begin, 0)));
  return begin + text;
}

bool parse(std::string_view line, block_line& b) {
  std::uint64_t size = 0;
  const auto hex = [](std::string_view digits, std::uint64_t& n) {
    return std::from_chars(digits.data(), digits.data() + digits.size(), n, 16).ptr ==
           digits.data() + digits.size();
  };
  if (line.size() != line_size || !hex(line.substr(4, 8), size) || !hex(line.substr(13, 16), b.sum))
    return false;
  b.size = static_cast<std::size_t>(size);
  return line == format(b);
}

bool all_zeros(std::string_view text) { return text.find_first_not_of('\0') == text.npos; }

}  // namespace

append_log::append_log(std::string folder, fsync_policy policy)
    : folder_(std::move(folder)),
      path_(folder_ + "/appendonly.aof"),
      policy_(policy),
      added_(line_size, ' ') {}

std::error_code append_log::failure() const {
  const std::lock_guard locked(adding_);
  return failure_;
}

// --- writing ---

std::uint64_t append_log::append(std::string_view request) {
  std::uint64_t position;
  bool ask;
  {
    const std::lock_guard locked(adding_);
    added_ += request;
    position = end_ += request.size();
    ask = policy_ != fsync_policy::always && !std::exchange(asked_, true);
  }
  if (ask) work_.notify_one();
  return position;
}

std::error_code append_log::commit(std::uint64_t position) {
  if (policy_ == fsync_policy::always)
    return is_safe(position) ? std::error_code() : flush(position, true);
  if (position > written_.load(std::memory_order_relaxed) + largest_backlog) flush(position, false);
  return {};
}

// Shielded: a write that is stopped half-way would not say how far it got.
std::error_code append_log::flush(std::uint64_t position, bool sync) {
  return coir::shield([&]() -> std::error_code {
    const std::lock_guard leader(writing_);
    // Somebody else's sync may have covered this one's while it waited for its turn.
    if (sync && position <= durable_.load(std::memory_order_relaxed)) return {};
    std::error_code error = write_out();
    if (!error && sync && unsynced_) {
      file_.sync_data(error);
      if (error) lost_ = true;
      unsynced_ = false;
      syncs_.fetch_add(1, std::memory_order_relaxed);
    }
    if (!error && sync) durable_.store(written_, std::memory_order_release);
    note(error);
    return error;
  });
}

// The rest of a block whose writing failed goes first.
std::error_code append_log::write_out() {
  std::error_code error;
  // After a failed sync the kernel takes the pages for clean, and a second sync succeeds without
  // having written them.
  if (lost_) return std::make_error_code(std::errc::io_error);
  for (int turn = 0; turn < 2; ++turn) {
    if (!block_.empty()) {
      unsynced_ = true;
      const std::size_t n = file_.write_at(block_, offset_, error);
      offset_ += n;
      if (error) return block_.erase(0, n), error;
    }
    block_.clear();
    if (block_.capacity() > small_buffer) block_.shrink_to_fit();
    if (turn == 1) break;
    const std::lock_guard locked(adding_);
    asked_ = false;
    written_ = end_;
    if (added_.size() == line_size) break;
    block_.resize(line_size, ' ');
    std::swap(added_, block_);
    const std::string_view requests = std::string_view(block_).substr(line_size);
    block_.replace(0, line_size, format({requests.size(), hash_of(requests, 0)}));
  }
  return error;
}

void append_log::note(std::error_code error) {
  const std::lock_guard locked(adding_);
  if (error && error != failure_)
    std::fprintf(stderr, "kv_server: %s: %s; no change is accepted until it can be written\n",
                 path_.c_str(), error.message().c_str());
  if (!error && failure_)
    std::fprintf(stderr, "kv_server: %s can be written again\n", path_.c_str());
  failure_ = error;
  failing_.store(static_cast<bool>(error), std::memory_order_relaxed);
}

void append_log::run() {
  constexpr auto gather = 2ms;  // what comes meanwhile goes into the same block
  auto next_sync = coir::clock::now() + 1s;
  for (;;) {
    const bool told = work_.wait_for(1s);
    const bool due = policy_ == fsync_policy::everysec && coir::clock::now() >= next_sync;
    if (due) next_sync = coir::clock::now() + 1s;
    if (failing())
      coir::this_fiber::sleep_for(200ms);
    else if (told)
      coir::this_fiber::sleep_for(gather);
    if (told || due || failing()) flush(UINT64_MAX, due || policy_ == fsync_policy::always);
  }
}

void append_log::finish() { flush(UINT64_MAX, true); }

// --- reading ---

void append_log::open() {
  const bool is_new = [&] {
    std::error_code error;
    file_ = coir::file::open(path_, coir::open_mode::read | coir::open_mode::write, error);
    if (error == std::errc::no_such_file_or_directory) return true;
    if (error) throw std::system_error(error, path_);
    return false;
  }();
  if (is_new) {
    using enum coir::open_mode;
    file_ = coir::file::open(path_, read | write | create);
    coir::file::open(folder_).sync();  // its name, too, is to be there after a crash
  }
  // Of a process that was killed the kernel's threads may still be writing for a moment, and keep
  // the lock as long.
  const auto give_up = coir::clock::now() + 5s;
  while (::flock(file_.native_handle(), LOCK_EX | LOCK_NB) != 0) {
    if (coir::clock::now() > give_up)
      throw std::runtime_error(path_ + ": another process has it open");
    coir::this_fiber::sleep_for(20ms);
  }
}

void append_log::replay(const std::function<void(std::string_view)>& apply) {
  open();
  offset_ = read_blocks(apply);
}

std::uint64_t append_log::read_blocks(const std::function<void(std::string_view)>& apply) {
  const std::uint64_t end = file_.size();
  std::uint64_t at = 0;
  for (std::string block; at < end; at += line_size + block.size()) {
    if (!read_block(at, end, block)) {
      cut(at, end);
      break;
    }
    apply(block);
  }
  return at;
}

// False: it is the last one, and not whole. Throws std::runtime_error if what is not whole is
// followed by more: that is no crash.
bool append_log::read_block(std::uint64_t at, std::uint64_t end, std::string& block) {
  std::string line(std::min<std::uint64_t>(line_size, end - at), '\0');
  file_.read_at(line, at);
  const auto damaged = [&] {
    return std::runtime_error(
        path_ + " is damaged at byte " + std::to_string(at) + ", and " + std::to_string(end - at) +
        " bytes follow. Nothing was changed. To go on with what stands before, "
        "and give up the rest: truncate -s " +
        std::to_string(at) + " " + path_);
  };
  block_line b{};
  if (!parse(line, b)) {
    const std::string_view mark = std::string_view("#kv ").substr(0, line.size());
    if (line.size() < line_size && (line.starts_with(mark) || all_zeros(line))) return false;
    block.assign(std::min<std::uint64_t>(end - at, small_buffer), '\0');
    for (std::uint64_t from = at; from < end; from += block.size()) {
      block.resize(file_.read_at(block, from));  // at most to the end
      if (block.empty() || !all_zeros(block)) throw damaged();
    }
    return false;  // a file that has grown, and whose data had not been written when power failed
  }
  if (b.size > end - at - line_size) return false;
  block.resize(b.size);
  file_.read_at(block, at + line_size);
  if (hash_of(block, 0) == b.sum) return true;
  if (at + line_size + b.size != end) throw damaged();
  return false;
}

void append_log::cut(std::uint64_t at, std::uint64_t end) {
  std::fprintf(stderr,
               "kv_server: %s: the last %llu bytes, from byte %llu on, are no whole block; "
               "they are cut off\n",
               path_.c_str(), static_cast<unsigned long long>(end - at),
               static_cast<unsigned long long>(at));
  file_.truncate(at);
  file_.sync();
}

}  // namespace kv
