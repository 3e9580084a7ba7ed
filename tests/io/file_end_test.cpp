// How calls on files end: by an error, a closer or a cancellation, and what is left of them.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <random>

#include <dlfcn.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "file_fixture.hpp"

namespace {

// As file systems that know no files without a name.
std::atomic<bool> refuses_nameless{false};

}  // namespace

extern "C" int open(const char* path, int flags, ...) {
  static const auto real = reinterpret_cast<int (*)(const char*, int, ...)>(  //
      ::dlsym(RTLD_NEXT, "open64"));
  va_list rest;
  va_start(rest, flags);
  const unsigned perms = va_arg(rest, unsigned);
  va_end(rest);
  if (refuses_nameless && (flags & O_TMPFILE) == O_TMPFILE) return errno = EOPNOTSUPP, -1;
  return real(path, flags, perms);
}

namespace coir::testing {
namespace {

class file_end_test : public file_fixture {};
INSTANTIATE_TEST_SUITE_P(rungs, file_end_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

// F80.
TEST_P(file_end_test, an_error_is_of_its_operation_alone) {
  on_fiber([this] {
    file full = file::open("/dev/full", open_mode::read | open_mode::write);
    EXPECT_EQ(error_of([&] { full.write("x"); }), std::errc::no_space_on_device);
    std::error_code error;
    EXPECT_EQ(full.write_at("x", 0, error), 0U);
    EXPECT_EQ(error, std::errc::no_space_on_device);
    char buffer[64];
    EXPECT_EQ(full.read_some(buffer), sizeof buffer);  // it is fine otherwise

    file f = file::open(path("a"), fresh);
    f.write(std::string(100'000, 'x'));
    auto shrinks = spawn([&] { f.truncate(10); });
    std::string all(100'000, 0);
    const std::size_t n = f.read_at(all, 0);
    EXPECT_EQ(all.substr(0, n), std::string(n, 'x'));
    shrinks.get();
    EXPECT_EQ(f.read_at(all, 0), 10U);
    EXPECT_EQ(f.read_at(all, 50), 0U);
  });
}

// A disk of a MiB, seen by this process alone. False: it may not have one.
bool mount_small_disk(const char* folder) {
  const int mine = CLONE_NEWNS | (::geteuid() != 0 ? CLONE_NEWUSER : 0);
  return ::unshare(mine) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("coir", folder, "tmpfs", 0, "size=1m") == 0;
}

// F80.
void fill_a_disk(const std::string& folder, open_mode extra) {
  std::error_code error;
  file f = file::open(folder + "/a", fresh | extra, error);
  if (error == std::errc::invalid_argument && extra == open_mode::direct) return;
  alignas(4096) static char all[2 << 20];
  const std::string_view much(all, sizeof all);
  const std::size_t n = f.write(much, error);
  EXPECT_EQ(error, std::errc::no_space_on_device);
  EXPECT_GT(n, 0U);
  EXPECT_LE(n, 1U << 20);
  EXPECT_EQ(f.size(), n);
  EXPECT_EQ(text_of(f).size(), n);  // what had room is there
  f.truncate(0);
  EXPECT_EQ(f.write_at(much.substr(0, 4096), 0), 4096U);  // and there is room again
}

TEST_P(file_end_test, a_full_disk_is_told_by_the_write_that_met_it) {
  constexpr int not_permitted = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string folder = path("");
    if (!mount_small_disk(folder.c_str())) ::_exit(not_permitted);
    on_fiber([&] {
      fill_a_disk(folder, {});
      fill_a_disk(folder, open_mode::direct);
      offload([&] { ::mount("none", folder.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr); });
      EXPECT_EQ(error_of([&] { file::open(folder + "/b", fresh); }),
                std::errc::read_only_file_system);
      EXPECT_EQ(file::open(folder + "/a").size(), 4096U);
    });
    ::_exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == not_permitted)
    GTEST_SKIP() << "this process may not mount a disk of its own";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "above";
}

TEST_P(file_end_test, a_temporary_file_needs_no_help_of_the_file_system) {
  on_fiber([this] {
    refuses_nameless = true;
    file f = file::temporary(path(""));
    EXPECT_EQ(error_of([] { file::temporary("/no/such/folder"); }),
              std::errc::no_such_file_or_directory);
    refuses_nameless = false;
    f.write("gone");
    EXPECT_EQ(text_of(f), "gone");
    EXPECT_TRUE(std::filesystem::is_empty(path("")));
    EXPECT_NE(::fcntl(f.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
    struct stat s {};
    ::fstat(f.native_handle(), &s);
    EXPECT_EQ(s.st_mode & 0777, 0600U);
  });
}

TEST_P(file_end_test, a_direct_file_says_what_it_wants) {
  on_fiber([this] {
    std::error_code error;
    file f = file::open(path("a"), fresh | open_mode::direct, error);
    if (error) {
      EXPECT_EQ(error, std::errc::invalid_argument);  // a file system without it
      return;
    }
    alignas(4096) char block[4096] = {'b'};
    f.write_at(std::string_view(block, sizeof block), 0);
    alignas(4096) char back[4096];
    EXPECT_EQ(f.read_at(back, 0), sizeof back);
    EXPECT_EQ(back[0], 'b');
    try {
      f.write_at("crooked", 1);  // what does not care takes it
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::invalid_argument);
      EXPECT_NE(std::string(e.what()).find("multiples of its block size"), std::string::npos);
    }
    EXPECT_EQ(f.read_at(back, 0), sizeof back);
  });
}

TEST_P(file_end_test, who_waits_for_a_slow_file_lets_others_run) {
  on_fiber([] {
    slow_file slow;
    char buffer[8], other[8];
    auto reading = spawn([&] { return slow.f.read_some(buffer); });
    await_parked(reading);
    EXPECT_EQ(error_of([&] { (void)slow.f.read_some(other); }), std::errc::operation_in_progress);
    EXPECT_EQ(error_of([&] { slow.f.write("x"); }), std::errc::operation_in_progress);
    EXPECT_EQ(::write(slow.write, "abc", 3), 3);
    EXPECT_EQ(reading.get(), 3U);
  });
}

// A ring lets go of what it can; a thread of the pool has the buffer until the kernel has done.
TEST_P(file_end_test, close_ends_the_call_in_flight_where_the_kernel_lets_go_and_else_waits) {
  const bool by_ring = GetParam().kind != reactor_kind::epoll && !uring_is_denied();
  on_fiber([&] {
    slow_file slow;
    char buffer[8], other[8];
    auto reading = spawn([&] { return slow.f.read_some(buffer); });
    await_parked(reading);
    const int number = slow.f.native_handle();
    auto closing = spawn([&] { slow.f.close(); });
    while (slow.f.is_open()) this_fiber::yield();
    if (!by_ring) {
      await_parked(closing);
      EXPECT_GE(::fcntl(number, F_GETFD), 0);
    }
    EXPECT_EQ(error_of([&] { (void)slow.f.read_some(other); }), std::errc::bad_file_descriptor);
    std::thread also([&] { slow.f.close(); });
    if (by_ring) {
      EXPECT_EQ(error_of([&] { (void)reading.get(); }), std::errc::operation_canceled);
    } else {
      EXPECT_EQ(::write(slow.write, "abc", 3), 3);
      EXPECT_EQ(reading.get(), 3U);  // what came is not lost
    }
    closing.get();
    also.join();
  });
}

TEST_P(file_end_test, what_comes_while_a_file_is_closed_is_read_or_left) {
  const bool by_ring = GetParam().kind != reactor_kind::epoll && !uring_is_denied();
  on_fiber([&] {
    int came = 0, ended = 0, late = 0;
    for (int i = 0; i < rounds(300); ++i) {
      slow_file slow;
      const int also = ::fcntl(slow.f.native_handle(), F_DUPFD_CLOEXEC, 0);
      char buffer[8];
      auto reading = spawn([&] { return slow.f.read_some(buffer); });
      for (int n = i % 4; n != 0; --n) this_fiber::yield();
      const auto write = [&] { EXPECT_EQ(::write(slow.write, "abc", 3), 3); };
      const bool before = !by_ring || i % 5 != 0;  // else it waits for that
      std::thread writing;
      if (before) writing = std::thread(write);
      for (int n = i % 3; n != 0; --n) this_fiber::yield();
      slow.f.close();
      before ? writing.join() : write();
      const auto error = error_of([&] {
        EXPECT_EQ(reading.get(), 3U);
        ++came;
      });
      ::fcntl(also, F_SETFL, O_NONBLOCK);
      const ssize_t left = ::read(also, buffer, sizeof buffer);
      EXPECT_EQ(left, error ? 3 : -1) << error.message();
      EXPECT_TRUE(!error || error == std::errc::operation_canceled ||
                  error == std::errc::bad_file_descriptor)
          << error.message();
      ended += error == std::errc::operation_canceled;
      late += error == std::errc::bad_file_descriptor;
      ::close(also);
    }
    std::printf("came %d, ended %d, too late %d\n", came, ended, late);
  });
}

TEST_P(file_end_test, many_writers_and_a_closer_lose_no_piece) {
  on_fiber([this] {
    for (int i = 0; i < rounds(20); ++i) {
      file f = file::open(path("a"), fresh | open_mode::append);
      std::atomic<std::size_t> written{0};
      std::vector<task<void>> writers;
      const std::string piece(5000, 'x');
      for (int w = 0; w < 8; ++w)
        writers.push_back(spawn([&] {
          std::error_code error;
          while (!error) written += f.write_at(piece, 0, error);
          EXPECT_TRUE(error == std::errc::operation_canceled ||
                      error == std::errc::bad_file_descriptor)
              << error.message();
        }));
      const std::size_t enough = 100'000;
      EXPECT_TRUE(eventually_on_fiber([&] { return written > enough; }));
      f.close();
      for (auto& w : writers) w.get();
      EXPECT_EQ(file::open(path("a")).size(), written);
    }
  });
}

TEST_P(file_end_test, a_cancelled_read_leaves_its_buffer_alone_afterwards) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh);
    f.write(std::string(1'000'000, 'x'));
    int read = 0, stopped = 0;
    std::mt19937 random(7);
    for (int i = 0; i < rounds(200); ++i) {
      ::posix_fadvise(f.native_handle(), 0, 0, POSIX_FADV_DONTNEED);
      std::vector<char> buffer(1'000'000);
      auto reading = spawn([&] { return f.read_at(buffer, 0); });
      for (unsigned n = random() % 4; n != 0; --n) this_fiber::yield();
      reading.cancel();
      try {
        EXPECT_EQ(reading.get(), buffer.size());
        ++read;
      } catch (const cancelled&) {
        ++stopped;
        std::memset(buffer.data(), 'p', buffer.size());
        for (int n = 0; n < 3; ++n) this_fiber::yield();
        EXPECT_EQ(std::count(buffer.begin(), buffer.end(), 'p'), 1'000'000);
      }
    }
    std::printf("read %d, cancelled %d\n", read, stopped);
  });
}

// F47.
TEST_P(file_end_test, cancelled_opens_leave_no_descriptor) {
  on_fiber([this] {
    file::open(path("a"), fresh).write("x");
    const std::size_t before = open_descriptors();
    int opened = 0, stopped = 0;
    for (int i = 0; i < rounds(500); ++i) {
      auto opening = spawn([this] { file f = file::open(path("a"), fresh); });
      for (int n = i % 4; n != 0; --n) this_fiber::yield();
      if (i % 5 == 4) opening.wait_for(100us);
      opening.cancel();
      opening.error() == nullptr ? ++opened : ++stopped;
    }
    EXPECT_EQ(open_descriptors(), before);
    std::printf("opened %d, cancelled %d\n", opened, stopped);
  });
}

}  // namespace
}  // namespace coir::testing
