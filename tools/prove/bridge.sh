#!/usr/bin/env bash
# the bridge to Boost.Fiber against each Boost that the distribution has: [VERSION...], unpacked, not installed
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build
have apt-get || fail "the packages are Debian's"
[ $# -gt 0 ] || mapfile -t known < <(apt-cache pkgnames libboost-fiber | sed -nE 's/^libboost-fiber([0-9.]+)-dev$/\1/p' | sort -V)
[ $# -gt 0 ] || set -- "${known[@]}"
[ $# -gt 0 ] || fail "there is no Boost.Fiber to be had"

for version in "$@"; do
  unpacked=$root/build-boost-$version/boost
  build=$root/build-boost-$version
  rm -rf "$build"
  mkdir -p "$unpacked"
  packages=("libboost$version-dev")
  for part in fiber context filesystem; do packages+=("libboost-$part$version-dev" "libboost-$part$version.0"); done
  (cd "$unpacked" && apt-get download "${packages[@]}" 2>&1) >"$unpacked/log" || { cat "$unpacked/log" >&2; fail "no Boost $version"; }
  for package in "$unpacked"/*.deb; do dpkg-deb -x "$package" "$unpacked"; done
  library=$(dirname "$(find "$unpacked/usr/lib" -name libboost_fiber.a)")
  BOOST_INCLUDEDIR=$unpacked/usr/include BOOST_LIBRARYDIR=$library \
    meson setup "$build" "$root" -Dbench=disabled -Dexamples=disabled -Ddefault_library=static >"$unpacked/log" 2>&1 ||
    { cat "$unpacked/log" >&2; fail "Boost $version: meson"; }
  grep -E "boost_fiber *: Boost $version\." "$unpacked/log" >&2 || { tail -n 20 "$unpacked/log" >&2; fail "another Boost than $version was found"; }
  ninja -C "$build" tests/interop/interop_boost_fiber_test
  LD_LIBRARY_PATH=$library run_tests "$build" boost_fiber_test
  echo "Boost $version: $("$root/tools/counts.py" "$build");" >>"$COIR_COUNTS"
done
