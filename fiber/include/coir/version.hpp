// Which coir this is: COIR_VERSION for the preprocessor, `version` of the headers,
// `library_version` of what the program is linked with.
#pragma once
#include <string_view>

#define COIR_VERSION_MAJOR 0
#define COIR_VERSION_MINOR 1
#define COIR_VERSION_PATCH 0

// 10000 * major + 100 * minor + patch, so that #if can compare.
#define COIR_VERSION (10000 * COIR_VERSION_MAJOR + 100 * COIR_VERSION_MINOR + COIR_VERSION_PATCH)

namespace coir {

// Of these headers.
inline constexpr std::string_view version = "0.1.0";

// Of the library that runs: another than `version` where a shared one has been replaced. Releases
// of one series, MAJOR.MINOR, replace each other while MAJOR is 0. Any thread.
std::string_view library_version() noexcept;

}  // namespace coir
