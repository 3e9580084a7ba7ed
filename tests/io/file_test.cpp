// Files: what is read and written where, what ends a call, what is left of it.
#include <cstring>
#include <filesystem>
#include <random>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

static_assert(byte_stream<file>);

class file_test : public io_test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ / name; }

 private:
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("coir-file-" + std::to_string(::getpid()));
};
INSTANTIATE_TEST_SUITE_P(rungs, file_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

constexpr auto fresh = open_mode::read | open_mode::write | open_mode::create | open_mode::truncate;

std::string text_of(file& f) {
  std::string all(f.size(), 0);
  EXPECT_EQ(f.read_at(all, 0), all.size());
  return all;
}

TEST_P(file_test, what_is_written_is_read) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh, 0600);
    f.write("hello ");
    EXPECT_EQ(f.write_some("world"), 5U);
    EXPECT_EQ(f.size(), 11U);
    EXPECT_EQ(text_of(f), "hello world");
    char buffer[32];
    EXPECT_EQ(f.read_some(buffer), 0U);  // the position is at the end
    EXPECT_EQ(f.write_at("W", 6), 1U);
    EXPECT_EQ(f.read_at(buffer, 6), 5U);  // to the end, and no further
    EXPECT_EQ(std::string_view(buffer, 5), "World");
    EXPECT_EQ(f.read_at(buffer, 11), 0U);
    EXPECT_EQ(f.read_at(buffer, 1'000'000), 0U);
    f.sync();
    f.sync_data();
    f.truncate(5);
    EXPECT_EQ(text_of(f), "hello");
    f.truncate(7);
    EXPECT_EQ(text_of(f), std::string("hello\0\0", 7));
    struct stat s {};
    ::stat(path("a").c_str(), &s);
    EXPECT_EQ(s.st_mode & 07777, 0600U);
    file again = file::open(path("a"));
    EXPECT_EQ(again.read_some(buffer), 7U);
    EXPECT_EQ(again.read_some(buffer), 0U);
  });
}

