// What interop's headers share: errors as Boost has them, and a context for types that ask for one.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

namespace coir::interop {

// Boost's base has no virtual destructor; nobody destroys these through it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
// A category of the standard library's, with its name and its texts.
class standard_category final : public boost::system::error_category {
 public:
  explicit standard_category(const std::error_category& of) noexcept : of_(of) {}
  const char* name() const noexcept override { return of_.name(); }
  std::string message(int value) const override { return of_.message(value); }

 private:
  const std::error_category& of_;
};
#pragma GCC diagnostic pop

// The same number. An errno is one of the system's, so that it compares equal to the constants of
// boost::asio::error and of boost::system::errc alike.
inline boost::system::error_code boost_error(const std::error_code& error) {
  if (error.category() == std::system_category() || error.category() == std::generic_category())
    return {error.value(), boost::system::system_category()};
  // Categories live as long as the program, and are few.
  static std::mutex mutex;
  static std::map<const std::error_category*, std::unique_ptr<standard_category>> known;
  const std::lock_guard held(mutex);
  auto& category = known[&error.category()];
  if (category == nullptr) category = std::make_unique<standard_category>(error.category());
  return {error.value(), *category};
}

inline boost::asio::io_context& idle_context() {
  static boost::asio::io_context context(1);
  return context;
}

}  // namespace coir::interop
