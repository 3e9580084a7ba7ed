#!/usr/bin/env bash
# every test with the reactor forced: [uring|uring_oneshot|epoll...]
source "$(dirname "$0")/../common.sh"
"$root/tools/install.sh" build
configure "$root/build"
ninja -C "$root/build"
[ $# -gt 0 ] || set -- uring uring_oneshot epoll
failed=()
for rung in "$@"; do
  COIR_REACTOR=$rung run_tests "$root/build" "${not_code[@]}" || failed+=("$rung")
  echo "$rung: $("$root/tools/counts.py" "$root/build");" >>"$COIR_COUNTS"
done
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
