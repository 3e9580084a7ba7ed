// A value that whatever a fiber starts begins with.
#pragma once
#include <cstdint>
#include <utility>

#include <coir/sched/fiber_storage.hpp>

namespace coir {

// As Python's contextvars: each fiber (and plain thread) sees the value that it has set, else the
// one that its starter had when it started it, else the default. A copy is made in one step however
// many variables there are, and a fiber for which nothing was set pays nothing. Members: any fiber
// or thread; no blocking calls. It must live as long as a fiber uses it.
template <class T>
class context_var {
 public:
  explicit context_var(T initial = T()) : initial_(std::move(initial)) {}
  context_var(const context_var&) = delete;
  context_var& operator=(const context_var&) = delete;

  // Valid until the caller sets it again, or restores it.
  const T& get() const noexcept {
    const auto* const v = static_cast<const holder*>(sched::find_in_context(key_));
    return v != nullptr ? v->value : initial_;
  }

  // For the caller and for what it starts from now on; std::bad_alloc.
  void set(T value) { sched::set_in_context(key_, new holder(std::move(value))); }

  // Sets it until the result goes, which is an open scope of its fiber and restores the value that
  // was there.
  [[nodiscard]] auto scoped(T value) {
    return sched::context_scope(key_, new holder(std::move(value)));
  }

 private:
  struct holder final : sched::context_value {
    explicit holder(T&& v) : value(std::move(v)) {}
    const T value;
  };

  const T initial_;
  const std::uint64_t key_ = sched::new_context_key();
};

}  // namespace coir
