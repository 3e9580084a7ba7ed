// Child processes: how they start, what reaches them, how they end.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class process_test : public io_test {
 protected:
  // No child is left, as a zombie or else.
  void TearDown() override {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
};
INSTANTIATE_TEST_SUITE_P(rungs, process_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

const auto shell = [](std::string script) {
  return std::vector<std::string>{"/bin/sh", "-c", std::move(script)};
};

std::string read_all(pipe_stream& from) {
  std::string all;
  char buffer[4096];
  while (const std::size_t n = from.read_some(buffer)) all.append(buffer, n);
  return all;
}
std::string output_of(const std::vector<std::string>& argv, process_options o = {}) {
  return run_process(argv, {}, std::move(o)).out;
}
bool exists(int pid) { return ::kill(pid, 0) == 0; }

TEST_P(process_test, the_status_is_a_code_or_a_signal_and_may_be_asked_again) {
  on_fiber([] {
    auto p = process::spawn(shell("exit 7"));
    EXPECT_GT(p.pid(), 0);
    EXPECT_EQ(p.wait(), exit_status::exited(7));
    EXPECT_EQ(p.wait().code(), 7);
    EXPECT_FALSE(p.wait().signal().has_value());
    EXPECT_FALSE(p.wait().success());
    EXPECT_EQ(p.try_wait(), exit_status::exited(7));
    EXPECT_TRUE(process::spawn({"true"}).wait().success());
    auto killed = process::spawn(shell("kill -9 $$"));
    EXPECT_EQ(killed.wait().signal(), 9);
    EXPECT_FALSE(killed.wait().code().has_value());
    EXPECT_EQ(error_of([] { process().wait(); }), std::errc::no_such_process);
  });
}

TEST_P(process_test, the_pipes_reach_the_child) {
  on_fiber([] {
    auto p = process::spawn({"cat", "-"}, {.in = stdio::pipe, .out = stdio::pipe});
    EXPECT_FALSE(p.stderr_().is_open());
    p.stdin_().write("there ");
    p.stdin_().write("and back");
    p.stdin_().close();
    EXPECT_EQ(read_all(p.stdout_()), "there and back");
    EXPECT_TRUE(p.wait().success());
    auto both =
        process::spawn(shell("echo a; echo b >&2"), {.out = stdio::pipe, .err = stdio::to_stdout});
    EXPECT_EQ(read_all(both.stdout_()), "a\nb\n");
    auto apart =
        process::spawn(shell("echo a; echo b >&2"), {.out = stdio::null, .err = stdio::pipe});
    EXPECT_EQ(read_all(apart.stderr_()), "b\n");
  });
}

TEST_P(process_test, many_wait_for_one_child_and_a_cancelled_one_takes_nothing_from_the_others) {
  on_fiber([] {
    auto p = process::spawn({"cat"}, {.in = stdio::pipe});
    std::vector<task<exit_status>> waiting;
    for (int i = 0; i < 5; ++i) {
      waiting.push_back(spawn([&] { return p.wait(); }));
      await_parked(waiting.back());
    }
    EXPECT_FALSE(p.try_wait().has_value());
    waiting[0].cancel();
    EXPECT_THROW(waiting[0].get(), cancelled);
    EXPECT_THROW(with_timeout(1ms, [&] { p.wait(); }), timed_out);
    p.stdin_().close();
    for (int i = 1; i < 5; ++i) EXPECT_TRUE(waiting[static_cast<std::size_t>(i)].get().success());
  });
}

// F73: what cannot be started leaves nothing: TearDown looks for zombies, on_fiber for descriptors.
TEST_P(process_test, a_failed_start_is_an_error_of_spawn) {
  on_fiber([] {
    const process_options pipes{.in = stdio::pipe, .out = stdio::pipe, .err = stdio::pipe};
    const auto error = [&](const std::vector<std::string>& argv, process_options o) {
      std::error_code ec;
      EXPECT_EQ(process::spawn(argv, o, ec).pid(), 0);
      return ec;
    };
    EXPECT_EQ(error({"/no/such/program"}, pipes), std::errc::no_such_file_or_directory);
    EXPECT_EQ(error({"no-such-program-anywhere"}, pipes), std::errc::no_such_file_or_directory);
    EXPECT_EQ(error({""}, pipes), std::errc::no_such_file_or_directory);
    EXPECT_EQ(error({"/etc/passwd"}, pipes), std::errc::permission_denied);
    EXPECT_EQ(error({"true", std::string(4'000'000, 'x')}, pipes),
              std::errc::argument_list_too_long);
    EXPECT_EQ(error({"true"}, {.cwd = "/no/such/folder"}), std::errc::no_such_file_or_directory);
    EXPECT_EQ(error({"true"}, {.in = -1}), std::errc::bad_file_descriptor);
    EXPECT_EQ(error({"true"}, {.out = 1'000'000}), std::errc::bad_file_descriptor);
    EXPECT_EQ(error({"true"}, {.handles = {1'000'000}}), std::errc::bad_file_descriptor);
    try {
      process::spawn({"true"}, {.cwd = "/no/such/folder"});
      ADD_FAILURE();
    } catch (const std::system_error& e) {
      EXPECT_NE(std::string(e.what()).find("true: chdir to /no/such/folder"), std::string::npos)
          << e.what();
    }
    EXPECT_THROW(process::spawn({}), std::invalid_argument);
    EXPECT_THROW(process::spawn({"true", std::string("a\0b", 3)}), std::invalid_argument);
    EXPECT_THROW(process::spawn({"true"}, {.out = stdio::to_stdout}), std::invalid_argument);
  });
}

TEST_P(process_test, no_descriptors_left_is_an_error_of_spawn) {
  on_fiber([] {
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(process::spawn({"true"}).wait().success());  // the pool's thread is there
    const rlimit few{open_descriptors() + 1, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    std::error_code error;
    process::spawn({"true"}, {.in = stdio::pipe, .out = stdio::pipe, .err = stdio::pipe}, error);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(error, std::errc::too_many_files_open);
  });
}

TEST_P(process_test, environment_and_folder_are_the_childs_own) {
  on_fiber([] {
    ::setenv("COIR_TEST_HERE", "1", 1);
    EXPECT_EQ(output_of(shell("echo $COIR_TEST_HERE")), "1\n");
    EXPECT_EQ(output_of({"/usr/bin/env"}, {.env = {{"A", "b c"}, {"D", ""}}}), "A=b c\nD=\n");
    EXPECT_EQ(output_of({"/usr/bin/env"}, {.env = {{"A", "b"}}}), "A=b\n");
    EXPECT_EQ(output_of({"/usr/bin/env"}, {.env = {"A=b", "C=d"}}), "A=b\nC=d\n");
    EXPECT_EQ(output_of({"/usr/bin/env"}, {.env = environment::empty()}), "");
    auto changed = environment::of_this_process();
    changed["COIR_TEST_HERE"] = "2";
    EXPECT_EQ(output_of(shell("echo $COIR_TEST_HERE"), {.env = changed}), "2\n");
    EXPECT_EQ(output_of({"pwd"}, {.cwd = "/usr"}), "/usr\n");
    EXPECT_EQ(output_of({"./sh", "-c", "echo x"}, {.cwd = "/bin"}), "x\n");
    EXPECT_EQ(error_of([] {
                process::spawn({"true"}, {.env = {{"PATH", "/etc"}}});
              }),
              std::errc::no_such_file_or_directory);
  });
}

// F76: the fixture's runtime has rings, eventfds or epoll instances and an offload pool open.
TEST_P(process_test, no_descriptor_but_the_named_ones_reaches_the_child) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto pipe = make_pipe();
    const int careless = ::open("/dev/null", O_RDONLY);  // not close-on-exec
    const int given = ::fcntl(careless, F_DUPFD_CLOEXEC, 57);
    const std::string list = "for f in /proc/$$/fd/*; do echo ${f##*/}; done";
    // 3 is how the shell reads the folder.
    EXPECT_EQ(output_of(shell(list)), "0\n1\n2\n3\n");
    EXPECT_EQ(output_of(shell(list), {.handles = {given}}),
              "0\n1\n2\n3\n" + std::to_string(given) + "\n");
    EXPECT_NE(::fcntl(given, F_GETFD) & FD_CLOEXEC, 0);  // still, here
    ::close(careless);
    ::close(given);
  });
}

