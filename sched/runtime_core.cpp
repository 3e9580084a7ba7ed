#include "runtime_core.hpp"

#include <cstdio>
#include <new>
#include <stdexcept>
#include <system_error>

#include <pthread.h>
#include <signal.h>

#include <coir/fiber/overflow.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/detached_thread.hpp>

#include "fatal.hpp"
#include "fiber_end.hpp"
#include "fiber_extras.hpp"
#include "processors.hpp"
#include "visit.hpp"
#include "who_overflowed.hpp"

namespace coir::sched {

namespace {

constexpr std::size_t reserve_bytes = 64 * 1024;

// Signals are the main program's: a handler should not run on a fiber's stack. Faults stay with who
// causes them.
void block_signals() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF})
    ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

#ifdef COIR_RACE
class every_other final : public disorder {
 public:
  bool scatter(unsigned) noexcept override {
    // A cheap mix of a shared counter: neighbours in time differ.
    const std::uint32_t n = counter_.fetch_add(0x9e3779b9u, std::memory_order_relaxed);
    return ((n ^ n >> 15) * 0x2c1b3c6du >> 31) != 0;
  }

 private:
  std::atomic<std::uint32_t> counter_{1};
};
#endif

parts completed(parts p) {
#ifdef COIR_RACE
  if (p.race == nullptr) p.race = std::make_unique<every_other>();
#endif
  return p;
}

}  // namespace

runtime_core::runtime_core(options o, parts p, runtime& of)
    : opts(std::move(o)),
      made_of(completed(std::move(p))),
      owner(of),
      stacks(made_of.stacks),
      idle(opts.workers != 0 ? opts.workers : usable_processors()),
      records(*new record_store),
      offloads(opts.blocking_threads, saturated(opts.idle_poll)) {
  struct give_up {  // the store is no member that destroys itself
    runtime_core* core;
    ~give_up() {
      if (core == nullptr) return;
      core->workers.clear();  // they give their records back
      core->stacks.release(core->reserve_);
      core->records.abandon();
    }
  } guard{this};
  if (opts.workers == 0) opts.workers = usable_processors();
  if (opts.workers > 1024)
    throw std::invalid_argument("coir: options::workers is " + std::to_string(opts.workers) +
                                "; at most 1024 make sense");
  if (opts.blocking_threads == 0)
    throw std::invalid_argument("coir: options::blocking_threads is 0; offload() needs one");
  // Throws for a size that no stack can have.
  default_stack_pages_ =
      static_cast<std::uint32_t>(fiber::stack_pool::rounded(opts.stack_size) / 4096);
  std::size_t got = 0;
  reserve_ = stacks.acquire(fiber::stack_pool::rounded(reserve_bytes), 1, got);
  if (reserve_ == nullptr)
    throw std::system_error(std::make_error_code(std::errc::not_enough_memory),
                            "coir: there is no memory for a stack");
  records.owner.store(this, std::memory_order_release);
  enable_asymmetric_fences();
  fiber::install_overflow_handler(&who_overflowed);
  made_of.drivers->prepare(opts.workers);
  reactor_name = made_of.drivers->name();
  reactor_reason = made_of.drivers->reason();
  start_workers();
  if (opts.log_reactor)
    std::fprintf(stderr, "coir: %u workers on %s: %s\n", opts.workers, reactor_name.c_str(),
                 reactor_reason.c_str());
  guard.core = nullptr;
}

runtime_core::~runtime_core() {
  // Foreign threads that found the runtime before now are still on their way out of it.
  records.owner.store(nullptr, std::memory_order_seq_cst);
  for (unsigned turn = 0; records.senders.load(std::memory_order_seq_cst) != 0; ++turn)
    std_atomics::pause(turn);
  for (auto& w : workers) w->drop_messages();
  workers.clear();
  stacks.release(reserve_);
  records.abandon();
}

// In a handler. What kept a worker's thread from starting.
static std::exception_ptr why_it_did_not_start(std::size_t number, std::size_t of) noexcept {
  try {
    try {
      throw;
    } catch (const std::system_error& e) {
      throw no_thread(e.code().value(),
                      "worker thread " + std::to_string(number) + " of " + std::to_string(of),
                      ", or ask for fewer workers (COIR_WORKERS)");
    }
  } catch (...) {
    return std::current_exception();
  }
}

void runtime_core::start_workers() {
  for (unsigned i = 0; i < opts.workers; ++i)
    workers.push_back(std::make_unique<worker>(*this, i, made_of.drivers->make()));
  try {
    for (auto& w : workers) threads_.emplace_back([this, &w = *w] { thread_main(w); });
  } catch (...) {
    std::exception_ptr why = why_it_did_not_start(threads_.size() + 1, workers.size());
    std::unique_lock lock(mutex_);
    attach_error_ = std::move(why);
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return attached_ == threads_.size(); });
  if (attach_error_ == nullptr) {
    started_ = true;
    changed_.notify_all();
    return;
  }
  leaving.store(true, std::memory_order_release);
  started_ = true;
  changed_.notify_all();
  lock.unlock();
  for (auto& t : threads_) t.join();
  std::rethrow_exception(attach_error_);
}

