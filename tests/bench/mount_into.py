# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a folder of this machine appear in the mount namespace of another process, where it cannot be named:

mount_into.py PID FOLDER TARGET"""

import ctypes
import os
import sys

SYS_OPEN_TREE = 428  # the same on all architectures
SYS_MOVE_MOUNT = 429
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
AT_FDCWD = -100
CLONE_NEWNS = 0x20000

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(what, result):
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def main():
    pid, folder, target = sys.argv[1:]
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    tree = checked(folder, LIBC.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(folder), flags))
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    checked("setns", LIBC.setns(namespace, CLONE_NEWNS))
    os.makedirs(target, exist_ok=True)
    move = (SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    checked(target, LIBC.syscall(*move))


if __name__ == "__main__":
    main()
