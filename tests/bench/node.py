# SPDX-License-Identifier: LGPL-2.1-or-later
"""One node on loopback for the benchmarks: starts it, asks it, looks at its processes and its database, ends it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import processes

START_SECONDS = 60  # a large history is checked at the start
STOP_SECONDS = 30
PROGRAM_SECONDS = 600  # no single measurement takes that long
CPUCLOCK_SCHED = 2  # of the kernel: with the complement of a pid above it, the clock of that process


class Failure(Exception):
    """Something that the person at the terminal can act on."""


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(build, *path):
    found = os.path.join(build, *path)
    if not os.access(found, os.X_OK):
        raise Failure(f"{found} is not there: build it first (meson compile -C {build}).")
    return found


def words(path, options):
    """How a program of this folder is called; True: an option without a value."""
    return [path] + [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def figures_of(name, status, output, errors):
    """What a program of this folder has printed, by name."""
    if status != 0:
        raise Failure(f"{name} failed: {errors.strip()}")
    return {key: float(value) for key, value in (line.split() for line in output.splitlines())}


def database_in(directory):
    names = [name for name in os.listdir(directory) if name.startswith("worker_") and name.endswith(".db")]
    if len(names) != 1:
        raise Failure(f"{directory} holds {len(names)} databases instead of one.")
    return os.path.join(directory, names[0])


def count_jobs(directory, status):
    """Asks the database there, not the node."""
    with contextlib.closing(sqlite3.connect(f"file:{database_in(directory)}?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM jobs WHERE status = ?", (status,)).fetchone()[0]


class Node:
    """Used with "with". The state directory is kept when it was given, so that a node can be started on it again."""

    def __init__(self, build, parent, slots, state_directory=None):
        # A short name: the executor's socket is below it, and its path may have 107 bytes.
        self.directory = state_directory or tempfile.mkdtemp(prefix="n", dir=parent)
        self.port = free_port(socket.SOCK_STREAM)
        self.discovery_port = free_port(socket.SOCK_DGRAM)
        self.log_path = os.path.join(self.directory, "log")
        # Not below it: whoever is given the path is not taken for a process of the node.
        folder, name = os.path.split(self.directory)
        self.key_file = os.path.join(folder, f"key-of-{name}")
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.directory,
            "EXECUTOR_PROGRAM": program(build, "src", "executor", "worker-mesh-executor"),
        }
        command = [program(build, "src", "worker-mesh"), "--interface", "lo", "--slots", str(slots)]
        command += ["--api-port", str(self.port), "--discovery-port", str(self.discovery_port)]
        command += ["--state-dir", self.directory, "--key-file", self.key_file]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def __enter__(self):
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if self.get("/api/v1/health")["status"] == "healthy":
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log_path, encoding="utf-8", errors="replace") as file:
                    raise Failure(f"the node did not start:\n{file.read()}")
            time.sleep(0.02)

    def stop(self):
        """As Ctrl-C would; what is left after that is ended by process id."""
        processes.send(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        processes.end(processes.using(self.directory), grace=5)

    def _request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status not in (200, 201):
                raise Failure(f"{method} {path} was answered {answer.status}: {text[:300]!r}")
            return json.loads(text)

    def get(self, path):
        return self._request("GET", path)

    def run_job(self, command):
        """Returns when it has ended, or, without slots, when it was accepted."""
        return self._request("POST", "/api/v1/jobs?wait=30s", json.dumps({"command": command}))

    def submit(self, command):
        return self._request("POST", "/api/v1/jobs", json.dumps({"command": command}))

    @property
    def database(self):
        return database_in(self.directory)

    def count_jobs(self, status):
        return count_jobs(self.directory, status)

    def pids(self):
        """Daemon and executor."""
        return processes.using(self.directory)


def name_of(pid):
    """As the kernel knows it: at most 15 bytes."""
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()


def memory(pids):
    """Kilobytes of all these processes together, by the names of smaps_rollup."""
    total = {}
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                name, kilobytes = line.split()[:2]
                total[name.rstrip(":")] = total.get(name.rstrip(":"), 0) + int(kilobytes)
    return total


def processor_seconds(pids):
    """Of all their threads, those that have ended too, from the processes' own clocks: /proc rounds to 10 ms."""
    return sum(time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)


def wakeups(pids):
    """How often a thread has gone to sleep, and so was woken."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total
