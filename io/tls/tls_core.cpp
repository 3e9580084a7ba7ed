#include "tls_core.hpp"

#include <new>
#include <utility>
#include <vector>

#include <coir/io/errors.hpp>
#include <coir/io/tls_errors.hpp>

#include <coir/sched/this_fiber.hpp>
#include <coir/sched/timeout.hpp>

#include "../io_call.hpp"
#include "record_cutter.hpp"

namespace coir::io {
namespace {

using step = tls_engine::step;

// An alert that the peer does not take is kept until a write, but not without end.
constexpr std::size_t most_output_kept = 16 * 1024;

std::error_code code(std::errc e) { return std::make_error_code(e); }
bool passed(const std::atomic<clock::time_point>& deadline) noexcept {
  const clock::time_point t = deadline.load(std::memory_order_relaxed);
  return t != sched::never && clock::now() >= t;
}
// Ends of a transport's call that say nothing about the transport.
bool by_us(const std::error_code& e) {
  return e == std::errc::timed_out || e == std::errc::operation_canceled;
}

// The only call in its direction; a second one is refused.
class one_call {
 public:
  one_call(std::atomic<bool>& busy, std::error_code& error) noexcept : busy_(busy) {
    if (!busy_.exchange(true, std::memory_order_acquire)) return;
    first_ = false;
    error = code(std::errc::operation_in_progress);
  }
  one_call(const one_call&) = delete;
  one_call& operator=(const one_call&) = delete;
  ~one_call() {
    if (first_) busy_.store(false, std::memory_order_release);
  }

 private:
  std::atomic<bool>& busy_;
  bool first_ = true;
};

}  // namespace

class tls_core::outside {
 public:
  outside(tls_core& of, lock& held) : of_(of), held_(held) { held_.unlock(); }
  outside(const outside&) = delete;
  outside& operator=(const outside&) = delete;
  ~outside() { held_ = of_.locked(); }

 private:
  tls_core& of_;
  lock& held_;
};

// Waits until nobody has it. The wait can be cancelled; giving it back cannot.
class tls_core::role {
 public:
  role(tls_core& of, lock& held, bool& taken) : of_(of), taken_(taken) {
    of_.changed_.wait(held, [&] { return !taken_; });
    taken_ = true;
  }
  role(const role&) = delete;
  role& operator=(const role&) = delete;
  ~role() {
    taken_ = false;
    of_.changed_.notify_all();
  }

