// A room: whoever connects says a name, and then every line goes to all others. A client that does
// not read misses lines, and is told so; it holds up nobody.
//   chat --listen 127.0.0.1:7000        and then, in some terminals: nc 127.0.0.1 7000
#include <atomic>
#include <string>

#include <coir/coir.hpp>

#include "common/command_line.hpp"
#include "common/serve.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::size_t longest_line = 1000, lines_kept = 256;

struct message {
  int from;  // a client's number; 0: the room itself
  std::string text;
};
using room = coir::broadcast<message>;

// What others say, until the room is closed.
void tell(room::receiver& lines, int me, coir::tcp_stream& client) {
  for (;;) try {
      const auto line = lines.pop();
      if (!line) return;
      if (line->from != me) client.write(line->text + '\n');
    } catch (const coir::lagged& e) {
      client.write("* you have missed " + std::to_string(e.missed()) + " lines\n");
    }
}

// What this one says, until it goes.
void hear(coir::reader<coir::tcp_stream>& in, int me, const std::string& name, room& all) {
  for (;;) try {
      const auto line = in.read_line();
      if (!line) return;
      all.push({me, name + ": " + *line});
    } catch (const coir::limit_exceeded&) {
      all.push({0, "* a line of " + name + " was too long"});
    }
}

void talk(coir::tcp_stream client, int me, room& all) {
  coir::reader in(client, longest_line);
  client.write("your name?\n");
  const auto name = coir::with_timeout(60s, [&] { return in.read_line(); });
  if (!name || name->empty()) return;
  auto lines = all.subscribe();
  all.push({0, "* " + *name + " has come"});
  try {
    coir::with_group([&](coir::task_group& both) {
      both.spawn([&] { tell(lines, me, client); });
      hear(in, me, *name, all);
      both.cancel();
    });
  } catch (const std::system_error&) {  // a reset is a way to go
  }
  all.push({0, "* " + *name + " has gone"});
}

void enter(coir::tcp_stream client, int me, room& all) try {
  talk(std::move(client), me, all);
} catch (const coir::timed_out&) {
} catch (const coir::limit_exceeded&) {  // no name at all
} catch (const std::system_error&) {}

void serve(const coir::endpoint& where) {
  room all(lines_kept);
  std::atomic<int> numbers{0};
  coir::server server(coir::tcp_listener::bind(where),
                      [&](coir::tcp_stream client) { enter(std::move(client), ++numbers, all); });
  examples::serve_until_signal(server, {.name = "chat", .grace = 0s, .last = "closed"});
}

}  // namespace

int main(int argc, char** argv) {
  auto listen = coir::endpoint::parse("127.0.0.1:7000");
  examples::command_line line("chat", "is a room: what one says, all others hear.");
  line.option("--listen", "ADDRESS:PORT", "where guests connect", listen);
  return line.run(argc, argv, [&] { serve(listen); });
}
