# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units on three hosts that see each other: what starts the daemon, what stops it, and how it is configured. The
tests of this file build on each other; the hosts are booted once."""

import json
import re

import pytest
from hosts import wait_for
from service import answers, is_off, is_ready, main_pid, share_key

CONFIGURATION = "[Mesh]\nHeartbeatInterval=1s\nPeerTimeout=10s\n"
NETWORK_SOCKETS = ("worker-mesh-discovery.socket", "worker-mesh-node.socket")
LOCAL_SOCKETS = ("worker-mesh.socket", "worker-mesh-api.socket")
EXPOSURE_MAX = 2.0


@pytest.fixture(scope="module")
def three(lab):
    """Installed and booted, and the daemon was never started."""
    hosts = lab.up(3)
    for host in hosts:
        host.activate()
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
    share_key(hosts)
    return hosts


def state(host, unit="worker-mesh.service"):
    return host.show(unit, "ActiveState")


def peers(host):
    return host.get("/peers")["count"]


def curl(host, path, *options):
    return host.run("curl", "--silent", "--max-time", "10", *options, f"http://127.0.0.1:3000/api/v1{path}")


# Files.


def test_verify(three):
    """What man pages there are is looked at where they are built."""
    host = three[0]
    units = "worker-mesh.service worker-mesh-executor.service worker-mesh@3001.service worker-mesh-executor@3001.service"
    sockets = " ".join(NETWORK_SOCKETS + LOCAL_SOCKETS) + " worker-mesh-executor.socket worker-mesh@3001.socket"
    result = host.run(f"systemd-analyze verify --man=no --recursive-errors=yes {units} {sockets} worker-mesh-stop.target")
    assert (result.stdout, result.stderr) == ("", "")


def test_exposure(three):
    exposure = {}
    for unit in ("worker-mesh.service", "worker-mesh@3001.service", "worker-mesh-executor.service"):
        text = three[0].run("systemd-analyze", "security", "--no-pager", unit).stdout
        exposure[unit] = float(re.search(r"exposure level for \S+: ([\d.]+)", text).group(1))
    print("exposure:", exposure)
    assert exposure["worker-mesh.service"] < EXPOSURE_MAX
    assert exposure["worker-mesh@3001.service"] < EXPOSURE_MAX


def test_sandbox_has_effect(three):
    """What the unit asks for is what the process has: the lab's kernel may ignore some of it silently."""
    host = three[0]
    host.run("systemctl start worker-mesh")
    status = dict(line.split(":\t", 1) for line in host.read(f"/proc/{main_pid(host)}/status").splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["Uid"].split() == [str(host.account("worker-mesh").uid)] * 4
    host.run("systemctl stop worker-mesh")
    wait_for(lambda: is_off(host), 10)


# What starts it.


def test_a_request_starts_it(three):
    host = three[0]
    host.run("systemctl", "start", *LOCAL_SOCKETS)
    assert state(host) == "inactive"
    assert json.loads(curl(host, "/health").stdout)["status"] == "healthy"
    assert state(host) == "active"
    assert state(host, "worker-mesh-executor.service") in ("active", "activating")
    host.run("systemctl stop worker-mesh")


def test_the_unix_socket_starts_it(three):
    host = three[0]
    wait_for(lambda: is_off(host), 10)
    assert host.request("GET", "/health")[0] == 200
    assert state(host) == "active"
    wait_for(lambda: is_ready(host), 10)


def test_a_heartbeat_starts_it(three):
    """One that was booted and never started: of the host that is up already."""
    host = three[1]
    three[0].run("systemctl start worker-mesh")
    sockets = " ".join(NETWORK_SOCKETS + LOCAL_SOCKETS)
    host.run(f"systemctl disable worker-mesh.service && systemctl enable {sockets}")
    host.crash()
    host.boot()
    wait_for(lambda: state(host) == "active", 10, "a heartbeat has started it")
    wait_for(lambda: is_ready(host), 10)
    host.run("systemctl preset worker-mesh.service")


def test_a_call_on_the_bus_starts_it(three):
    host = three[2]
    assert state(host) == "inactive"
    manager = "org.workermesh.Mesh1 /org/workermesh/Mesh1"
    result = host.run(f"busctl get-property {manager} org.workermesh.Mesh1.Manager NodeId")
    assert re.match(r's "node-[0-9a-f]{16}"', result.stdout)
    assert state(host) == "active"


def test_a_plain_start_is_enough(three):
    """Three hosts see each other, whatever was done to them before."""
    for host in three:
        host.run("systemctl stop worker-mesh")
        assert is_off(host)
    for host in three:
        host.run("systemctl start worker-mesh")
    for host in three:
        wait_for(lambda: answers(host) and peers(host) == 2, 20, f"{host} sees both others")
        assert json.loads(curl(host, "/peers").stdout)["count"] == 2
        addresses = {peer["address"] for peer in host.get("/peers")["peers"]}
        assert addresses == {f"{other.address}:8081" for other in three if other is not host}


# How it is told what to do.


def status_text(host):
    return host.show("worker-mesh", "StatusText")


def test_status_is_current(three):
    host = three[1]
    wait_for(lambda: re.search(r"\b2 peers\b", status_text(host)), 5, "STATUS= has the peers")
    status = host.get("/status")
    slots, here = status["slots"], {"target_node_id": status["node_id"]}
    jobs = [host.submit("sleep 1000", **here) for _ in range(slots + 2)]
    wait_for(lambda: f"{slots} running, 2 queued" in status_text(host), 5, "STATUS= has the jobs")
    for job_id in jobs:
        assert host.request("POST", f"/jobs/{job_id}/cancel")[0] in (200, 202)
    wait_for(lambda: "0 running, 0 queued" in status_text(host), 10, "STATUS= has their end")


def reload(host, **how):
    return host.run("systemctl reload worker-mesh", **how)


def messages(host, *matches):
    return [entry.get("MESSAGE") for entry in host.journal("-u", "worker-mesh", *matches)]


def test_reload(three):
    """A good file counts at once; a wrong one is refused as a whole, by name and line, and the daemon goes on."""
    host = three[1]
    pid = main_pid(host)
    drop_in = "/etc/worker-mesh/worker-mesh.conf.d/50-slots.conf"
    host.write(drop_in, "[Mesh]\nSlots=7\n")
    reload(host)
    wait_for(lambda: host.get("/status")["slots"] == 7, 5, "the new file counts")
    host.write(drop_in, "[Mesh]\nSlots=9\nDrainTimeout=yesterday\n")
    reload(host, check=False)
    wait_for(lambda: any(f"{drop_in}:3" in message for message in messages(host)), 5, "the mistake is named")
    assert host.get("/status")["slots"] == 7
    host.write(drop_in, "[Mesh]\nSlots=5\n")
    reload(host)
    wait_for(lambda: host.get("/status")["slots"] == 5, 5, "a good file counts again")
    assert main_pid(host) == pid and state(host) == "active"


def test_a_wrong_file_at_the_start(three):
    """It says what is wrong, and systemd does not start it over and over. (What comes from the network would: a
    heartbeat starts any node that does not run, until the start limit.)"""
    host = three[1]
    wrong = "/etc/worker-mesh/worker-mesh.conf.d/60-wrong.conf"
    host.write(wrong, "[Mesh]\nSlots=many\n")
    host.cut()
    try:
        assert host.run("systemctl restart worker-mesh", check=False).status != 0
        assert host.show("worker-mesh", "ActiveState", "ExecMainStatus", "NRestarts") == {
            "ActiveState": "failed",
            "ExecMainStatus": "6",
            "NRestarts": "0",
        }
        assert any("60-wrong.conf:2" in message for message in messages(host))
    finally:
        host.run(f"rm {wrong} && systemctl reset-failed 'worker-mesh*'; systemctl restart worker-mesh")
        host.heal()
    wait_for(lambda: is_ready(host), 10)


def test_edit(three):
    """As "systemctl edit" does it: a drop-in of the unit."""
    host = three[1]
    host.run(
        "mkdir -p /etc/systemd/system/worker-mesh.service.d && "
        "printf '[Service]\\nEnvironment=SLOTS=3\\n' >/etc/systemd/system/worker-mesh.service.d/override.conf && "
        "systemctl daemon-reload && systemctl restart worker-mesh"
    )
    wait_for(lambda: answers(host) and host.get("/status")["slots"] == 3, 10)
    host.run("systemctl revert worker-mesh && systemctl restart worker-mesh")
    wait_for(lambda: is_ready(host) and host.get("/status")["slots"] == 5, 10)


# Several nodes on one host.


def test_instances(three):
    """They see the main node, each other and the third host, and run jobs; each has its own state."""
    host = three[2]
    wait_for(lambda: is_ready(host), 10)
    host.run("systemctl start worker-mesh@3001 worker-mesh@3002")

    def ask(port, path, *options):
        text = host.run(f"curl -s --max-time 30 {' '.join(options)} 'http://127.0.0.1:{port}/api/v1{path}'").stdout
        return json.loads(text)

    nodes = {port: ask(port, "/status")["node_id"] for port in (3000, 3001, 3002)}
    assert len(set(nodes.values())) == 3
    for port in nodes:
        wanted = set(nodes.values()) - {nodes[port]}
        wait_for(
            lambda: wanted <= {peer["node_id"] for peer in ask(port, "/peers")["peers"]}
            and ask(port, "/peers")["count"] == 4,
            20,
            f"the node on port {port} sees all",
        )
    for port in (3001, 3002):
        wait_for(lambda: host.show(f"worker-mesh-executor@{port}", "ActiveState") == "active", 10)
        body = "-H 'Content-Type: application/json' -d '{\"command\":\"echo $NODE_ID\"}'"
        job = ask(port, "/jobs?wait=20s", body)
        assert ask(port, f"/jobs/{job['job_id']}")["stdout"] == nodes[port] + "\n"
        assert host.run(f"ls -d /var/lib/worker-mesh/{port}/worker_{nodes[port]}.db").stdout
    executors = {main_pid(host, f"worker-mesh-executor@{port}") for port in (3001, 3002)}
    host.run("systemctl stop worker-mesh@3001")
    wait_for(lambda: host.show("worker-mesh-executor@3001", "ActiveState") == "inactive", 10)
    assert state(host) == "active" and state(host, "worker-mesh@3002") == "active"
    assert main_pid(host, "worker-mesh-executor@3002") in executors
    host.run("systemctl stop worker-mesh@3002")
    for each in three:
        wait_for(lambda: peers(each) == 2, 10, f"{each} sees what is left")


# Power and cables.


def test_enabled_at_boot(three):
    host = three[0]
    host.crash()
    for other in three[1:]:
        wait_for(lambda: peers(other) == 1, 20, f"{other} notices the power loss")
    host.boot()
    wait_for(lambda: state(host) == "active", 10)
    for each in three:
        wait_for(lambda: answers(each) and peers(each) == 2, 20, f"{each} sees both others again")


def test_a_cable_that_is_pulled(three):
    host = three[0]
    host.cut()
    wait_for(lambda: peers(host) == 0, 20)
    for other in three[1:]:
        wait_for(lambda: peers(other) == 1, 20)
    host.heal()
    for each in three:
        wait_for(lambda: peers(each) == 2, 20, f"{each} sees both others again")
