#!/usr/bin/env bash
# coir as others use it, on bare systems: a Meson subproject, pkg-config, CMake; static and shared; root: [bookworm trixie]
source "$(dirname "$0")/../common.sh"
source "$root/tools/bare.sh"
[ $# -gt 0 ] || set -- bookworm trixie

# What a user of the API writes, on this compiler and these libraries.
tests=(names version_test readme_example)
targets=(tests/api/names tests/api/api_version_test tests/readme/readme_example)

suites=("$@")
for suite in "${suites[@]}"; do
  bare_system "$suite"
  inside "tools/install.sh build consumers"
  # From the archive of a release, as a packager does.
  inside "meson setup /root/dist -Dtests=disabled -Dexamples=disabled -Dbench=disabled >/root/log 2>&1 &&
    meson dist -C /root/dist --no-tests --formats gztar >>/root/log 2>&1 && mkdir /root/release &&
    tar -C /root/release --strip-components=1 -xzf /root/dist/meson-dist/coir-*.tar.gz &&
    meson setup /root/build /root/release >>/root/log 2>&1" || { cat "$bare/root/log" >&2; fail "$suite: no release"; }
  version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$root/meson.build")
  inside "ninja -C /root/build libcoir.a libcoir.so.$version ${targets[*]}" || fail "$suite: the build"
  inside "meson test -C /root/build --no-rebuild --print-errorlogs --timeout-multiplier 4 ${tests[*]}" || fail "$suite: the tests"
  ways=0
  for way in "exports" "installed" "cmake" "dist" "subproject" "subproject -Dcoir:default_library=shared" \
    "subproject -Dcoir:default_library=static -Dcoir:tls=disabled -Dbuildtype=release"; do
    echo "=== $suite: $way"
    read -r name options <<<"$way"
    inside "tests/consumer/run.sh $name /root/coir /root/build $options" || fail "$suite: $way"
    ways=$((ways + 1))
  done
  echo "$suite: $ways ways, $(inside 'g++ -dumpfullversion -dumpversion') $(inside 'meson --version | sed "s/^/Meson /"')," \
    "liburing $(inside 'pkg-config --modversion liburing')," \
    "Boost $(inside "sed -n 's/^#define BOOST_LIB_VERSION \"\(.*\)\"/\1/p' /usr/include/boost/version.hpp | tr _ .");" >>"$COIR_COUNTS"
done
