# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others do does not slow this node's own jobs down: a node runs short jobs of its own, one after the other, beside
a peer that hangs, one with a full disk, one that sends garbage, and two hundred links. The figures are printed; what is
asserted has room for a busy machine."""

import contextlib
import http.client
import os
import signal
import statistics
import subprocess
import sys
import time

import harness
import pytest
from harness import wait_for
from test_dispatch import make_three
from test_keeper import has_keeper, keeper_of
from test_store import fill, small_disk  # noqa: F401, a fixture

N_JOBS = 100
P99_MAX = 2.0  # seconds
MEMORY_MAX = 100 << 20
MADE_UP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "made_up_nodes.py")


def run_jobs(node, n=N_JOBS):
    """How long each takes its client, in order."""
    took = []
    connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=60)
    with contextlib.closing(connection):
        for _ in range(n):
            before = time.monotonic()
            job = {"command": "true", "target_node_id": node.node_id}
            answer = harness.ask(connection, "POST", harness.API + "/jobs?wait=30s", job)
            took.append(time.monotonic() - before)
            assert answer.status == 200 and answer.json()["status"] == "JOB_COMPLETED", answer
    return took


def memory(node):
    with open(f"/proc/{node.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def figures(took):
    ordered = sorted(took)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99) - 1]


def compare(what, before, during, node):
    (median, p99), (median_then, p99_then) = figures(before), figures(during)
    print(
        f"{what}: median {median_then * 1000:.1f} ms after {median * 1000:.1f} ({median_then / median:.2f}), "
        f"p99 {p99_then * 1000:.1f} ms after {p99 * 1000:.1f} ({p99_then / p99:.2f}), {memory(node) >> 20} MiB"
    )
    assert p99_then < P99_MAX
    assert node.is_sanitized() or memory(node) < MEMORY_MAX


@contextlib.contextmanager
def made_up(node, count, kind, enough):
    port = node.options[node.options.index("--node-port") + 1]
    with subprocess.Popen(
        [sys.executable, MADE_UP, str(port), str(count), kind],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            end = time.monotonic() + 30
            while int(process.stdout.readline() or 0) < enough:
                assert process.poll() is None and time.monotonic() < end, "the made-up nodes are there"
            yield process
            assert process.poll() is None, "they are there until the end"
        finally:
            process.kill()


def with_keeper(make_node, **more):
    nodes = make_three(make_node, slots=(2, 2, 0), **more)
    wait_for(lambda: has_keeper(nodes[0]), 15, "it has a keeper")
    return nodes, keeper_of(nodes[0], nodes[1:])


def test_a_keeper_that_hangs(make_node, capsys):
    """Its clients wait for it for KeeperWait= once; then it is replaced."""
    nodes, keeper = with_keeper(make_node, KEEPER_WAIT="300ms", PEER_TIMEOUT="30s", HEARTBEAT_INTERVAL="5s")
    before = run_jobs(nodes[0])
    keeper.send(signal.SIGSTOP)
    during = run_jobs(nodes[0])
    keeper.send(signal.SIGCONT)
    with capsys.disabled():
        compare("a keeper that hangs", before, during, nodes[0])
    assert sum(took > 0.25 for took in during) <= 3 or statistics.median(before) > 0.1, sorted(during)[-10:]


def test_a_keeper_with_a_full_disk(small_disk, make_node, capsys):  # noqa: F811
    owner = make_node(slots=2).start()
    other = make_node(discovery_port=owner.discovery_port, slots=2, state_dir=str(small_disk / "state")).start()
    wait_for(lambda: owner.sees(other) and has_keeper(owner), 15, "it has a keeper")
    before = run_jobs(owner)
    fill(small_disk)
    # It is an executor of ours, too.
    ids = owner.submit_many(["true"] * 20)
    during = run_jobs(owner)
    with capsys.disabled():
        compare("a keeper with a full disk", before, during, owner)
    for job_id in ids:
        assert owner.finish(job_id)["status"] == "JOB_COMPLETED"


def test_garbage(mesh_node, capsys):
    """Of strangers, who have no key."""
    before = run_jobs(mesh_node)
    with made_up(mesh_node, 50, "garbage", 1000):
        during = run_jobs(mesh_node)
    with capsys.disabled():
        compare("garbage at full speed", before, during, mesh_node)


def test_two_hundred_links(make_node, capsys):
    mesh_node = make_node(["--security", "open"]).start()
    before = run_jobs(mesh_node)
    with made_up(mesh_node, 200, "links", 200):
        assert len(mesh_node.peers()) == 200
        during = run_jobs(mesh_node)
    with capsys.disabled():
        compare("two hundred links", before, during, mesh_node)
