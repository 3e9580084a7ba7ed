#include "settings.hpp"

#include <stdexcept>
#include <string>

namespace kv {

const char* name_of(fsync_policy p) {
  return p == fsync_policy::always ? "always" : p == fsync_policy::everysec ? "everysec" : "no";
}

void parse(std::string_view text, fsync_policy& into) {
  for (const auto p : {fsync_policy::always, fsync_policy::everysec, fsync_policy::no})
    if (text == name_of(p)) return void(into = p);
  throw std::invalid_argument("takes always, everysec or no, not \"" + std::string(text) + "\"");
}

}  // namespace kv
