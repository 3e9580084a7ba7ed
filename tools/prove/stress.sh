#!/usr/bin/env bash
# the stress and model tests, many times their usual rounds: [scale, 50 if not given]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-50}
"$root/tools/install.sh" build
configure "$root/build"
ninja -C "$root/build"
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build" --suite stress --suite model --num-processes 1 || status=$?
echo "scale $COIR_TEST_SCALE: $("$root/tools/counts.py" "$root/build")" >>"$COIR_COUNTS"
exit $status
