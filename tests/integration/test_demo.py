# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo that the README begins with. It has fixed ports, as a person would type them."""

import os
import socket
import subprocess
import sys
import time

import harness
import pytest

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo", "demo.py")
PORTS = (3001, 3002, 3003)


def listen(port):
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


@pytest.fixture(autouse=True)
def free_ports():
    try:
        for port in PORTS:
            listen(port).close()
    except OSError as error:
        pytest.skip(f"the demo needs ports 3001, 3002 and 3003 of this machine: {error}")


def run_demo(executor=harness.EXECUTOR):
    command = [sys.executable, DEMO, harness.PROGRAM, executor]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def nothing_is_left():
    marker = b"worker-mesh-demo-"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if marker in file.read() and harness.processes.is_alive(int(pid)):
                    return False
        except OSError:
            pass
    return True


def test_it_works():
    begin = time.monotonic()
    result = run_demo()
    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - begin < 15
    assert result.stderr == ""
    for piece in (
        "found each other", "Good morning from node-", "JOB_FAILED", "JOB_TIMEOUT",
        "worker-mesh --api-port 3001 --interface lo",
    ):  # fmt: skip
        assert piece in result.stdout
    harness.wait_for(nothing_is_left)


def test_a_port_that_is_taken():
    with listen(3002):
        result = run_demo()
    assert result.returncode == 1
    assert "3002" in result.stderr and "in use" in result.stderr
    assert len(result.stderr.splitlines()) < 10
    harness.wait_for(nothing_is_left)


def test_an_executor_that_is_not_there(tmp_path):
    result = run_demo(str(tmp_path / "gone"))
    assert result.returncode == 1
    assert "gone" in result.stderr
    harness.wait_for(nothing_is_left)
