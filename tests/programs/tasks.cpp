// Nodes that start nodes: tasks, groups, teams.
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <coir/sched/gather.hpp>
#include <coir/sched/wait.hpp>

#include "children.hpp"

namespace coir::testing::programs {

namespace {

void with_callback(node& n, child& c) {
  const auto called = std::make_shared<std::atomic<int>>(0);
  const callback_id back = c.t.on_done([called] { ++*called; });
  const bool removed = n.random(2) == 0 && c.t.remove_on_done(back);
  steps(n, 2);
  comes_to(n, *c.who, c.t.id(), [&] { return c.t.get(); });
  if (removed) return n.expect(*called == 0, "a callback was removed and called");
  n.expect(*called == 1, "a callback was not called before a join returned, or twice");
}

}  // namespace

void join_child(node& n) {
  child c = start(n);
  const fiber_id id = c.t.id();
  if (n.random(4) == 0) return with_callback(n, c);
  steps(n, 2);
  if (n.random(3) == 0) ask(c.who, c.t, "by its parent");
  switch (n.random(6)) {
    case 0:  // ~task
      return;
    case 1:
      c.t.detach();
      c.t = {};
      return;
    case 2: {
      const bool ended = n.block(
          "wait_for", [&] { return c.t.wait_for(n.moment()); }, node::entry::sometimes);
      n.expect(!ended || c.t.done(), "wait_for says it has ended, and it has not");
      if (!ended) ask(c.who, c.t);
      break;
    }
    case 3: {
      const auto e = n.block(
          "error", [&] { return c.t.error(); }, node::entry::sometimes);
      if (e == nullptr)
        n.expect(c.who->how == ending::value, "no error, and no value");
      else
        check_error(n, *c.who, id, e);
      n.expect(
          c.t.cancelled() == (c.who->how == ending::cancelled || c.who->how == ending::unstarted),
          "cancelled() says the contrary of how it ended");
      break;
    }
    default:
      break;
  }
  comes_to(n, *c.who, id, [&] { return c.t.get(); });
  n.expect(c.t.done() && c.t.state() == task_state::done, "a task was got and is not done");
}

namespace {

// A group and all that were ever in it; children add to it, too.
struct family {
  family(node& n, std::size_t limit) : kin(new_kinship(n)), group(limit) {}
  ~family() {
    if (!joined) strike(*kin);
  }
  void add(node& by) {
    seedling s = sow(by, kin, [this](node& child) { live_in(child); });
    auto who = s.who;
    auto options = some_options(by, s);
    auto ref = by.block("group::spawn", [&] { return group.spawn(options, std::move(s)); });
    if (by.random(3) == 0) by.of.enlist(who, ref);
    std::lock_guard lock(mutex);
    all.emplace_back(who, std::move(ref));
  }
  void cancel() {
    strike(*kin);
    group.cancel();
  }
  bool has_thrown(const std::exception_ptr& e) {
    std::lock_guard lock(mutex);
    for (auto& a : all)
      if (a.first->error == e) return true;
    return false;
  }

  const std::shared_ptr<kinship> kin;
  std::mutex mutex;
  std::vector<std::pair<std::shared_ptr<identity>, task_ref<token>>> all;  // under mutex
  bool bounded = false;
  task_group group;
  bool joined = false;  // behind the group: it is cancelled when this says that it may be

