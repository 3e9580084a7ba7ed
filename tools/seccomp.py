#!/usr/bin/env python3
"""seccomp.py PROFILE [--without NAME,NAME...] COMMAND...: runs a command under a container's seccomp profile, by libseccomp.

For trying a profile without a container. --without leaves these system calls out of what it allows.
"""
import ctypes
import errno
import json
import os
import sys

ALLOW = 0x7fff0000


def refuse(error):
    return 0x00050000 | error


def main():
    profile, command = sys.argv[1], sys.argv[2:]
    without = set()
    if command[:1] == ['--without']:
        without, command = set(command[1].split(',')), command[2:]
    if not command:
        sys.exit(__doc__)
    with open(profile, encoding='utf-8') as f:
        wanted = json.load(f)
    try:
        lib = ctypes.CDLL('libseccomp.so.2')
    except OSError:
        print('seccomp.py: no libseccomp.so.2 here', file=sys.stderr)
        sys.exit(77)
    lib.seccomp_init.restype = ctypes.c_void_p
    default = refuse(wanted.get('defaultErrnoRet', errno.EPERM)) if wanted['defaultAction'] == 'SCMP_ACT_ERRNO' else ALLOW
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(default)))
    for rule in wanted['syscalls']:
        action = ALLOW if rule['action'] == 'SCMP_ACT_ALLOW' else refuse(rule.get('errnoRet', errno.EPERM))
        if action == default or rule.get('args') or rule.get('includes'):
            continue
        for name in set(rule['names']) - without:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            # Another architecture's, or newer than the library: such a one is refused.
            if number >= 0:
                result = lib.seccomp_rule_add(context, ctypes.c_uint32(action), number, 0)
                if result != 0:
                    sys.exit(f'seccomp.py: {name}: {os.strerror(-result)}')
    result = lib.seccomp_load(context)
    if result != 0:
        sys.exit(f'seccomp.py: the kernel refuses the filter: {os.strerror(-result)}')
    os.execvp(command[0], command)


if __name__ == '__main__':
    main()
