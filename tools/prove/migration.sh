#!/usr/bin/env bash
# every test in a race build, where wakes are scattered over workers and queues: [MESON TEST ARGUMENT...]
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build
configure "$root/build-race" -Drace=true
ninja -C "$root/build-race"
status=0
run_tests "$root/build-race" "${not_code[@]}" "$@" || status=$?
"$root/tools/counts.py" "$root/build-race" >>"$COIR_COUNTS"
exit $status