TEST_P(file_test, the_modes_are_those_of_the_system) {
  on_fiber([this] {
    EXPECT_EQ(error_of([this] { file::open(path("no")); }), std::errc::no_such_file_or_directory);
    file::open(path("a"), fresh).write("one");
    auto log = file::open(path("a"), open_mode::append);
    log.write(" two");
    log.write_at(" three", 0);  // to the end all the same
    log.close();
    auto f = file::open(path("a"), open_mode::read);
    EXPECT_EQ(text_of(f), "one two three");
    EXPECT_EQ(error_of([&] { f.write("x"); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { f.truncate(0); }), std::errc::invalid_argument);
    constexpr auto new_one = open_mode::write | open_mode::create | open_mode::exclusive;
    EXPECT_EQ(error_of([&] { file::open(path("a"), new_one); }), std::errc::file_exists);
    file::open(path("b"), new_one);
    EXPECT_EQ(error_of([&] { file::open(path("a/b")); }), std::errc::not_a_directory);
    EXPECT_EQ(error_of([&] { file::open("/tmp", open_mode::write); }), std::errc::is_a_directory);
    std::error_code error;
    EXPECT_FALSE(file::open(path("no"), open_mode::read, error).is_open());
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    try {
      file::open("/no/such/file");
    } catch (const std::system_error& e) {
      EXPECT_NE(std::string(e.what()).find("/no/such/file"), std::string::npos);
    }
    EXPECT_THROW(file::open(path("a"), open_mode::create), std::invalid_argument);
    EXPECT_THROW(file::open(path("a"), open_mode::read | open_mode::truncate),
                 std::invalid_argument);
    EXPECT_THROW(file::open(path("a"), open_mode::write | open_mode::exclusive),
                 std::invalid_argument);
    EXPECT_THROW(file::open(std::string("a\0b", 3)), std::invalid_argument);
  });
}

TEST_P(file_test, closed_files_and_plain_threads_are_refused) {
  file f;
  on_fiber([&, this] {
    char buffer[8];
    EXPECT_EQ(error_of([&] { f.write("x"); }), std::errc::bad_file_descriptor);
    EXPECT_FALSE(f.is_open());
    f = file::open(path("a"), fresh);
    f.close();
    f.close();
    EXPECT_EQ(error_of([&] { (void)f.read_at(buffer, 0); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { f.sync(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(f.native_handle(), -1);
    f = file::open(path("a"), fresh);
    const int fd = f.release();
    EXPECT_FALSE(f.is_open());
    f = file::adopt(fd);
    f.write("kept");
    EXPECT_EQ(text_of(f), "kept");
    EXPECT_EQ(error_of([] { file::adopt(-1); }), std::errc::bad_file_descriptor);
    std::thread([&] {
      EXPECT_EQ(error_of([&] { f.write("x"); }), std::errc::operation_not_permitted);
      EXPECT_EQ(error_of([&] { file::open(path("a")); }), std::errc::operation_not_permitted);
      EXPECT_EQ(error_of([&] { file::temporary(); }), std::errc::operation_not_permitted);
      f.close();
    }).join();
  });
}

TEST_P(file_test, many_fibers_read_and_write_at_their_places) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh);
    static constexpr std::size_t part = 10'000;
    std::vector<task<void>> all;
    for (std::size_t i = 0; i < 50; ++i)
      all.push_back(spawn([&f, i] {
        const std::string mine(part, static_cast<char>('A' + i));
        f.write_at(mine, i * part);
        std::string got(part, 0);
        EXPECT_EQ(f.read_at(got, i * part), part);
        EXPECT_EQ(got, mine);
      }));
    for (auto& t : all) t.get();
    EXPECT_EQ(f.size(), 50 * part);
    const std::uint64_t far = std::uint64_t{5} << 30;
    f.write_at("far", far);
    EXPECT_EQ(f.size(), far + 3);
    char buffer[8];
    EXPECT_EQ(f.read_at(buffer, far), 3U);
    EXPECT_EQ(error_of([&] { (void)f.read_at(buffer, ~std::uint64_t{0}); }),
              std::errc::invalid_argument);
  });
}

// F80.
TEST_P(file_test, an_error_is_of_its_operation_alone) {
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

TEST_P(file_test, a_direct_file_says_what_it_wants) {
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

TEST_P(file_test, who_waits_for_a_slow_file_lets_others_run) {
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

TEST_P(file_test, close_waits_for_the_call_in_flight_and_refuses_others) {
  on_fiber([] {
    slow_file slow;
    char buffer[8], other[8];
    auto reading = spawn([&] { return slow.f.read_some(buffer); });
    await_parked(reading);
    const int number = slow.f.native_handle();
    auto closing = spawn([&] { slow.f.close(); });
    await_parked(closing);
    EXPECT_GE(::fcntl(number, F_GETFD), 0);
    EXPECT_EQ(error_of([&] { (void)slow.f.read_some(other); }), std::errc::bad_file_descriptor);
    std::thread also([&] { slow.f.close(); });
    EXPECT_EQ(::write(slow.write, "abc", 3), 3);
    EXPECT_EQ(reading.get(), 3U);  // what came is not lost
    closing.get();
    also.join();
  });
}

TEST_P(file_test, a_cancelled_read_leaves_its_buffer_alone_afterwards) {
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
TEST_P(file_test, cancelled_opens_leave_no_descriptor) {
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

TEST_P(file_test, a_fiber_that_reads_what_is_in_memory_lets_others_run) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh);
    f.write("x");
    std::atomic<bool> ran{false};
    auto other = spawn([&] { ran = true; });
    char c;
    EXPECT_TRUE(eventually_on_fiber([&] { return f.read_at({&c, 1}, 0) == 1 && ran; }));
    for (int i = 0; !ran && i < 1000; ++i) EXPECT_EQ(f.read_at({&c, 1}, 0), 1U);
    EXPECT_TRUE(ran);
  });
}

TEST_P(file_test, a_temporary_file_has_no_name) {
  on_fiber([this] {
    file f = file::temporary(path(""));
    f.write("gone");
    EXPECT_EQ(text_of(f), "gone");
    EXPECT_TRUE(std::filesystem::is_empty(path("")));
    EXPECT_NE(::fcntl(f.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_TRUE(file::temporary().is_open());
    EXPECT_EQ(error_of([] { file::temporary("/no/such/folder"); }),
              std::errc::no_such_file_or_directory);
  });
}

TEST_P(file_test, what_reads_streams_reads_files) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh);
    f.write("one\ntwo\n");
    file again = file::open(path("a"));
    reader lines(again);
    EXPECT_EQ(lines.read_line(), "one");
    EXPECT_EQ(lines.read_line(), "two");
    EXPECT_FALSE(lines.read_line().has_value());
    auto [from, to] = make_pipe();
    file third = file::open(path("a"));
    EXPECT_EQ(copy(third, to), 8U);
    to.close();
    file copied = file::open(path("b"), fresh);
    EXPECT_EQ(copy(from, copied), 8U);
    EXPECT_EQ(text_of(copied), "one\ntwo\n");
  });
}

// --- send_file ---

std::string pattern(std::size_t size) {
  std::string all(size, 0);
  for (std::size_t i = 0; i < size; ++i) all[i] = static_cast<char>(i * 31 + i / 251);
  return all;
}
std::string read_all(tcp_stream& from) {
  std::string all;
  std::vector<char> buffer(100'000);
  while (const std::size_t n = from.read_some(buffer)) all.append(buffer.data(), n);
  return all;
}

TEST_P(file_test, a_file_is_sent_and_its_position_stays) {
  on_fiber([this] {
    const std::string all = pattern(5'000'000);
    file f = file::open(path("a"), fresh);
    f.write(all);
    for (const bool blocking : {false, true}) {  // a blocking socket is read and written
      auto [a, b] = tcp_pair();
      if (blocking)
        ::fcntl(a.native_handle(), F_SETFL, ::fcntl(a.native_handle(), F_GETFL) & ~O_NONBLOCK);
      auto reading = spawn([&b = b] { return read_all(b); });
      EXPECT_EQ(send_file(a, f, 0, 4'000'000), 4'000'000U);
      EXPECT_EQ(send_file(a, f, 4'000'000, ~std::size_t{0}), 1'000'000U);  // until it ends
      EXPECT_EQ(send_file(a, f, 9'000'000, 10), 0U);
      EXPECT_EQ(a.bytes_written(), all.size());
      a.close();
      EXPECT_TRUE(reading.get() == all);
    }
    char c;
    EXPECT_EQ(f.read_some({&c, 1}), 0U);  // still at the end
    file written = file::open(path("b"), open_mode::write | open_mode::create);
    auto [a, b] = tcp_pair();
    EXPECT_EQ(error_of([&, &a = a] { send_file(a, written, 0, 10); }),
              std::errc::bad_file_descriptor);
    file none;
    EXPECT_EQ(error_of([&, &a = a] { send_file(a, none, 0, 10); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(file_test, a_send_that_ends_early_tells_how_much_went_out) {
  on_fiber([this] {
    file f = file::open(path("a"), fresh);
    f.write(pattern(20'000'000));
    for (const std::string how : {"cancel", "close", "deadline", "peer"}) {
      auto [a, b] = tcp_pair();
      auto sending = spawn([&f, &a = a] {
        std::error_code error;
        const std::size_t n = send_file(a, f, 0, 20'000'000, error);
        EXPECT_EQ(n, a.bytes_written()) << "before the error";
        return error;
      });
      EXPECT_TRUE(eventually_on_fiber(
          [&, &a = a] { return a.bytes_written() != 0 && sending.state() == task_state::parked; }));
      std::error_code refused;
      a.write("between", refused);
      EXPECT_EQ(refused, std::errc::operation_in_progress);
      if (how == "cancel") {
        sending.cancel();
        EXPECT_THROW(sending.get(), cancelled);
        a.close();
      } else if (how == "close") {
        a.close();
        EXPECT_EQ(sending.get(), std::errc::operation_canceled);
      } else if (how == "deadline") {
        a.set_write_deadline(clock::now() + 1ms);
        EXPECT_EQ(sending.get(), std::errc::timed_out);
        a.close();
      } else {
        b.close();
        EXPECT_TRUE(sending.get()) << how;
        continue;
      }
      EXPECT_EQ(read_all(b).size(), a.bytes_written()) << how;
    }
  });
}

}  // namespace
}  // namespace coir::testing
