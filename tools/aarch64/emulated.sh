#!/usr/bin/env bash
# emulated.sh COMMAND [ARGUMENT...]: runs it where the kernel gives programs for aarch64 to qemu, so that a test may execute itself
# anew, as death tests do. In a user namespace (Linux 6.7 or newer), so that the machine's own settings stay as they are; on an
# older kernel only where the machine has been told so already, by qemu-user-static and binfmt-support. Fails with 125 elsewhere.
source "$(dirname "$0")/../common.sh"
echo 1000 >/proc/self/oom_score_adj  # what qemu does not limit shall not cost others their memory
formats=/proc/sys/fs/binfmt_misc
if [ "${1:-}" = --inside ]; then
  mount -t binfmt_misc none "$formats" 2>/dev/null || exit 125
  # The head of an ELF file for aarch64, and which of its bits count: executables and shared objects.
  head='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  bits='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":aarch64:M::$head:$bits:$(command -v qemu-aarch64-static):OCF" >"$formats/register" 2>/dev/null || exit 125
  exec "${@:2}"
fi
! compgen -G "$formats/qemu-aarch64*" >/dev/null || exec "$@"
exec unshare --user --map-root-user --mount bash "$0" --inside "$@"
