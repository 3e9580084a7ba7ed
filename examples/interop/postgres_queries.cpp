// libpq on fibers: its connections are non-blocking, and a fiber that waits for a result parks.
//   postgres_queries "host=/run/postgresql dbname=postgres"
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <libpq-fe.h>
#include <coir/coir.hpp>

namespace {

struct pq_free {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
};
using result = std::unique_ptr<PGresult, pq_free>;

// A connection of one fiber at a time.
class postgres {
 public:
  explicit postgres(const char* settings) : connection_(PQconnectStart(settings)) {
    check(connection_ != nullptr && PQstatus(connection_.get()) != CONNECTION_BAD);
    // The socket may be another at each step: libpq tries one address after the other.
    for (auto step = PGRES_POLLING_WRITING; step != PGRES_POLLING_OK;
         step = PQconnectPoll(connection_.get())) {
      check(step != PGRES_POLLING_FAILED);
      step == PGRES_POLLING_READING ? coir::wait_readable(socket()) : coir::wait_writable(socket());
    }
    check(PQsetnonblocking(connection_.get(), 1) == 0);
  }

  // $1, $2 and so on stand for the parameters. An error of the server is thrown.
  result query(const char* sql, const std::vector<std::string>& parameters = {}) {
    std::vector<const char*> values;
    for (const std::string& p : parameters) values.push_back(p.c_str());
    check(PQsendQueryParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr,
                            values.data(), nullptr, nullptr, 0) == 1);
    flush();
    result last;
    while (result next = receive()) last = std::move(next);
    const auto status = PQresultStatus(last.get());
    check(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK);
    return last;
  }

  // Waits for a NOTIFY on a channel that this connection LISTENs to; what it says.
  std::string notification() {
    for (;;) {
      using notice = std::unique_ptr<PGnotify, void (*)(void*)>;
      if (const notice n{PQnotifies(connection_.get()), &PQfreemem}) return n->extra;
      coir::wait_readable(socket());
      check(PQconsumeInput(connection_.get()) == 1);
    }
  }

 private:
  int socket() const { return PQsocket(connection_.get()); }
  void check(bool ok) const {
    if (!ok) throw std::runtime_error(PQerrorMessage(connection_.get()));
  }

  void flush() {
    for (int left = 1; left != 0;) {
      left = PQflush(connection_.get());
      check(left >= 0);
      if (left == 0) return;
      // A server that has much to say does not read until somebody hears it.
      const bool readable = coir::race([this] { return coir::wait_readable(socket()), 0; },
                                       [this] { return coir::wait_writable(socket()), 1; })
                                .index() == 0;
      if (readable) check(PQconsumeInput(connection_.get()) == 1);
    }
  }
  result receive() {
    while (PQisBusy(connection_.get()) != 0) {
      coir::wait_readable(socket());
      check(PQconsumeInput(connection_.get()) == 1);
    }
    return result(PQgetResult(connection_.get()));
  }

  std::unique_ptr<PGconn, pq_free> connection_;
};

void demonstrate(const char* settings) {
  // Four queries of 0.2 s each, at once.
  const auto start = coir::clock::now();
  std::vector<coir::task<int>> squares;
  for (int i = 1; i <= 4; ++i)
    squares.push_back(coir::spawn([settings, i] {
      postgres p(settings);
      const result r = p.query("select $1::int * $1::int, pg_sleep(0.2)", {std::to_string(i)});
      return std::stoi(PQgetvalue(r.get(), 0, 0));
    }));
  int sum = 0;
  for (auto& s : squares) sum += s.get();
  const auto took = std::chrono::round<std::chrono::milliseconds>(coir::clock::now() - start);
  std::printf("squares: %d, after %d ms\n", sum, static_cast<int>(took.count()));

  postgres own(settings);
  const result big = own.query("select repeat($1, 1000000)", {"x"});
  std::printf("big: %d bytes\n", PQgetlength(big.get(), 0, 0));

  postgres listening(settings);
  listening.query("listen coir");
  auto heard = coir::spawn([&] { return listening.notification(); });
  own.query("select pg_notify('coir', $1)", {"hello"});
  std::printf("notified: %s\n", heard.get().c_str());
  try {
    own.query("select 1/0");
  } catch (const std::runtime_error& e) {
    std::printf("error: %s", e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CONNECTION-SETTINGS\n", argv[0]);
    return 2;
  }
  try {
    coir::run([&] { demonstrate(argv[1]); });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "postgres_queries: %s\n", e.what());
    return 1;
  }
}
