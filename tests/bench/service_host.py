# SPDX-License-Identifier: LGPL-2.1-or-later
"""A node as the service on a host of tests/lab, and one from a terminal beside it, for the benchmarks.

Both run on one machine in the same namespaces, with the same programs, and their databases lie side by side on a disk
of this machine, as the journal does: what a host of the lab has by itself is a tmpfs."""

import collections
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

import node
import processes
from node import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lab"))
import hosts
import service

PROGRAMS_FOLDER = "/usr/local/bin"
API_SOCKET = "/run/worker-mesh/api.sock"
SERVICE_PORT = 3000
TERMINAL_PORT = 3100
TERMINAL_DISCOVERY_PORT = 8180
START_SECONDS = 20
QUIET_SECONDS = 0.05  # without anything to do journald is waiting
MESSAGE_JOB_FINISHED = "71ec16ecaa40431c909f7a02f51a62c5"


def why_unavailable():
    return hosts.why_unavailable(os.environ.get("LAB_ROOT", "/"))


def processor_seconds(cgroup):
    """Of all that is or was in a control group and below it."""
    with open(os.path.join(cgroup, "cpu.stat"), encoding="ascii") as file:
        return int(dict(line.split() for line in file)["usage_usec"]) / 1e6


def pids_in(cgroup):
    """Of processes in a control group and below it, as this machine sees them."""
    found = []
    for folder, _, _ in os.walk(cgroup):
        with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
            found += [int(line) for line in file]
    return found


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        path = next(line[3:].strip() for line in file if line.startswith("0::"))
    return hosts.cgroup_root() + path


def _is_ready(log_path):
    with contextlib.suppress(OSError), open(log_path, encoding="utf-8", errors="replace") as file:
        return "  slots " in file.read()
    return False


class Side:
    """A node of which jobs are measured, and what they have cost until now, by who has spent it."""

    def __init__(self, host, port, state):
        self.host, self.port, self.state = host, port, state
        self.n_jobs = 0
        self.costs = collections.Counter()

    def run_jobs(self, count):
        """Its rate counts until all that it has caused is over, too: the lines in the journal."""
        before = self.spent()
        figures = self.host.program("bench-jobs", port=self.port, batch=count)
        seconds = count / figures["rate"] + self.settle()
        for name, spent in self.spent().items():
            self.costs[name] += spent - before[name]
        self.n_jobs += count
        return {"rate": count / seconds}

    def settle(self):
        """Waits until what was caused is over; for how long it has gone on, in seconds."""
        return 0.0

    def usec_per_job(self):
        return {name: seconds / self.n_jobs * 1e6 for name, seconds in self.costs.items()}

    def count_jobs(self, status):
        return node.count_jobs(self.state, status)


class Service(Side):
    def __init__(self, host):
        super().__init__(host, SERVICE_PORT, f"{host.folder}/service")
        self.lags = []

    def spent(self):
        host = self.host
        executor = node.processor_seconds(host.pids("worker-mesh-executor"))
        return {
            "daemon": node.processor_seconds(host.pids("worker-mesh")),
            "executor": executor,
            "jobs": processor_seconds(host.cgroup("worker-mesh-executor")) - executor,
            "journald": node.processor_seconds(host.pids("systemd-journald")),
            "dbus-daemon": node.processor_seconds(host.pids("dbus")),
            "PID 1": node.processor_seconds([host.host.pid]),
        }


    def settle(self):
        journald = self.host.pids("systemd-journald")
        begin = last = time.monotonic()
        spent = node.processor_seconds(journald)
        while time.monotonic() < last + QUIET_SECONDS:
            time.sleep(QUIET_SECONDS / 10)
            now_spent = node.processor_seconds(journald)
            if now_spent > spent:
                spent, last = now_spent, time.monotonic()
        self.lags.append(last - begin)
        return last - begin

    def count_lines(self):
        """Of the journal, about jobs that have ended."""
        command = f"journalctl --quiet --output=cat -u worker-mesh MESSAGE_ID={MESSAGE_JOB_FINISHED} | wc -l"
        return int(self.host.host.run(command).stdout)


class Terminal(Side):
    def __init__(self, host):
        super().__init__(host, TERMINAL_PORT, f"{host.folder}/terminal")
        # Among them is the nsenter that waits for the daemon.
        by_name = {node.name_of(pid): pid for pid in processes.using(self.state)}
        self.daemon, self.executor = by_name["worker-mesh"], by_name["worker-mesh-exe"]
        self.cgroup = cgroup_of(self.daemon)

    def spent(self):
        daemon, executor = node.processor_seconds([self.daemon]), node.processor_seconds([self.executor])
        return {
            "daemon": daemon,
            "executor": executor,
            "jobs": processor_seconds(self.cgroup) - daemon - executor,
        }


