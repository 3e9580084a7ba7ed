#!/usr/bin/env bash
# the race tests in a race build, which print how often each outcome won: [scale, 20 if not given]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-20}
"$root/tools/install.sh" build
configure "$root/build-race" -Drace=true
ninja -C "$root/build-race"
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build-race" --suite race --num-processes 1 --verbose || status=$?
echo "scale $COIR_TEST_SCALE: $("$root/tools/counts.py" "$root/build-race" won)" >>"$COIR_COUNTS"
exit $status
