#!/usr/bin/env bash
# the tests that take minutes or gigabytes: a million parked fibers, the budget of guards
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build
configure "$root/build"
ninja -C "$root/build"
status=0
run_tests "$root/build" --suite long --num-processes 1 --verbose || status=$?
"$root/tools/counts.py" "$root/build" >>"$COIR_COUNTS"
exit $status
