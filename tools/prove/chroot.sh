#!/usr/bin/env bash
# ./dev demo and ./dev test from a clean clone on a bare system made by debootstrap; root: [SUITE, bookworm if not given]
source "$(dirname "$0")/../common.sh"
suite=${1:-bookworm}
"$root/tools/install.sh" chroot
[ "$(id -u)" -eq 0 ] || fail "a bare system is made and entered as root"

bare=$(mktemp -d /var/tmp/coir-bare.XXXXXX)
cleanup() {
  umount "$bare/proc" 2>/dev/null || umount -l "$bare/proc" 2>/dev/null || true
  if mountpoint -q "$bare/proc"; then echo "$bare/proc is still mounted, so $bare is left" >&2; return; fi
  rm -rf --one-file-system "$bare"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Packages come the way that this machine takes them.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sed -n 1p)
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "${proxy:-}" ] || export http_proxy="$proxy"
debootstrap --variant=minbase "$suite" "$bare" "${mirror:-http://deb.debian.org/debian}" >"$bare.log" 2>&1 ||
  { cat "$bare.log" >&2; rm -f "$bare.log"; fail "debootstrap failed"; }
rm -f "$bare.log"
apt-config dump | grep -E '^Acquire::(http|https|Retries)' >"$bare/etc/apt/apt.conf.d/99host" || true
cp /etc/resolv.conf "$bare/etc/resolv.conf"
cp /etc/hosts "$bare/etc/hosts"
mount -t proc proc "$bare/proc"

git clone --quiet --no-hardlinks "$root" "$bare/root/coir"
inside() { chroot "$bare" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -c "cd /root/coir && $1"; }
for command in demo test; do
  started=$SECONDS
  inside "./dev $command" || fail "./dev $command failed on bare $suite"
  echo "$suite: ./dev $command $((SECONDS - started)) s;" >>"$COIR_COUNTS"
done
python3 "$root/tools/counts.py" "$bare/root/coir/build" >>"$COIR_COUNTS"
