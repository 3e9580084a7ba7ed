#include <coir/io/process.hpp>
#include <coir/sched/task_group.hpp>

#include "with_fibers.hpp"

namespace coir {
namespace {

void feed(pipe_stream& to, std::string_view input) {
  std::error_code error;
  to.write(input, error);
  to.close();
  if (error && error != std::errc::broken_pipe) io::throw_error(error, "coir: input of a process");
}

void read_all(pipe_stream& from, std::string& into) {
  constexpr std::size_t part = 64 * 1024;
  for (std::size_t size = 0;; into.resize(size)) {
    into.resize(size + part);
    const std::size_t n = from.read_some(std::span(into).subspan(size));
    if (n == 0) return into.resize(size);
    size += n;
  }
}

process_options captured(process_options o, std::string_view input) {
  if (o.in == stdio::inherit) o.in = input.empty() ? stdio::null : stdio::pipe;
  if (o.out == stdio::inherit) o.out = stdio::pipe;
  if (o.err == stdio::inherit) o.err = stdio::pipe;
  return o;
}

// All three at once, because the child may wait for any of them.
run_result exchange_with(process& child, std::string_view input) {
  run_result result;
  with_group([&](task_group& group) {
    if (child.stdin_().is_open()) group.spawn([&] { feed(child.stdin_(), input); });
    if (child.stderr_().is_open()) group.spawn([&] { read_all(child.stderr_(), result.err); });
    if (child.stdout_().is_open()) read_all(child.stdout_(), result.out);
  });
  result.status = child.wait();
  return result;
}

}  // namespace

run_result run_process(const std::vector<std::string>& argv, std::string_view input,
                       process_options o, std::error_code& error) {
  process child = process::spawn(argv, captured(std::move(o), input), error);
  if (error) return {};
  try {
    return io::with_fibers([&] { return exchange_with(child, input); });
  } catch (const std::system_error& e) {
    error = e.code();
    return {};
  }
}
run_result run_process(const std::vector<std::string>& argv, std::string_view input,
                       process_options o) {
  process child = process::spawn(argv, captured(std::move(o), input));
  return io::with_fibers([&] { return exchange_with(child, input); });
}

}  // namespace coir
