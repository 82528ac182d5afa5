# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of this machine a lab uses, and whether that is there."""

import itertools
import os
import shutil
import subprocess

from cgroups import remove_cgroup

STATE = "/run/worker-mesh-lab"
CGROUP_PREFIX = "mesh-lab-"
PROBES = itertools.count(1)
PROGRAMS = ("unshare", "nsenter", "setpriv", "ip", "bash", "mount", "systemctl", "dbus-daemon", "journalctl")


def cgroup_root():
    """Where the second version of control groups is mounted, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    return None


# In a chroot the root folder is no mount, and no process below it could make another one its root. The namespace of
# mounts is a copy: there the folder becomes the root of everything.
OUT_OF_A_CHROOT = """
exec 9</
exec nsenter --mount=/proc/self/ns/mnt bash -c '
set -e
mount --make-rprivate /
mount --rbind /proc/self/fd/9 /mnt
exec 9<&-
cd /mnt
pivot_root . mnt
umount -l /mnt
exec bash -c "$@"' lab "$@"
"""


def root_is_a_mount():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return any(line.split()[4] == "/" for line in file)


def in_new_namespaces(options, script, *arguments):
    """The command that runs a script of bash in a mount namespace of its own, and in those that the options of
    unshare(1) name."""
    if root_is_a_mount():
        command = ["unshare", "--mount", *options, "--propagation", "private", "bash", "-c"]
    else:
        command = ["unshare", "--mount", *options, "--propagation", "unchanged", "bash", "-c", OUT_OF_A_CHROOT, "lab"]
    return [*command, script, "lab", *arguments]


# What a lab does first, in namespaces that go at once.
PROBE = """
set -e
mount -t tmpfs lab "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" lab "$1/root"
mount -t proc proc "$1/root/proc"
mount -t sysfs -o ro sysfs "$1/root/sys"
mount -t cgroup2 cgroup2 "$1/root/sys/fs/cgroup"
ip link add wm0 type veth peer name wm1
ip link add switch type bridge
"""


def why_unavailable(root="/"):
    """Why there can be no lab on this machine, in one line; None: there can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    for program in PROGRAMS:
        if not shutil.which(program):
            return f"the lab needs the program {program}"
    if not os.access(os.path.join(root, "lib/systemd/systemd"), os.X_OK):
        return f"the lab needs systemd in {root}"
    cgroups = cgroup_root()
    if not cgroups:
        return "the lab needs version 2 of control groups, and it is not mounted"
    name = f"probe{os.getpid()}-{next(PROBES)}"
    probe = os.path.join(cgroups, CGROUP_PREFIX + name)
    try:
        os.mkdir(probe)
    except OSError as error:
        return f"the lab needs to make control groups in {cgroups}: {error.strerror}"
    try:
        return _try_namespaces(root, f"{STATE}/{name}")
    finally:
        remove_cgroup(probe)


def _try_namespaces(root, folder):
    try:
        os.makedirs(folder, mode=0o755)
    except OSError as error:
        return f"the lab needs to make {folder}: {error.strerror}"
    try:
        options = ["--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork"]
        command = in_new_namespaces(options, PROBE, folder, root)
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    finally:
        os.rmdir(folder)
    if result.returncode != 0:
        return "the lab needs namespaces, overlayfs, veth and a bridge: " + " ".join(result.stderr.split())
    return None
