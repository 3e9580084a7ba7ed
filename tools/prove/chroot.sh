#!/usr/bin/env bash
# ./dev demo and ./dev test from a clean clone on a bare system made by debootstrap; root: [SUITE, bookworm if not given]
source "$(dirname "$0")/../common.sh"
source "$root/tools/bare.sh"
suite=${1:-bookworm}
bare_system "$suite"
for command in demo test; do
  started=$SECONDS
  inside "./dev $command" || fail "./dev $command failed on bare $suite"
  echo "$suite: ./dev $command $((SECONDS - started)) s;" >>"$COIR_COUNTS"
done
python3 "$root/tools/counts.py" "$bare/root/coir/build" >>"$COIR_COUNTS"
