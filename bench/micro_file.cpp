// Copying a file that is in memory: the fiber's loop against the same loop of system calls.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <coir/io/file.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

constexpr auto fresh = coir::open_mode::read | coir::open_mode::write | coir::open_mode::create |
                       coir::open_mode::truncate;

// Two files that go when it goes; the source has `size` bytes.
struct two_files {
  std::string from, to;
  explicit two_files(std::size_t size) {
    const char* const folder = std::getenv("TMPDIR");
    from = std::string(folder != nullptr ? folder : "/tmp") + "/coir-bench-" +
           std::to_string(::getpid());
    to = from + "-copy";
    coir::file f = coir::file::open(from, fresh);
    const std::vector<char> part(1 << 20, 'x');
    for (std::size_t done = 0; done < size; done += part.size())
      f.write(std::string_view(part.data(), std::min(part.size(), size - done)));
  }
  ~two_files() {
    ::unlink(from.c_str());
    ::unlink(to.c_str());
  }
  two_files(const two_files&) = delete;
  two_files& operator=(const two_files&) = delete;
};

void copy_raw(const two_files& files, std::vector<char>& buffer) {
  const int from = ::open(files.from.c_str(), O_RDONLY | O_CLOEXEC);
  const int to = ::open(files.to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  for (ssize_t n; (n = ::read(from, buffer.data(), buffer.size())) > 0;)
    if (::write(to, buffer.data(), static_cast<std::size_t>(n)) != n)
      throw std::runtime_error("file_copy: a short write");
  ::close(from);
  ::close(to);
}

void copy_on_fiber(const two_files& files, std::vector<char>& buffer) {
  coir::file from = coir::file::open(files.from);
  coir::file to = coir::file::open(files.to, fresh, 0600);
  while (const std::size_t n = from.read_some(buffer)) to.write(std::string_view(buffer.data(), n));
}

template <class F>
double seconds(F&& f) {
  const std::uint64_t began = now_ns();
  f();
  return static_cast<double>(now_ns() - began) * 1e-9;
}

double median(std::vector<double> all) {
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2),
                   all.end());
  return all[all.size() / 2];
}

}  // namespace

// In turn, so that both meet the same machine; each round's ratio is one figure.
bool measure_file_copy(const settings& s) {
  bool good = true;
  for (const std::size_t kib : {16, 128, 1024})
    good &= in_child(s, [&] {
      const std::size_t size = s.quick ? 1 << 20 : std::size_t{256} << 20;
      on_workers(s, s.base.workers != 0 ? s.base.workers : 1, [&] {
        const two_files files(size);
        std::vector<char> buffer(kib * 1024);
        copy_raw(files, buffer);
        std::vector<double> raw, fiber, ratio;
        for (std::uint64_t i = s.count_or(9, 1); i != 0; --i) {
          raw.push_back(seconds([&] { copy_raw(files, buffer); }));
          fiber.push_back(seconds([&] { copy_on_fiber(files, buffer); }));
          ratio.push_back(fiber.back() / raw.back());
        }
        const std::string name = "file_copy_" + std::to_string(kib) + "k";
        const double mib = static_cast<double>(size >> 20);
        report(name + "_raw", mib / median(raw), "MiB/s");
        report(name, mib / median(fiber), "MiB/s");
        report(name + "_time_ratio", median(ratio), "x");
      });
    });
  return good;
}

}  // namespace bench
