#include "static_files.hpp"

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace examples {
namespace {

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

// The descriptor, or -errno.
int open_beneath(int root, const char* path, std::uint64_t resolve) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  const long fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

// What the kernel has at hand is opened at once; for the rest a thread waits.
int open_anyhow(int root, const std::string& path) {
  const int fd = open_beneath(root, path.c_str(), RESOLVE_CACHED);
  if (fd != -EAGAIN && fd != -EINVAL) return fd;
  return coir::offload([&] { return open_beneath(root, path.c_str(), 0); });
}

http::status status_of(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return http::status::forbidden;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EIO:
      return http::status::service_unavailable;
    default:
      return http::status::not_found;
  }
}

std::string_view type_of(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> known[] = {
      {".html", "text/html"},        {".css", "text/css"},      {".js", "text/javascript"},
      {".json", "application/json"}, {".txt", "text/plain"},    {".png", "image/png"},
      {".jpg", "image/jpeg"},        {".svg", "image/svg+xml"}, {".pdf", "application/pdf"},
      {".wasm", "application/wasm"}};
  for (const auto& [end, type] : known)
    if (path.ends_with(end)) return type;
  return "application/octet-stream";
}

void append_hex(std::string& to, std::uint64_t n) {
  char digits[16];
  to.append(digits, std::to_chars(digits, digits + sizeof digits, n, 16).ptr);
}

page page_of(int fd, const struct stat& s, std::string_view path) {
  page p{.file = coir::file::adopt(fd),
         .size = static_cast<std::uint64_t>(s.st_size),
         .modified = s.st_mtim.tv_sec,
         .tag = "\"",
         .type = type_of(path)};
  append_hex(p.tag, static_cast<std::uint64_t>(s.st_mtim.tv_sec) * 1'000'000'000 +
                        static_cast<std::uint64_t>(s.st_mtim.tv_nsec));
  append_hex(p.tag += '-', p.size);
  p.tag += '"';
  return p;
}

std::string_view field(const request& r, http::field f) {
  const auto value = r[f];
  return {value.data(), value.size()};
}

bool names_tag(std::string_view list, const std::string& tag) {
  return list == "*" || list.find(tag) != list.npos;
}

bool is_known_to(const request& r, const page& p) {
  if (const auto tags = field(r, http::field::if_none_match); !tags.empty())
    return names_tag(tags, p.tag);
  const auto since = field(r, http::field::if_modified_since);
  return !since.empty() && parse_http_date(since) >= p.modified;
}

// A number that is all of the text.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

enum class range_kind { none, some, unsatisfiable };

// One range in bytes. Several, or what makes no sense, are none: the whole answers them as well.
range_kind range_of(const request& r, const page& p, share& s) {
  std::string_view text = field(r, http::field::range);
  if (!text.starts_with("bytes=") || r.method() != http::verb::get) return range_kind::none;
  if (const auto only = field(r, http::field::if_range); !only.empty())
    if (only != p.tag && parse_http_date(only) != p.modified) return range_kind::none;
  text.remove_prefix(6);
  const auto dash = text.find('-');
  if (dash == text.npos) return range_kind::none;
  const auto first = number(text.substr(0, dash)), last = number(text.substr(dash + 1));
  if (dash == 0) {  // the last so many
    if (!last) return range_kind::none;
    if (*last == 0 || p.size == 0) return range_kind::unsatisfiable;
    s.count = std::min(*last, p.size);
    s.first = p.size - s.count;
    return range_kind::some;
  }
  const bool to_the_end = dash + 1 == text.size();
  if (!first || (!last && !to_the_end) || (last && *last < *first)) return range_kind::none;
  if (*first >= p.size) return range_kind::unsatisfiable;
  s.first = *first;
  s.count = (to_the_end ? p.size : std::min(*last, p.size - 1) + 1) - s.first;
  return range_kind::some;
}

}  // namespace

static_files::static_files(const std::filesystem::path& root)
    : root_(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (root_ < 0) throw std::system_error(errno, std::generic_category(), root.string());
  const int fd = open_beneath(root_, ".", 0);
  if (fd >= 0) {
    ::close(fd);
  } else {
    ::close(root_);
    throw std::system_error(-fd, std::generic_category(), "openat2 " + root.string());
  }
}
static_files::~static_files() { ::close(root_); }

page static_files::open(const std::string& path) const {
  std::string name = path.substr(std::min(path.find_first_not_of('/'), path.size()));
  if (name.empty() || name.ends_with('/')) name += "index.html";
  const int fd = open_anyhow(root_, name);
  if (fd < 0) return {.status = status_of(-fd), .file = {}, .tag = {}, .type = {}};
  struct stat s {};
  ::fstat(fd, &s);
  if (S_ISREG(s.st_mode)) return page_of(fd, s, name);
  ::close(fd);
  const bool folder = S_ISDIR(s.st_mode);
  return {.status = folder ? http::status::moved_permanently : http::status::not_found,
          .file = {},
          .tag = {},
          .type = {}};
}

share share_of(const page& p, const request& r) {
  share s{.head = {.type = p.type, .body = {}, .headers = {}}, .count = p.size};
  s.head.headers = "ETag: " + p.tag + "\r\nLast-Modified: " + http_date(p.modified) +
                   "\r\nAccept-Ranges: bytes\r\n";
  if (is_known_to(r, p)) {
    s.head.status = http::status::not_modified;
    s.count = 0;
    return s;
  }
  const std::string size = std::to_string(p.size);
  switch (range_of(r, p, s)) {
    case range_kind::none:
      break;
    case range_kind::some:
      s.head.status = http::status::partial_content;
      s.head.headers += "Content-Range: bytes " + std::to_string(s.first) + "-" +
                        std::to_string(s.first + s.count - 1) + "/" + size + "\r\n";
      break;
    case range_kind::unsatisfiable:
      s.head.status = http::status::range_not_satisfiable;
      s.head.headers += "Content-Range: bytes */" + size + "\r\n";
      s.count = 0;
      break;
  }
  return s;
}

}  // namespace examples
