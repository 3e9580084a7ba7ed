#include "access_log.hpp"

#include <cerrno>
#include <ctime>
#include <mutex>
#include <system_error>

namespace examples {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t most_gathered = 4 * 1024 * 1024;

std::FILE* open(const std::string& path) {
  if (path == "none") return nullptr;
  std::FILE* const f = path == "-" ? stdout : std::fopen(path.c_str(), "ae");
  if (f == nullptr) throw std::system_error(errno, std::generic_category(), path);
  return f;
}

// What a client wrote may hold what a terminal or a reader of logs obeys.
void append_escaped(std::string& to, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte < 0x7f && c != '"' && c != '\\') {
      to += c;
    } else {
      to += "\\x";
      to += digits[byte >> 4];
      to += digits[byte & 15];
    }
  }
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%FT%TZ", &parts)};
}

}  // namespace

access_log::access_log(const std::string& path) : to_(open(path)) {
  if (to_ != nullptr) writer_ = coir::spawn({.name = "access log"}, [this] { write_on(); });
}

access_log::~access_log() {
  if (to_ == nullptr) return;
  writer_.cancel();
  coir::shield([this] {
    writer_.wait();
    write_gathered();
  });
  if (to_ != stdout) std::fclose(to_);
}

void access_log::add(std::string_view peer, std::string_view what, unsigned status,
                     std::uint64_t bytes) {
  if (to_ == nullptr) return;
  std::string line = time_now();
  (line += ' ') += peer;
  line += " \"";
  append_escaped(line, what);
  line += "\" " + std::to_string(status) + " " + std::to_string(bytes) + "\n";
  const std::lock_guard held(lock_);
  if (gathered_.size() + line.size() > most_gathered)
    ++dropped_;
  else
    gathered_ += line;
}

void access_log::write_on() {
  for (;;) {
    coir::this_fiber::sleep_for(50ms);
    write_gathered();
  }
}

void access_log::write_gathered() {
  std::string lines;
  {
    const std::lock_guard held(lock_);
    lines.swap(gathered_);
    if (dropped_ != 0) lines += "(" + std::to_string(dropped_) + " lines are missing)\n";
    dropped_ = 0;
  }
  if (lines.empty()) return;
  coir::offload([&] {
    std::fwrite(lines.data(), 1, lines.size(), to_);
    std::fflush(to_);
  });
}

}  // namespace examples
