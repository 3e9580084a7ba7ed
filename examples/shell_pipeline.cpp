// What a shell does with `a | b | c`: runs the commands, each reading what the one before it
// writes.
//   shell_pipeline cat access.log '|' sort '|' uniq -c
// Ends as the last command ends; Ctrl-C ends them all.
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <coir/coir.hpp>

namespace {

using command = std::vector<std::string>;

std::vector<command> parse(int argc, char** argv) {
  std::vector<command> all(1);
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "|")
      all.emplace_back();
    else
      all.back().push_back(argv[i]);
  }
  return all;
}

std::string text_of(const coir::exit_status& s) {
  if (s.signal()) return "signal " + std::to_string(*s.signal());
  return s.code() ? "status " + std::to_string(*s.code()) : "a status that nobody knows";
}

// As a shell numbers them.
int number_of(const coir::exit_status& s) {
  return s.signal() ? 128 + *s.signal() : s.code().value_or(1);
}

// What this program keeps of a pipe is closed as soon as both of its children are there: only then
// does the reader find the end when the writer ends, and the writer an error when the reader does.
std::vector<coir::process> start(const std::vector<command>& commands) {
  std::vector<coir::process> running;
  coir::pipe_stream input;  // of the next one
  for (std::size_t i = 0; i < commands.size(); ++i) {
    coir::process_options o;
    coir::pipe_stream output, next;
    if (i != 0) o.in = input.native_handle();
    if (i + 1 != commands.size()) {
      std::tie(next, output) = coir::make_pipe();
      o.out = output.native_handle();
    }
    running.push_back(coir::process::spawn(commands[i], o));
    input = std::move(next);
  }
  return running;
}

int run(const std::vector<command>& commands) {
  std::vector<coir::process> running = start(commands);  // cancelled from here on, they are killed
  coir::exit_status last;
  for (std::size_t i = 0; i < running.size(); ++i) {
    last = running[i].wait();
    if (!last.success())
      std::fprintf(stderr, "shell_pipeline: %s: %s\n", commands[i].front().c_str(),
                   text_of(last).c_str());
  }
  return number_of(last);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<command> commands = parse(argc, argv);
  for (const command& c : commands)
    if (c.empty()) {
      std::fputs("usage: shell_pipeline COMMAND [ARGUMENT...] ['|' COMMAND [ARGUMENT...]]...\n",
                 stderr);
      return 2;
    }
  try {
    coir::options o = coir::options::from_environment();
    o.cancel_on_interrupt = true;
    return coir::run(o, [&] { return run(commands); });
  } catch (const coir::interrupted&) {
    return 130;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "shell_pipeline: %s\n", e.what());
    return 1;
  }
}
