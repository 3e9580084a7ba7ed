#include <array>

#include "command.hpp"
#include "session.hpp"

namespace kv {
namespace {

void ping(call& c) {
  if (c.words.size() > 2) throw command_error("ERR wrong number of arguments for 'ping' command");
  if (c.client->subscriptions() != 0) {
    put_array(c.reply, 2);
    put_bulk(c.reply, "pong");
    put_bulk(c.reply, c.words.size() == 2 ? c.words[1] : std::string_view());
  } else if (c.words.size() == 2) {
    put_bulk(c.reply, c.words[1]);
  } else {
    put_simple(c.reply, "PONG");
  }
}

void echo(call& c) { put_bulk(c.reply, c.words[1]); }

void select(call& c) {
  if (integer(c.words[1]) != 0) throw command_error("ERR there is only database 0");
  put_simple(c.reply, "OK");
}

void quit(call& c) {
  put_simple(c.reply, "OK");
  c.client->quit();
}

void confirm(call& c, std::string_view what, std::string_view channel) {
  put_array(c.reply, 3);
  put_bulk(c.reply, what);
  put_bulk(c.reply, channel);
  put_integer(c.reply, static_cast<std::int64_t>(c.client->subscriptions()));
}

void subscribe(call& c) {
  for (const std::string_view channel : c.words.subspan(1)) {
    const bool is_new = c.client->begin_subscription(channel);
    confirm(c, "subscribe", channel);
    if (is_new) c.client->join(channel);
  }
}

void unsubscribe(call& c) {
  if (c.words.size() == 1 && c.client->subscriptions() == 0) {
    put_array(c.reply, 3);
    put_bulk(c.reply, "unsubscribe");
    put_null(c.reply);
    return put_integer(c.reply, 0);
  }
  std::vector<std::string> channels(c.words.begin() + 1, c.words.end());
  if (channels.empty()) channels.assign(c.client->channels().begin(), c.client->channels().end());
  for (const std::string& channel : channels) {
    c.client->unsubscribe(channel);
    confirm(c, "unsubscribe", channel);
  }
}

void publish(call& c) {
  put_integer(c.reply, static_cast<std::int64_t>(c.all.channels.publish(c.words[1], c.words[2])));
}

void config(call& c) {
  if (!equal_words(c.words[1], "GET") || c.words.size() < 3)
    throw command_error("ERR only CONFIG GET is known");
  const settings& s = c.all.given;
  const std::array<std::pair<std::string_view, std::string>, 6> known{{
      {"appendonly", c.all.log != nullptr ? "yes" : "no"},
      {"appendfsync", name_of(s.appendfsync)},
      {"databases", "1"},
      {"dir", s.folder},
      {"maxclients", std::to_string(s.max_clients)},
      {"save", ""},
  }};
  std::string found;
  std::size_t count = 0;
  for (const auto& [name, text] : known)
    for (const std::string_view pattern : c.words.subspan(2))
      if (matches(pattern, name)) {
        put_bulk(found, name);
        put_bulk(found, text);
        count += 2;
        break;
      }
  put_array(c.reply, count);
  c.reply += found;
}

void describe(call& c) {
  if (c.words.size() > 1 && equal_words(c.words[1], "COUNT"))
    return put_integer(c.reply, static_cast<std::int64_t>(all_commands().size()));
  if (c.words.size() > 1) return put_array(c.reply, 0);  // DOCS and others: there are none
  put_array(c.reply, all_commands().size());
  for (const command* d : all_commands()) {
    put_array(c.reply, 6);
    put_bulk(c.reply, d->name);
    put_integer(c.reply, d->arity);
    put_array(c.reply, 1);
    put_simple(c.reply, d->kind == command::writes ? "write" : "readonly");
    for (const int n : {std::max(d->keys.first, 0), d->keys.last, d->keys.step})
      put_integer(c.reply, n);
  }
}

void info(call& c) {
  std::string text;
  const auto section = [&](const char* name) { text += std::string("# ") + name + "\r\n"; };
  const auto line = [&](const char* name, const auto& v) {
    text += std::string(name) + ":";
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>)
      text += std::to_string(v);
    else
      text += v;
    text += "\r\n";
  };
  const auto metrics = coir::runtime::current().metrics();
  section("Server");
  line("reactor", metrics.reactor);
  line("workers", metrics.workers);
  line("fibers", metrics.fibers_alive);
  line(
      "uptime_in_seconds",
      std::chrono::duration_cast<std::chrono::seconds>(coir::clock::now() - c.all.started).count());
  section("Clients");
  line("connected_clients", c.all.clients.load());
  line("blocked_clients", c.all.waiting.load());
  line("maxclients", c.all.given.max_clients);
  section("Stats");
  line("total_connections_received", c.all.connections.load());
  line("total_commands_processed", c.all.commands.load());
  line("expired_keys", c.all.data.expired.load());
  line("pubsub_channels", c.all.channels.channels());
  section("Persistence");
  line("aof_enabled", c.all.log != nullptr ? 1 : 0);
  if (const append_log* log = c.all.log) {
    line("aof_last_write_status", log->failing() ? "err" : "ok");
    line("aof_fsyncs", log->syncs());
  }
  put_bulk(c.reply, text);
}

}  // namespace

std::span<const command> server_commands() {
  static constexpr auto reads = command::reads, of_subscribers = command::of_subscribers;
  static constexpr command all[] = {
      {"PING", -1, no_key, of_subscribers, ping},
      {"ECHO", 2, no_key, reads, echo},
      {"SELECT", 2, no_key, reads, select},
      {"QUIT", -1, no_key, of_subscribers, quit},
      {"SUBSCRIBE", -2, no_key, of_subscribers, subscribe},
      {"UNSUBSCRIBE", -1, no_key, of_subscribers, unsubscribe},
      {"PUBLISH", 3, no_key, reads, publish},
      {"CONFIG", -2, no_key, reads, config},
      {"COMMAND", -1, no_key, reads, describe},
      {"INFO", -1, no_key, reads, info},
  };
  return all;
}

}  // namespace kv
