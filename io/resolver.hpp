// The threads that ask the system's resolver, which blocks for as long as the network likes.
//
// Of the process, and not offload's pool: the end of a runtime waits for what offload has begun,
// and names that nobody answers would fill its threads. Never destroyed, because a thread may be in
// the resolver until the process ends.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <coir/io/endpoint.hpp>
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::io {

// A question, shared by who asks, who may go away, and the thread that answers it.
struct question {
  question(std::string_view h, std::string_view s) : host(h), service(s) {}

  const std::string host, service;

  // Written by the thread before `done`, and read behind it.
  std::vector<endpoint> answers;
  std::error_code error;

  sched::spin_lock lock;
  bool done = false;          // under lock
  sched::wait_queue waiting;  // under lock: who asks
};

// Any thread. Throws std::system_error if there is no thread for it and none can be made.
void ask(std::shared_ptr<question>);
// Nobody waits any more. If no thread has begun with it, none will.
void forget(const question&) noexcept;

// Most questions in the system's resolver at a time.
inline constexpr unsigned most_questions = 32;

}  // namespace coir::io
