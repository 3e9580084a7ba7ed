// A value for each fiber.
#pragma once
#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <coir/sched/fiber_storage.hpp>

namespace coir {

// One value a fiber, made at its first use: T{}, or what the factory returns. It is destroyed when
// the fiber ends, on its stack, before anybody learns of that; the latest made goes first. A plain
// thread has one, too, destroyed at its end (the main thread's: never). Where the fiber_local goes
// first, the values that it made stay until then. Members: any fiber or thread, each for its own
// value; none is a blocking call, but the factory and T's destructor may be.
template <class T>
class fiber_local {
 public:
  fiber_local() requires std::default_initializable<T>
  = default;
  template <class F>
  requires std::is_invocable_r_v<T, F&> &&
      (!std::same_as<std::decay_t<F>, fiber_local>)explicit fiber_local(F&& factory)
      : factory_(std::forward<F>(factory)) {}
  fiber_local(const fiber_local&) = delete;
  fiber_local& operator=(const fiber_local&) = delete;

  T& get() {
    sched::fiber_storage* const s = sched::storage_here_if_any();
    sched::local_value* v = s != nullptr ? s->find(slot_) : nullptr;
    if (v == nullptr) [[unlikely]]
      v = make();
    return static_cast<holder*>(v)->value;
  }
  T& operator*() { return get(); }
  T* operator->() { return std::addressof(get()); }

  void reset() noexcept {  // destroys the caller's value; the next use makes a new one
    if (sched::fiber_storage* s = sched::storage_here_if_any()) s->drop(slot_);
  }

 private:
  struct holder final : sched::local_value {
    holder() requires std::default_initializable<T> : value() {}
    explicit holder(const std::function<T()>& factory) : value(factory()) {}
    T value;
  };

  [[gnu::noinline]] sched::local_value* make() {
    std::unique_ptr<holder> made;
    if constexpr (std::default_initializable<T>) {
      if (factory_ == nullptr) made = std::make_unique<holder>();
    }
    if (made == nullptr) made = std::make_unique<holder>(factory_);
    sched::storage_here().keep(slot_, made.get());
    return made.release();
  }

  const std::function<T()> factory_;
  const sched::local_slot slot_;
};

}  // namespace coir
