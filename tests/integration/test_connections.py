# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that are many, slow, or gone."""

import os
import resource
import socket
import time

import harness
from harness import API, processes, wait_for


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(node):
    return socket.create_connection(("127.0.0.1", node.api_port), timeout=10)


def with_descriptors(n):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))


def test_a_thousand_idle_connections(mesh_node):
    with_descriptors(3000)
    idle = [connect(mesh_node) for _ in range(1000)]
    for connection in idle[::2]:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n")
    slowest = 0.0
    for number in range(50):
        begin = time.monotonic()
        assert mesh_node.run(f"echo {number}")["stdout"] == f"{number}\n"
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 1
    before = processor_seconds(mesh_node.pid)
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() - begin > 2, 5)
    assert processor_seconds(mesh_node.pid) - before < 0.2, "they cost no time"
    for connection in idle[::2]:
        connection.sendall(b"\r\n")
    for connection in idle[::2]:
        assert connection.recv(16).startswith(b"HTTP/1.1 200")
    for connection in idle:
        connection.close()
    wait_for(lambda: descriptors(mesh_node.pid) < 200, what="their descriptors are given back")


def test_more_connections_than_allowed(make_node):
    node = make_node(environment={"CONNECTIONS_MAX": "16"}).start()
    extra = [connect(node) for _ in range(64)]
    assert descriptors(node.pid) < 100
    for connection in extra:
        connection.close()
    assert wait_for(node.answers)
    assert node.run("echo room")["stdout"] == "room\n"


def test_clients_that_leave_while_they_wait(make_node, tmp_path):
    node = make_node(slots=1).start()
    job_id = node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done")
    before = descriptors(node.pid)
    waiting = [connect(node) for _ in range(100)]
    for connection in waiting:
        connection.sendall(f"GET {API}/jobs/{job_id}?wait=5min HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_for(lambda: descriptors(node.pid) >= before + 95)
    for connection in waiting:
        connection.close()
    wait_for(lambda: descriptors(node.pid) <= before + 1, what="it notices that they left")
    (tmp_path / "go").touch()
    assert node.finish(job_id)["stdout"] == "done\n"


def test_clients_that_leave_a_stream(make_node, tmp_path):
    node = make_node().start()
    job_id = node.submit(f"while ! [ -e {tmp_path}/go ]; do echo line; sleep 0.05; done")
    before = descriptors(node.pid)
    for _ in range(30):
        connection = connect(node)
        connection.sendall(
            f"GET {API}/jobs/{job_id}/stdout?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert connection.recv(10)
        connection.close()
    wait_for(lambda: descriptors(node.pid) <= before + 1, what="it notices that they left")
    (tmp_path / "go").touch()
    assert node.finish(job_id)["status"] == "JOB_COMPLETED"


def test_a_thousand_that_wait_for_one_job(make_node, tmp_path):
    with_descriptors(3000)
    node = make_node().start()
    job_id = node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done")
    request = f"GET {API}/jobs/{job_id}?wait=1min HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    waiting = [connect(node) for _ in range(1000)]
    for connection in waiting:
        connection.sendall(request)
    assert node.get("/health").status == 200
    (tmp_path / "go").touch()
    for connection in waiting:
        data = b""
        while b'"JOB_COMPLETED"' not in data:
            piece = connection.recv(65536)
            assert piece, data
            data += piece
        connection.close()


def test_a_reader_that_does_not_read(make_node):
    """A large answer to a client that never takes it does not stop the others."""
    node = make_node().start()
    job_id = node.submit("head -c 1000000 /dev/zero | tr '\\0' x")
    node.finish(job_id)
    lazy = []
    for _ in range(20):
        connection = connect(node)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET {API}/jobs/{job_id}/stdout HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        lazy.append(connection)
    begin = time.monotonic()
    assert len(node.output(job_id)) == 1000000
    assert time.monotonic() - begin < 5
    for connection in lazy:
        connection.close()


def test_nothing_leaks(make_node):
    node = make_node().start()
    node.run("true")
    executor = node.executor_pid()
    before = descriptors(node.pid), descriptors(executor)
    for number in range(300):
        if number % 3 == 0:
            connect(node).close()
        node.get("/jobs?limit=1")
        node.get("/nowhere")
        node.request("POST", API + "/jobs", b"{", {"Content-Type": "application/json"})
    for job_id in node.submit_many(["echo x"] * 300):
        node.finish(job_id)
    wait_for(lambda: descriptors(node.pid) <= before[0] + 2, what="the daemon's descriptors")
    wait_for(lambda: descriptors(executor) <= before[1] + 8, what="the executor's descriptors")
    assert not processes.with_variable("NODE_ID", node.node_id)


def test_idle_costs_nothing(mesh_node):
    executor = mesh_node.executor_pid()
    mesh_node.run("true")
    before = processor_seconds(mesh_node.pid) + processor_seconds(executor)
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() - begin > 3, 5, interval=0.5)
    used = processor_seconds(mesh_node.pid) + processor_seconds(executor) - before
    assert used <= (0.2 if mesh_node.is_sanitized() else 0.05)


def test_harness_ports_are_free():
    assert 20000 <= harness.free_port() < 32000
