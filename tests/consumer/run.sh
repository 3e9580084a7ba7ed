#!/usr/bin/env bash
# run.sh subproject|installed|cmake SOURCE BUILD: builds project/main.cpp against a copy of the sources taken as a Meson
# subproject, or against what BUILD installs, found by pkg-config or CMake, statically and dynamically linked; and runs it.
set -euo pipefail
how=$1 source=$2 build=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
project=$source/tests/consumer/project

subproject() {
  cp -r "$project" "$work/project"
  mkdir -p "$work/project/subprojects/coir"
  "$source/tools/copy_tree.sh" "$work/project/subprojects/coir"
  # A coir that the machine has installed may not be found first.
  meson setup "$work/build" "$work/project" --force-fallback-for=coir >"$work/log" || { cat "$work/log" >&2; return 1; }
  if grep -q 'tests/' "$work/build/build.ninja"; then
    echo "a subproject builds coir's own tests" >&2
    return 1
  fi
  ninja -C "$work/build"
  "$work/build/consumer"
}

install_it() {
  meson install -C "$build" --no-rebuild --destdir "$work/root" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

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
    *) echo "not linked dynamically" >&2; return 1 ;;
  esac
  LD_LIBRARY_PATH=$libdir ./dynamic
  echo "static: $(flags --static)"
  rm "$libdir"/libcoir.so*
  ${CXX:-c++} -std=c++20 "$project/main.cpp" -o static $(flags --static)
  ./static
}

cmake() {
  type -P cmake >/dev/null || { echo "no cmake here: skipped"; exit 77; }
  install_it
  local prefix=$work/root$(meson introspect "$build" --buildoptions | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
  command cmake -S "$source/tests/consumer/cmake" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" || { cat "$work/log" >&2; return 1; }
  command cmake --build "$work/build" --parallel
  ldd "$work/build/dynamic" | grep "$work/.*/libcoir"
  "$work/build/dynamic"
  "$work/build/static"
}

$how
