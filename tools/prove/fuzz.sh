#!/usr/bin/env bash
# mutated input to the example servers under AddressSanitizer: [seconds for each, 600 [seed, 1 [SERVER|tls...]]]
source "$(dirname "$0")/../common.sh"
seconds=${1:-600} seed=${2:-1}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- http_server tls reverse_proxy websocket_chat kv_server
"$root/tools/install.sh" build clang
dir=$root/build-asan # with the options of tools/sanitize.sh, which shares it
export CXX=clang++ CXX_LD=lld
configure "$dir" -Db_sanitize=address,undefined -Doptimization=1 -Db_ndebug=false -Ddefault_library=static -Dbench=disabled
programs=("${@/#tls/http_server}")
ninja -C "$dir" "${programs[@]/#/examples/}"
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
fuzz() { # fuzz SERVER: what its fuzzer says ends with the number of cases
  local tests=$root/tests/examples program=$dir/examples/$1
  case $1 in
    tls) "$tests/tls_fuzz.py" "$dir/examples/http_server" --seconds "$seconds" --seed "$seed" ;;
    http_server | reverse_proxy) "$tests/http_fuzz.py" "$1" "$program" --seconds "$seconds" --seed "$seed" ;;
    websocket_chat) "$tests/websocket_fuzz.py" "$program" --seconds "$seconds" --seed "$seed" ;;
    kv_server) COIR_TEST_SCALE=$(((seconds + 2) / 3)) COIR_TEST_SEED=$seed "$tests/kv_fuzz_test.py" "$program" FuzzTest ;;
    *) fail "there is no fuzzer for '$1'" ;;
  esac
}
status=0
for name in "$@"; do
  log=$(mktemp)
  fuzz "$name" | tee "$log" || status=$?
  echo "$name: seed $seed: $(grep -oE '[0-9]+ (cases|visits, .*)' "$log");" >>"$COIR_COUNTS"
  rm -f "$log"
done
exit $status
