# SPDX-License-Identifier: LGPL-2.1-or-later
"""Three hosts that share their jobs. What the jobs wrote on the disk of the host where they ran is the truth. The tests of
this file build on each other; the hosts are booted once."""

import collections
import os
import time

import pytest
from evidence import FOLDER
from hosts import wait_for
from service import ended, is_ready, main_pid, share_key

CONFIGURATION = "[Mesh]\nSlots=2\nHeartbeatInterval=1s\nPeerTimeout=15s\nDrainTimeout=20s\n"


@pytest.fixture(scope="module")
def three(lab):
    hosts = lab.up(3)
    for host in hosts:
        host.activate()
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
        os.makedirs(host.path(FOLDER), exist_ok=True)
        os.chmod(host.path(FOLDER), 0o1777)
    share_key(hosts)
    for host in hosts:
        host.run("systemctl", "start", "worker-mesh")
    wait_for(lambda: all_trust(hosts), 20, "all trust all")
    return hosts


def all_trust(hosts):
    for host in hosts:
        if not is_ready(host):
            return False
        peers = host.get("/peers")["peers"]
        if sum(peer["trusted"] and peer["verified"] for peer in peers) != len(hosts) - 1:
            return False
    return True


class Batch:
    """Jobs that one host is given, and what they wrote wherever they ran."""

    def __init__(self, hosts, name, n, seconds):
        self.hosts, self.path = hosts, f"{FOLDER}/{name}"
        command = f'echo "begin $JOB_ID $ATTEMPT" >>{self.path}; sleep {seconds}; echo "end $JOB_ID $ATTEMPT" >>{self.path}'
        self.ids = [hosts[0].submit(command) for _ in range(n)]

    def lines(self):
        """(host's index, begin or end, job, attempt)"""
        found = []
        for number, host in enumerate(self.hosts):
            try:
                found += [(number, *line.split()) for line in host.read(self.path).splitlines()]
            except FileNotFoundError:
                pass
        return found

    def count(self, kind):
        return sum(line[1] == kind for line in self.lines())

    def check(self, status="JOB_COMPLETED", lost=()):
        """All ended; each attempt ran at most once, and a second one only of what was lost with these hosts."""
        jobs = {job_id: ended(self.hosts[0], job_id, 60) for job_id in self.ids}
        assert {job["status"] for job in jobs.values()} == {status}
        begun = collections.Counter((line[2], line[3]) for line in self.lines() if line[1] == "begin")
        assert set(begun.values()) == {1}, "no attempt ran twice"
        first = {line[2]: line[0] for line in self.lines() if line[1] == "begin" and line[3] == "1"}
        again = {job for job, attempt in begun if attempt != "1"}
        assert {first[job] for job in again if job in first} <= set(lost)
        assert {job for job, _ in begun} == set(self.ids), "none is missing, and none is there that nobody asked for"
        return again


def test_a_burst_is_shared(three):
    batch = Batch(three, "burst", 30, 0.3)
    assert not batch.check()
    where = collections.Counter(line[0] for line in batch.lines() if line[1] == "begin")
    print("ran on:", dict(where))
    assert set(where) == {0, 1, 2}


def test_a_target_runs_it(three):
    node_id = three[2].get("/status")["node_id"]
    job = ended(three[0], three[0].submit("hostname", target_node_id=node_id))
    assert (job["status"], job["stdout"].strip(), job["executor_node_id"]) == ("JOB_COMPLETED", three[2].name, node_id)


def test_restarts_of_daemons(three):
    batch = Batch(three, "restart", 6, 3)
    wait_for(lambda: batch.count("begin") == 6, 10)
    pid = main_pid(three[1], "worker-mesh-executor")
    three[1].run("systemctl", "restart", "worker-mesh")
    three[2].run("systemctl", "kill", "--signal=KILL", "worker-mesh")
    three[0].run("systemctl", "restart", "worker-mesh")
    assert not batch.check()
    assert main_pid(three[1], "worker-mesh-executor") == pid
    wait_for(lambda: all_trust(three), 20)


def test_a_cable_that_is_out_for_a_moment(three):
    batch = Batch(three, "cable", 6, 4)
    wait_for(lambda: batch.count("begin") == 6, 10)
    three[1].cut()
    time.sleep(2)  # less than it takes to be lost
    three[1].heal()
    assert not batch.check()


def test_a_cable_that_is_out_for_long(three):
    batch = Batch(three, "long", 6, 3)
    wait_for(lambda: batch.count("begin") == 6, 10)
    three[1].cut()
    begun = time.monotonic()
    wait_for(lambda: batch.count("begin") > 6, 20, "what it had begins again elsewhere")
    print(f"lost after {time.monotonic() - begun:.1f} s")
    again = batch.check(lost=(1,))
    assert again
    three[1].heal()
    wait_for(lambda: all_trust(three), 30, "it is back")
    # What it still had to tell changed nothing.
    assert not batch.check(lost=(1,)) - again


def test_a_stop_hands_back(three):
    batch = Batch(three, "stop", 10, 2)
    wait_for(lambda: batch.count("begin") >= 6, 10)
    three[2].run("systemctl", "stop", "worker-mesh", timeout=60)
    assert not batch.check(), "what it had begun ended there, and the rest ran elsewhere"
    three[2].run("systemctl", "start", "worker-mesh")
    wait_for(lambda: all_trust(three), 20)


def test_power_cut(three):
    batch = Batch(three, "power", 6, 3)
    wait_for(lambda: batch.count("begin") == 6, 10)
    three[1].crash()
    again = batch.check(lost=(1,))
    assert len(again) == 2
    three[1].boot()
    three[1].run("systemctl", "start", "worker-mesh")
    wait_for(lambda: all_trust(three), 30, "it is back, and")
    assert not Batch(three, "after", 6, 0.2).check()