 private:
  void live_in(node& child) {
    steps(child, 4);
    // With a limit, all places may be taken by those who wait for one.
    if (child.random(4) == 0 && !bounded) add(child);
    if (child.random(12) == 0) cancel();
    live(child);
  }
};

}  // namespace

void join_group(node& n) {
  const std::uint32_t limit = n.random(3) == 0 ? 2 : 0;
  std::vector<std::pair<std::shared_ptr<identity>, task_ref<token>>> all;
  bool failed = false;
  std::exception_ptr thrown;
  {
    family f(n, limit);
    f.bounded = limit != 0;
    try {
      for (std::uint32_t i = 1 + n.random(4); i > 0; --i) f.add(n);
    } catch (const cancelled& c) {
      if (n.mine(c)) throw;
      n.expect(f.kin->struck > 0, "a group says it is cancelled, and nobody has done that");
      n.expect(c.fiber() == fiber_id{}, "a refused spawn names a fiber");
    }
    steps(n, 2);
    if (n.random(3) == 0) f.cancel();
    try {
      n.block(
          "group::join", [&] { f.group.join(); }, node::entry::sometimes);
    } catch (...) {
      thrown = std::current_exception();
    }
    f.joined = true;
    bool first = true;
    for (const std::exception_ptr& e : f.group.errors()) {
      failed = true;
      if (first) n.expect(e == thrown, "join threw another error than the first");
      first = false;
      n.expect(f.has_thrown(e), "an error of a group is none of its children's");
    }
    all = std::move(f.all);
  }
  for (auto& [who, ref] : all) {
    n.expect(ref.done(), "a child has outlived its group");
    n.expect(who->how != ending::running, "a child of a group runs after it");
    n.expect(failed || who->how != ending::error, "an error of a child was not told");
  }
  if (thrown == nullptr) n.expect(!failed, "join returned, and a child had failed");
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

void body_of_group(node& n) {
  auto kin = new_kinship(n);
  std::vector<std::pair<std::shared_ptr<identity>, task_ref<token>>> all;
  bool own = false, returned = false;
  std::exception_ptr of_body;
  const auto check_all = [&] {
    for (auto& [who, ref] : all) {
      n.expect(ref.done(), "a child has outlived its with_group");
      n.expect(who->how != ending::running, "a child of with_group runs after it");
    }
  };
  const auto is_a_childs = [&](const std::exception_ptr& e) {
    for (auto& a : all)
      if (a.first->error == e && a.first->how == ending::error) return true;
    return false;
  };
  try {
    with_group([&](task_group& g) {
      open_frame here_now(n, opened::group, clock::time_point::max(), kin.get());
      try {
        for (std::uint32_t i = 1 + n.random(3); i > 0; --i) {
          seedling s = sow(n, kin);
          auto who = s.who;
          auto ref = n.block("group::spawn", [&] { return g.spawn(std::move(s)); });
          if (n.random(3) == 0) n.of.enlist(who, ref);
          all.emplace_back(who, std::move(ref));
        }
        steps(n, 3);
        if (n.random(4) == 0) {
          strike(*kin);
          g.cancel();
        }
        returned = true;
      } catch (const cancelled& c) {
        own = n.mine(c);
        of_body = std::current_exception();
        strike(*kin);
        throw;
      } catch (...) {
        of_body = std::current_exception();
        strike(*kin);
        throw;
      }
    });
    n.expect(returned, "with_group returned, and its body did not");
    for (auto& a : all)
      n.expect(a.first->how != ending::error, "with_group returned, and a child had failed");
  } catch (const cancelled& c) {
    check_all();
    const auto e = std::current_exception();
    if (n.mine(c)) {
      if (returned) {  // in its join
        if (!n.may_be_struck()) n.fail("cancelled, and nobody asked for it, at with_group's join");
        n.note_delivery();
      } else {
        n.expect(own, "with_group made a cancellation");
        if (!n.may_be_struck()) n.fail("with_group's own cancellation has left it");
      }
    } else {
      n.expect(e == of_body || is_a_childs(e),
               "a cancellation came out of with_group from nowhere");
    }
    throw;
  } catch (...) {
    check_all();
    const auto e = std::current_exception();
    if (!own && !returned)
      n.expect(e == of_body || is_a_childs(e), "with_group lost its body's error");
    else
      n.expect(is_a_childs(e), "an error came out of with_group from nowhere");
    throw;
  }
  check_all();
}

void gather_children(node& n) {
  auto kin = new_kinship(n);
  std::vector<seedling> all;
  std::vector<std::shared_ptr<identity>> who;
  const std::uint32_t how = n.random(3);
  for (std::uint32_t i = 1 + n.random(4); i > 0; --i) {
    all.push_back(sow(n, kin));
    all.back().wins_at_value = how == 2;
    who.push_back(all.back().who);
  }
  const auto is_one_of_them = [&](const std::exception_ptr& e) {
    for (const auto& w : who)
      if (w->error == e) return true;
    return false;
  };
  const auto none_runs = [&] {
    for (const auto& w : who) n.expect(w->how != ending::running, "one of a team runs after it");
  };
  try {
    if (how == 0) {
      auto values = n.block(
          "gather", [&] { return gather(all); }, node::entry::sometimes);
      n.expect(values.size() == who.size(), "gather gave another number of values");
      for (std::size_t i = 0; i < who.size(); ++i) check_result(n, *who[i], values[i]);
    } else if (how == 1) {
      auto results = n.block(
          "settle", [&] { return settle(all); }, node::entry::sometimes);
      n.expect(results.size() == who.size(), "settle gave another number of results");
      for (std::size_t i = 0; i < who.size(); ++i) {
        if (results[i])
          check_result(n, *who[i], results[i].value());
        else if (!results[i].cancelled())
          n.expect(results[i].error() == who[i]->error, "settle gave another's error");
        n.expect(results[i].cancelled() ==
                     (who[i]->how == ending::cancelled || who[i]->how == ending::unstarted),
                 "settle says that one was cancelled, or that one was not");
      }
    } else {
      const token first = n.block(
          "race", [&] { return race(all); }, node::entry::sometimes);
      bool found = false;
      for (const auto& w : who) found = found || first.of() == w.get();
      n.expect(found, "race gave the value of another");
    }
    none_runs();
  } catch (const all_failed& f) {
    none_runs();
    if (is_one_of_them(std::current_exception())) throw;  // of a race that it held
    n.expect(f.errors().size() == who.size(), "all_failed has another number of errors");
    for (const auto& w : who) n.expect(w->how != ending::value, "all failed but for one");
    throw;
  } catch (const cancelled& c) {
    none_runs();
    if (!n.mine(c))
      n.expect(is_one_of_them(std::current_exception()) || c.fiber() != fiber_id{},
               "a team threw the error of nobody");
    throw;
  } catch (...) {
    none_runs();
    if (!n.of.shut_down && (how != 0 || !is_one_of_them(std::current_exception())))
      n.fail((how == 0   ? "gather"
              : how == 1 ? "settle"
                         : "race") +
             std::string(" threw the error of nobody: ") + describe(std::current_exception()));
    throw;
  }
}

void await_some(node& n) {
  std::vector<child> all;
  for (std::uint32_t i = 1 + n.random(4); i > 0; --i) all.push_back(start(n));
  std::vector<task_ref<token>> refs;
  for (const child& c : all) refs.emplace_back(c.t);
  if (n.random(2) == 0) {
    const auto what = static_cast<wait_for_what>(n.random(3));
    const bool timed = n.random(2) == 0;
    const wait_result r = n.block(
        "wait", [&] { return timed ? wait(refs, what, n.moment()) : wait(refs, what); },
        node::entry::sometimes);
    n.expect(r.done.size() + r.pending.size() == refs.size(), "wait has lost a task");
    for (const std::size_t i : r.done) n.expect(refs[i].done(), "wait says done, and it is not");
    if (!timed) n.expect(!r.done.empty(), "wait returned early");
    if (!timed && what == wait_for_what::all) n.expect(r.pending.empty(), "wait left one out");
  } else {
    std::size_t seen = 0;
    auto ended = as_completed(refs);
    n.block(
        "as_completed",
        [&] {
          for (auto& ref : ended) {
            ++seen;
            n.expect(ref.done(), "as_completed gave one that has not");
          }
        },
        node::entry::sometimes);
    n.expect(seen == refs.size(), "as_completed left one out");
  }
  for (child& c : all)
    if (n.random(4) == 0) ask(c.who, c.t);
  join_all(n, all);
}

}  // namespace coir::testing::programs
