# SPDX-License-Identifier: LGPL-2.1-or-later
"""The node on the system bus, as an administrator meets it with busctl and systemctl."""

import contextlib
import json
import re
import socket
import struct

import pytest
from hosts import wait_for
from service import ended, is_ready, main_pid, share_key

NAME = "org.workermesh.Mesh1"
NODE = f"{NAME} /org/workermesh/Mesh1"
MANAGER = f"{NODE} {NAME}.Manager"


@pytest.fixture(scope="module")
def two(lab):
    """Two hosts that see each other."""
    hosts = lab.up(2)
    for host in hosts:
        host.activate()
        host.run("useradd --no-create-home visitor && useradd --no-create-home --groups worker-mesh admin")
    share_key(hosts)
    for host in hosts:
        host.run("systemctl start worker-mesh")
    for host in hosts:
        wait_for(lambda: is_ready(host) and host.get("/peers")["count"] == 1, 10)
    return hosts


@pytest.fixture
def host(two):
    return two[0]


def busctl(host, line, **how):
    return host.run(f"busctl {line}", **how)


def get(host, name):
    return json.loads(busctl(host, f"--json=short get-property {MANAGER} {name}").stdout)["data"]


def submit(host, command, options="0", **how):
    """The line of the README, and what it answers: the job's id and its object."""
    answer = busctl(host, f"call {MANAGER} SubmitJob 'sa{{sv}}' '{command}' {options}", **how)
    return re.fullmatch(r'so "([0-9a-f-]{36})" "(/org/workermesh/Mesh1/job/[0-9a-f]{32})"\n', answer.stdout).groups()


def test_submit(host):
    job_id, path = submit(host, "echo by bus; exit 2")
    job = ended(host, job_id)
    assert (job["stdout"], job["exit_code"], job["submitter"]) == ("by bus\n", 2, "uid:0")
    assert path.endswith(job_id.replace("-", ""))
    answer = busctl(host, f"get-property {NAME} {path} {NAME}.Job Status ExitCode").stdout
    assert answer == 's "JOB_FAILED"\ni 2\n'


def test_properties(host):
    status = host.get("/status")
    assert get(host, "NodeId") == status["node_id"]
    assert get(host, "Slots") == status["slots"]
    assert get(host, "PeerCount") == 1
    peers = json.loads(busctl(host, f"--json=short call {MANAGER} ListPeers").stdout)["data"][0]
    assert [peer[0] for peer in peers] == [peer["node_id"] for peer in host.get("/peers")["peers"]]


def test_introspection(host):
    text = busctl(host, f"introspect {NODE}").stdout
    for member in (".SubmitJob", ".SubmitJobs", ".GetJob", ".ListJobs", ".CancelJob", ".ListPeers", ".Subscribe"):
        assert re.search(rf"^{re.escape(member)} +method", text, re.MULTILINE), member
    for member in (".NodeId", ".Status", ".Version", ".Slots", ".RunningJobs", ".QueuedJobs", ".PeerCount"):
        assert re.search(rf"^{re.escape(member)} +property", text, re.MULTILINE), member
    for member in (".JobNew", ".JobRemoved", ".PeerAdded", ".PeerRemoved"):
        assert re.search(rf"^{re.escape(member)} +signal", text, re.MULTILINE), member


def test_names(two):
    for host in two:
        names = busctl(host, "list --acquired").stdout
        digits = host.get("/status")["node_id"].removeprefix("node-")
        assert re.search(rf"^{re.escape(NAME)} ", names, re.MULTILINE)
        assert re.search(rf"^{re.escape(NAME)}\.node_{digits} ", names, re.MULTILINE)


def header_field(code, signature, text):
    """Of a D-Bus message: a structure, padded to eight bytes."""
    data = bytes([code, 1]) + signature + b"\0" + struct.pack("<I", len(text)) + text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 8)


def call_without_arguments(serial, destination, path, interface, member):
    fields = header_field(1, b"o", path) + header_field(2, b"s", interface)
    fields += header_field(3, b"s", member) + header_field(6, b"s", destination)
    # The padding of the last field belongs to the header, not to the array.
    length = len(fields.rstrip(b"\0")) + 1
    return b"l\1\0\1" + struct.pack("<III", 0, serial, length) + fields


@contextlib.contextmanager
def subscriber(host):
    """A client that has subscribed and stays on the bus, which busctl does not."""
    bus = "org.freedesktop.DBus"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(host.path("/run/dbus/system_bus_socket"))
        client.sendall(b"\0AUTH EXTERNAL 30\r\n")
        assert client.recv(100).startswith(b"OK ")
        client.sendall(b"BEGIN\r\n")
        client.sendall(call_without_arguments(1, bus, "/org/freedesktop/DBus", bus, "Hello"))
        client.sendall(call_without_arguments(2, NAME, "/org/workermesh/Mesh1", f"{NAME}.Manager", "Subscribe"))
        # A field of a reply that says which call it answers.
        answered, received = b"\5\1u\0" + struct.pack("<I", 2), b""
        while answered not in received:
            received += client.recv(4096)
        yield client


