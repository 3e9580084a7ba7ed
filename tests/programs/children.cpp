#include "children.hpp"

namespace coir::testing::programs {

token seedling::operator()() const {
  node n(who, fuel, depth);
  if (who->of.context.get() != context) n.fail("began with another context than its parent's");
  n.context = who->of.context.get();
  who->how = ending::running;
  ++who->of.spawned;
  try {
    run ? run(n) : live(n);
    if (who->kin != nullptr && wins_at_value) strike(*who->kin);
    who->how = ending::value;
    return token(who);
  } catch (const cancelled& c) {
    who->error = std::current_exception();
    if (who->kin != nullptr && !n.mine(c)) strike(*who->kin);
    who->how = n.mine(c) ? ending::cancelled : ending::error;
    throw;
  } catch (...) {
    who->error = std::current_exception();
    if (who->kin != nullptr) strike(*who->kin);
    who->how = ending::error;
    throw;
  }
}

seedling sow(node& n, std::shared_ptr<kinship> kin, body run) {
  auto who = std::make_shared<identity>(n.of, n.me.get(), n.children++, std::move(kin));
  const std::uint32_t share = n.fuel / 4;
  n.fuel -= share;
  return seedling{std::move(who), share, n.depth + 1, n.context, std::move(run)};
}

std::shared_ptr<kinship> new_kinship(node& n) {
  auto k = std::make_shared<kinship>();
  k->owner = n.me;
  return k;
}

spawn_options some_options(node& n, const seedling& s) {
  spawn_options o;
  o.name = s.who->path;
  o.pinned = n.random(8) == 0;
  if (n.random(8) == 0) o.stack_size = std::size_t{512} * 1024;
  return o;
}

child start(node& n, body run) {
  seedling s = sow(n, nullptr, std::move(run));
  auto who = s.who;
  auto options = some_options(n, s);
  child c(who, n.random(2) == 0 ? spawn(options, std::move(s)) : spawn(std::move(s)));
  if (n.random(2) == 0) n.of.enlist(who, task_ref(c.t));
  return c;
}

void join_all(node& n, std::vector<child>& all) {
  for (child& c : all) comes_to(n, *c.who, c.t.id(), [&] { return c.t.get(); });
}

void check_result(node& n, const identity& who, const token& t) {
  n.expect(t.of() == &who, "got the value of another");
  n.expect(who.how == ending::value, "got a value from a node that did not end with one");
}

std::string describe(const std::exception_ptr& e) {
  if (e == nullptr) return "none";
  try {
    std::rethrow_exception(e);
  } catch (const cancelled& c) {
    return "cancelled, of fiber " + to_string(c.fiber());
  } catch (const random_error& r) {
    return "error " + std::to_string(r.serial) + " of " + r.path;
  } catch (const std::exception& other) {
    return other.what();
  } catch (...) {
    return "something";
  }
}

void check_error(node& n, const identity& who, fiber_id id, const std::exception_ptr& e) {
  const ending how = who.how;
  if (how == ending::error) {
    if (e != who.error)
      n.fail("got " + describe(e) + " from " + who.path + ", which had thrown " +
             describe(who.error));
    return;
  }
  try {
    std::rethrow_exception(e);
  } catch (const cancelled& c) {
    if (how != ending::cancelled && how != ending::unstarted)
      n.fail(who.path + " ended in another way, and is said to be cancelled");
    if (c.fiber() != id) n.fail("the cancellation of " + who.path + " names another fiber");
    if (!who.may_be_cancelled() && how == ending::unstarted)
      n.fail(who.path + " never ran, and nobody had asked for that");
  } catch (...) {
    n.fail("got an error from " + who.path + ", which did not end with one: " + describe(e));
  }
}

bool comes_to(node& n, const identity& who, fiber_id id, const std::function<token()>& get) {
  std::exception_ptr error;
  try {
    const token t = n.block("get", get, node::entry::sometimes);
    check_result(n, who, t);
    return true;
  } catch (const cancelled& c) {
    if (n.mine(c)) throw;
    error = std::current_exception();
  } catch (...) {
    error = std::current_exception();
  }
  check_error(n, who, id, error);
  return false;
}

}  // namespace coir::testing::programs
