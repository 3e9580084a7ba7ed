// The interleaving explorer: runs production lock-free types, their atomics swapped, through all
// schedules of a small model up to a number of preemptions (a stateless model checker).
//
// Always true:
//  - A model thread is a context inside one system thread; exactly one of them runs, and it gives
//    way only at a step that others could see or could have influenced.
//  - Same choices, same run: a model must take chance only from choose().
//  - Memory is x86-TSO: a relaxed or release store waits in its thread's first-in-first-out buffer
//    until that drains; when it drains is a choice like any other. What TSO hides (a missing
//    acquire or release) shows as a race on explored<T> data, found by vector clocks.
//  - A switch away from a thread that could go on is a preemption, and so is the drain of another
//    thread's buffer meanwhile. A switch at a pause, a wait or an end is free.
//  - A failed execution is left where it stands: its stacks are never unwound.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace coir::explorer {

inline constexpr int max_threads = 5;

// ---- exploring --------------------------------------------------------------------------------

// With the light fence a compiler barrier, the heavy one is a full fence in every thread; else both
// are full fences of the calling thread.
enum class light_fence_is { compiler_barrier, full_fence };

enum class memory {
  tso,  // x86: only a relaxed or release store may pass later loads
  weak  // Arm: every write may, a read-modify-write's too, but a seq_cst one no seq_cst load
};

struct options {
  std::string name;
  int preemptions = 2;
  light_fence_is light = light_fence_is::compiler_barrier;
  memory model = memory::tso;
  std::size_t buffer = 6;        // stores that one thread may have on their way; 0: none (SC)
  bool partial_drains = true;    // false: of a thread's waiting stores, all become visible at once
  std::size_t max_steps = 3000;  // more in one execution is called a livelock
  int idle_turns = 4;            // turns granted to spinners when nobody else can act
  bool spurious_failures = false;    // compare_exchange_weak may fail, at the price of a preemption
  std::uint64_t max_executions = 0;  // 0: all there are
  std::uint64_t random_executions = 0;  // not 0: that many random schedules, without any bound
  std::uint64_t seed = 1;
  bool quiet = false;  // for models that are meant to fail
};

struct result {
  bool ok = true;
  bool complete = true;  // all schedules up to the bound
  bool random = false;
  std::uint64_t executions = 0;
  double seconds = 0;
  std::string message;  // what failed
  std::string report;   // the failure with its schedule, a line a step
  std::map<std::string, std::uint64_t> outcomes;

  explicit operator bool() const { return ok; }
  std::uint64_t count(const std::string& outcome) const;
};

struct model_body {
  const char* name;
  std::function<void()> run;
};

struct model {
  std::vector<model_body> threads;
  std::function<void()> check;  // after all threads have ended and all stores are visible
};

// Calls make once an execution. Prints a summary line, and the report of a failure.
result explore(const options& chosen, const std::function<model()>& make);

// The same for a class: made anew for each execution, its member functions are the threads.
template <class State>
struct member_body {
  const char* name;
  void (State::*run)();
};

template <class State>
result explore(const options& chosen, std::initializer_list<member_body<State>> bodies,
               void (State::*check)() = nullptr) {
  return explore(chosen, [&] {
    auto state = std::make_shared<State>();
    model made;
    for (const auto& body : bodies)
      made.threads.push_back({body.name, [state, run = body.run] { (state.get()->*run)(); }});
    made.check = [state, check] {
      if (check) (state.get()->*check)();
    };
    return made;
  });
}

// ---- what a model may call --------------------------------------------------------------------

[[noreturn]] void fail(const char* message);
void expect(bool condition, const char* message);  // fails with the message unless it holds
void outcome(const char* name);                    // counted, and printed at the end
int choose(int alternatives);                      // all of 0 .. alternatives-1 are explored
int this_thread();                                 // the index of the running body
void label(const void* object, std::size_t size, const char* name);  // for the schedule's lines

template <class T>
void label(const T& object, const char* name) {
  label(&object, sizeof object, name);
}

// Blocks the thread until the predicate, which may only load, holds in memory. A full fence.
void await(const std::function<bool()>& predicate);

using time_stamps = std::array<std::uint32_t, max_threads>;  // a vector clock

// A doorbell with one token, like an eventfd or a futex word: both calls are full fences. A wait
// that nobody will ever signal is reported as a deadlock.
class model_event {
 public:
  void signal();
  void wait();
  bool wait_or_time_out();  // false: the time was over, which is one more choice

 private:
  friend class engine;
  bool set_ = false;
  time_stamps released_{};
};

// ---- the policy -------------------------------------------------------------------------------

// One atomic of at most eight bytes, without its type.
class cell {
 public:
  explicit cell(std::uint64_t value);
  ~cell();
  cell(const cell&) = delete;
  cell& operator=(const cell&) = delete;

  using operation = std::uint64_t (*)(std::uint64_t old, std::uint64_t operand);

  std::uint64_t load(std::memory_order order) const;
  void store(std::uint64_t value, std::memory_order order);
  std::uint64_t modify(const char* verb, operation change, std::uint64_t operand,
                       std::memory_order order);
  bool compare_exchange(std::uint64_t& expected, std::uint64_t desired, std::memory_order success,
                        std::memory_order failure, bool weak);
  void label(const char* name) { name_ = name; }

