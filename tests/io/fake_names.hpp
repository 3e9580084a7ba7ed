// Names that the test makes up: the program's own getaddrinfo(3), which hands other names on to the
// system's.
#pragma once
#include <string>
#include <vector>

namespace coir::testing::fake_names {

// Any thread. An answer from now on: numeric addresses, or an EAI_* with an errno.
void set(const std::string& host, const std::vector<std::string>& addresses);
void fail(const std::string& host, int code, int error = 0);

// While one lives, getaddrinfo returns for no name that ends with ".blocked"; then "not found".
struct blockade {
  blockade();
  ~blockade();  // waits until all have returned
  blockade(const blockade&) = delete;
  blockade& operator=(const blockade&) = delete;
};
unsigned blocked_now();

unsigned asked();  // how often getaddrinfo has been called, in all

}  // namespace coir::testing::fake_names
