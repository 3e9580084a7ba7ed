#!/usr/bin/env bash
# format.sh [--check]: formats every C++ file of the tree, or says which are not formatted.
source "$(dirname "$0")/common.sh"
"$root/tools/install.sh" format
cd "$root"
mode=-i
case ${1:-} in
  "") ;;
  --check) mode="--dry-run --Werror" ;;
  *) fail "unknown argument '$1'; there is --check" ;;
esac
find fiber sched io tests examples bench \( -name '*.cpp' -o -name '*.hpp' \) -print0 | xargs -0r -n 8 clang-format $mode
