#!/usr/bin/env bash
# sysroot.sh DIR: Debian's arm64 packages that coir is built against, unpacked below DIR/sysroot. apt is given lists, a cache and an
# installation of its own, all in DIR, so the host's architectures and packages stay as they are.
source "$(dirname "$0")/../common.sh"
dir=$(realpath -m "$1")
packages=(libstdc++-12-dev libboost-context-dev liburing-dev libssl-dev libgtest-dev)
suite=bookworm
[ "$(cat "$dir/.packages" 2>/dev/null)" != "$suite ${packages[*]}" ] || exit 0

rm -rf "$dir/apt" "$dir/sysroot"
mkdir -p "$dir"/apt/{state/lists/partial,cache/archives/partial} "$dir/sysroot"
: >"$dir/apt/status"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep debian | grep -v security | sed -n 1p) || true
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $suite main" \
  >"$dir/apt/sources.list"
cat >"$dir/apt/apt.conf" <<APT
Dir::State "$dir/apt/state";
Dir::State::status "$dir/apt/status";
Dir::Cache "$dir/apt/cache";
Dir::Etc::sourcelist "$dir/apt/sources.list";
Dir::Etc::sourceparts "/nonexistent";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
APT
export APT_CONFIG=$dir/apt/apt.conf
apt-get -qq update
apt-get -qq -y --download-only install "${packages[@]}" >/dev/null
for package in "$dir"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$dir/sysroot"; done
# Absolute links would lead to the host's files.
find "$dir/sysroot" -type l -lname '/*' -printf '%p %l\n' | while read -r link target; do
  ln -sfnr "$dir/sysroot$target" "$link"
done
rm -rf "$dir/apt"
printf '%s' "$suite ${packages[*]}" >"$dir/.packages"
