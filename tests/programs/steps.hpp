// What a node can do: one function an operation, and the choice among them.
#pragma once
#include <functional>

#include "world.hpp"

namespace coir::testing::programs {

using operation = void (*)(node&);

// As many random operations as there is fuel; what is thrown may be swallowed between two of them.
void live(node&);
// A few random operations inside of another one. leaves: only those that join nobody.
void steps(node&, unsigned at_most);
void leaves(node&, unsigned at_most);
void swallow_all(node&, const std::function<void()>&);  // for destructors and threads

// tasks.cpp
void join_child(node&);
void join_group(node&);
void body_of_group(node&);
void gather_children(node&);
void await_some(node&);
// meetings.cpp
void futures(node&);
void producers_and_consumers(node&);
void meet_at_a_barrier(node&);
void listeners(node&);
// scopes.cpp
void under_timeout(node&);
void under_shield(node&);
void keep_a_cancellation(node&);
void cancel_at_random(node&);
void take_back(node&);
void watch_token(node&);
void throw_error(node&);
void catch_and_wait(node&);
void unwind_slowly(node&);
void in_a_context(node&);
// locks.cpp
void lock_something(node&);
void wait_for_condition(node&);
void hold_permits(node&);
void signals(node&);
void push_item(node&);
void pop_item(node&);
void select_item(node&);
// elsewhere.cpp
void sleep_or_yield(node&);
void keep_number(node&);
void on_another_stack(node&);
void on_another_thread(node&);
void stay_pinned(node&);
void timers(node&);
void resume_coroutine(node&);
void hand_coroutine_on(node&);
void resume_wanderer(node&);
void generate(node&);
// streams.cpp
void bytes_through_a_stream(node&);

}  // namespace coir::testing::programs
