// Child processes.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <coir/io/pipe.hpp>
#include <coir/io/process_options.hpp>

namespace coir {

namespace io {
class child;
}

// How a process ended: by exit (code), by a signal, or it is not known, because other code of this
// process has reaped it (neither).
class exit_status {
 public:
  exit_status() noexcept = default;
  static exit_status exited(int code) noexcept { return exit_status(code, {}); }
  static exit_status killed(int signal) noexcept { return exit_status({}, signal); }

  std::optional<int> code() const noexcept { return code_; }
  std::optional<int> signal() const noexcept { return signal_; }
  bool success() const noexcept { return code_ == 0; }
  friend bool operator==(const exit_status&, const exit_status&) = default;

 private:
  exit_status(std::optional<int> code, std::optional<int> signal) noexcept
      : code_(code), signal_(signal) {}
  std::optional<int> code_, signal_;
};

// A child process. Move-only; default-constructed and moved-from it is none. wait, try_wait, kill,
// pid: any fibers at once. The streams: each as any stream.
class process {
 public:
  process() noexcept;
  process(process&&) noexcept;
  process& operator=(process&&) noexcept;
  // Closes the pipes. A child that still runs is killed (SIGKILL) and awaited, in a shield; without
  // kill_on_destroy it runs on and is reaped in the background. Its own children are not touched.
  ~process();

  // Starts argv[0], which is looked for in PATH (the child's, if it is given one) unless it has a
  // slash. Waits, on a thread of the pool, until the program runs, or has not been found: errors
  // are the kernel's for the step that failed (no_such_file_or_directory, permission_denied,
  // argument_list_too_long, ...), and then nothing is left of the child. It starts with no signal
  // blocked, SIGPIPE and SIGXFSZ at their default, other ignored signals ignored. Throws
  // std::invalid_argument for an empty argv and for text with a NUL. A fiber. Linux 5.4.
  static process spawn(const std::vector<std::string>& argv, process_options = {});
  static process spawn(const std::vector<std::string>& argv, process_options, std::error_code&);

  // The other ends of the child's stdio::pipe; closed streams otherwise.
  pipe_stream& stdin_() noexcept { return in_; }
  pipe_stream& stdout_() noexcept { return out_; }
  pipe_stream& stderr_() noexcept { return err_; }

  int pid() const noexcept;  // also after its end; 0: no process

  // Waits until it has ended; the same answer any number of times. Does not read the pipes: a child
  // that writes more than they hold does not end. no_such_process: there is none.
  exit_status wait();
  exit_status wait(std::error_code&);
  std::optional<exit_status> try_wait();  // does not wait; none: it still runs. Any thread

  // Sends a signal; no_such_process once it has ended, whoever may have its number by then. Any
  // thread.
  void kill(int signal);
  void kill(int signal, std::error_code&);

 private:
  static process start(const std::vector<std::string>& argv, const process_options&,
                       std::error_code&, const char*& step);
  void drop() noexcept;

  std::shared_ptr<io::child> child_;
  pipe_stream in_, out_, err_;
  bool kill_on_destroy_ = true;
};

// What run_process gives: how the child ended and what it wrote.
struct run_result {
  exit_status status;
  std::string out, err;  // what was captured
};

// subprocess.run: starts it, writes `input` to it while both outputs are read, and waits. What the
// options leave at stdio::inherit is a pipe here; in: /dev/null if there is no input. A child that
// does not read its input is no error. Returns when the child has ended and its outputs have been
// closed, by its own children, too. Cancelled, or with an error, it kills the child
// (kill_on_destroy). Otherwise as process::spawn.
run_result run_process(const std::vector<std::string>& argv, std::string_view input = {},
                       process_options = {});
run_result run_process(const std::vector<std::string>& argv, std::string_view input,
                       process_options, std::error_code&);

}  // namespace coir
