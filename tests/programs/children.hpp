// Nodes that a node starts.
#pragma once
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <coir/sched/task_group.hpp>

#include "steps.hpp"

namespace coir::testing::programs {

using body = std::function<void(node&)>;

// What a new node begins with; made by its parent.
struct seedling {
  std::shared_ptr<identity> who;
  std::uint32_t fuel;
  unsigned depth;
  std::uint64_t context;
  body run;                    // empty: live
  bool wins_at_value = false;  // of a race: its value ends the others

  token operator()() const;  // on its fiber
};

seedling sow(node&, std::shared_ptr<kinship> kin = nullptr, body run = {});
std::shared_ptr<kinship> new_kinship(node&);
spawn_options some_options(node&, const seedling&);

// A task that is asked, in the books, when it goes before it has ended.
struct child {
  std::shared_ptr<identity> who;
  task<token> t;
  child(std::shared_ptr<identity> w, task<token> of) : who(std::move(w)), t(std::move(of)) {}
  child(child&&) = default;
  child& operator=(child&&) = delete;
  ~child() {
    if (t.valid() && !t.done()) ++who->asking;
  }
};
child start(node&, body run = {});
// Of its own accord: waits for all, and takes what comes; throws only n's own cancellation.
void join_all(node&, std::vector<child>&);

// Calls get, which waits for that node's end, and checks that what comes is how it ended. Whether
// it gave a value; throws n's own cancellation.
bool comes_to(node& n, const identity& who, fiber_id id, const std::function<token()>& get);
void check_result(node& n, const identity& who, const token&);
std::string describe(const std::exception_ptr&);
void check_error(node& n, const identity& who, fiber_id id, const std::exception_ptr&);

}  // namespace coir::testing::programs
