// Starting a program: what is prepared in the parent, and what the child does with it.
#pragma once
#include <string>
#include <vector>

#include <coir/io/process_options.hpp>

namespace coir::io {

// Everything that the child needs, made before it exists: it shares the parent's memory, other
// threads of which run on, so it may neither allocate nor take a lock.
struct child_plan {
  child_plan(const std::vector<std::string>& argv, const process_options&);
  child_plan(const child_plan&) = delete;
  child_plan& operator=(const child_plan&) = delete;

  std::vector<std::string> programs;              // where argv[0] may be, in order
  std::vector<const char*> arguments, variables;  // null-terminated
  const process_options& options;
  handle_type standard[3] = {-1, -1, -1};  // what becomes 0, 1 and 2; -1: what it is

  // Of the child, once it has failed.
  int error = 0;
  const char* step = nullptr;

 private:
  std::vector<std::string> texts_;
};

struct started_child {
  int pid = 0;  // or a negative errno: there is none
  handle_type pidfd = -1;
};

// Returns when the program runs, or plan.error tells why not. Blocks its thread meanwhile.
started_child start_child(child_plan&) noexcept;

}  // namespace coir::io
