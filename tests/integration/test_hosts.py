# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several hosts: network namespaces joined by virtual cables. Nothing reaches the network of this machine."""

import itertools
import os
import shutil
import signal
import subprocess

import harness
import pytest
from harness import wait_for

NUMBERS = itertools.count(1)


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)


def can_make_namespaces():
    name = f"wm{os.getpid()}probe"
    try:
        if os.geteuid() != 0 or ip("netns", "add", name, check=False).returncode != 0:
            return False
        joined = ip("-n", name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", check=False)
        ip("netns", "del", name, check=False)
        return joined.returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not can_make_namespaces(), reason="needs root, ip(8), network namespaces and veth")


class Host:
    def __init__(self):
        self.name = f"wm{os.getpid()}h{next(NUMBERS)}"
        ip("netns", "add", self.name)

    def ip(self, *arguments):
        ip("-n", self.name, *arguments)

    def up(self, device):
        self.ip("link", "set", device, "up")

    def address(self, device, text):
        self.ip("address", "add", text, "broadcast", "+", "dev", device)


@pytest.fixture
def make_host():
    hosts = []

    def make(loopback=True):
        hosts.append(Host())
        if loopback:
            hosts[-1].up("lo")
        return hosts[-1]

    yield make
    for host in hosts:
        ip("netns", "del", host.name, check=False)


def plug(one, its_device, other, other_device):
    one.ip("link", "add", its_device, "type", "veth", "peer", "name", other_device, "netns", other.name)


def join(one, other, network, its_device="eth0", other_device="eth0"):
    """A cable between two hosts, .1 and .2 of a /24."""
    plug(one, its_device, other, other_device)
    one.address(its_device, f"{network}.1/24")
    other.address(other_device, f"{network}.2/24")
    one.up(its_device)
    other.up(other_device)


@pytest.fixture
def node_on(make_node):
    """A function that starts a node on a host, asked by its unix socket, which namespaces do not separate."""

    def make(host, options=(), **settings):
        settings = {"interface": None, "node_port": None, "discovery_port": 8080, **settings}
        node = make_node(options, prefix=["ip", "netns", "exec", host.name], **settings)
        path = os.path.join(node.directory, "api.sock")
        node.options += ["--api-socket", path]
        node.api_socket = path
        return node.start()

    return make


def test_two_hosts(make_host, node_on):
    left, right = make_host(), make_host()
    join(left, right, "10.77.1")
    one, other = node_on(left), node_on(right)
    wait_for(lambda: one.sees(other) and other.sees(one), 5)
    assert one.peers()[other.node_id]["address"] == "10.77.1.2:8081"
    assert other.peers()[one.node_id]["address"] == "10.77.1.1:8081"
    assert one.run("echo left")["stdout"] == "left\n"
    other.stop()
    wait_for(lambda: not one.peers(), 2, "goodbye")


def test_jobs_cross_between_hosts_only_with_a_common_key_or_without_any(make_host, node_on, tmp_path):
    left, right = make_host(), make_host()
    join(left, right, "10.77.1")
    one, other = node_on(left, slots=0), node_on(right, key_file=str(tmp_path / "another.key"))
    wait_for(lambda: one.sees(other) and other.sees(one), 5)
    assert one.peers()[other.node_id]["trusted"] is False
    refused = one.post("/jobs", {"command": "true", "target_node_id": other.node_id})
    assert (refused.status, refused.json()["code"]) == (422, "target_unknown")
    waiting = one.submit("echo $NODE_ID")

    # The key is copied by hand, and read without a restart.
    shutil.copy(one.key_file, other.key_file)
    other.send(signal.SIGHUP)
    wait_for(lambda: one.sees(other) and one.peers()[other.node_id]["trusted"], 5)
    job = one.finish(waiting)
    assert (job["status"], job["stdout"].strip()) == ("JOB_COMPLETED", other.node_id)
    waiting = one.submit("sleep 1; echo $NODE_ID")

    # One that is open works with those that are open, too.
    one.stop()
    one.options += ["--security", "open"]
    one.start()
    wait_for(lambda: one.sees(other) and other.sees(one), 5)
    assert one.status()["security"] == "open" and other.peers()[one.node_id]["metadata"]["security"] == "open"
    assert one.peers()[other.node_id]["trusted"] is False and other.peers()[one.node_id]["trusted"] is False
    assert one.job(waiting)["status"] == "JOB_PENDING"

    other.stop()
    other.environment["SECURITY"] = "open"  # as Security= in a file
    other.start()
    job = one.finish(waiting)
    assert (job["status"], job["stdout"].strip()) == ("JOB_COMPLETED", other.node_id)


