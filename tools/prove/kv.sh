#!/usr/bin/env bash
# kv: kv_server killed in the middle of a load, bad input for minutes, random requests beside redis-server: [scale, 40 if not given]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-40} COIR_TEST_SEED=${COIR_TEST_SEED:-$RANDOM}
"$root/tools/install.sh" build interop
configure "$root/build"
ninja -C "$root/build" examples/kv_server
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build" --verbose example_kv_server example_kv_log example_kv_fuzz ||
  status=$?
echo "scale $COIR_TEST_SCALE, seed $COIR_TEST_SEED: $("$root/tools/counts.py" "$root/build")" >>"$COIR_COUNTS"
grep -hoE '[0-9]+ (kills, .*|visits, .*|requests, replied to .*)' "$root/build/meson-logs/testlog.txt" | sed 's/^/; /' >>"$COIR_COUNTS" || true
exit $status
