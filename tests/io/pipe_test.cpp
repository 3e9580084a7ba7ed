// Pipes, FIFOs, terminals and the standard streams.
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "io/descriptor.hpp"
#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class pipe_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, pipe_test, every_rung(), rung_name);

static_assert(byte_stream<pipe_stream>);

// Both ends of a pipe that was made as a shell makes it: blocking, and shared with `others`.
struct blocking_pipe {
  int read = -1, write = -1, other_read = -1, other_write = -1;
  blocking_pipe() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    read = fds[0];
    write = fds[1];
    other_read = ::dup(read);
    other_write = ::dup(write);
  }
  ~blocking_pipe() {
    ::close(other_read);
    ::close(other_write);
  }
  blocking_pipe(const blocking_pipe&) = delete;
  blocking_pipe& operator=(const blocking_pipe&) = delete;
};

bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

std::string read_all(pipe_stream& from) {
  std::string all;
  char buffer[4096];
  while (const std::size_t n = from.read_some(buffer)) all.append(buffer, n);
  return all;
}

TEST_P(pipe_test, what_is_written_is_read_and_closing_is_the_end) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    auto reader = spawn([&from = from] { return read_all(from); });
    await_parked(reader);
    to.write("one ");
    const std::string_view parts[] = {"two ", "", "three"};
    std::vector<std::span<const std::byte>> spans;
    for (const std::string_view p : parts) spans.push_back(std::as_bytes(std::span(p)));
    to.write(spans);
    to.shutdown_write();
    EXPECT_FALSE(to.is_open());
    EXPECT_EQ(reader.get(), "one two three");
    EXPECT_EQ(from.bytes_read(), 13U);
    EXPECT_EQ(to.bytes_written(), 13U);
  });
}

TEST_P(pipe_test, more_than_fits_waits_for_the_reader) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    std::string much(3'000'000, 0);
    for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 7 + i / 256);
    auto writer = spawn([&to = to, &much] {
      to.write(much);
      to.close();
    });
    await_parked(writer);
    EXPECT_EQ(read_all(from), much);
    writer.get();
  });
}

// The disposition is the default here: a SIGPIPE would end this program.
TEST_P(pipe_test, without_a_reader_writing_is_an_error_and_no_signal) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    from.close();
    EXPECT_EQ(error_of([&to = to] { to.write("x"); }), std::errc::broken_pipe);
    std::error_code error;
    EXPECT_EQ(to.write_some("x", error), 0U);
    EXPECT_EQ(error, std::errc::broken_pipe);

    auto [parked_from, parked_to] = make_pipe();
    auto writer = spawn(
        [&to = parked_to] { return error_of([&] { to.write(std::string(1'000'000, 'x')); }); });
    await_parked(writer);
    parked_from.close();
    EXPECT_EQ(writer.get(), std::errc::broken_pipe);
    struct sigaction now {};
    ::sigaction(SIGPIPE, nullptr, &now);
    EXPECT_EQ(now.sa_handler, SIG_DFL);
  });
}

TEST_P(pipe_test, close_ends_parked_reads_and_writes) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    auto reader = spawn([&from = from] {
      char buffer[8];
      return error_of([&] { (void)from.read_some(buffer); });
    });
    await_parked(reader);
    from.close();
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);

    auto [full_from, full_to] = make_pipe();
    auto writer =
        spawn([&to = full_to] { return error_of([&] { to.write(std::string(1'000'000, 'x')); }); });
    await_parked(writer);
    std::thread closer([&to = full_to] { to.close(); });
    EXPECT_EQ(writer.get(), std::errc::operation_canceled);
    closer.join();
    EXPECT_EQ(read_all(full_from).size(), full_to.bytes_written());
  });
}

TEST_P(pipe_test, a_cancelled_read_loses_nothing_and_leaves_its_buffer_alone) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    char buffer[64];
    std::memset(buffer, 'x', sizeof buffer);
    auto reader = spawn([&from = from, &buffer] { (void)from.read_some(buffer); });
    await_parked(reader);
    reader.cancel();
    EXPECT_THROW(reader.get(), cancelled);
    to.write("late");
    this_fiber::yield();
    for (const char c : buffer) EXPECT_EQ(c, 'x');
    EXPECT_EQ(from.read_some(buffer), 4U);
    EXPECT_THROW(with_timeout(1ms, [&from = from, &buffer] { from.read_some(buffer); }), timed_out);
    from.set_read_deadline(clock::now() + 1ms);
    EXPECT_EQ(error_of([&from = from, &buffer] { from.read_some(buffer); }), std::errc::timed_out);
  });
}

