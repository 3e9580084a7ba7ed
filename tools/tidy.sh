#!/usr/bin/env bash
# The style test, then clang-tidy over the library's own sources.
source "$(dirname "$0")/common.sh"
"$root/tools/install.sh" build format
python3 "$root/tests/tidy/tidy.py" "$root"
configure "$root/build"
cd "$root"
find fiber sched io -name '*.cpp' -print0 | xargs -0r -n 4 -P "$(nproc)" clang-tidy --quiet -p build --warnings-as-errors='*'
