#!/usr/bin/env bash
# floods: 10^5 connections that come and go and as many resets, no descriptors, slow clients: [scale, 50 if not given]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-50}
"$root/tools/install.sh" build
configure "$root/build"
ninja -C "$root/build" tests/io/io_flood_test
ulimit -n "$(ulimit -Hn)" || true # one of them opens 20,000
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build" --verbose flood_test || status=$?
echo "scale $COIR_TEST_SCALE: $("$root/tools/counts.py" "$root/build")" >>"$COIR_COUNTS"
grep -hoE '[0-9]+ closes and .*|out of descriptors: .*|[0-9]+ slow clients: .*|[0-9]+ connections( reset at once,|:) .*' \
  "$root/build/meson-logs/testlog.txt" | sed 's/^/; /' >>"$COIR_COUNTS" || true
exit $status
