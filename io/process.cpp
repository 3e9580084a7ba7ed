#include <coir/io/process.hpp>

#include <cerrno>
#include <new>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <coir/io/wait.hpp>
#include <coir/sched/timeout.hpp>

#include "child.hpp"
#include "descriptor.hpp"
#include "file_calls.hpp"
#include "io_call.hpp"
#include "run_blocking.hpp"
#include "start_child.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

using io::medium;

// A descriptor that goes away with its holder: the child's ends, until the child has them.
class short_lived {
 public:
  short_lived() = default;
  ~short_lived() {
    if (fd_ >= 0) io::sys::close(fd_);
  }
  short_lived(const short_lived&) = delete;
  short_lived& operator=(const short_lived&) = delete;
  void hold(handle_type fd) noexcept { fd_ = fd; }

 private:
  handle_type fd_ = -1;
};

bool failed(int result, std::error_code& error) {
  if (result < 0) error.assign(-result, std::system_category());
  return result < 0;
}

// Programs do not expect standard streams that are O_NONBLOCK, as our own ends of pipes are. The
// flag belongs to the description: a pipe or terminal gets another one, which is returned; a socket
// has only the one. -1: what is there will do.
handle_type blocking(handle_type fd) noexcept {
  const int flags = io::sys::open_flags(fd);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return -1;
  const io::sys::file_kind kind = io::sys::kind_of(fd);
  const bool can_reopen = kind == io::sys::file_kind::fifo || kind == io::sys::file_kind::terminal;
  const handle_type own = can_reopen ? io::sys::reopen_non_blocking(fd) : -1;
  io::sys::set_blocking(own >= 0 ? own : fd);
  return own;
}

// What the child gets as standard stream `number`; our end of it, if that is a pipe. Only ours is
// non-blocking: each end has a description of its own.
pipe_stream connect(int number, stdio_choice choice, io::child_plan& plan, short_lived& childs,
                    std::error_code& error) {
  handle_type& target = plan.standard[number];
  if (choice.handle().has_value()) {
    target = *choice.handle();
    if (failed(target < 0 ? -EBADF : 0, error)) return {};
    if (const handle_type own = blocking(target); own >= 0) childs.hold(target = own);
    return {};
  }
  if (choice == stdio::null) {
    target = io::sys::open_null();
    if (!failed(target, error)) childs.hold(target);
    return {};
  }
  if (choice != stdio::pipe) return {};
  int ends[2];
  if (failed(io::sys::make_blocking_pipe(ends), error)) return {};
  const int ours = number == STDIN_FILENO ? 1 : 0;
  target = ends[1 - ours];
  childs.hold(target);
  io::sys::set_non_blocking(ends[ours]);
  return pipe_stream(io::handle(ends[ours], medium::pipe));
}

std::string describe(const std::vector<std::string>& argv, const char* step,
                     const process_options& o) {
  std::string text = "coir: spawn of " + argv.front();
  if (step == nullptr) return text;
  text.append(": ").append(step);
  return std::string_view(step) == "chdir" ? text + " to " + o.cwd : text;
}

// Until it has ended, which is soon, because it has been killed.
void await(const std::shared_ptr<io::child>& c) noexcept {
  try {
    shield([&c] {
      std::error_code error;
      while (!c->collect().has_value() && !error) {
        wait_readable(c->pidfd(), error);
        if (error != std::errc::operation_not_permitted) continue;
        io::sys::wait_until_ready(c->pidfd(), POLLIN);  // a plain thread
        error.clear();
      }
    });
  } catch (...) {  // no memory to wait with
  }
  if (!c->collect().has_value()) io::reap_in_background(c);
}

}  // namespace

std::map<std::string, std::string> environment::of_this_process() {
  std::map<std::string, std::string> all;
  for (char** v = ::environ; v != nullptr && *v != nullptr; ++v) {
    const std::string_view text = *v;
    const std::size_t end = text.find('=');
    if (end != std::string_view::npos) all.emplace(text.substr(0, end), text.substr(end + 1));
  }
  return all;
}

process::process() noexcept = default;
process::process(process&&) noexcept = default;
process& process::operator=(process&& other) noexcept {
  if (this == &other) return *this;
  drop();
  child_ = std::move(other.child_);
  in_ = std::move(other.in_);
  out_ = std::move(other.out_);
  err_ = std::move(other.err_);
  kill_on_destroy_ = other.kill_on_destroy_;
  return *this;
}
process::~process() { drop(); }

void process::drop() noexcept {
  const std::shared_ptr<io::child> c = std::move(child_);
  if (c == nullptr) return;
  if (kill_on_destroy_) c->kill(SIGKILL);
  in_.close();
  out_.close();
  err_.close();
  if (c->collect().has_value()) return;
  if (kill_on_destroy_)
    await(c);
  else
    io::reap_in_background(c);
}

process process::start(const std::vector<std::string>& argv, const process_options& o,
                       std::error_code& error, const char*& step) {
  io::child_plan plan(argv, o);
  io::io_call permitted;
  if (!permitted.enter_foreign(0, sched::wait_kind::file, error)) return {};
  process made;
  short_lived childs[3];
  made.in_ = connect(STDIN_FILENO, o.in, plan, childs[0], error);
  if (!error) made.out_ = connect(STDOUT_FILENO, o.out, plan, childs[1], error);
  if (!error) made.err_ = connect(STDERR_FILENO, o.err, plan, childs[2], error);
  if (error) return {};
  auto child = std::make_shared<io::child>();
  const io::started_child started = io::run_blocking([&plan] { return io::start_child(plan); });
  step = plan.step;
  if (failed(started.pid, error)) return {};
  child->is(started.pid, started.pidfd);
  made.child_ = std::move(child);
  made.kill_on_destroy_ = o.kill_on_destroy;
  return made;
}

process process::spawn(const std::vector<std::string>& argv, process_options o,
                       std::error_code& error) {
  const char* step = nullptr;
  return start(argv, o, error, step);
}
process process::spawn(const std::vector<std::string>& argv, process_options o) {
  std::error_code error;
  const char* step = nullptr;
  process made = start(argv, o, error, step);
  if (error) io::throw_error(error, describe(argv, step, o));
  return made;
}

int process::pid() const noexcept { return child_ == nullptr ? 0 : child_->pid(); }

exit_status process::wait(std::error_code& error) {
  const std::shared_ptr<io::child> c = child_;  // this may be destroyed meanwhile
  error.clear();
  if (c == nullptr) error = std::make_error_code(std::errc::no_such_process);
  while (!error) {
    if (const auto ended = c->collect()) return *ended;
    wait_readable(c->pidfd(), error);
  }
  return {};
}
exit_status process::wait() {
  std::error_code error;
  const exit_status how = wait(error);
  io::check(error, "coir: wait for a process");
  return how;
}

std::optional<exit_status> process::try_wait() {
  if (child_ == nullptr)
    io::throw_error(std::make_error_code(std::errc::no_such_process), "coir: wait for a process");
  return child_->collect();
}

void process::kill(int signal, std::error_code& error) {
  error.clear();
  failed(child_ == nullptr ? -ESRCH : child_->kill(signal), error);
}
void process::kill(int signal) {
  std::error_code error;
  kill(signal, error);
  io::check(error, "coir: kill");
}

}  // namespace coir
