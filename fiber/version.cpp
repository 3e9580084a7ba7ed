#include <coir/version.hpp>

namespace coir {

std::string_view library_version() noexcept { return version; }

}  // namespace coir
