// The version that the headers and the library tell is the one that the package has: Meson's.
#include <coir/coir.hpp>

#include <string>

#include <gtest/gtest.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#if COIR_VERSION < 100
#error a release cannot be asked for by the preprocessor
#endif

TEST(VersionTest, headers_and_library_tell_the_packages_version) {
  EXPECT_EQ(coir::version, PACKAGE_VERSION);
  EXPECT_EQ(coir::library_version(), PACKAGE_VERSION);
}

TEST(VersionTest, its_parts_say_the_same) {
  EXPECT_EQ(std::string(
                TEXT(COIR_VERSION_MAJOR) "." TEXT(COIR_VERSION_MINOR) "." TEXT(COIR_VERSION_PATCH)),
            PACKAGE_VERSION);
  EXPECT_EQ(COIR_VERSION,
            10000 * COIR_VERSION_MAJOR + 100 * COIR_VERSION_MINOR + COIR_VERSION_PATCH);
}
