// What a fiber hands on to what it starts.
#include <utility>

#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/host.hpp>

#include "fatal.hpp"
#include "fiber_extras.hpp"
#include "fiber_of.hpp"
#include "worker.hpp"

namespace coir::sched {

namespace {

context_value* retained(context_value* v) noexcept {
  if (v != nullptr) v->references.fetch_add(1, std::memory_order_relaxed);
  return v;
}

context_node* find_node(context_node* n, std::uint64_t key) noexcept {
  while (n != nullptr && n->key != key) n = n->next;
  return n;
}

void push(fiber_storage& s, context_node* n) noexcept {
  n->next = s.context;
  n->length = n->next != nullptr ? n->next->length + 1 : 1;
  s.context = n;
}

// A list without what later nodes hide. For want of memory it stays as long as it is.
void compact(fiber_storage& s) noexcept {
  context_node *first = nullptr, **end = &first;
  std::uint32_t length = 0;
  try {
    for (context_node* n = s.context; n != nullptr; n = n->next) {
      if (find_node(first, n->key) != nullptr) continue;
      auto* copy = new context_node;
      copy->key = n->key;
      copy->value = retained(n->value);
      *end = copy;
      end = &copy->next;
      ++length;
    }
  } catch (...) {
    s.compact_at *= 2;
    return release(first);
  }
  s.compact_at = 16 + 2 * length;
  for (context_node* n = first; n != nullptr; n = n->next) n->length = length--;
  release(std::exchange(s.context, first));
}

}  // namespace

std::uint64_t new_context_key() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void release(context_value* v) noexcept {
  if (v != nullptr && v->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete v;
}

void release(context_node* n) noexcept {
  while (n != nullptr && n->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    context_node* const next = n->next;
    release(n->value);
    delete n;
    n = next;
  }
}

context_node* context_here() noexcept {
  const fiber_storage* s = storage_here_if_any();
  return s != nullptr ? s->context : nullptr;
}

context_value* find_in_context(std::uint64_t key) noexcept {
  const context_node* const n = find_node(context_here(), key);
  return n != nullptr ? n->value : nullptr;
}

void set_in_context(std::uint64_t key, context_value* value) {
  context_node* n = nullptr;
  try {
    fiber_storage& s = storage_here();
    context_node* const first = s.context;
    // Nobody else has it, and nobody can get it but by us.
    if (first != nullptr && first->key == key &&
        first->references.load(std::memory_order_acquire) == 1)
      return release(std::exchange(first->value, value));
    n = new context_node;
    n->key = key;
    n->value = value;
    push(s, n);
    if (n->length >= s.compact_at) compact(s);
  } catch (...) {
    release(value);
    throw;
  }
}

context_snapshot::context_snapshot() noexcept : first_(retained(context_here())) {}

context_snapshot::installed::installed(const context_snapshot& s) {
  if (s.first_ == nullptr && context_here() == nullptr) return;  // nothing to do, and no memory
  before_ = std::exchange(storage_here().context, retained(s.first_));
}

context_snapshot::installed::~installed() {
  if (fiber_storage* s = storage_here_if_any()) release(std::exchange(s->context, before_));
}

context_scope::context_scope(std::uint64_t key, context_value* value)
    : who_(current_host().running), spare_(nullptr), mine_(nullptr) {
  try {
    fiber_storage& s = storage_here();
    spare_ = new context_node;
    spare_->key = key;
    spare_->value = retained(find_in_context(key));
    mine_ = new context_node;
    mine_->key = key;
    mine_->value = value;
    push(s, retained(mine_));
  } catch (...) {
    release(spare_);
    release(value);
    throw;
  }
  if (fiber_record* f = running_fiber()) ++f->scopes;
}

context_scope::~context_scope() {
  if (current_host().running != who_)
    fatal("a value of a context_var was restored by another fiber than it was set by");
  if (fiber_record* f = running_fiber()) --f->scopes;
  fiber_storage& s = *storage_here_if_any();
  if (s.context == mine_) {
    s.context = retained(mine_->next);
    release(mine_);
    release(spare_);
  } else {
    push(s, spare_);  // other variables have been set since
  }
  release(mine_);
}

}  // namespace coir::sched