void runtime_core::thread_main(worker& w) {
  block_signals();
  const std::string name = "coir-" + std::to_string(w.index);
  ::pthread_setname_np(::pthread_self(), name.c_str());
  fiber::alternate_signal_stack signals;
  std::exception_ptr error;
  try {
    w.attach();
  } catch (...) {
    error = std::current_exception();
    set_current_host(nullptr);
  }
  {
    std::unique_lock lock(mutex_);
    if (error != nullptr && attach_error_ == nullptr) attach_error_ = error;
    ++attached_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return started_; });
  }
  if (error != nullptr) return leave();
  w.run();
  leave();
  if (!abandoned_) w.detach();
}

// Shutdown step 6: nobody closes its reactor while somebody may still send to it.
void runtime_core::leave() {
  std::unique_lock lock(mutex_);
  ++left_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return left_ >= threads_.size(); });
}

// --- cancellation ---

void runtime_core::request_cancellation(fiber_record& f, std::uint32_t attention) noexcept {
  homes::request(f, attention);
}

void runtime_core::unhandled(std::exception_ptr error, const fiber_record& f) noexcept {
  if (!opts.on_unhandled) return print_unhandled(error, f);
  std::string name;
  try {
    name = name_of(f);
  } catch (const std::bad_alloc&) {}  // then it has none
  try {
    opts.on_unhandled(error, name);
  } catch (...) {
    std::fputs("coir: options::on_unhandled threw; the error is dropped\n", stderr);
  }
}

void print_unhandled(const std::exception_ptr& error, const fiber_record& f) noexcept {
  const char* what = "an exception that is no std::exception";
  try {
    const std::string name = name_of(f, 31);
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      what = e.what();
      std::fprintf(stderr,
                   "coir: fiber '%s' (id %llu) ended with an error that nobody waits for: %s\n",
                   name.c_str(), static_cast<unsigned long long>(f.id().value()), what);
      return;
    } catch (const cancelled& c) {
      std::fprintf(stderr,
                   "coir: fiber '%s' (id %llu) ended because fiber %llu, for which it waited, was "
                   "cancelled\n",
                   name.c_str(), static_cast<unsigned long long>(f.id().value()),
                   static_cast<unsigned long long>(c.fiber().value()));
      return;
    } catch (...) {}
    std::fprintf(stderr, "coir: fiber '%s' (id %llu) ended with %s\n", name.c_str(),
                 static_cast<unsigned long long>(f.id().value()), what);
  } catch (...) {
    std::fputs("coir: a fiber ended with an error that nobody waits for\n", stderr);
  }
}

void report_unhandled(record_store& store, const std::exception_ptr& error,
                      fiber_record& f) noexcept {
  f.error_seen.store(true, std::memory_order_relaxed);
  report_error(store, error, f);
}

void report_error(record_store& store, const std::exception_ptr& error,
                  const fiber_record& f) noexcept {
  const sender counted(store);
  if (runtime_core* core = store.owner.load(std::memory_order_seq_cst))
    core->unhandled(error, f);
  else
    print_unhandled(error, f);
}

// --- stacks that cannot be had ---

void runtime_core::starve(fiber_record& f) noexcept {
  f.starving.store(true, std::memory_order_release);
  (f.stack_pages == default_stack_pages_ ? starving : starving_others).push(f);
  stacks_wanted.fetch_add(1, std::memory_order_relaxed);
}

// A sleeper's stacks come first, whatever else is awaited. If every worker sleeps, nothing is due
// and no I/O is awaited, no fiber can end and free a stack: the oldest task that waits for one then
// ends with not_enough_memory, which may let another fiber go on. It has no stack, and its
// arguments may block when they are destroyed: the reserve is for that.
bool runtime_core::starvation_resolved() noexcept {
  if (!anyone_starves()) return false;
  if (!starving.empty() && wake_one_with_stacks()) return false;
  if (idle.sleeping() != workers.size()) return false;
  for (auto& w : workers)
    if (!w->can_only_be_woken_by_fibers()) return false;
  if (reserve_in_use_.exchange(true, std::memory_order_acquire)) return false;
  fiber_record* f = starving.pop();
  if (f == nullptr) f = starving_others.pop();
  if (f == nullptr) {
    reserve_in_use_.store(false, std::memory_order_release);
    return false;
  }
  f->how = task_ending::error;
  try {
    *reinterpret_cast<std::exception_ptr*>(f->payload()) =
        std::make_exception_ptr(std::system_error(
            std::make_error_code(std::errc::not_enough_memory),
            "coir: there is no memory for a stack, and no fiber is left that could free one"));
  } catch (...) {
    *reinterpret_cast<std::exception_ptr*>(f->payload()) = std::current_exception();
  }
  static_cast<worker&>(current_host()).run_failed(*f, *reserve_);
  return true;
}

// A sleeper that has stacks of the usual size takes a task up that waits for one. Whoever lets a
// task starve looks here after that, at the latest before it sleeps; a sleeper says that it has
// stacks, fences, and looks for the starving.
bool runtime_core::wake_one_with_stacks() noexcept {
  for (auto& w : workers)
    if (w->sleeps_on_stacks()) {
      w->interrupt();
      return true;
    }
  return false;
}

}  // namespace coir::sched
