#!/usr/bin/env bash
# the race tests in a race build, which print how often each outcome won: [scale; if not given 30, and 10^7 races]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-30}
"$root/tools/install.sh" build
configure "$root/build-race" -Drace=true
ninja -C "$root/build-race"
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build-race" --suite race --num-processes 1 --verbose || status=$?
counts=$("$root/tools/counts.py" "$root/build-race" won)
echo "scale $COIR_TEST_SCALE: $counts" >>"$COIR_COUNTS"
races=$(sed -n 's/.*cases, \([0-9]*\) races.*/\1/p' <<<"$counts")
[ $# -gt 0 ] || [ "${races:-0}" -ge 10000000 ] || fail "only ${races:-0} races: the machine was busy; give a bigger scale"
exit $status
