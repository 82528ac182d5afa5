# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real node for a test: started on free ports and loopback, asked over HTTP, and ended by process id with its
executor and its jobs. Nothing here waits for a fixed time: wait_for() waits for a condition with a deadline."""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import processes

PROGRAM = os.environ.get("WORKER_MESH", "")
EXECUTOR = os.environ.get("WORKER_MESH_EXECUTOR", "")
# Whether tests may take minutes: meson configure -Dslow-tests=true
SLOW = os.environ.get("SLOW_TESTS") == "true"
API = "/api/v1"
FINAL = {"JOB_COMPLETED", "JOB_FAILED", "JOB_TIMEOUT", "JOB_CANCELLED"}
NODE_ID = re.compile(r"node-[0-9a-f]{16}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error: ")
CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}

PORTS_USED = set()

# Short, so that a test sees in a second what users see in a minute.
SETTINGS = {
    "HEARTBEAT_INTERVAL": "200ms",
    "PEER_TIMEOUT": "2s",
    "DRAIN_TIMEOUT": "5s",
    "KILL_GRACE": "500ms",
}


def wait_for(condition, deadline=10.0, what=None, interval=0.02):
    """The first true value of condition(); a failure that names the condition when the deadline has passed."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}; last value {value!r}")
        time.sleep(interval)


def free_port():
    """A number that is free for TCP and UDP, outside the range that the kernel gives to outgoing connections; never the
    same one twice."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        if port in PORTS_USED:
            continue
        PORTS_USED.add(port)
        with contextlib.suppress(OSError):
            with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("0.0.0.0", port))
                return port


def open_to_others(directory, levels=4):
    """Lets other users reach a folder of pytest, which makes its own for itself only."""
    for _ in range(levels):
        os.chmod(directory, 0o755)
        directory = os.path.dirname(directory)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(connection, method, path, body=None, headers=None):
    """One request on an open connection. A body that is neither bytes nor None is sent as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return Response(answer.status, answer.headers, answer.read())


