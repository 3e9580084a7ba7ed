#!/usr/bin/env bash
# run.sh WAY SOURCE BUILD: builds project/main.cpp as somebody else would, runs it, and looks at what it was made of. WAY:
#   subproject [MESON OPTION...]  coir.wrap in subprojects/, of a repository made of a copy of the sources
#   installed                     what BUILD installs, found by pkg-config, dynamically and statically linked
#   cmake                         the same, found by CMake
#   exports                       no program: what BUILD's shared library exports
#   dist                          no program: the archive that `meson dist` makes can be configured
set -euo pipefail
way=$1 source=$2 build=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
project=$source/tests/consumer/project

skip() { echo "$*: skipped" >&2; exit 77; }
fail() { echo "$*" >&2; exit 1; }
quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }; }
needs_git() { type -P git >/dev/null || skip "no git here"; }

# Whose options are stricter than ours: a warning of coir's or of its headers is seen.
subproject() {
  needs_git
  cp -r "$project" "$work/project"
  mkdir -p "$work/project/subprojects" "$work/coir"
  "$source/tools/copy_tree.sh" "$work/coir"
  git -C "$work/coir" init --quiet
  git -C "$work/coir" add .
  git -C "$work/coir" -c user.name=a -c user.email=a@b commit --quiet -m all
  sed "s|^url = .*|url = file://$work/coir|" "$source/tools/package/coir.wrap" >"$work/project/subprojects/coir.wrap"
  # A coir that the machine has installed may not be found first.
  quiet meson setup "$work/build" "$work/project" --force-fallback-for=coir "$@"
  ! grep -q 'tests/' "$work/build/build.ninja" || fail "a subproject builds coir's own tests"
  ninja -C "$work/build" | tee "$work/made"
  ! grep -q 'warning:' "$work/made" || fail "coir has warnings in somebody else's project"
  "$work/build/consumer"
}

install_it() { quiet meson install -C "$build" --no-rebuild --destdir "$work/root"; }

installed() {
  install_it
  local file prefix libdir
  file=$(find "$work/root" -name coir.pc)
  prefix=$work/root$(sed -n 's/^prefix=//p' "$file")
  libdir=$(dirname "$(dirname "$file")")
  flags() { PKG_CONFIG_PATH=$(dirname "$file") pkg-config --define-variable=prefix="$prefix" "$@" --cflags --libs coir; }
  cd "$work"
  echo "dynamic: $(flags)"
  ${CXX:-c++} -std=c++20 "$project/main.cpp" -o dynamic $(flags)
  case $(LD_LIBRARY_PATH=$libdir ldd dynamic) in
    *"$libdir/libcoir"*) ;;
    *) fail "not linked dynamically" ;;
  esac
  LD_LIBRARY_PATH=$libdir ./dynamic
  # Every name that a user may write is exported.
  ${CXX:-c++} -std=c++20 "$source/tests/api/names.cpp" -o names $(flags)
  LD_LIBRARY_PATH=$libdir ./names
  echo "static: $(flags --static)"
  rm "$libdir"/libcoir.so*
  ${CXX:-c++} -std=c++20 "$project/main.cpp" -o static $(flags --static)
  ./static
}

cmake() {
  type -P cmake >/dev/null || skip "no cmake here"
  export CMAKE_GENERATOR=Ninja # make may not be there
  install_it
  local prefix=$work/root$(meson introspect "$build" --buildoptions | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
  quiet command cmake -S "$source/tests/consumer/cmake" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix"
  command cmake --build "$work/build" --parallel
  ldd "$work/build/dynamic" | grep "$work/.*/libcoir"
  "$work/build/dynamic"
  "$work/build/static"
}

exports() {
  nm -D --defined-only "$build/libcoir.so" | awk '{print $NF}' >"$work/exported"
  [ "$(grep -c '4coir' "$work/exported")" -gt 500 ] || fail "the shared library exports next to nothing"
  # The namespace is the first that the name says, or std::hash's argument.
  if grep -vE '^_Z(Z|GV|GVZ|T[ISVT]|Th[n0-9]+_|Tv[n0-9_]+_)?N[VKRO]*4coir|^_ZNKSt4hashIN4coir' "$work/exported" | c++filt; then
    fail "these names are exported and not of namespace coir"
  fi
  # What no public header names stays inside; that all is there which they do name, `installed` sees.
  local private='coir::(io::(sys::|uring_reactor|epoll_reactor|tls_engine|tls_core|io_call)|sched::(worker|timer_heap|offload_pool)::|fiber::stack_slab)'
  nm -DC --defined-only "$build/libcoir.so" | cut -c 20- >"$work/names"
  grep -q 'coir::sched::wake' "$work/names" || fail "what headers need is not exported"
  if type -P c++filt >/dev/null && grep -E "^$private" "$work/names"; then
    fail "these names are exported and no header's"
  fi
}

dist() {
  needs_git
  git -C "$source" rev-parse --git-dir >/dev/null 2>&1 || skip "not a git repository"
  quiet meson setup "$work/build" "$source" -Dtests=disabled -Dexamples=disabled -Dbench=disabled
  quiet meson dist -C "$work/build" --no-tests --allow-dirty --formats gztar
  tar -C "$work" -xzf "$work"/build/meson-dist/coir-*.tar.gz
  diff <(cd "$work"/coir-*/ && find . -type f -printf '%P\n' | sort) <(git -C "$source" ls-tree -r --name-only HEAD | sort)
  quiet meson setup "$work/again" "$work"/coir-*/
}

"$way" "$@"
