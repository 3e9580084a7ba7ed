// The form of an Asio operation that throws, made of the one that does not.
#pragma once
#include <cstddef>

#include <boost/system/system_error.hpp>

namespace examples {

template <class Operation>
std::size_t throwing(Operation&& operation) {
  boost::system::error_code error;
  const std::size_t n = operation(error);
  if (error) throw boost::system::system_error(error);
  return n;
}

}  // namespace examples
