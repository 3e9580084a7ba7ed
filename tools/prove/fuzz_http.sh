#!/usr/bin/env bash
# mutated requests, and answers of back ends, at http_server and reverse_proxy under AddressSanitizer: [seconds for each, 600 [seed, 1]]
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build clang
dir=$root/build-asan # with the options of tools/sanitize.sh, which shares it
export CXX=clang++ CXX_LD=lld
configure "$dir" -Db_sanitize=address,undefined -Doptimization=1 -Db_ndebug=false -Ddefault_library=static -Dbench=disabled
ninja -C "$dir" examples/http_server examples/reverse_proxy
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
status=0
for name in http_server reverse_proxy; do
  log=$(mktemp)
  "$root/tests/examples/http_fuzz.py" "$name" "$dir/examples/$name" --seconds "${1:-600}" --seed "${2:-1}" | tee "$log" || status=$?
  echo "$name: $(grep -o 'seed .* cases' "$log");" >>"$COIR_COUNTS"
  rm -f "$log"
done
exit $status
