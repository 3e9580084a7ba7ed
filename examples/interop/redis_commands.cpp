// hiredis on fibers: its contexts are non-blocking, and a fiber that waits for an answer parks.
//   redis_commands 127.0.0.1:6379
//   redis_commands unix:/run/redis.sock
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <hiredis/hiredis.h>
#include <coir/coir.hpp>

namespace {

struct reply_free {
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using reply = std::unique_ptr<redisReply, reply_free>;

// A connection of one fiber at a time.
class redis {
 public:
  explicit redis(const std::string& where) : context_(connect(where), &redisFree) {
    check(context_ != nullptr);
    check(context_->err == 0);
    coir::wait_writable(context_->fd);  // connected, or it has failed, which the first write tells
  }

  // printf's way, with %b for bytes and their number; an error of the server is thrown.
  reply command(const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    const int appended = redisvAppendCommand(context_.get(), format, arguments);
    va_end(arguments);
    check(appended == REDIS_OK);
    send();
    return receive();
  }

 private:
  static redisContext* connect(const std::string& where) {
    if (where.starts_with("unix:")) return redisConnectUnixNonBlock(where.c_str() + 5);
    const auto colon = where.rfind(':');
    if (colon == where.npos) throw std::invalid_argument(where + " is no address");
    return redisConnectNonBlock(where.substr(0, colon).c_str(), std::stoi(where.substr(colon + 1)));
  }
  void check(bool ok) const {
    if (!ok) throw std::runtime_error(context_ ? context_->errstr : "no memory for a connection");
  }

  void send() {
    for (int done = 0; done == 0;) {
      check(redisBufferWrite(context_.get(), &done) == REDIS_OK);
      if (done == 0) coir::wait_writable(context_->fd);
    }
  }
  reply receive() {
    for (;;) {
      void* answer = nullptr;
      check(redisGetReplyFromReader(context_.get(), &answer) == REDIS_OK);
      if (reply r{static_cast<redisReply*>(answer)}) {
        if (r->type == REDIS_REPLY_ERROR) throw std::runtime_error(std::string(r->str, r->len));
        return r;
      }
      coir::wait_readable(context_->fd);
      check(redisBufferRead(context_.get()) == REDIS_OK);
    }
  }

  std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

void demonstrate(const std::string& where) {
  redis own(where);
  own.command("DEL coir:counter coir:queue");

  // Ten fibers with a connection each, at once.
  std::vector<coir::task<void>> counters;
  for (int i = 0; i < 10; ++i)
    counters.push_back(coir::spawn([&] {
      redis r(where);
      for (int n = 0; n < 100; ++n) r.command("INCR coir:counter");
    }));
  for (auto& c : counters) c.get();
  std::printf("counter: %s\n", own.command("GET coir:counter")->str);

  // A command that waits parks its fiber alone.
  auto consumer = coir::spawn([&] {
    redis r(where);
    std::string got;
    for (int i = 0; i < 3; ++i) {
      const reply item = r.command("BLPOP coir:queue 0");
      got += std::string(got.empty() ? "" : ", ") + item->element[1]->str;
    }
    return got;
  });
  for (const char* item : {"one", "two", "three"}) own.command("RPUSH coir:queue %s", item);
  std::printf("queue: %s\n", consumer.get().c_str());

  const std::string big(1'000'000, 'x');
  own.command("SET coir:big %b", big.data(), big.size());
  std::printf("big: %zu bytes\n", static_cast<std::size_t>(own.command("GET coir:big")->len));
  try {
    own.command("INCR coir:big");
  } catch (const std::runtime_error& e) {
    std::printf("error: %s\n", e.what());
  }
  own.command("DEL coir:counter coir:queue coir:big");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s HOST:PORT|unix:PATH\n", argv[0]);
    return 2;
  }
  try {
    coir::run([&] { demonstrate(argv[1]); });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "redis_commands: %s\n", e.what());
    return 1;
  }
}
