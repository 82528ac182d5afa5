# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stopped means stopped, whatever the others send; and a request starts it again. Takes a minute, in which the machine
has little to do: it runs beside other tests."""

import json
import time

import pytest
from hosts import wait_for
from service import answers, is_off, share_key

# More of them than there are by default.
CONFIGURATION = "[Mesh]\nHeartbeatInterval=500ms\nPeerTimeout=10s\n"
STOPPED_FOR = 60


def peers(host):
    return host.get("/peers")["count"]


def packets(host):
    """How many have reached its interface."""
    return int(host.run("cat /sys/class/net/eth0/statistics/rx_packets").stdout)


@pytest.fixture(scope="module")
def three(lab):
    """Three hosts that see each other."""
    hosts = lab.up(3)
    for host in hosts:
        host.activate()
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
    share_key(hosts)
    for host in hosts:
        host.run("systemctl start worker-mesh")
    for host in hosts:
        wait_for(lambda: answers(host) and peers(host) == 2, 30, f"{host} sees both others")
    return hosts


def test_a_stop_under_traffic(three):
    host, *others = three
    host.run("systemctl stop worker-mesh")
    since, received = time.monotonic(), packets(host)
    assert is_off(host)
    # To others it is gone at once, long before the peer timeout.
    for other in others:
        wait_for(lambda: peers(other) == 1, 5, f"{other} was told")

    while time.monotonic() - since < STOPPED_FOR:
        assert is_off(host), host.journal("-u", "worker-mesh.service", "-n", "20")
        time.sleep(1)
    received = packets(host) - received
    print(f"stopped for {time.monotonic() - since:.0f} s, and {received} packets came to the host meanwhile")
    assert received >= STOPPED_FOR, "both others have sent their heartbeats"
    for unit in ("worker-mesh-discovery.socket", "worker-mesh-node.socket"):
        assert host.show(unit, "ActiveState") == "inactive"
    assert host.journal("-u", "worker-mesh.service", f"--since=-{STOPPED_FOR - 10}s") == []


def test_a_request_starts_it_again(three):
    text = three[0].run("curl -s --max-time 10 http://127.0.0.1:3000/api/v1/health").stdout
    assert json.loads(text)["status"] == "healthy"
    for host in three:
        wait_for(lambda: peers(host) == 2, 30, f"{host} sees both others again")