class Node:
    def __init__(self, directory, options=(), environment=None, **settings):
        """settings: program, executor, api_port, discovery_port, node_port, state_dir, interface, api_socket, slots,
        user (a uid), key_file, prefix (words before the program), pass_fds (descriptors that it inherits). None leaves an
        option out."""
        self.directory = str(directory)
        self.program = settings.get("program", PROGRAM)
        self.executor = settings.get("executor", EXECUTOR)
        self.api_port = settings.get("api_port", 0) or free_port()
        self.discovery_port = settings.get("discovery_port", 0) or free_port()
        self.state_dir = settings.get("state_dir") or os.path.join(self.directory, "state")
        self.key_file = settings.get("key_file") or os.path.join(os.path.dirname(self.directory), "mesh.key")
        self.api_socket = settings.get("api_socket")
        self.user = settings.get("user")
        self.prefix = list(settings.get("prefix", ()))
        self.pass_fds = tuple(settings.get("pass_fds", ()))
        self.options = [
            "--api-port", self.api_port, "--discovery-port", self.discovery_port, "--state-dir", self.state_dir,
        ]  # fmt: skip
        for option, name, value in (
            ("--node-port", "node_port", free_port()),
            ("--interface", "interface", "lo"),
            ("--api-socket", "api_socket", None),
            ("--slots", "slots", None),
        ):
            value = settings.get(name, value)
            self.options += [option, value] if value is not None else []
        self.options += options
        self.environment = {**SETTINGS, **(environment or {})}
        self.process = None
        self.launches = 0
        self.known_id = None

    # Its life.

    def launch(self):
        """Starts the daemon and does not wait for anything."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.directory,
            "LANG": "C.UTF-8",
            "EXECUTOR_PROGRAM": self.executor,
        }
        # The nodes of one test belong to one mesh, unless somebody else could not read its key.
        if self.user is None:
            environment["KEY_FILE"] = self.key_file
        environment |= {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        environment |= self.environment
        command = [*self.prefix, self.program, *(str(option) for option in self.options)]
        self.launches += 1
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.directory,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                pass_fds=self.pass_fds,
            )
        return self

    def start(self, deadline=20.0):
        """Starts the daemon and returns when it answers."""
        self.launch()
        wait_for(self.answers, deadline, f"the node answers on port {self.api_port}")
        self.known_id = self.get("/health").json()["node_id"]
        # Until then jobs would only wait.
        wait_for(self.has_executor, deadline, "the node has its executor")
        return self

    def answers(self):
        status = self.process.poll()
        assert status is None, f"the daemon ended with status {status}:\n{self.log()}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/health", timeout=2).status in (200, 503)
        return False

    def has_executor(self):
        return bool(self.executor_pids())

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, deadline=15.0):
        """As Ctrl-C does. Returns the exit status."""
        self.send(signal.SIGTERM)
        return self.process.wait(deadline)

    def kill(self):
        """The daemon alone, without a warning."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def end(self):
        """Whatever is left of it, jobs included. Returns what a test must not overlook, or None."""
        if self.process is None:
            return None
        self.send(signal.SIGCONT)
        for patience in (3, 2):
            if self.process.poll() is None:
                self.send(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        if self.process.poll() is None:
            self.kill()
        processes.end(processes.using(self.state_dir), grace=1)
        if self.known_id:
            processes.end(processes.with_variable("NODE_ID", self.known_id), grace=0)
        if self.process.returncode in CRASHES:
            return f"the daemon ended by signal {-self.process.returncode}"
        if SANITIZER.search(self.all_logs()):
            return "a sanitizer found something"
        return None

    @property
    def pid(self):
        return self.process.pid

    def executor_pids(self):
        return [pid for pid in processes.using(self.state_dir) if pid != self.process.pid and self.is_executor(pid)]

    def is_executor(self, pid):
        # By what it is: seen from another mount namespace its path may be another one.
        with contextlib.suppress(OSError):
            return os.path.samefile(f"/proc/{pid}/exe", self.executor)
        return False

    def executor_pid(self):
        return wait_for(self.executor_pids, what="an executor runs")[0]

    def is_sanitized(self):
        """Whether memory and time say nothing about the program as it is used."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="replace") as file:
            return re.search(r"lib[atu]b?san", file.read()) is not None

    # What it left behind.

    @property
    def log_path(self):
        return os.path.join(self.directory, f"log-{self.api_port}-{self.launches}")

    def log(self):
        """Of the last start: stdout and stderr."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def all_logs(self):
        texts = []
        for launch in range(1, self.launches + 1):
            with contextlib.suppress(OSError), open(
                os.path.join(self.directory, f"log-{self.api_port}-{launch}"), encoding="utf-8", errors="replace"
            ) as file:
                texts.append(file.read())
        return "\n-- next start --\n".join(texts)

    @property
    def node_id(self):
        if self.known_id is None:
            self.known_id = self.get("/health").json()["node_id"]
        return self.known_id

    @property
    def database(self):
        return os.path.join(self.state_dir, f"worker_{self.node_id}.db")

    # Asking it.

    @property
    def url(self):
        return f"http://127.0.0.1:{self.api_port}"

    def connection(self, timeout=30.0):
        if self.api_socket:
            return UnixConnection(self.api_socket, timeout)
        return http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=30.0):
        """path as on the wire."""
        connection = self.connection(timeout)
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", API + path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", API + path, body, **more)

    def submit(self, command, **fields):
        """Returns the id of a job that was accepted."""
        answer = self.post("/jobs", {"command": command, **fields})
        assert answer.status == 201, answer
        return answer.json()["job_id"]

    def submit_many(self, commands, **fields):
        lines = [json.dumps({"command": command, **fields}) for command in commands]
        answer = self.post("/jobs", "\n".join(lines).encode(), headers={"Content-Type": "application/x-ndjson"})
        assert answer.status == 201, answer
        return [job["job_id"] for job in answer.json()["jobs"]]

    def job(self, job_id):
        answer = self.get(f"/jobs/{job_id}")
        assert answer.status == 200, answer
        return answer.json()

    def outcomes(self, job_id):
        """Of earlier attempts."""
        return [attempt["outcome"] for attempt in self.job(job_id).get("attempts", [])]

    def finish(self, job_id, deadline=30.0):
        """The job when it has ended."""
        end = time.monotonic() + deadline
        while True:
            answer = self.get(f"/jobs/{job_id}?wait=5s", timeout=deadline + 10)
            assert answer.status == 200, answer
            if answer.json()["status"] in FINAL:
                return answer.json()
            assert time.monotonic() < end, f"not ended within {deadline} s: {answer}"

    def run(self, command, deadline=30.0, **fields):
        return self.finish(self.submit(command, **fields), deadline)

    def output(self, job_id, stream="stdout"):
        answer = self.get(f"/jobs/{job_id}/{stream}")
        assert answer.status == 200, answer
        return answer.body

    def jobs(self, **query):
        """Every job, newest first, page by page."""
        found, cursor = [], None
        while True:
            arguments = {"limit": 1000, **query, **({"cursor": cursor} if cursor else {})}
            page = self.get("/jobs?" + "&".join(f"{name}={value}" for name, value in arguments.items())).json()
            found += page["jobs"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    def wait_until_all_ended(self, deadline=60.0):
        """On disk, which is a moment after nothing runs any more."""
        path = "/jobs?limit=1&status=pending,running"
        wait_for(lambda: not self.get(path).json()["jobs"], deadline, "all jobs have ended")

    def status(self):
        return self.get("/status").json()

    def peers(self):
        return {peer["node_id"]: peer for peer in self.get("/peers").json()["peers"]}

    def sees(self, *others):
        return set(self.peers()) == {other.node_id for other in others}