 private:
  friend class engine;
  static constexpr std::uint32_t living = 0x11f1ce11;

  std::uint64_t value_;
  const char* name_ = nullptr;
  std::uint32_t alive_ = living;
  std::uint32_t id_;
  int delayed_rmw_ = -1;            // the thread in whose buffer a read-modify-write of it waits
  time_stamps released_{};          // what an acquire of the present value learns
  mutable time_stamps accessed_{};  // who touched it when: a destruction has to come after all
};

template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));

 public:
  using value_type = T;
  using difference = std::conditional_t<std::is_pointer_v<T>, std::ptrdiff_t, T>;
  static constexpr auto sc = std::memory_order_seq_cst;

  atomic() noexcept : atomic(T()) {}
  atomic(T value) noexcept : cell_(encode(value)) {}  // implicit, as std::atomic's

  T load(std::memory_order order = sc) const noexcept { return decode<T>(cell_.load(order)); }
  void store(T value, std::memory_order order = sc) noexcept { cell_.store(encode(value), order); }
  operator T() const noexcept { return load(); }
  T operator=(T value) noexcept { return store(value), value; }

  T exchange(T value, std::memory_order order = sc) noexcept {
    auto second = [](std::uint64_t, std::uint64_t operand) { return operand; };
    return decode<T>(cell_.modify("exchange", second, encode(value), order));
  }
  T fetch_add(difference n, std::memory_order order = sc) noexcept {
    return modify(
        "add", [](T old, difference d) { return static_cast<T>(old + d); }, n, order);
  }
  T fetch_sub(difference n, std::memory_order order = sc) noexcept {
    return modify(
        "sub", [](T old, difference d) { return static_cast<T>(old - d); }, n, order);
  }
  T fetch_or(difference n, std::memory_order order = sc) noexcept {
    return modify(
        "or", [](T old, difference d) { return static_cast<T>(old | d); }, n, order);
  }
  T fetch_and(difference n, std::memory_order order = sc) noexcept {
    return modify(
        "and", [](T old, difference d) { return static_cast<T>(old & d); }, n, order);
  }

  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    return compare_exchange(expected, desired, success, failure, false);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order order = sc) noexcept {
    return compare_exchange(expected, desired, order, without_release(order), false);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    return compare_exchange(expected, desired, success, failure, true);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order = sc) noexcept {
    return compare_exchange(expected, desired, order, without_release(order), true);
  }

  void label(const char* name) { cell_.label(name); }

 private:
  static std::uint64_t encode(auto value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
  }
  template <class V>
  static V decode(std::uint64_t bits) {
    std::array<std::byte, sizeof(V)> bytes;
    std::memcpy(bytes.data(), &bits, sizeof(V));
    return std::bit_cast<V>(bytes);
  }
  template <class Change>
  T modify(const char* verb, Change, difference n, std::memory_order order) {
    auto change = [](std::uint64_t old, std::uint64_t operand) {
      return encode(Change{}(decode<T>(old), decode<difference>(operand)));
    };
    return decode<T>(cell_.modify(verb, change, encode(n), order));
  }
  bool compare_exchange(T& expected, T desired, std::memory_order success,
                        std::memory_order failure, bool weak) {
    std::uint64_t bits = encode(expected);
    bool won = cell_.compare_exchange(bits, encode(desired), success, failure, weak);
    if (!won) expected = decode<T>(bits);
    return won;
  }
  static constexpr std::memory_order without_release(std::memory_order order) {
    if (order == std::memory_order_acq_rel) return std::memory_order_acquire;
    return order == std::memory_order_release ? std::memory_order_relaxed : order;
  }

  cell cell_;
};

// Who wrote and read a plain object last. A read and a write, or two writes, of which neither
// happens before the other are a race, whatever the schedule made of them.
class access_log {
 public:
  void read(const void* object) const;
  void write(const void* object);

 private:
  int writer_ = -1;
  std::uint32_t written_ = 0;
  mutable time_stamps read_{};
};

// Plain data under watch. Access to it is no scheduling point: races do not depend on the schedule.
template <class T>
class explored {
 public:
  explored() = default;
  explored(T value) : value_(std::move(value)) {}  // implicit: stands for a plain T
  explored(const explored& other) : value_(other.read()) {}
  explored& operator=(const explored& other) { return *this = T(other.read()); }
  explored& operator=(T value) { return write() = std::move(value), *this; }
  operator T() const { return read(); }
  T operator->() const { return read(); }
  const T& read() const { return log_.read(this), value_; }
  T& write() { return log_.write(this), value_; }
  explored& operator+=(const T& n) { return *this = T(read() + n); }

 private:
  T value_{};
  access_log log_;
};

struct explorer_atomics {
  template <class T>
  using atomic = explorer::atomic<T>;
  template <class T>
  using plain = explored<T>;
  static void fence() noexcept;
  static void light_fence() noexcept;  // options::light says what these two are
  static void heavy_fence() noexcept;
  static void pause(unsigned turn = 0) noexcept;  // sleeps until another thread changes something
};

}  // namespace coir::explorer