def test_signals_of_jobs(host):
    """Come while somebody is subscribed."""
    match = f"sender='{NAME}',type='signal',interface='{NAME}.Manager'"
    with host.background(f'busctl monitor --json=short --match "{match}"') as monitor:
        wait_for(lambda: "Monitoring" in monitor.stdout.readline(), 5)
        ended(host, host.submit("true"))
        with subscriber(host):
            job_id = host.submit("true")
            seen = [json.loads(monitor.stdout.readline()) for _ in range(2)]
    assert [entry["member"] for entry in seen] == ["JobNew", "JobRemoved"]
    path = f"/org/workermesh/Mesh1/job/{job_id.replace('-', '')}"
    assert [entry["payload"]["data"] for entry in seen] == [[job_id, path], [job_id, path, "JOB_COMPLETED"]]


def test_peers_come_and_go(two):
    host, other = two
    node = other.get("/status")["node_id"]
    match = f"sender='{NAME}',type='signal',interface='{NAME}.Manager'"
    with host.background(f'busctl monitor --json=short --match "{match}"') as monitor:
        wait_for(lambda: "Monitoring" in monitor.stdout.readline(), 5)
        other.run("systemctl stop worker-mesh")
        seen = [json.loads(monitor.stdout.readline())]
        other.run("systemctl start worker-mesh")
        seen.append(json.loads(monitor.stdout.readline()))
    assert [(entry["member"], entry["payload"]["data"][0]) for entry in seen] == [
        ("PeerRemoved", node),
        ("PeerAdded", node),
    ]


def test_log_level(host):
    level = host.run("systemctl service-log-level worker-mesh").stdout.strip()
    assert level == "info"
    host.run("systemctl service-log-level worker-mesh debug")
    assert host.run("systemctl service-log-level worker-mesh").stdout == "debug\n"
    job_id = host.submit("true")
    ended(host, job_id)
    wait_for(lambda: host.journal("-u", "worker-mesh", "-p", "debug..debug"), 5, "debug messages are in the journal")
    host.run(f"systemctl service-log-level worker-mesh {level}")
    host.run("systemctl service-log-target worker-mesh journal")


# Who may.


@pytest.mark.parametrize("user, allowed", [("admin", True), ("visitor", False), ("worker-mesh-job", False)])
def test_who_may_submit(host, user, allowed):
    host.run("systemctl mask --now --runtime polkit.service", check=False)
    try:
        answer = busctl(host, f"call {MANAGER} SubmitJob 'sa{{sv}}' true 0", user=user, check=False)
        assert (answer.status == 0) == allowed, answer
        print(f"{user}: {answer.stdout}{answer.stderr}".strip())
        if not allowed:
            assert "denied" in answer.stderr.lower(), answer
    finally:
        host.run("systemctl unmask --runtime polkit.service", check=False)


RULE = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.workermesh.mesh1.submit-job" && subject.user == "visitor")
        return polkit.Result.YES;
});
"""


def test_polkit(host):
    """Where polkit is: a rule of the administrator opens it to a user, and without one it stays closed."""
    if host.run("systemctl cat polkit.service", check=False).status != 0:
        pytest.skip("polkit is not installed")
    answer = busctl(host, f"call {MANAGER} SubmitJob 'sa{{sv}}' true 0", user="visitor", check=False)
    print("without a rule:", answer.stderr.strip())
    assert answer.status != 0 and re.search("only root|uthori", answer.stderr), answer
    host.write("/etc/polkit-1/rules.d/10-visitor.rules", RULE)
    host.run("chown -R polkitd: /etc/polkit-1/rules.d && systemctl restart polkit.service")
    job_id, _ = submit(host, "id -un", user="visitor")
    job = ended(host, job_id)
    assert job["stdout"] == "worker-mesh-job\n"
    assert job["submitter"] == f"uid:{host.account('visitor').uid}"


# The bus itself.


def test_the_bus_goes_away_and_comes_back(host):
    pid = main_pid(host)
    job_id = host.submit("sleep 1; echo still here")
    host.run("systemctl stop dbus.socket dbus.service; systemctl start dbus.socket dbus.service", check=False)
    wait_for(lambda: busctl(host, f"get-property {MANAGER} NodeId", check=False).status == 0, 15, "it is on the new bus")
    assert main_pid(host) == pid
    assert ended(host, job_id)["stdout"] == "still here\n"
