# Sourced by proofs that need a bare system: bare_system SUITE makes one by debootstrap, with a clone of this tree in /root/coir;
# `inside COMMAND` runs a command there. It goes when the script ends, or another one is made. Root only.
#
# COIR_BARE_CCACHE names a folder of ccache's that is used inside as well.

bare=
remove_bare() {
  [ -n "$bare" ] || return 0
  local mounted
  for mounted in "$bare/root/.cache/ccache" "$bare/proc"; do
    ! mountpoint -q "$mounted" || umount "$mounted" 2>/dev/null || umount -l "$mounted" 2>/dev/null || true
    if mountpoint -q "$mounted"; then echo "$mounted is still mounted, so $bare is left" >&2; return; fi
  done
  rm -rf --one-file-system "$bare"
  bare=
}
trap remove_bare EXIT
trap 'exit 130' INT TERM

inside() { chroot "$bare" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -c "cd /root/coir && $1"; }

bare_system() { # bare_system SUITE
  local suite=$1 mirror proxy=
  "$root/tools/install.sh" chroot
  [ "$(id -u)" -eq 0 ] || fail "a bare system is made and entered as root"
  remove_bare
  bare=$(mktemp -d /var/tmp/coir-bare.XXXXXX)

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
  if [ -n "${COIR_BARE_CCACHE:-}" ]; then
    mkdir -p "$bare/root/.cache/ccache"
    mount --bind "$COIR_BARE_CCACHE" "$bare/root/.cache/ccache"
    inside "apt-get update -qq && apt-get install -y -qq --no-install-recommends ccache >/dev/null" 2>/dev/null || fail "no ccache"
    inside "ccache --set-config hash_dir=false && ccache --set-config base_dir=/" || true
  fi
}