 private:
  tls_core& of_;
  bool& taken_;
};

tls_core::tls_core(std::unique_ptr<tls_transport> transport, std::shared_ptr<tls_settings> settings,
                   const tls_peer& peer)
    : transport_(std::move(transport)), engine_(std::move(settings), peer) {}

// What came must not be lost to a cancellation, so none strikes here: the holders are short.
tls_core::lock tls_core::locked() {
  lock held(lock_, std::try_to_lock);
  while (!held) {
    try {
      shield([&] { held.lock(); });
    } catch (const std::bad_alloc&) {
      sched::current_host().yield();
    }
  }
  return held;
}

// A call begins as every one does: on a fiber, at a cancellation point, open, in time.
bool tls_core::begin(const std::atomic<clock::time_point>& deadline, std::error_code& error) {
  io_call call;
  if (!call.enter_foreign(-1, sched::wait_kind::nothing, error)) return false;
  if (!transport_->is_open())
    error = code(std::errc::bad_file_descriptor);
  else if (passed(deadline))
    error = code(std::errc::timed_out);
  return !error;
}

// Waits for input, by itself or behind who does already. False: the call ends with `error`.
bool tls_core::receive(lock& held, std::error_code& error) {
  if (input_error_) return error = input_error_, false;
  if (receiving_) return changed_.wait(held), true;
  const role receiver(*this, held, receiving_);
  const std::span<std::byte> room = engine_.input_room();
  std::size_t n = 0;
  {
    const outside here(*this, held);
    n = transport_->read_some(room, error);
  }
  if (n != 0) return engine_.feed(n), error.clear(), true;
  if (!error) error = code(std::errc::connection_aborted);
  if (error == std::errc::bad_file_descriptor) error = code(std::errc::operation_canceled);
  if (!by_us(error)) input_error_ = error;
  return false;
}

// Sends what the engine has made until now; the caller has the role of the sender. A write that
// ends early has ended within a record, and nothing can follow.
bool tls_core::send(lock& held, std::error_code& error) {
  if (output_error_) return error = output_error_, false;
  const std::vector<std::byte> output = engine_.take_output();
  output_error_ = make_error_code(tls_errc::write_interrupted);
  {
    const outside here(*this, held);
    transport_->write(output, error);
  }
  if (error == std::errc::bad_file_descriptor) error = code(std::errc::operation_canceled);
  if (!by_us(error)) output_error_ = error;
  return !error;
}

// For the reader, whose alerts and key updates go out behind the records of a sender that is there,
// and for the sender, who finds them at its end.
void tls_core::send_what_is_left(lock& held) {
  std::error_code of_the_writers;
  while (engine_.output_size() != 0 && send(held, of_the_writers)) {}
}
void tls_core::send_as_reader(lock& held) {
  if (engine_.output_size() == 0) return;
  if (sending_ && engine_.output_size() < most_output_kept) return;
  const role sender(*this, held, sending_);
  send_what_is_left(held);
}

void tls_core::handshake(std::error_code& error) {
  if (!begin(read_deadline_, error)) return;
  lock held = locked();
  for (;;) {
    const step s = engine_.handshake(error);
    send_as_reader(held);
    if (s == step::failed) return;
    if (s == step::ended) return void(error = code(std::errc::connection_aborted));
    if (s == step::done) return void(error = output_error_);
    // What the peer said before it went away tells more than that it went.
    if (!receive(held, error)) return;
  }
}

std::size_t tls_core::read(lock& held, std::span<std::byte> into, std::error_code& error) {
  for (;;) {
    if (ended_) return 0;
    if (engine_error_) return error = engine_error_, 0;
    std::size_t n = 0;
    const step s = engine_.read(into, n, error);
    ended_ = s == step::ended;
    if (s == step::failed) engine_error_ = error;
    if (n != 0) {
      read_.store(read_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
      return error.clear(), n;
    }
    send_as_reader(held);
    if (s == step::wants_input && !receive(held, error)) return 0;
  }
}

std::size_t tls_core::read_some(std::span<std::byte> into, std::error_code& error) {
  if (!begin(read_deadline_, error)) return 0;
  const one_call alone(reading_, error);
  if (error || into.empty()) return 0;
  lock held = locked();
  return read(held, into, error);
}

std::size_t tls_core::read_exactly(std::span<std::byte> into, std::error_code& error) {
  if (!begin(read_deadline_, error)) return 0;
  const one_call alone(reading_, error);
  if (error) return 0;
  lock held = locked();
  std::size_t done = 0;
  while (done != into.size()) {
    const std::size_t n = read(held, into.subspan(done), error);
    if (n == 0 && !error) error = stream_errc::incomplete_read;
    if (error) break;
    done += n;
  }
  return done;
}

// Here a stop costs nothing; once the record is made it costs the stream.
bool tls_core::may_begin_record(std::error_code& error) const {
  this_fiber::check_cancelled();
  if (passed(write_deadline_)) error = code(std::errc::timed_out);
  if (output_error_) error = output_error_;
  if (engine_error_) error = engine_error_;
  return !error;
}

// True: the transport has taken all of it. The caller has the role of the sender.
bool tls_core::write_record(lock& held, bytes record, std::error_code& error) {
  if (!may_begin_record(error)) return false;
  for (;;) {
    const step s = engine_.write(record, error);
    if (s == step::done) return send(held, error);
    if (s != step::wants_input) break;
    // The peer is in the middle of a message, whose rest has to come first.
    send_what_is_left(held);
    if (!receive(held, error)) return false;
  }
  if (!error) error = code(std::errc::broken_pipe);
  engine_error_ = error;
  send_what_is_left(held);
  return false;
}

std::size_t tls_core::write_records(std::span<const bytes> from, bool all, std::error_code& error) {
  if (!begin(write_deadline_, error)) return 0;
  const one_call alone(writing_, error);
  record_cutter records(from, tls_engine::most_of_a_record);
  if (error || records.empty()) return 0;
  lock held = locked();
  const role sender(*this, held, sending_);
  std::size_t done = 0;
  while (!records.empty()) {
    const bytes record = records.next();
    if (!write_record(held, record, error)) break;
    done += record.size();
    written_.store(written_.load(std::memory_order_relaxed) + record.size(),
                   std::memory_order_relaxed);
    if (!all) break;
  }
  send_what_is_left(held);
  return done;
}
std::size_t tls_core::write_some(bytes from, std::error_code& error) {
  return write_records({&from, 1}, false, error);
}
std::size_t tls_core::write(std::span<const bytes> from, std::error_code& error) {
  return write_records(from, true, error);
}

void tls_core::shutdown_write(std::error_code& error) {
  if (!begin(write_deadline_, error)) return;
  const one_call alone(writing_, error);
  if (error) return;
  lock held = locked();
  const role sender(*this, held, sending_);
  if (write_ended_ || !may_begin_record(error)) return;
  engine_.end_writing();
  if (!send(held, error)) return;
  write_ended_ = true;
  output_error_ = code(std::errc::broken_pipe);
  const outside here(*this, held);
  transport_->shutdown_write(error);
  if (error == std::errc::not_connected) error.clear();  // the peer has gone already
}

void tls_core::set_deadline(bool reading, clock::time_point t) {
  (reading ? read_deadline_ : write_deadline_).store(t, std::memory_order_relaxed);
  reading ? transport_->set_read_deadline(t) : transport_->set_write_deadline(t);
}

std::string tls_core::alpn() {
  const lock held = locked();
  return engine_.alpn();
}
std::string tls_core::version() {
  const lock held = locked();
  return engine_.version();
}
bool tls_core::resumed() {
  const lock held = locked();
  return engine_.resumed();
}

}  // namespace coir::io
