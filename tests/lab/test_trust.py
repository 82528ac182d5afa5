# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts that become one mesh: by an invitation, by a copy of the key; and what a cable shows of it. The
tests of this file build on each other; the hosts are booted once."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile

import pytest
from hosts import wait_for
from service import KEY_PATH, ended, give_key, is_ready

CONFIGURATION = "[Mesh]\nHeartbeatInterval=1s\nPeerTimeout=10s\n"


@pytest.fixture(scope="module")
def three(lab):
    hosts = lab.up(3)
    for host in hosts:
        host.activate()
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
        host.run("systemctl start worker-mesh")
    for host in hosts:
        wait_for(lambda: is_ready(host), 20)
    return hosts


def members(host):
    return {peer["node_id"] for peer in host.get("/peers")["peers"] if peer["trusted"] and peer["verified"]}


def node_id(host):
    return host.get("/status")["node_id"]


def test_each_host_is_a_mesh_of_its_own(three):
    for host in three:
        wait_for(lambda: host.get("/status")["stranger_count"] == 2, 20, "it hears the others")
        assert host.get("/status")["peer_count"] == 0
        wait_for(lambda: "2 nodes without its key" in host.show("worker-mesh", "StatusText"), 5)
        mode = os.stat(host.path(KEY_PATH))
        assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == host.account("worker-mesh").uid
    assert len({host.get("/status")["mesh_id"] for host in three}) == 3


def test_by_an_invitation(three):
    first, second, _ = three
    token = first.run(
        "curl --silent --fail -X POST http://127.0.0.1:3000/api/v1/mesh/invite | jq -r .token"
    ).stdout.strip()
    body = f'{{"token":"{token}"}}'
    command = ["curl", "--silent", "--fail-with-body", "-H", "Content-Type: application/json", "-d", body]
    second.run(*command, "http://127.0.0.1:3000/api/v1/mesh/join")
    wait_for(lambda: members(first) == {node_id(second)} and members(second) == {node_id(first)}, 10, "they trust each other")
    job = first.submit("hostname", target_node_id=node_id(second))
    assert ended(first, job)["stdout"].strip() == second.name
    lines = first.journal("-u", "worker-mesh", "MESSAGE_ID=7c3824c6a4c7495692de8a2f5093f03b")
    assert len(lines) == 1 and second.address in lines[0]["MESSAGE"]
    assert not any(token in str(entry) for host in (first, second) for entry in host.journal())
    # A further instance of that host belongs to the mesh without being asked.
    second.run("systemctl start worker-mesh@3001")
    wait_for(lambda: len(members(first)) == 2, 20, "the second instance")
    second.run("systemctl stop worker-mesh@3001")
    wait_for(lambda: len(members(first)) == 1, 20)


def test_by_a_copy(three):
    """As a person does it who has no invitation. (No host of the lab has credentials: systemd cannot mount them there.)"""
    first, second, third = three
    give_key(third, first.read(KEY_PATH))
    third.run("systemctl reload worker-mesh")
    wait_for(lambda: members(third) == {node_id(first), node_id(second)}, 20, "it trusts both")
    job = third.submit("hostname", target_node_id=node_id(first))
    assert ended(third, job)["stdout"].strip() == first.name


def test_after_a_restart(three):
    for host in three:
        host.run("systemctl restart worker-mesh")
    for host in three:
        wait_for(lambda: is_ready(host) and len(members(host)) == 2, 30, f"{host} trusts both others")


# All that the cable of a host carries, to stdout, until stdin ends.
CAPTURE = """
import select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
wire.bind((sys.argv[1], 0))
print("ready", file=sys.stderr, flush=True)
ended = False
while True:
    ready = select.select([wire] if ended else [wire, sys.stdin], [], [], 0.5 if ended else None)[0]
    if not ready:
        break
    ended = ended or sys.stdin in ready
    if wire in ready:
        sys.stdout.buffer.write(wire.recv(1 << 17))
"""


@contextlib.contextmanager
def captured(lab, host):
    found = []
    command = ["nsenter", "--target", str(lab.init), "--net", sys.executable, "-c", CAPTURE, host.name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with tempfile.TemporaryFile() as file, subprocess.Popen(command, **{**pipes, "stdout": file}) as process:
        assert process.stderr.readline() == b"ready\n", process.stderr.read()
        yield found
        process.communicate(timeout=30)
        file.seek(0)
        found.append(file.read())


@pytest.mark.parametrize("security", ["closed", "open"])
def test_what_a_cable_shows(lab, three, security):
    """Jobs of a host that runs none, from their submission to their output. In the open this test sees it all."""
    owner, *others = three
    for host in three:
        text = f"{CONFIGURATION}Security={security}\nSlots={0 if host is owner else 4}\n"
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", text)
        host.run("systemctl restart worker-mesh")
    for host in three:
        wait_for(lambda: is_ready(host) and len(members(host)) == 2, 30, f"{host} trusts both others")
    words = [b"Kommandowort", b"Umgebungswort", b"Eingabewort", b"Ausgabewort"]
    with captured(lab, owner) as found:
        jobs = [
            owner.submit(
                f"cat >/dev/null; : {words[0].decode()}; echo {words[3].decode()[::-1]} | rev",
                env={"WORD": words[1].decode()},
                stdin=words[2].decode(),
            )
            for _ in range(20)
        ]
        for job_id in jobs:
            assert words[3].decode() in ended(owner, job_id)["stdout"]
        for host in others:
            assert ended(host, jobs[0])["status"] == "JOB_COMPLETED"
    (wire,) = found
    assert len(wire) > 20000
    assert {word for word in words if word in wire} == (set(words) if security == "open" else set())
