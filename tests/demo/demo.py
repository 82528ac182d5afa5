#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Three nodes on this machine find each other and run a few jobs; then everything is gone again.

usage: demo.py WORKER-MESH EXECUTOR
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import processes

API_PORTS = (3001, 3002, 3003)
LIMIT_SECONDS = 14  # for everything

JOBS = (
    (3001, {"command": "uname -sr"}),
    (3002, {"command": "ls /etc | wc -l"}),
    (
        3003,
        {
            "command": 'echo "$GREETING from $NODE_ID"',
            "env": {"GREETING": "Good morning"},
            "timeout_seconds": 10,
        },
    ),
    (3001, {"command": "ls /no/such/folder"}),
    (3002, {"command": "echo begun; sleep 60", "timeout_seconds": 1}),
)


class Failure(Exception):
    """Something that the person at the terminal can act on."""


class Node:
    def __init__(self, program, executor, port, discovery_port, directory):
        self.port = port
        self.state_directory = os.path.join(directory, str(port))
        self.log_path = os.path.join(directory, f"{port}.log")
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": directory,
            "EXECUTOR_PROGRAM": executor,
        }
        command = [program, "--api-port", str(port), "--discovery-port", str(discovery_port)]
        command += ["--interface", "lo", "--state-dir", self.state_directory]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=directory
            )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/api/v1"

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read().rstrip()

    def check(self):
        if self.process.poll() is not None:
            raise Failure(f"the node on port {self.port} ended with status {self.process.returncode}:\n{self.log()}")


def check_ports():
    taken = []
    for port in API_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(str(port))
    if taken:
        raise Failure(
            f"TCP port {', '.join(taken)} of 127.0.0.1 is in use. The demo needs 3001, 3002 and 3003: end what "
            f"listens there (ss -ltnp shows it), and try again."
        )


def free_discovery_port():
    """Not 8080, where a mesh that runs already would hear us."""
    for port in range(18080, 18180):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port
    raise Failure("no UDP port between 18080 and 18179 is free for discovery.")


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--max-time", "10", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failure(f"{shlex.join(command)}: {result.stderr.strip()}")
    try:
        return json.loads(result.stdout)
    except ValueError:
        raise Failure(f"{shlex.join(command)} answered {result.stdout!r}") from None


def wait_until(what, condition, nodes, deadline):
    while not condition():
        for node in nodes:
            node.check()
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {LIMIT_SECONDS} s.\n\n" + "\n\n".join(node.log() for node in nodes))
        time.sleep(0.05)


def answers(node):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", node.port), timeout=1):
        return True
    return False


def peer_count(node):
    return curl(f"{node.url}/peers")["count"]


def print_table(heading, rows):
    table = [heading] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()


def show_peers(nodes):
    rows = []
    for node in nodes:
        for peer in sorted(curl(f"{node.url}/peers")["peers"], key=lambda peer: peer["node_id"]):
            rows.append((f":{node.port}", peer["node_id"], peer["address"], peer["status"], peer["version"]))
    print("Every node sees the two others:\n")
    print_table(["ASKED", "PEER", "ADDRESS", "STATUS", "VERSION"], rows)


def submit(port, job):
    arguments = ["-X", "POST", f"http://127.0.0.1:{port}/api/v1/jobs"]
    arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(job)]
    print("  curl " + shlex.join(arguments).replace("127.0.0.1", "localhost"))
    answer = curl(*arguments)
    if "job_id" not in answer:
        raise Failure(f"the job was refused: {answer.get('error', answer)}")
    return port, answer["job_id"]


def last_line(job):
    text = job["error_message"] or job["stdout"]
    lines = text.strip().splitlines()
    return lines[-1][:70] if lines else ""


def show_results(submitted):
    rows = []
    for port, job_id in submitted:
        job = curl(f"http://127.0.0.1:{port}/api/v1/jobs/{job_id}?wait=10s")
        exit_code = "-" if job["exit_code"] is None else job["exit_code"]
        rows.append((f":{port}", job_id[:8], job["status"], exit_code, job["command"][:34], last_line(job)))
    print_table(["NODE", "JOB", "STATUS", "EXIT", "COMMAND", "OUTPUT OR REASON"], rows)
    return [row[2] for row in rows]


def stop(nodes, directory):
    """Stops the nodes as Ctrl-C would; whatever is left after that is ended by process id."""
    for node in nodes:
        processes.send(node.process.pid, signal.SIGTERM)
    for node in nodes:
        try:
            node.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait()
    processes.end(processes.using(directory), grace=1)


def run(program, executor, directory, nodes):
    deadline = time.monotonic() + LIMIT_SECONDS
    check_ports()
    discovery_port = free_discovery_port()
    print(f"Three nodes, REST on ports 3001, 3002 and 3003, discovery on {discovery_port}/udp of loopback.\n")
    for port in API_PORTS:
        nodes.append(Node(program, executor, port, discovery_port, directory))
    begin = time.monotonic()
    for node in nodes:
        wait_until(f"port {node.port} answers", lambda node=node: answers(node), nodes, deadline)
    wait_until("each node sees two peers", lambda: all(peer_count(node) == 2 for node in nodes), nodes, deadline)
    print(f"They found each other after {time.monotonic() - begin:.1f} s.\n")
    show_peers(nodes)
    print("Five jobs, given to the three; each runs where there is room:\n")
    submitted = [submit(port, job) for port, job in JOBS]
    print("\nWhat became of them:\n")
    statuses = show_results(submitted)
    expected = ["JOB_COMPLETED"] * 3 + ["JOB_FAILED", "JOB_TIMEOUT"]
    if statuses != expected:
        raise Failure(f"the jobs should have ended as {', '.join(expected)}.")


def say_how_to_keep_it(program):
    path = os.path.relpath(program, os.environ.get("MESON_SOURCE_ROOT", os.getcwd()))
    if path.startswith(".."):
        path = program
    print("That was all: nothing is left running. To keep a mesh, start each node in a terminal of its own:\n")
    for port in API_PORTS:
        print(f"  {path} --api-port {port} --interface lo")
    print("\nand end it with Ctrl-C. Without --interface lo they also find nodes on other machines of the network.")


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    program, executor = (os.path.abspath(path) for path in sys.argv[1:])
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    nodes = []
    with tempfile.TemporaryDirectory(prefix="worker-mesh-demo-") as directory:
        try:
            run(program, executor, directory, nodes)
        except Failure as failure:
            print(f"\nThe demo did not work: {failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            stop(nodes, directory)
    say_how_to_keep_it(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
