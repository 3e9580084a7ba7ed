#!/usr/bin/env bash
# built for aarch64 by Debian's cross compiler, the tests run under qemu-user: [SUITE...]
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build aarch64
[ $# -gt 0 ] || set -- fiber coroutine sync sched models io
dir=$root/build-aarch64
mkdir -p "$dir"
"$root/tools/aarch64/sysroot.sh" "$dir"
"$root/tools/aarch64/cross.sh" "$dir" >"$dir/cross.new"
cmp -s "$dir/cross.new" "$dir/cross.ini" || cp "$dir/cross.new" "$dir/cross.ini"
configure "$dir/build" --cross-file "$dir/cross.ini" -Ddefault_library=static -Dexamples=disabled -Dbench=disabled \
  -Dbeast=disabled -Dboost_fiber=disabled
mapfile -t targets < <("$root/tools/aarch64/targets.py" "$dir/build" "$@" | sort -u)
ninja -C "$dir/build" "${targets[@]}"

# What qemu does otherwise than Linux is left out by name; excluded.txt says why.
excluded=$(sed -n 's/^\([^ #][^ ]*\).*/\1/p' "$root/tools/aarch64/excluded.txt" | paste -sd :)
export GTEST_FILTER="-$excluded" QEMU_LD_PREFIX="$dir/sysroot" COIR_TIMEOUT_MULTIPLIER=${COIR_TIMEOUT_MULTIPLIER:-10}
# The explorer's models are the same computation on every processor.
chosen=("${not_code[@]}" --no-suite model --no-suite long)
for suite in "$@"; do chosen+=(--suite "$suite"); done
emulated=("$root/tools/aarch64/emulated.sh")
if ! "${emulated[@]}" "$dir/sysroot/usr/bin/gencat" --version >/dev/null 2>&1; then
  echo "aarch64: nothing here executes programs for aarch64 by themselves (emulated.sh), so no test dies or executes itself" >&2
  emulated=()
  chosen+=(--no-suite death)
  echo "without death tests;" >>"$COIR_COUNTS"
fi
status=0
"${emulated[@]}" bash -c 'source "$0/tools/common.sh"; run_tests "$@"' "$root" "$dir/build" "${chosen[@]}" || status=$?
echo "$(aarch64-linux-gnu-g++ -dumpfullversion), $(qemu-aarch64-static --version | sed -n 's/.*version \([0-9.]*\).*/qemu \1/p')," \
  "$(grep -c '^[^ #]' "$root/tools/aarch64/excluded.txt") cases left out: $("$root/tools/counts.py" "$dir/build")" >>"$COIR_COUNTS"
exit $status
