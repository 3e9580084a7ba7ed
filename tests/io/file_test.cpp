// Files: what is read and written where, and what is sent out of them.
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_fixture.hpp"
#include "tests/support/few_threads.hpp"

namespace coir::testing {
namespace {

static_assert(byte_stream<file>);

class file_test : public file_fixture {};
INSTANTIATE_TEST_SUITE_P(rungs, file_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

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

// A file system in memory has no device to wait for, and a pipe says when it is full.
TEST_P(file_test, what_need_not_wait_is_written_at_once) {
  on_fiber([] {
    const std::string all(3'000'000, 'm');
    if (std::filesystem::is_directory("/dev/shm")) {
      file f = file::temporary("/dev/shm");
      f.write(all);
      EXPECT_EQ(f.write_at("end", all.size()), 3U);
      EXPECT_EQ(f.size(), all.size() + 3);
      EXPECT_TRUE(text_of(f) == all + "end");
    }
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    file out = file::adopt(ends[0]), in = file::adopt(ends[1]);
    auto writing = spawn([&] {
      in.write(all);
      in.close();
    });
    std::string got, part(70'000, 0);
    while (const std::size_t n = out.read_some(part)) got.append(part, 0, n);
    writing.get();
    EXPECT_TRUE(got == all);
  });
}

TEST_P(file_test, a_pipe_that_is_non_blocking_is_waited_for_and_nobody_spins) {
  on_fiber([] {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    file out = file::adopt(ends[0]), in = file::adopt(ends[1]);
    char buffer[8];
    auto reading = spawn([&] { return out.read_some(buffer); });
    await_parked(reading);
    const auto before = runtime::current().metrics().switches;
    this_fiber::sleep_for(50ms);
    EXPECT_LT(runtime::current().metrics().switches, before + 1000);
    in.write("abc");
    EXPECT_EQ(reading.get(), 3U);
    reading = spawn([&] { return out.read_some(buffer); });
    await_parked(reading);
    reading.cancel();
    EXPECT_THROW(reading.get(), cancelled);
  });
}

// Others are not kept waiting by one that never has to.
TEST_P(file_test, a_fiber_that_writes_at_once_lets_others_run) {
  on_fiber([] {
    file f = file::temporary(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "");
    std::atomic<bool> ran{false};
    auto other = spawn([&] { ran = true; });
    for (int i = 0; !ran && i < 100'000; ++i) f.write_at("x", 0);
    EXPECT_TRUE(ran);
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

// Their worker then waits for the disk itself.
void uses_files_without_threads() {
  if (!become_somebody()) std::_Exit(97);
  options o;
  o.workers = 1;
  o.reactor = reactor_kind::epoll;
  run(o, [] {
    if (!allow_threads(1)) std::_Exit(2);
    if (error_of([] { offload([] {}); }) != std::errc::resource_unavailable_try_again)
      std::_Exit(3);
    file f = file::temporary();
    f.write("abc");
    f.sync();
    char got[3];
    if (f.read_at(got, 0) != 3 || std::string_view(got, 3) != "abc") std::_Exit(4);
  });
  std::_Exit(0);
}

TEST(files_without_threads, are_read_and_written_all_the_same) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!threads_can_be_limited()) GTEST_SKIP() << "threads cannot be limited here";
  EXPECT_EXIT(uses_files_without_threads(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace coir::testing
