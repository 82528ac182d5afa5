# SPDX-License-Identifier: LGPL-2.1-or-later
"""Priority, retries, labels, and jobs that must not start twice: real nodes on loopback, and the truth is what the jobs
wrote themselves."""

import os
import signal

import pytest
from harness import wait_for


class Evidence:
    """One line a start, appended by the job."""

    def __init__(self, directory):
        self.path = str(directory / "evidence")

    def command(self, then):
        return f"echo $JOB_ID $ATTEMPT $NODE_ID >> {self.path}; {then}"

    def lines(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as file:
            return [line.split() for line in file]


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path)


def make_nodes(make_node, tmp_path, slots, labels=None):
    nodes = []
    for number, n in enumerate(slots):
        options = []
        if labels and labels[number]:
            path = tmp_path / f"mesh-{number}.conf"
            path.write_text(f"[Mesh]\nLabels={labels[number]}\n")
            options = ["--config", path]
        port = nodes[0].discovery_port if nodes else 0
        nodes.append(make_node(options, discovery_port=port, slots=n, environment={"PEER_TIMEOUT": "3s"}))
    for node in nodes:
        node.start()
    for node in nodes:
        others = [other for other in nodes if other is not node]
        wait_for(lambda node=node, others=others: node.sees(*others), 15, "all see all")
        wait_for(lambda node=node: all(peer["verified"] for peer in node.peers().values()), 15, "and believe it")
    return nodes


def test_retries(make_node, evidence):
    node = make_node(slots=1).start()
    job_id = node.submit(evidence.command("exit 3"), retries=1)
    wait_for(lambda: node.job(job_id)["pending_reason"] == "failed, and waits to be tried again")
    job = node.finish(job_id)
    assert (job["status"], job["exit_code"], job["attempt"], job["retries_used"]) == ("JOB_FAILED", 3, 2, 1)
    assert [line[1] for line in evidence.lines()] == ["1", "2"]
    assert [(one["attempt"], one["exit_code"]) for one in job["attempts"]] == [(1, 3)]
    # As often as it takes, and not more often.
    job = node.finish(node.submit(evidence.command('test "$ATTEMPT" = 2'), retries=5))
    assert (job["status"], job["attempt"], job["retries_used"]) == ("JOB_COMPLETED", 2, 1)


def test_retries_over_a_restart(make_node, evidence):
    node = make_node(slots=1).start()
    job_id = node.submit(evidence.command("exit 3"), retries=2)
    wait_for(lambda: node.job(job_id)["retries_used"] == 1)
    node.kill()
    node.start()
    job = node.finish(job_id)
    assert (job["status"], job["attempt"], job["retries_used"]) == ("JOB_FAILED", 3, 2)
    assert len(evidence.lines()) == 3


def test_priority(make_node, evidence):
    node = make_node(slots=1).start()
    busy = node.submit("sleep 1")
    ids = {priority: node.submit(evidence.command("true"), priority=priority) for priority in (-7, 0, 1000, 3)}
    for job_id in (busy, *ids.values()):
        node.finish(job_id)
    assert [line[0] for line in evidence.lines()] == [ids[priority] for priority in (1000, 3, 0, -7)]


def test_labels(make_node, tmp_path, evidence):
    nodes = make_nodes(make_node, tmp_path, (2, 2, 2), (None, None, "gpu=a100"))
    nobody = nodes[0].submit(evidence.command("true"), requires=["gpu=h100"])
    ids = nodes[0].submit_many([evidence.command("sleep 0.1")] * 10, requires=["gpu"])
    others = nodes[0].submit_many(["true"] * 10)
    assert {nodes[0].finish(job_id)["status"] for job_id in ids + others} == {"JOB_COMPLETED"}
    assert {line[2] for line in evidence.lines()} == {nodes[2].node_id}
    assert nodes[0].job(nobody)["pending_reason"] == "no node has the labels that it requires"
    # They come with a reload.
    (tmp_path / "mesh-2.conf").write_text("[Mesh]\nLabels=gpu=h100\n")
    nodes[2].process.send_signal(signal.SIGHUP)
    assert nodes[0].finish(nobody)["executor_node_id"] == nodes[2].node_id


def test_it_is_not_started_twice(make_node, tmp_path, evidence):
    nodes = make_nodes(make_node, tmp_path, (0, 1, 1))
    ids = nodes[0].submit_many([evidence.command("sleep 2")] * 2, on_node_loss="fail")
    wait_for(lambda: len(evidence.lines()) == 2)
    lost = nodes[1]
    executor = lost.executor_pid()
    lost.kill()
    os.kill(executor, signal.SIGKILL)
    jobs = [nodes[0].finish(job_id) for job_id in ids]
    assert sorted(job["status"] for job in jobs) == ["JOB_COMPLETED", "JOB_FAILED"]
    assert [job["error_message"][:11] for job in jobs if job["status"] == "JOB_FAILED"] == ["node lost: "]
    assert len(evidence.lines()) == 2
