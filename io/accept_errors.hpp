// What an error of accept(2) means for a listener.
#pragma once
#include <cerrno>

namespace coir::io {

// The connection had ended, or its network had, before it was accepted: the next one may be fine.
inline bool is_passed_over(int result) noexcept {
  switch (-result) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

// The process or the system is out of something, which may come free.
inline bool is_shortage(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace coir::io