TEST_P(pipe_test, a_race_of_cancellation_and_data_loses_no_byte) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    int read = 0, stopped = 0;
    for (int i = 0; i < rounds(300); ++i) {
      auto reader = spawn([&from = from] {
        char c = 0;
        EXPECT_EQ(from.read_some({&c, 1}), 1U);
        return c;
      });
      for (int n = i % 3; n != 0; --n) this_fiber::yield();
      auto writer = spawn([&to = to, i] { to.write(std::string(1, static_cast<char>(i))); });
      if (i % 2 == 0) reader.cancel();
      writer.get();
      for (int n = i % 5; n != 0; --n) this_fiber::yield();
      reader.cancel();
      char c = 0;
      try {
        c = reader.get();
        ++read;
      } catch (const cancelled&) {
        from.read_exactly({&c, 1});
        ++stopped;
      }
      EXPECT_EQ(c, static_cast<char>(i));
    }
    std::printf("read %d, cancelled %d\n", read, stopped);
  });
}

TEST_P(pipe_test, a_second_reader_is_refused) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    char buffer[8];
    auto reader = spawn([&from = from, &buffer] { return from.read_some(buffer); });
    await_parked(reader);
    char other[8];
    EXPECT_EQ(error_of([&from = from, &other] { (void)from.read_some(other); }),
              std::errc::operation_in_progress);
    to.write("x");
    EXPECT_EQ(reader.get(), 1U);
  });
}

TEST_P(pipe_test, a_plain_thread_may_not_read) {
  auto [from, to] = make_pipe();
  char buffer[8];
  EXPECT_EQ(error_of([&from = from, &buffer] { (void)from.read_some(buffer); }),
            std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([&to = to] { to.write("x"); }), std::errc::operation_not_permitted);
}

TEST_P(pipe_test, what_can_be_read_has_no_end_to_shut) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    EXPECT_EQ(error_of([&from = from] { from.shutdown_write(); }), std::errc::bad_file_descriptor);
    EXPECT_TRUE(from.is_open());
    EXPECT_EQ(error_of([] { pipe_stream().shutdown_write(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([] { pipe_stream::adopt(-1); }), std::errc::bad_file_descriptor);
  });
}

