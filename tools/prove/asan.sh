#!/usr/bin/env bash
# every test under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
source "$(dirname "$0")/../common.sh"
status=0
"$root/tools/sanitize.sh" asan || status=$?
echo "clang $(clang++ -dumpversion): $("$root/tools/counts.py" "$root/build-asan")" >>"$COIR_COUNTS"
exit $status
