#include "settings.hpp"

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace kv {
namespace {

template <class T>
T parse_number(std::string_view option, std::string_view text) {
  T n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n == 0)
    throw std::invalid_argument(std::string(option) + " takes a number from 1, not \"" +
                                std::string(text) + "\"");
  return n;
}

fsync_policy parse_policy(std::string_view text) {
  for (const auto p : {fsync_policy::always, fsync_policy::everysec, fsync_policy::no})
    if (text == name_of(p)) return p;
  throw std::invalid_argument("--appendfsync takes always, everysec or no, not \"" +
                              std::string(text) + "\"");
}

}  // namespace

const char usage[] =
    "[--listen ADDRESS:PORT] [--workers N] [--dir DIR] [--appendfsync always|everysec|no]\n"
    "       [--max-clients N] [--max-request BYTES] [--output-limit BYTES] "
    "[--request-timeout MS]";

const char* name_of(fsync_policy p) {
  return p == fsync_policy::always ? "always" : p == fsync_policy::everysec ? "everysec" : "no";
}

settings parse_settings(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " takes a value");
    const char* const text = argv[i + 1];
    if (name == "--listen")
      s.listen = coir::endpoint::parse(text);
    else if (name == "--workers")
      s.options.workers = parse_number<unsigned>(name, text);
    else if (name == "--dir")
      s.folder = text;
    else if (name == "--appendfsync")
      s.appendfsync = parse_policy(text);
    else if (name == "--max-clients")
      s.max_clients = parse_number<std::size_t>(name, text);
    else if (name == "--max-request")
      s.max_request = parse_number<std::size_t>(name, text);
    else if (name == "--output-limit")
      s.output_limit = parse_number<std::size_t>(name, text);
    else if (name == "--request-timeout")
      s.request_timeout = std::chrono::milliseconds(parse_number<unsigned>(name, text));
    else
      throw std::invalid_argument("there is no option " + std::string(name));
  }
  return s;
}

}  // namespace kv
