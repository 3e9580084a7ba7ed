// Prints what is appended to a file, as `tail -F` does: from its beginning, then as it grows, also
// when it is cut off, moved away and made anew, or not there so far. Until SIGINT or SIGTERM.
//   tail_follow /var/log/syslog
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/inotify.h>
#include <unistd.h>

#include <coir/coir.hpp>

namespace {

// Tells when something happens to one name in a folder. The descriptor is the system's, and not one
// of coir's streams: wait_readable is for such.
class watch {
 public:
  explicit watch(const std::filesystem::path& of)
      : name_(of.filename()), fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    const std::filesystem::path folder = of.has_parent_path() ? of.parent_path() : ".";
    constexpr unsigned what = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE;
    if (fd_ < 0 || ::inotify_add_watch(fd_, folder.c_str(), what) < 0) {
      const int error = errno;
      if (fd_ >= 0) ::close(fd_);
      throw std::system_error(error, std::system_category(), folder.string());
    }
  }
  ~watch() { ::close(fd_); }
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

  // Waits for it. Whether there may be another file under that name.
  bool wait() {
    seen_ = another_ = false;
    for (read(); !seen_; read()) coir::wait_readable(fd_);
    return another_;
  }

 private:
  void read() {
    alignas(inotify_event) char events[4096];
    for (ssize_t size; (size = ::read(fd_, events, sizeof events)) > 0;)
      for (const char* at = events; at < events + size;) {
        inotify_event e;
        std::memcpy(&e, at, sizeof e);
        note(e, e.len == 0 ? "" : at + sizeof e);
        at += sizeof e + e.len;
      }
  }
  void note(const inotify_event& e, std::string_view name) {
    const bool lost = (e.mask & IN_Q_OVERFLOW) != 0;  // events, so that it may be anything
    if (!lost && name != name_) return;
    seen_ = true;
    if (lost || (e.mask & (IN_CREATE | IN_MOVED_TO)) != 0) another_ = true;
  }

  const std::string name_;
  const int fd_;
  bool seen_ = false, another_ = false;
};

// Prints what is there from `offset` on; where that ends.
std::uint64_t print(coir::file& from, std::uint64_t offset, coir::pipe_stream& to) {
  if (from.size() < offset) {
    std::fputs("tail_follow: the file was cut off\n", stderr);
    offset = 0;
  }
  std::vector<char> buffer(64 * 1024);
  while (const std::size_t n = from.read_at(buffer, offset)) {
    to.write(std::string_view(buffer.data(), n));
    offset += n;
  }
  return offset;
}

void follow(const std::string& path) {
  coir::pipe_stream out = coir::standard_output();
  watch changes(path);  // before the file is looked for: so nothing is missed
  coir::file file;
  std::uint64_t offset = 0;
  for (bool another = true;; another = changes.wait()) {
    if (file.is_open()) offset = print(file, offset, out);  // the rest of one that was moved away
    if (!another) continue;
    std::error_code error;
    coir::file found = coir::file::open(path, coir::open_mode::read, error);
    if (error == std::errc::no_such_file_or_directory) continue;
    if (error) throw std::system_error(error, path);
    file = std::move(found);
    offset = print(file, 0, out);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tail_follow FILE\n", stderr);
    return 2;
  }
  try {
    coir::run([path = std::string(argv[1])] {
      coir::signal_set stop{SIGINT, SIGTERM};
      coir::with_group([&](coir::task_group& group) {
        group.spawn([&] { follow(path); });
        stop.wait();
        group.cancel();
      });
    });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tail_follow: %s\n", e.what());
    return 1;
  }
}
