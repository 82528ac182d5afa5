# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the processes of one node by what they hold, never by their name: others may run the same programs."""

import contextlib
import os
import signal
import time


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _sockets_below(directory):
    """Inodes of unix sockets bound to a path below directory, as /proc/PID/fd shows them."""
    inodes = set()
    for line in _read("self", "net/unix").decode(errors="replace").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[7].startswith(directory + "/"):
            inodes.add(f"socket:[{fields[6]}]")
    return inodes


def _holds(pid, targets):
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in targets:
                    return True
    return False


def using(directory):
    """Processes with an argument at or below directory, or with a unix socket there: daemon and executor of a node."""
    directory = os.path.abspath(directory)
    sockets = _sockets_below(directory)
    found = []
    for pid in _pids():
        arguments = [os.fsdecode(part) for part in _read(pid, "cmdline").split(b"\0")]
        named = any(directory == part or directory + "/" in part for part in arguments)
        if (named or (sockets and _holds(pid, sockets))) and is_alive(pid):
            found.append(pid)
    return found


def with_variable(name, value):
    """Processes that were started with this variable: NODE_ID finds the jobs of a node, JOB_ID those of a job."""
    wanted = f"{name}={value}".encode()
    return [pid for pid in _pids() if wanted in _read(pid, "environ").split(b"\0") and is_alive(pid)]


def is_alive(pid):
    """A zombie is not."""
    state = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(state) and state[0] not in (b"Z", b"X")


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(pids, grace=3.0):
    """SIGTERM, then SIGKILL to what is left after the grace; returns when all are gone."""
    for pid in pids:
        send(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in pids:
        send(pid, signal.SIGKILL)
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline + 5:
        time.sleep(0.01)
