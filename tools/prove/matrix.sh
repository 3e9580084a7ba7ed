#!/usr/bin/env bash
# every test, built by g++ and by clang at -O0, -O2 and -O3 -flto: [g++|clang++|g++-O3...]; all six take hours
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build clang
[ $# -gt 0 ] || set -- g++ clang++
legs=()
for chosen in "$@"; do
  case $chosen in
    *-O[023]) legs+=("$chosen") ;;
    g++ | clang++) legs+=("$chosen-O0" "$chosen-O2" "$chosen-O3") ;;
    *) fail "'$chosen' is none of g++, clang++, and these with -O0, -O2, -O3" ;;
  esac
done
failed=()
for name in "${legs[@]}"; do
  compiler=${name%-O?} level=${name##*-O}
  options=(-Doptimization="$level" -Dbench=disabled)
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
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
