#!/usr/bin/env bash
# every test under ThreadSanitizer
source "$(dirname "$0")/../common.sh"
status=0
"$root/tools/sanitize.sh" tsan || status=$?
echo "clang $(clang++ -dumpversion): $("$root/tools/counts.py" "$root/build-tsan")" >>"$COIR_COUNTS"
exit $status
