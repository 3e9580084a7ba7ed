#!/usr/bin/env bash
# prove.sh NAME [ARGUMENT...] [-- NAME [ARGUMENT...]]...: runs tools/prove/NAME.sh and appends its line to
# docs/proof.txt: when, on which commit, what was counted, how long, on which machine, the verdict.
source "$(dirname "$0")/common.sh"

list() {
  echo "./dev prove NAME [ARGUMENT...] [-- NAME...]; the names are:"
  for script in "$root"/tools/prove/*.sh; do
    printf '  %-10s %s\n' "$(basename "$script" .sh)" "$(sed -n '2s/^# //p' "$script")"
  done
}
commit() {
  local id
  id=$(git -C "$root" rev-parse --short HEAD 2>/dev/null) || id=none
  [ -z "$(git -C "$root" status --porcelain -- . ':!docs/proof.txt' 2>/dev/null)" ] || id=$id+changes
  echo "$id"
}
machine() {
  echo "$(nproc) cores, $(uname -s) $(uname -r), $("${CXX:-c++}" -dumpfullversion -dumpversion 2>/dev/null | sed "s/^/${CXX:-c++} /")"
}

prove() {
  local name=$1 counts status=0 started=$SECONDS verdict=passed
  shift
  [ -f "$root/tools/prove/$name.sh" ] || { echo "prove: there is no proof '$name'." >&2; list >&2; exit 2; }
  COIR_COUNTS=$(mktemp)
  export COIR_COUNTS
  local proven
  proven=$(commit)
  bash "$root/tools/prove/$name.sh" "$@" || status=$?
  [ $status -eq 0 ] || verdict="FAILED ($status)"
  counts=$(paste -sd ' ' "$COIR_COUNTS" | sed 's/;$//')
  rm -f "$COIR_COUNTS"
  printf '%s | %s | %s | %s | %d s | %s | %s\n' "$(date -u +%F)" "$proven" "$name${*:+ $*}" "${counts:-nothing counted}" \
    $((SECONDS - started)) "$(machine)" "$verdict" | tee -a "$root/docs/proof.txt"
  return $status
}

[ $# -gt 0 ] || { list; exit 0; }
failed=0
while [ $# -gt 0 ]; do
  one=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do one+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  prove "${one[@]}" || failed=1
done
exit $failed