def _mount(host, folder, target):
    command = [sys.executable, f"{HERE}/mount_into.py", str(host.pid), folder, target]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failure(f"{folder} cannot be mounted on a host: {result.stderr.strip()}")


def make_folder(bench, host, names):
    """On the disk of this machine, and of the same name on the host: its processes are found by it."""
    folder = tempfile.mkdtemp(prefix="h", dir=bench.directory)
    os.chmod(folder, 0o755)
    for name in names:
        os.mkdir(f"{folder}/{name}")
    _mount(host, folder, folder)
    return folder


def prepare(bench, host, folder, settings):
    """All but the start of the service: its state and the journal lie in the folder, the programs are there."""
    _mount(host, f"{folder}/service", "/var/lib/worker-mesh")
    _mount(host, f"{folder}/journal", "/var/log/journal")
    host.run("systemctl restart systemd-journald")
    programs = os.path.join(bench.build, "tests", "bench")
    for name in os.listdir(programs):
        if name.startswith("bench-") and os.access(f"{programs}/{name}", os.X_OK) and "." not in name:
            shutil.copy(f"{programs}/{name}", host.path(PROGRAMS_FOLDER))
    host.write("/etc/worker-mesh/worker-mesh.conf.d/bench.conf", f"[Mesh]\n{settings}\n")
    host.activate()


def start(host):
    host.run("systemctl start worker-mesh")
    hosts.wait_for(lambda: host.get("/status")["executor_connected"], START_SECONDS, f"{host} has its executor")


def program_on(host, name, **options):
    """Runs a program of this folder on a host, as root; its figures by name."""
    words = node.words(f"{PROGRAMS_FOLDER}/{name}", options)
    result = host.run(*words, check=False, timeout=node.PROGRAM_SECONDS)
    return node.figures_of(name, result.status, result.stdout, result.stderr)


class ServiceHost:
    """One host with the service; used with "with". settings: lines of [Mesh]."""

    def __init__(self, bench, settings=""):
        self.bench, self.settings = bench, settings
        self.lab = hosts.Lab(build=bench.build)
        self.host = None
        self.folder = None

    def __enter__(self):
        try:
            self._start()
        except AssertionError as error:
            self.lab.close()
            raise Failure(str(error)) from error
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.lab.close()

    def _start(self):
        self.host = self.lab.up(1)[0]
        self.folder = make_folder(self.bench, self.host, ("service", "terminal", "journal"))
        prepare(self.bench, self.host, self.folder, self.settings)
        self.start()

    def start(self, host=None):
        start(host or self.host)

    def run_some(self, count):
        Service(self).run_jobs(count)

    def stop(self):
        self.host.run("systemctl stop worker-mesh")

    def up(self, n):
        """More hosts, with the service; returns when all see each other."""
        more = self.lab.up(n)
        key = self.host.run("cat", service.KEY_PATH).stdout
        for host in more:
            host.activate()
            service.give_key(host, key)
            self.start(host)
        for host in [self.host, *more]:
            hosts.wait_for(lambda host=host: host.get("/status")["peer_count"] == n, START_SECONDS, "they see each other")

    @contextlib.contextmanager
    def terminal(self):
        """A node started as in a terminal of the host, by root."""
        options = f"--api-port {TERMINAL_PORT} --discovery-port {TERMINAL_DISCOVERY_PORT} --interface lo"
        state = f"{self.folder}/terminal"
        with self.host.background(f"exec worker-mesh {options} --state-dir {state} >{state}/log 2>&1"):
            hosts.wait_for(lambda: _is_ready(f"{state}/log"), START_SECONDS, "the node in the terminal is ready")
            yield Terminal(self)

    def program(self, name, **options):
        """Runs a program of this folder on the host, as root; its figures by name."""
        return program_on(self.host, name, **options)

    def cgroup(self, unit):
        return f"{self.host.cgroup}/system.slice/{unit}.service"

    def pids(self, unit):
        """Of the processes that the unit started, as this machine sees them: not of jobs."""
        path = self.cgroup(unit)
        return pids_in(f"{path}/supervisor" if os.path.isdir(f"{path}/supervisor") else path)
