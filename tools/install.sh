#!/usr/bin/env bash
# install.sh [build] [aarch64] [interop] [servers] [browser] [clang] [format] [docs] [count] [consumers] [chroot] [peers]:
# sees to it that what these need is there. Looks first and installs by apt only what is missing, as root or by sudo; on a
# system without apt it says what to install.
source "$(dirname "$0")/common.sh"

missing=()
need() { # need PACKAGE CHECK...: the package, unless the check passes
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

compiles() { # compiles COMPILER [ARGUMENT...]: a program from standard input, linked
  local out
  out=$(mktemp)
  "$1" -x c++ -std=c++20 - -o "$out" "${@:2}"
  local status=$?
  rm -f "$out"
  return $status
}
finds_compiler() { echo 'int main() {}' | compiles "${CXX:-c++}"; }
finds_boost_context() {
  printf '#include <boost/context/detail/fcontext.hpp>\nint main() { boost::context::detail::jump_fcontext(nullptr, nullptr); }\n' |
    compiles "${CXX:-c++}" -lboost_context
}
finds_header() { printf '#include <%s>\nint main() {}\n' "$1" | compiles "${CXX:-c++}" -fsyntax-only; }
finds_package() { pkg-config --exists "$1"; }
finds_postgres() { compgen -G '/usr/lib/postgresql/*/bin/postgres' || have postgres; }
finds_nginx() { have nginx || [ -x /usr/sbin/nginx ]; }
finds_module() { /usr/bin/python3 -c "import $1" || python3 -c "import $1"; }
finds_sanitizers() { echo 'int main() {}' | compiles clang++ -fsanitize="$1"; }
# Distributions carry several Boosts whose -dev packages exclude each other: the one whose headers are there, else the newest.
boost_package() { # boost_package LIBRARY
  local known there
  known=$(apt-cache pkgnames "libboost-$1" | grep -xE "libboost-$1[0-9.]+-dev" | sort -V) || true
  there=$(dpkg -S /usr/include/boost/version.hpp 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | sed -n 1p) || true
  known=$(echo "$known" | grep -F "libboost-$1${there}" | tail -n 1) || true
  echo "${known:-libboost-$1-dev}"
}

look() {
  missing=()
  local group
  for group in "$@"; do
    case $group in
      build)
        need g++ finds_compiler
        need meson have meson
        need ninja-build have ninja
        need pkg-config have pkg-config
        need python3 have python3
        need liburing-dev finds_package 'liburing >= 2.3'
        need libssl-dev finds_package 'openssl >= 3.0'
        need libgtest-dev finds_package gtest
        need boost-context finds_boost_context
        ;;
      interop) # what examples/interop is built with, and what tests speak to our servers with
        need libcurl4-openssl-dev finds_package libcurl
        need libhiredis-dev finds_package hiredis
        need libpq-dev finds_package libpq
        need openssl have openssl
        need curl have curl
        need socat have socat
        need netcat-openbsd have nc
        need wrk have wrk
        need redis-tools have redis-cli
        need bind9-dnsutils have dig
        ;;
      servers) # what examples/interop speaks to, and bench/http_hello.py's peer; their packages start services, so nobody gets them unasked
        need redis-server have redis-server
        need postgresql finds_postgres
        need nginx-light finds_nginx
        ;;
      browser) # what the test of websocket_chat's page drives; big, so nobody gets it unasked
        need chromium have chromium
        ;;
      clang)
        need clang have clang++
        need lld have ld.lld
        need libclang-rt-dev finds_sanitizers address,undefined
        need libclang-rt-dev finds_sanitizers thread
        need llvm have llvm-ar
        ;;
      format)
        need clang-format have clang-format
        need clang-tidy have clang-tidy
        ;;
      docs)
        need doxygen have doxygen
        ;;
      count)
        need valgrind have valgrind
        ;;
      peers)
        need boost-fiber finds_header boost/fiber/all.hpp
        need golang-go have go
        need cargo have cargo
        need librust-tokio-dev ls -d /usr/share/cargo/registry/tokio-1*
        need lua5.4 have lua5.4
        need luajit have luajit
        need python3-uvloop finds_module uvloop
        need python3-gevent finds_module gevent
        ;;
      aarch64) # what builds for aarch64, and runs it
        need g++-aarch64-linux-gnu have aarch64-linux-gnu-g++
        need qemu-user-static have qemu-aarch64-static
        ;;
      consumers)
        need cmake have cmake
        need git have git
        ;;
      chroot)
        need debootstrap have debootstrap
        need git have git
        ;;
      *) fail "no group of packages is called '$group'" ;;
    esac
  done
}

look "$@"
[ ${#missing[@]} -gt 0 ] || exit 0
have apt-get || fail "not found, and there is no apt-get to install them with: ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  have sudo || fail "not found: ${missing[*]}. Install them as root, then run this again."
  as_root=(sudo)
fi
quiet() { # shows the output only of what fails
  local log
  log=$(mktemp)
  "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; fail "failed: $*"; }
  rm -f "$log"
}
apt() { quiet "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 "$@"; }

echo "installing: ${missing[*]}"
apt update
packages=()
for package in "${missing[@]}"; do
  case $package in boost-*) package=$(boost_package "${package#boost-}") ;; esac
  packages+=("$package")
done
apt install --no-install-recommends "${packages[@]}"

look "$@"
[ ${#missing[@]} -eq 0 ] || fail "still not found after their installation: ${missing[*]}"
