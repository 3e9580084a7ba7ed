#!/usr/bin/env bash
# cross.sh DIR: prints the Meson cross file for the sysroot below DIR.
source "$(dirname "$0")/../common.sh"
sysroot=$(realpath "$1")/sysroot
cache=
! have ccache || cache="'ccache', "
cat <<END_OF_FILE
[binaries]
c = [${cache}'aarch64-linux-gnu-gcc', '--sysroot=$sysroot']
cpp = [${cache}'aarch64-linux-gnu-g++', '--sysroot=$sysroot']
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64-static', '-L', '$sysroot']

[properties]
sys_root = '$sysroot'
pkg_config_libdir = '$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$sysroot/usr/share/pkgconfig'
boost_includedir = '$sysroot/usr/include'
boost_librarydir = '$sysroot/usr/lib/aarch64-linux-gnu'

[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END_OF_FILE