std::uint64_t signals_in(std::istream& status, std::string_view which) {
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(which)) return std::stoull(line.substr(which.size() + 1), nullptr, 16);
  ADD_FAILURE() << which;
  return 0;
}

TEST_P(process_test, signals_are_as_a_program_expects_them) {
  on_fiber([] {
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    const auto hup = std::signal(SIGHUP, SIG_IGN);
    const auto usr = std::signal(SIGUSR1, [](int) {});
    std::ifstream own("/proc/self/status");
    const std::uint64_t ignored = signals_in(own, "SigIgn:");  // others may be, in the background
    std::istringstream status(output_of({"cat", "/proc/self/status"}));
    std::signal(SIGPIPE, before);
    std::signal(SIGHUP, hup);
    std::signal(SIGUSR1, usr);
    const auto bit = [](int signal) { return std::uint64_t{1} << (signal - 1); };
    EXPECT_EQ(signals_in(status, "SigBlk:"), 0U);
    EXPECT_NE(ignored & bit(SIGHUP), 0U);
    EXPECT_EQ(signals_in(status, "SigIgn:"), ignored & ~bit(SIGPIPE) & ~bit(SIGXFSZ));
    EXPECT_EQ(signals_in(status, "SigCgt:"), 0U);
  });
}

TEST_P(process_test, descriptors_become_standard_streams_even_crosswise) {
  on_fiber([] {
    int one[2], two[2];
    ASSERT_EQ(::pipe2(one, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(two, O_CLOEXEC), 0);
    std::fflush(stdout);
    const int out = ::fcntl(1, F_DUPFD_CLOEXEC, 10), err = ::fcntl(2, F_DUPFD_CLOEXEC, 10);
    ::dup2(one[1], 1);
    ::dup2(two[1], 2);
    auto p = process::spawn(shell("echo out; echo err >&2"), {.out = 2, .err = 1});
    ::dup2(out, 1);
    ::dup2(err, 2);
    for (const int fd : {out, err, one[1], two[1]}) ::close(fd);
    auto first = pipe_stream::adopt(one[0]), second = pipe_stream::adopt(two[0]);
    EXPECT_EQ(read_all(first), "err\n");
    EXPECT_EQ(read_all(second), "out\n");
    EXPECT_TRUE(p.wait().success());
  });
}

TEST_P(process_test, a_new_session_and_another_user) {
  on_fiber([] {
    const auto ids = [](process_options o) {
      return output_of(shell("exec cut -d' ' -f1,6 /proc/self/stat"), o);
    };
    const std::string own = ids({.new_session = true}), shared = ids({});
    EXPECT_EQ(own.substr(0, own.find(' ')) + "\n", own.substr(own.find(' ') + 1));
    EXPECT_NE(shared.substr(0, shared.find(' ')) + "\n", shared.substr(shared.find(' ') + 1));
    if (::geteuid() != 0) return;
    EXPECT_EQ(output_of(shell("id -u; id -g; id -G"), {.uid = 4321, .gid = 8765}),
              "4321\n8765\n8765\n");
    EXPECT_EQ(output_of({"id", "-u"}, {.uid = 4321}), "4321\n");
  });
}

// F75.
TEST_P(process_test, kill_after_the_end_is_no_such_process_and_hits_nobody_else) {
  on_fiber([] {
    auto p = process::spawn({"cat"}, {.in = stdio::pipe});
    p.kill(SIGTERM);
    EXPECT_EQ(p.wait().signal(), SIGTERM);
    EXPECT_EQ(error_of([&] { p.kill(SIGTERM); }), std::errc::no_such_process);
    auto zombie = process::spawn({"true"});
    offload([&] {
      siginfo_t how;
      ::waitid(P_PID, static_cast<id_t>(zombie.pid()), &how, WEXITED | WNOWAIT);
    });
    EXPECT_EQ(error_of([&] { zombie.kill(SIGKILL); }), std::errc::no_such_process);
    EXPECT_TRUE(zombie.wait().success());
    EXPECT_EQ(error_of([] { process().kill(1); }), std::errc::no_such_process);
  });
}

// F74.
TEST_P(process_test, children_that_all_end_together_are_all_reaped) {
  const std::size_t count = GetParam().workers == 4 && !sanitized ? 1000 : 50;
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit more{std::min<rlim_t>(before.rlim_max, 8192), before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &more);
  on_fiber([&] {
    auto [from, to] = make_pipe();
    std::vector<process> all;
    for (std::size_t i = 0; i < count; ++i)
      all.push_back(process::spawn({"/bin/cat"}, {.in = from.native_handle()}));
    std::vector<task<exit_status>> waiting;
    for (auto& p : all) waiting.push_back(spawn([&p] { return p.wait(); }));
    to.close();
    std::size_t good = 0;
    for (auto& w : waiting) good += w.get().success();
    EXPECT_EQ(good, count);
  });
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_P(process_test, a_child_that_other_code_reaped_has_ended_nobody_knows_how) {
  on_fiber([] {
    auto p = process::spawn({"true"});
    offload([&] { ::waitpid(p.pid(), nullptr, 0); });
    EXPECT_EQ(p.wait(), exit_status());
    EXPECT_FALSE(p.wait().success());
    const auto before = std::signal(SIGCHLD, SIG_IGN);  // the system reaps
    auto q = process::spawn({"cat"}, {.in = stdio::pipe});
    auto waiting = spawn([&] { return q.wait(); });
    await_parked(waiting);
    q.stdin_().close();
    EXPECT_EQ(waiting.get(), exit_status());
    std::signal(SIGCHLD, before);
  });
}

TEST_P(process_test, the_destructor_kills_and_reaps) {
  on_fiber([] {
    int pid = 0;
    {
      auto p =
          process::spawn(shell("trap '' TERM; read x"), {.in = stdio::pipe, .out = stdio::pipe});
      pid = p.pid();
      EXPECT_TRUE(exists(pid));
    }
    EXPECT_FALSE(exists(pid));
    auto assigned = process::spawn({"sleep", "100"});
    pid = assigned.pid();
    assigned = process();
    EXPECT_FALSE(exists(pid));
  });
  process survivor;
  runtime r({.workers = 1, .reactor = GetParam().kind});
  r.block_on([&] { survivor = process::spawn({"cat"}, {.in = stdio::pipe}); });
  r.shutdown();
  const int pid = survivor.pid();
  survivor = process();  // on a plain thread, after its runtime's end
  EXPECT_FALSE(exists(pid));
}

TEST_P(process_test, without_kill_on_destroy_the_child_runs_on_and_is_reaped) {
  on_fiber([] {
    const std::size_t before = open_descriptors();
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    std::vector<int> pids;
    for (int i = 0; i < 3; ++i) {
      auto p = process::spawn({"cat"}, {.in = ends[0], .kill_on_destroy = false});
      pids.push_back(p.pid());
    }
    for (const int pid : pids) EXPECT_TRUE(exists(pid));
    ::close(ends[0]);
    ::close(ends[1]);
    for (const int pid : pids) EXPECT_TRUE(eventually_on_fiber([pid] { return !exists(pid); }));
    EXPECT_TRUE(eventually_on_fiber([&] { return open_descriptors() == before; }));
  });
}

// F77.
TEST_P(process_test, much_output_on_both_streams_while_the_input_is_fed_is_no_deadlock) {
  on_fiber([] {
    const std::string input(3'000'000, 'i');
    const auto done = run_process(
        shell("head -c 10485760 /dev/zero >&2; head -c 10485760 /dev/zero; exec cat"), input);
    EXPECT_TRUE(done.status.success());
    EXPECT_EQ(done.err.size(), 10485760U);
    EXPECT_EQ(done.out.size(), 10485760U + input.size());
    EXPECT_EQ(done.out.substr(10485760), input);
  });
}

TEST_P(process_test, a_child_that_does_not_read_its_input_is_no_error) {
  on_fiber([] {
    const auto done = run_process(shell("echo x; exit 3"), std::string(3'000'000, 'i'));
    EXPECT_EQ(done.status.code(), 3);
    EXPECT_EQ(done.out, "x\n");
    EXPECT_EQ(run_process({"cat"}).out, "");  // no input: the end at once
    EXPECT_EQ(run_process(shell("echo a; echo b >&2"), {}, {.err = stdio::to_stdout}).out,
              "a\nb\n");
    std::error_code error;
    run_process({"/no/such/program"}, {}, {}, error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  });
}

TEST_P(process_test, a_cancelled_run_kills_its_child) {
  on_fiber([] {
    auto [from, to] = make_pipe();
    char line[32] = {};
    auto running = spawn([&to = to] {
      run_process(shell("echo $$ >&2; exec sleep 1000"), {}, {.err = to.native_handle()});
    });
    (void)from.read_some(line);
    const int pid = std::atoi(line);
    EXPECT_TRUE(exists(pid));
    running.cancel();
    EXPECT_THROW(running.get(), cancelled);
    EXPECT_FALSE(exists(pid));
  });
}

TEST_P(process_test, cancelled_spawns_leave_neither_child_nor_descriptor) {
  on_fiber([] {
    std::atomic<int> started = 0, stopped = 0;
    for (int i = 0; i < rounds(60); ++i) {
      auto spawning = spawn([&] {
        auto p = process::spawn({"sleep", "1000"}, {.in = stdio::pipe, .out = stdio::pipe});
        ++started;
        p.wait();
      });
      if (i % 3 != 0) this_fiber::yield();
      if (i % 3 == 2) this_fiber::sleep_for(1ms);
      spawning.cancel();
      EXPECT_THROW(spawning.get(), cancelled);
      ++stopped;
    }
    std::printf("started %d of %d\n", started.load(), stopped.load());
  });
}

TEST_P(process_test, on_a_plain_thread_nothing_starts) {
  EXPECT_EQ(error_of([] { process::spawn({"true"}, {.in = stdio::pipe}); }),
            std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace coir::testing
