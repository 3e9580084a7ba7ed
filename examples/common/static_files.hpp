// The files of a folder, as HTTP gives them out.
#pragma once
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>

#include <coir/coir.hpp>

#include "http_reply.hpp"

namespace examples {

struct page {
  http::status status = http::status::ok;  // else what to say in its place
  coir::file file;
  std::uint64_t size = 0;
  std::time_t modified = 0;
  std::string tag;  // another one for each version
  std::string_view type;
};

// What of a page a request gets.
struct share {
  reply head;  // without a body
  std::uint64_t first = 0, count = 0;
};

class static_files {
 public:
  // Throws std::system_error: there is no such folder, or the kernel cannot keep to it (openat2(2)
  // came with Linux 5.6).
  explicit static_files(const std::filesystem::path& root);
  ~static_files();
  static_files(const static_files&) = delete;
  static_files& operator=(const static_files&) = delete;

  // The file of that path, or index.html of the folder. Neither .. nor a link leads out of the
  // root.
  page open(const std::string& path) const;

 private:
  int root_;
};

// By its conditions (RFC 9110, 13) and its range (14): 200, 206, 304 or 416.
share share_of(const page&, const request&);

}  // namespace examples
