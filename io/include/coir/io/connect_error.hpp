// Why a host could not be connected to, address by address.
#pragma once
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <coir/io/endpoint.hpp>

namespace coir {

// One address that was tried, and what became of it.
struct connect_attempt {
  endpoint to;
  std::error_code error;
};

// code(): the error of the only attempt, or the most telling one: the first that is no lack of a
// route to that kind of address. If the name could not be resolved, why, and there are no attempts.
class connect_error : public std::system_error {
 public:
  connect_error(std::error_code code, const std::string& what,
                std::vector<connect_attempt> attempts);
  ~connect_error() override;
  connect_error(const connect_error&) = default;
  connect_error& operator=(const connect_error&) = default;

  // In the order in which they began.
  const std::vector<connect_attempt>& attempts() const noexcept { return *attempts_; }

 private:
  std::shared_ptr<const std::vector<connect_attempt>> attempts_;  // so that a copy never throws
};

}  // namespace coir
