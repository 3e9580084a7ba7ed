#!/usr/bin/env bash
# sanitize.sh asan|tsan [quick] [MESON TEST OPTIONS]: builds with AddressSanitizer and UndefinedBehaviorSanitizer, or with ThreadSanitizer,
# and runs the tests; quick leaves out the stress and the models. clang for both: the ThreadSanitizer of g++ 12 needs
# 830 KiB a fiber and dies above 8,128 of them.
source "$(dirname "$0")/common.sh"
case ${1:-} in
  asan) sanitizers=address,undefined ;;
  tsan) sanitizers=thread ;;
  *) fail "asan or tsan, not '${1:-}'" ;;
esac
skip=("${not_code[@]}" --no-suite long)
[ "${2:-}" != quick ] || skip+=(--no-suite stress --no-suite model)

"$root/tools/install.sh" build clang
export CXX=clang++ CXX_LD=lld
configure "$root/build-$1" -Db_sanitize="$sanitizers" -Doptimization=1 -Db_ndebug=false -Ddefault_library=static
ninja -C "$root/build-$1"
COIR_TIMEOUT_MULTIPLIER=${COIR_TIMEOUT_MULTIPLIER:-6} run_tests "$root/build-$1" "${skip[@]}" "${@:3}"
