#!/usr/bin/env bash
# sanitize.sh asan|tsan [quick SUITE...]: builds with AddressSanitizer and UndefinedBehaviorSanitizer, or with
# ThreadSanitizer, and runs the tests. quick: builds and runs only those of these suites, without stress, models and
# deaths. clang for both: the ThreadSanitizer of g++ 12 needs 830 KiB a fiber and dies above 8,128 of them.
source "$(dirname "$0")/common.sh"
case ${1:-} in
  asan) sanitizers=address,undefined ;;
  tsan) sanitizers=thread ;;
  *) fail "asan or tsan, not '${1:-}'" ;;
esac
dir=$root/build-$1
skip=("${not_code[@]}" --no-suite long)

"$root/tools/install.sh" build clang
export CXX=clang++ CXX_LD=lld
configure "$dir" -Db_sanitize="$sanitizers" -Doptimization=1 -Db_ndebug=false -Ddefault_library=static -Dbench=disabled

programs_of() { # the files that the tests of these suites run, relative to the build folder
  meson introspect "$dir" --tests | python3 -c '
import json, os, sys
wanted = {"coir:" + s for s in sys.argv[2:]}
programs = {os.path.relpath(t["cmd"][0], sys.argv[1]) for t in json.load(sys.stdin) if wanted & set(t["suite"])}
print("\n".join(sorted(p for p in programs if not p.startswith(".."))))
' "$dir" "$@"
}
if [ "${2:-}" = quick ]; then
  skip+=(--no-suite stress --no-suite model --no-suite death)
  ninja -C "$dir" build.ninja >/dev/null  # what has changed since
  mapfile -t programs < <(programs_of "${@:3}")
  [ ${#programs[@]} -gt 1 ] || fail "no tests of: ${*:3}"
  ninja -C "$dir" "${programs[@]}"
  for suite in "${@:3}"; do skip+=(--suite "$suite"); done
else
  ninja -C "$dir"
fi
COIR_TIMEOUT_MULTIPLIER=${COIR_TIMEOUT_MULTIPLIER:-6} run_tests "$dir" "${skip[@]}"