// F76's neighbour: the flags of a description belong to everybody who has it.
TEST_P(pipe_test, an_adopted_pipe_stays_blocking_for_those_who_share_it) {
  on_fiber([] {
    blocking_pipe p;
    auto from = pipe_stream::adopt(p.read);
    auto to = pipe_stream::adopt(p.write);
    EXPECT_EQ(from.native_handle(), p.read);
    auto reader = spawn([&] {
      char buffer[8];
      return from.read_some(buffer);
    });
    await_parked(reader);  // and no worker with it
    EXPECT_EQ(::write(p.other_write, "abc", 3), 3);
    EXPECT_EQ(reader.get(), 3U);
    auto writer = spawn([&] { to.write(std::string(200'000, 'y')); });
    await_parked(writer);
    std::string got(200'000, 0);
    from.read_exactly(got);
    writer.get();
    EXPECT_TRUE(is_blocking(p.other_read));
    EXPECT_TRUE(is_blocking(p.other_write));
  });
}

// Where the pipe cannot be opened again: another user's, or no /proc.
TEST_P(pipe_test, a_description_that_stays_shared_parks_the_fiber_all_the_same) {
  on_fiber([] {
    for (int round = 0; round < 3; ++round) {  // the same number again: nothing of it is kept
      blocking_pipe p;
      pipe_stream from(io::handle(p.read, io::medium::shared));
      pipe_stream to(io::handle(p.write, io::medium::shared));
      char one;
      EXPECT_THROW(with_timeout(1ms, [&] { (void)from.read_some({&one, 1}); }), timed_out);
      const int number = from.native_handle();
      from.close();
      from = pipe_stream(
          io::handle(::fcntl(p.other_read, F_DUPFD_CLOEXEC, number), io::medium::shared));
      EXPECT_EQ(from.native_handle(), number);
      auto writer = spawn([&] {
        to.write(std::string(200'000, 'y'));
        to.close();
        ::close(std::exchange(p.other_write, -1));
      });
      await_parked(writer);
      EXPECT_EQ(read_all(from), std::string(200'000, 'y'));
      writer.get();
      EXPECT_TRUE(is_blocking(p.other_read));
    }
  });
}

TEST_P(pipe_test, a_fifo_is_a_pipe) {
  on_fiber([] {
    const std::string path =
        std::filesystem::temp_directory_path() / ("coir-fifo-" + std::to_string(::getpid()));
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);  // blocking
    const int other = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    ::unlink(path.c_str());
    auto both = pipe_stream::adopt(fd);
    EXPECT_EQ(error_of([&] { both.shutdown_write(); }), std::errc::operation_not_supported);
    auto reader = spawn([&] {
      char buffer[8];
      return both.read_some(buffer);
    });
    await_parked(reader);
    EXPECT_EQ(::write(other, "abc", 3), 3);
    EXPECT_EQ(reader.get(), 3U);
    ::close(other);
  });
}

TEST_P(pipe_test, a_terminal_gives_lines_and_parks_between_them) {
  on_fiber([] {
    int master = -1, slave = -1;
    if (::openpty(&master, &slave, nullptr, nullptr, nullptr) != 0)
      GTEST_SKIP() << "there are no terminals here";
    const int shared = ::dup(slave);
    auto terminal = pipe_stream::adopt(slave);
    auto keyboard = pipe_stream::adopt(master);
    auto reader = spawn([&] {
      char buffer[64];
      return std::string(buffer, terminal.read_some(buffer));
    });
    await_parked(reader);
    keyboard.write("hal");
    this_fiber::yield();
    EXPECT_FALSE(reader.done());  // no line so far
    keyboard.write("lo\n");
    EXPECT_EQ(reader.get(), "hallo\n");
    terminal.write("x");
    auto silent = spawn([&] {
      char buffer[64];
      return error_of([&] { (void)terminal.read_some(buffer); });
    });
    await_parked(silent);
    terminal.close();
    EXPECT_EQ(silent.get(), std::errc::operation_canceled);
    EXPECT_TRUE(is_blocking(shared));
    ::close(shared);
  });
}

// Takes the place of a standard stream for as long as it lives.
class stand_in {
 public:
  stand_in(int number, int by) : number_(number), saved_(::fcntl(number, F_DUPFD_CLOEXEC, 10)) {
    ::dup2(by, number);
  }
  ~stand_in() {
    ::dup2(saved_, number_);
    ::close(saved_);
  }
  stand_in(const stand_in&) = delete;
  stand_in& operator=(const stand_in&) = delete;

 private:
  const int number_, saved_;
};

TEST_P(pipe_test, standard_input_may_be_a_file_and_goes_on_where_its_position_is) {
  on_fiber([] {
    std::FILE* const text = std::tmpfile();
    std::fputs("first\nsecond\n", text);
    std::fflush(text);
    const int fd = ::fileno(text);
    ::lseek(fd, 6, SEEK_SET);
    {
      stand_in input(STDIN_FILENO, fd);
      auto in = standard_input();
      EXPECT_EQ(read_all(in), "second\n");
      EXPECT_EQ(::lseek(fd, 0, SEEK_CUR), 13);
      in.close();
      EXPECT_GE(::fcntl(STDIN_FILENO, F_GETFD), 0);  // still there
    }
    {
      stand_in output(STDOUT_FILENO, fd);
      auto out = standard_output();
      out.write("third\n");
    }
    char buffer[32] = {};
    EXPECT_EQ(::pread(fd, buffer, sizeof buffer, 0), 19);
    EXPECT_STREQ(buffer, "first\nsecond\nthird\n");
    std::fclose(text);
  });
}

TEST_P(pipe_test, standard_streams_may_be_pipes_of_a_shell_or_nothing_at_all) {
  on_fiber([] {
    blocking_pipe p;
    {
      stand_in input(STDIN_FILENO, p.read);
      stand_in error(STDERR_FILENO, p.write);
      auto in = standard_input();
      auto err = standard_error();
      auto reader = spawn([&] {
        char buffer[8];
        return in.read_some(buffer);
      });
      await_parked(reader);
      err.write("abc");
      EXPECT_EQ(reader.get(), 3U);
    }
    EXPECT_TRUE(is_blocking(p.read));
    EXPECT_TRUE(is_blocking(p.write));
    ::close(p.read);
    ::close(p.write);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    auto nothing = pipe_stream::adopt(null);
    nothing.write("x");
    EXPECT_EQ(read_all(nothing), "");
  });
}

}  // namespace
}  // namespace coir::testing
