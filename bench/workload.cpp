#include "workload.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>

#include <sys/wait.h>
#include <unistd.h>
#include <coir/sched/futex_driver.hpp>
#include <coir/sched/runtime.hpp>

#include "process.hpp"

namespace bench {

void on_workers(const settings& s, unsigned workers, const std::function<void()>& main) {
  coir::options o = s.base;
  o.workers = workers;
  o.idle_poll = s.idle_poll.value_or(o.idle_poll);
  o.stack_size = s.stack_size.value_or(o.stack_size);
  std::optional<coir::runtime> runtime;
  if (s.no_reactor)
    runtime.emplace(o, coir::sched::make_futex_drivers());
  else
    runtime.emplace(o);
  if (s.pin) pin_other_threads();
  runtime->block_on([&] { main(); });
}

bool in_child(const settings& s, const std::function<void()>& f) {
  if (s.here) return f(), true;
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == -1) return std::perror("coir_bench: fork"), false;
  if (child == 0) {
    try {
      f();
    } catch (const std::exception& e) {
      std::cerr << "coir_bench: " << e.what() << '\n';
      std::exit(1);
    }
    std::exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return false;
  if (WIFSIGNALED(status)) std::cerr << "coir_bench: killed by signal " << WTERMSIG(status) << '\n';
  return status == 0;
}

std::string with_workers(std::string name, unsigned workers) {
  return std::move(name) + "_t" + std::to_string(workers);
}

}  // namespace bench
