#!/usr/bin/env bash
# every test, built by g++ and by clang at -O0, -O2 and -O3 -flto: [g++|clang++...]
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build clang
[ $# -gt 0 ] || set -- g++ clang++
failed=()
for compiler in "$@"; do
  for level in 0 2 3; do
    name=$compiler-O$level
    options=(-Doptimization="$level")
    [ "$level" -ne 3 ] || options+=(-Db_lto=true)
    echo "== $name ${options[*]}"
    dir=$root/build-matrix/$name
    if CXX=$compiler CXX_LD=$([ "$compiler" != clang++ ] || echo lld) configure "$dir" "${options[@]}" && ninja -C "$dir"; then
      run_tests "$dir" "${not_code[@]}" || failed+=("$name")
      echo "$name: $("$root/tools/counts.py" "$dir");" >>"$COIR_COUNTS"
    else
      failed+=("$name")
      echo "$name: not built;" >>"$COIR_COUNTS"
    fi
  done
done
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
