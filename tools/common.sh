# Sourced by every script of the tree.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

have() { command -v "$1" >/dev/null 2>&1; }
fail() { echo "$(basename "$0"): $*" >&2; exit 1; }

# configure DIR [MESON OPTION...]: sets a build folder up; what Meson says is shown only if it fails. One made with other
# options or another compiler is made anew; a public header that came or went only configures it again, because each is
# compiled alone.
configure() {
  local dir=$1 options headers log setup
  shift
  options="$root ${CXX:-} ${CXX_LD:-} $*"
  headers=$(cd "$root" && find fiber sched io -path '*/include/*' -name '*.hpp' | sort)
  setup=(meson setup "$dir" "$root" "$@")
  if [ -f "$dir/build.ninja" ] && [ "$(cat "$dir/.options" 2>/dev/null)" = "$options" ]; then
    [ "$(cat "$dir/.headers" 2>/dev/null)" != "$headers" ] || return 0
    setup=(meson setup --reconfigure "$dir" "$root")
  else
    rm -rf "$dir"
  fi
  log=$(mktemp)
  "${setup[@]}" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
  rm -f "$log"
  printf '%s' "$options" >"$dir/.options"
  printf '%s' "$headers" >"$dir/.headers"
}

# run_tests DIR [MESON TEST ARGUMENT...]: runs what is built, prints the log of each test that fails.
# COIR_TIMEOUT_MULTIPLIER stretches the tests' own limits, for a slow or busy machine.
run_tests() {
  local dir=$1
  shift
  meson test -C "$dir" --no-rebuild --print-errorlogs --timeout-multiplier "${COIR_TIMEOUT_MULTIPLIER:-2}" "$@"
}

# What a test under a sanitizer or another compiler cannot say anything new about.
not_code=(--no-suite package --no-suite style)
