// Files of a folder that goes with the test.
#pragma once
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {

class file_fixture : public io_test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ / name; }

 private:
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("coir-file-" + std::to_string(::getpid()));
};
inline constexpr auto fresh =
    open_mode::read | open_mode::write | open_mode::create | open_mode::truncate;

inline std::string text_of(file& f) {
  std::string all(f.size(), 0);
  EXPECT_EQ(f.read_at(all, 0), all.size());
  return all;
}

// A pipe stands for a file that is slow: the kernel has nothing to say until somebody writes.
struct slow_file {
  int write = -1;
  file f;
  slow_file() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    write = ends[1];
    f = file::adopt(ends[0]);
  }
  ~slow_file() { ::close(write); }
  slow_file(const slow_file&) = delete;
  slow_file& operator=(const slow_file&) = delete;
};

}  // namespace coir::testing
