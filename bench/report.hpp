// How every program of this folder says what it has measured: a line `name value unit` for each
// figure.
#pragma once
#include <cstdio>
#include <string>

namespace bench {

inline void report(const std::string& name, double value, const char* unit) {
  std::printf("%s %.5g %s\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

}  // namespace bench
