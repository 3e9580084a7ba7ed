#!/usr/bin/env bash
# every system call and ring entry behind the I/O calls fails, with each error, at each turn: [scale, 20 if not given]
source "$(dirname "$0")/../common.sh"
export COIR_TEST_SCALE=${1:-20}
"$root/tools/install.sh" build
configure "$root/build"
ninja -C "$root/build" tests/io/io_fault_sweep_test
status=0
COIR_TIMEOUT_MULTIPLIER=$((2 * COIR_TEST_SCALE)) run_tests "$root/build" --verbose fault_sweep_test fault_sweep_test_denied || status=$?
struck=$(grep -ho '[0-9]* struck, ' "$root/build/meson-logs/testlog.txt" | awk '{s += $1} END {print s + 0}')
echo "scale $COIR_TEST_SCALE: $("$root/tools/counts.py" "$root/build"), $struck faults" >>"$COIR_COUNTS"
[ "$struck" -gt 0 ] || fail "no fault was injected"
exit $status
