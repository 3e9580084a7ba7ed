#!/usr/bin/env bash
# seeded bugs, tests/mutants/*.patch, each of which its test has to catch: [NAME or pattern...]; all of them take hours
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build
work=$root/build-mutants
tree=$work/tree
export GIT_CEILING_DIRECTORIES=$work # so that `git apply` takes the copy for what it is: no repository

mkdir -p "$tree"
"$root/tools/copy_tree.sh" "$tree"
(root=$tree; configure "$work/build" -Dexamples=disabled -Dbench=disabled -Ddefault_library=static)
ninja -C "$work/build" build.ninja >/dev/null # which tests there are may have changed

[ $# -gt 0 ] || set -- '*'
names=()
for pattern in "$@"; do
  found=$(cd "$root/tests/mutants" && compgen -G "$pattern.patch" | sort) || fail "there is no tests/mutants/$pattern.patch"
  for file in $found; do names+=("${file%.patch}"); done
done
header() { sed -n "s/^# $2: *//p" "$root/tests/mutants/$1.patch" | sed -n 1p; }
program_of() { # the file that a test runs, relative to the build folder; two that share a name need their suite
  meson introspect "$work/build" --tests | python3 -c '
import json, os, sys
suite, _, name = sys.argv[1].rpartition(":")
found = [t for t in json.load(sys.stdin)
         if t["name"] == name and (not suite or suite in [s.split(":")[-1] for s in t["suite"]])]
if len(found) == 1:
    print(os.path.relpath(found[0]["cmd"][0], sys.argv[2]))
' "$1" "$work/build"
}
run_one() { # run_one [SUITE:]TEST [FILTER]: builds what the test runs, runs it. 0: passes, 1: fails, 2: is not built
  local program suite=()
  program=$(program_of "$1")
  [ -n "$program" ] || fail "no test is called '$1', or several are"
  case $1 in *:*) suite=(--suite "${1%:*}") ;; esac
  ninja -C "$work/build" "$program" >"$work/log" 2>&1 || return 2
  GTEST_FILTER=${2:-*} meson test -C "$work/build" --no-rebuild --no-suite long --timeout-multiplier "${COIR_TIMEOUT_MULTIPLIER:-1}" \
    ${suite[@]+"${suite[@]}"} "${1#*:}" >>"$work/log" 2>&1 || return 1
}

caught=0
bad=()
declare -A sound
for name in "${names[@]}"; do
  read -r test filter <<<"$(header "$name" test)"
  [ -n "$test" ] || fail "tests/mutants/$name.patch has no line '# test: [SUITE:]NAME [GTEST FILTER]'"
  if [ -z "${sound[$test/$filter]:-}" ]; then
    run_one "$test" "$filter" || {
      cat "$work/log" >&2
      bad+=("$name")
      echo "$name: $test $filter fails without any mutant"
      continue
    }
    sound[$test/$filter]=yes
  fi
  patch=$root/tests/mutants/$name.patch
  (cd "$tree" && git apply "$patch") || { bad+=("$name"); echo "$name: no longer applies"; continue; }
  status=0
  run_one "$test" "$filter" || status=$?
  # What only a race shows gets more rounds: on a busy machine two threads seldom run at once.
  [ $status -ne 0 ] || COIR_TEST_SCALE=$((${COIR_TEST_SCALE:-1} * 10)) COIR_TIMEOUT_MULTIPLIER=10 run_one "$test" "$filter" || status=$?
  (cd "$tree" && git apply -R "$patch")
  case $status in
    0) verdict=SURVIVED; bad+=("$name") ;;
    1) verdict=caught; caught=$((caught + 1)) ;;
    *) verdict="is not built"; bad+=("$name"); cat "$work/log" >&2 ;;
  esac
  printf '%-32s %-12s by %s %s: %s\n' "$name" "$verdict" "$test" "$filter" "$(header "$name" bug)"
done
echo "$caught of ${#names[@]} caught${bad:+; not: ${bad[*]}}" >>"$COIR_COUNTS"
[ ${#bad[@]} -eq 0 ] || fail "not caught: ${bad[*]}"
