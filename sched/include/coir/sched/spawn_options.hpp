// What a fiber is spawned with.
#pragma once
#include <cstddef>
#include <string>

namespace coir {

// What a fiber may be given besides its function.
struct spawn_options {
  std::string name = {};
  std::size_t stack_size = 0;  // bytes; 0: options::stack_size
  bool pinned = false;         // never stolen: stays on the worker that it starts on
};

}  // namespace coir
