# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owns one lab: the namespaces that its hosts live below, and their removal. It ends when its standard input does,
which is when the process that made the lab is gone, however it went; or when told by SIGTERM.

    guardian.py FOLDER CGROUP [stay]

Everything of a lab is below one PID namespace, one mount namespace and one network namespace, which the first process
in them (below) holds. When it dies the kernel takes away every process, mount and network device; what is left then
are folders and control groups, which are removed here. When this process itself is killed, its child dies with it, and
the next lab that is made removes the rest."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

import machine
from cgroups import remove_cgroup

# Its PID is written down as this machine sees it, by reading the /proc that was there before. It reaps what the hosts
# leave behind.
INIT = """
set -e
folder=$1
ip link set lo up
ip link add switch type bridge mcast_snooping 0
ip link set switch up
mount -t tmpfs -o mode=755 lab "$folder/disks"
read -r pid _ </proc/self/stat
echo "$pid" >"$folder/init.new"
mv "$folder/init.new" "$folder/init"
sleep infinity &
wait
"""


def start_time(pid):
    """Tells a process from a later one with the same number. None: there is none."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    return None


def identity(pid):
    return f"{pid} {start_time(pid)}"


def remove(folder, cgroup):
    remove_cgroup(cgroup)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for_the_end(init, watch_input):
    """Until there is nobody left who needs the lab."""
    readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    sources = [readable] + ([sys.stdin.fileno()] if watch_input else [])
    while init.poll() is None:
        ready, _, _ = select.select(sources, [], [])
        if readable not in ready or os.read(readable, 64).strip(bytes([signal.SIGCHLD])):
            return


def main():
    folder, cgroup = sys.argv[1:3]
    try:
        with open(os.path.join(folder, "guardian"), "w", encoding="ascii") as file:
            file.write(identity(os.getpid()))
        os.mkdir(os.path.join(folder, "disks"))
        os.mkdir(cgroup)
        init = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL"]
            + machine.in_new_namespaces(["--net", "--pid", "--fork", "--kill-child=KILL"], INIT, folder),
            stdin=subprocess.DEVNULL,
        )
        wait_for_the_end(init, watch_input="stay" not in sys.argv[3:])
        init.kill()
        init.wait()
    finally:
        remove(folder, cgroup)


if __name__ == "__main__":
    main()