def test_a_host_in_the_middle(make_host, node_on):
    """It sees both, and they do not see each other: broadcasts are not passed on."""
    left, middle, right = make_host(), make_host(), make_host()
    join(left, middle, "10.77.1", "eth0", "eth0")
    join(middle, right, "10.77.2", "eth1", "eth0")
    one, two, three = node_on(left), node_on(middle), node_on(right)
    wait_for(lambda: two.sees(one, three) and one.sees(two) and three.sees(two), 5)
    assert two.peers()[three.node_id]["address"] == "10.77.2.2:8081"


def test_only_the_chosen_interface(make_host, node_on):
    left, middle, right = make_host(), make_host(), make_host()
    join(left, middle, "10.77.1", "eth0", "eth0")
    join(middle, right, "10.77.2", "eth1", "eth0")
    one, three = node_on(left), node_on(right)
    two = node_on(middle, interface="eth1")
    wait_for(lambda: two.sees(three) and three.sees(two), 5)
    assert one.peers() == {}


def test_no_device_but_loopback(make_host, node_on):
    host = make_host()
    one, other = node_on(host), node_on(host)
    wait_for(lambda: one.sees(other) and other.sees(one), 5)
    assert one.peers()[other.node_id]["address"].startswith("127.0.0.1:")


def test_several_nodes_on_two_hosts(make_host, node_on):
    left, right = make_host(), make_host()
    join(left, right, "10.77.1")
    nodes = [node_on(host) for host in (left, left, right, right)]
    for node in nodes:
        wait_for(lambda: node.sees(*(other for other in nodes if other is not node)), 5)


def test_interfaces_that_appear_later(make_host, node_on):
    left, right = make_host(loopback=False), make_host(loopback=False)
    one, other = node_on(left), node_on(right)
    second = node_on(left)
    left.up("lo")
    wait_for(lambda: one.sees(second) and second.sees(one), 5, "loopback came up")
    join(left, right, "10.77.1")
    wait_for(lambda: one.sees(other, second) and other.sees(one, second), 5, "a cable was plugged in")


def test_a_cable_that_is_pulled(make_host, node_on, tmp_path):
    left, right = make_host(), make_host()
    join(left, right, "10.77.1")
    one, other = node_on(left), node_on(right)
    wait_for(lambda: one.sees(other) and other.sees(one), 5)
    job = other.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo went on")
    left.ip("link", "set", "eth0", "down")
    wait_for(lambda: not one.peers() and not other.peers(), 10)
    (tmp_path / "go").touch()
    assert other.finish(job)["stdout"] == "went on\n"
    left.up("eth0")
    wait_for(lambda: one.sees(other) and other.sees(one), 5, "plugged in again")
    left.ip("link", "del", "eth0")
    wait_for(lambda: not one.peers() and not other.peers(), 10)
    join(left, right, "10.77.3")
    wait_for(lambda: one.sees(other) and other.sees(one), 5, "another card, another network")
    assert one.peers()[other.node_id]["address"] == "10.77.3.2:8081"


def test_silence_of_another_host(make_host, node_on):
    left, right = make_host(), make_host()
    join(left, right, "10.77.1")
    one, other = node_on(left), node_on(right)
    wait_for(lambda: one.sees(other), 5)
    other.send(signal.SIGKILL)
    other.process.wait()
    wait_for(lambda: not one.peers(), 10)


def test_every_node_has_its_own_identity(make_host, node_on):
    hosts = [make_host() for _ in range(2)]
    assert len({node_on(host).node_id for host in hosts}) == 2
    assert harness.NODE_ID
