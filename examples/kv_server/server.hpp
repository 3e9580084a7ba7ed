// What all connections share.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <coir/coir.hpp>

#include "append_log.hpp"
#include "pubsub.hpp"
#include "settings.hpp"
#include "store.hpp"

namespace kv {

struct server_state {
  server_state(const settings& s, append_log* l) : given(s), log(l), data(l) {}

  const settings given;
  append_log* const log;  // null: nothing is kept
  store data;
  hub channels;
  const coir::clock::time_point started = coir::clock::now();
  std::atomic<std::uint64_t> clients{0}, waiting{0}, connections{0}, commands{0};
};

}  // namespace kv
