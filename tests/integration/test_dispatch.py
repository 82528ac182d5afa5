# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs that run on other nodes than the one that accepted them: real nodes on loopback, and the truth is what the jobs
wrote themselves."""

import collections
import os
import signal
import time

import harness
import journal as fake
import pytest
from harness import processes, wait_for


class Evidence:
    """One line a run, appended by the job when it begins and when it ends."""

    def __init__(self, directory):
        self.path = str(directory / "evidence")

    def command(self, seconds):
        return (
            f'echo "begin $JOB_ID $ATTEMPT $NODE_ID" >> {self.path}; sleep {seconds}; '
            f'echo "end $JOB_ID $ATTEMPT $NODE_ID" >> {self.path}; echo $NODE_ID'
        )

    def lines(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as file:
            return [line.split() for line in file]

    def of(self, moment):
        return [line[1:] for line in self.lines() if line[0] == moment]


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path)


@pytest.fixture
def journal(tmp_path):
    journal = fake.Journal(tmp_path / "journal")
    yield journal
    journal.close()


def make_three(make_node, slots=(2, 2, 2), **environment):
    nodes = []
    for number, n in enumerate(slots):
        port = nodes[0].discovery_port if nodes else 0
        nodes.append(make_node(discovery_port=port, slots=n, environment=environment))
    for node in nodes:
        node.start()
    for node in nodes:
        others = [other for other in nodes if other is not node]
        wait_for(lambda node=node, others=others: node.sees(*others), 15, "all see all")
        wait_for(lambda node=node: all(peer["verified"] for peer in node.peers().values()), 15, "and believe it")
    return nodes


def finish_all(node, ids, deadline=60):
    return [node.finish(job_id, deadline) for job_id in ids]


def of_node(evidence, node_id):
    return [line for line in evidence.of("begin") if line[2] == node_id]


def test_a_burst_is_shared(make_node, evidence):
    nodes = make_three(make_node)
    ids = nodes[0].submit_many([evidence.command(0.2)] * 40)
    jobs = finish_all(nodes[0], ids)
    assert {job["status"] for job in jobs} == {"JOB_COMPLETED"}
    begun = evidence.of("begin")
    assert len(begun) == 40 and len({line[0] for line in begun}) == 40, "each ran once"
    where = collections.Counter(line[2] for line in begun)
    assert set(where) == {node.node_id for node in nodes}, "every node had its share"
    for job in jobs:
        assert job["stdout"].strip() == job["executor_node_id"], "and it is known who ran what"


def test_a_target_runs_it(make_node):
    nodes = make_three(make_node)
    for target in nodes:
        job = nodes[0].run("echo $NODE_ID", target_node_id=target.node_id)
        assert (job["status"], job["stdout"].strip()) == ("JOB_COMPLETED", target.node_id)
        assert job["executor_node_id"] == target.node_id


def test_a_target_that_is_not_there(make_node):
    nodes = make_three(make_node, slots=(1, 1))
    answer = nodes[0].post("/jobs", {"command": "true", "target_node_id": "node-0123456789abcdef"})
    assert (answer.status, answer.json()["code"]) == (422, "target_unknown")
    assert "neither this node" in answer.json()["detail"]


def test_a_node_without_slots_gives_everything(make_node):
    nodes = make_three(make_node, slots=(0, 2))
    jobs = finish_all(nodes[0], nodes[0].submit_many(["echo $NODE_ID; exit 3"] * 10))
    assert {(job["status"], job["exit_code"], job["stdout"].strip()) for job in jobs} == {
        ("JOB_FAILED", 3, nodes[1].node_id)
    }


def test_outputs_come_back_whole(make_node):
    nodes = make_three(make_node, slots=(0, 1))
    for size in (0, 1, 16384, 16385, 100000, 900000):
        job = nodes[0].run(f"head -c {size} /dev/zero | tr '\\0' x; head -c {size} /dev/zero | tr '\\0' y >&2")
        assert job["status"] == "JOB_COMPLETED"
        assert nodes[0].output(job["job_id"]) == b"x" * size
        assert nodes[0].output(job["job_id"], "stderr") == b"y" * size


def test_everything_of_a_job_goes_along(make_node, tmp_path):
    nodes = make_three(make_node, slots=(0, 1))
    job = nodes[0].run(
        "cat; echo $COLOUR; pwd; sleep 60", env={"COLOUR": "red green"}, stdin="given\n", cwd=str(tmp_path), timeout_seconds=1
    )
    assert job["status"] == "JOB_TIMEOUT"
    assert nodes[0].output(job["job_id"]).decode() == f"given\nred green\n{tmp_path}\n"


def test_a_cancel_reaches_it(make_node, evidence):
    nodes = make_three(make_node, slots=(0, 1))
    job_id = nodes[0].submit(evidence.command(60))
    wait_for(lambda: evidence.of("begin"))
    answer = nodes[0].request("POST", f"{harness.API}/jobs/{job_id}/cancel")
    assert answer.status in (200, 202)
    assert nodes[0].finish(job_id)["status"] == "JOB_CANCELLED"
    wait_for(lambda: not processes.with_variable("JOB_ID", job_id), what="it is killed where it ran")
    assert not evidence.of("end")


def test_the_owner_is_killed(make_node, evidence):
    nodes = make_three(make_node, slots=(0, 3))
    ids = nodes[0].submit_many([evidence.command(1)] * 6)
    wait_for(lambda: len(evidence.of("begin")) >= 3)
    nodes[0].kill()
    wait_for(lambda: len(evidence.of("end")) >= 3, 10, "they go on without their owner")
    nodes[0].start()
    assert {job["status"] for job in finish_all(nodes[0], ids)} == {"JOB_COMPLETED"}
    assert sorted(line[0] for line in evidence.of("begin")) == sorted(ids), "each ran once"


def test_the_other_daemon_is_killed(make_node, evidence):
    nodes = make_three(make_node, slots=(0, 3))
    ids = nodes[0].submit_many([evidence.command(2)] * 3)
    wait_for(lambda: len(evidence.of("begin")) == 3)
    nodes[1].kill()
    nodes[1].start()
    assert {job["status"] for job in finish_all(nodes[0], ids)} == {"JOB_COMPLETED"}
    assert len(evidence.of("begin")) == 3, "its executor went on"


def test_a_node_is_lost(make_node, evidence):
    nodes = make_three(make_node, slots=(0, 2, 2), PEER_TIMEOUT="3s")
    ids = nodes[0].submit_many([evidence.command(2)] * 4)
    wait_for(lambda: len(evidence.of("begin")) == 4)
    lost = nodes[1]
    executor = lost.executor_pid()
    lost.kill()
    os.kill(executor, signal.SIGKILL)
    jobs = finish_all(nodes[0], ids)
    assert {job["status"] for job in jobs} == {"JOB_COMPLETED"}
    attempts = collections.Counter(line[1] for line in evidence.of("begin"))
    assert attempts == {"1": 4, "2": 2}, "the two that were lost began again elsewhere"
    assert {job["executor_node_id"] for job in jobs} == {nodes[2].node_id}


def test_a_lost_attempt_is_kept(make_node, evidence, journal):
    nodes = make_three(make_node, slots=(0, 1, 0), PEER_TIMEOUT="3s", **journal.environment)
    job_id = nodes[0].submit(evidence.command(1000))
    wait_for(lambda: nodes[0].job(job_id)["status"] == "JOB_RUNNING", what="it runs")
    assert nodes[0].job(job_id)["attempts"] == []
    started_at = nodes[0].job(job_id)["started_at"]
    lost = nodes[1]
    executor = lost.executor_pid()
    lost.kill()
    os.kill(executor, signal.SIGKILL)
    attempts = wait_for(lambda: nodes[0].job(job_id)["attempts"], 30, "it is lost")
    assert attempts == [
        {
            "attempt": 1, "epoch": 1, "node_id": lost.node_id, "outcome": "lost", "started_at": started_at,
            "finished_at": None, "exit_code": None, "signal": None, "error_message": None,
        }
    ]  # fmt: skip
    assert nodes[0].job(job_id)["status"] == "JOB_PENDING"
    line = wait_for(lambda: [entry for entry in journal.of(job_id) if "was lost" in entry.message], what="a line")[0]
    assert line.text("ATTEMPT") == "1" and line.text("EXECUTOR") == lost.node_id
    assert line.text("MESSAGE_ID") == "40d4a278784c4835addaedd8d98c1b81"

    lost.start()
    wait_for(lambda: len(evidence.of("begin")) == 2, 30, "it begins again")
    nodes[0].request("POST", f"{harness.API}/jobs/{job_id}/cancel")
    job = nodes[0].finish(job_id)
    # It may have been refused once, while the node was not quite there; that is nothing to remember.
    assert job["attempt"] == int(evidence.of("begin")[1][1]) > 1
    assert (job["status"], job["attempts"]) == ("JOB_CANCELLED", attempts)


def test_a_late_end_is_kept_and_changes_nothing(make_node, evidence, journal):
    """A daemon that hangs is taken for lost; its executor goes on, and the end of its run is told when it is back."""
    nodes = make_three(make_node, slots=(0, 1, 1), PEER_TIMEOUT="3s", **journal.environment)
    command = f"[ $ATTEMPT = 1 ] && sleep 3 && {{ {evidence.command(0)}; exit 7; }}; {evidence.command(0)}"
    job_id = nodes[0].submit(command)
    wait_for(lambda: nodes[0].job(job_id)["status"] == "JOB_RUNNING", what="it runs")
    hung = next(node for node in nodes if node.node_id == nodes[0].job(job_id)["executor_node_id"])
    hung.send(signal.SIGSTOP)
    try:
        ended = nodes[0].finish(job_id, 60)
        assert (ended["status"], ended["attempt"], ended["exit_code"]) == ("JOB_COMPLETED", 2, 0)
        assert [(a["node_id"], a["outcome"], a["finished_at"]) for a in ended["attempts"]] == [(hung.node_id, "lost", None)]
    finally:
        hung.send(signal.SIGCONT)
    wait_for(lambda: nodes[0].job(job_id)["attempts"][0]["finished_at"], 30, "its end is told")
    job = nodes[0].job(job_id)
    (attempt,) = job.pop("attempts")
    assert (attempt["outcome"], attempt["exit_code"], attempt["signal"]) == ("lost", 7, None)
    assert attempt["error_message"] == "exited with status 7"
    assert attempt["started_at"] < attempt["finished_at"]
    ended.pop("attempts")
    assert job == ended, "nothing else has changed"
    line = wait_for(lambda: [entry for entry in journal.of(job_id) if "given up" in entry.message], what="a line")[0]
    assert (line.text("ATTEMPT"), line.text("EXECUTOR"), line.text("EXIT_CODE")) == ("1", hung.node_id, "7")
    assert line.text("MESSAGE_ID") == "784a99171cbc409ca2038ce303a882d6"


def test_what_waits_where_a_daemon_hangs_begins_elsewhere_only(make_node, evidence):
    """Its executor has own runs in hand that wait for the slot. Another node takes them over and ends them: they are
    not begun here, neither when the slot is free, nor when the daemon goes on."""
    nodes = make_three(make_node, slots=(1, 0, 1), PEER_TIMEOUT="3s")
    hung = nodes[0].node_id
    nodes[2].request("POST", f"{harness.API}/node/drain")
    wait_for(lambda: nodes[0].peers()[nodes[2].node_id]["status"] == "DRAINING", what="nobody else takes them")
    # While short ones end in quick succession more than one is given to the executor.
    slow = f"sleep 15; echo over >> {evidence.path}"
    _, *ids = nodes[0].submit_many(["true"] * 100 + [slow] + [evidence.command(0)] * 40)[99:]
    slow = ids.pop(0)
    wait_for(lambda: nodes[0].job(slow)["status"] == "JOB_RUNNING", 30, "its slot is taken")
    wait_for(lambda: [job for job in map(nodes[0].job, ids) if job["executor_node_id"] == hung], what="some wait there")
    nodes[0].send(signal.SIGSTOP)
    try:
        nodes[2].request("POST", f"{harness.API}/node/resume")
        wait_for(lambda: nodes[1].get(f"/jobs/{ids[-1]}").status == 200, 30, "they are taken over")
        assert {job["status"] for job in finish_all(nodes[1], ids)} == {"JOB_COMPLETED"}
        wait_for(lambda: ["over"] in evidence.lines(), 30, "its slot is free")
    finally:
        nodes[0].send(signal.SIGCONT)
    last = {"command": "true", "target_node_id": hung}
    answer = wait_for(lambda: [a for a in [nodes[1].post("/jobs", last)] if a.status == 201], 30, "it is back")[0]
    assert nodes[1].finish(answer.json()["job_id"])["status"] == "JOB_COMPLETED"
    assert not of_node(evidence, hung), "nothing has begun there that had ended elsewhere"


def test_a_drained_node_hands_back(make_node, evidence):
    nodes = make_three(make_node, slots=(0, 1, 1), DRAIN_TIMEOUT="20s")
    ids = nodes[0].submit_many([evidence.command(1)] * 8)
    wait_for(lambda: len(evidence.of("begin")) >= 2)
    assert nodes[1].stop() == 0
    assert {job["status"] for job in finish_all(nodes[0], ids)} == {"JOB_COMPLETED"}
    assert sorted(line[0] for line in evidence.of("begin")) == sorted(ids), "each ran once"


def test_two_owners_share(make_node, evidence):
    """Neither starves the other, and nobody runs more than it has slots."""
    nodes = make_three(make_node, slots=(0, 0, 2))
    first = nodes[0].submit_many([evidence.command(0.2)] * 20)
    second = nodes[1].submit_many([evidence.command(0.2)] * 20)
    before = time.monotonic()
    while len(evidence.of("end")) < 40:
        begun, ended = evidence.of("begin"), evidence.of("end")
        assert len(begun) - len(ended) <= 3, "two slots, and one whose end has not been written yet"
        assert time.monotonic() - before < 60
        time.sleep(0.05)
    half = {line[0] for line in evidence.of("begin")[:20]}
    assert half & set(first) and half & set(second)
    finish_all(nodes[0], first)
    finish_all(nodes[1], second)


def test_a_drain_that_was_asked_for(make_node, evidence):
    nodes = make_three(make_node, slots=(1, 1))
    running = nodes[1].submit(evidence.command(2), target_node_id=nodes[1].node_id)
    wait_for(lambda: evidence.of("begin"))
    assert nodes[1].post("/node/drain").json()["status"] == "DRAINING"
    wait_for(lambda: nodes[0].peers()[nodes[1].node_id]["status"] == "DRAINING", 2, "peers are told at once")
    refused = nodes[1].post("/jobs", {"command": "true"})
    assert (refused.status, refused.json()["code"]) == (503, "draining")
    # It gets nothing; what it has begun goes on.
    jobs = finish_all(nodes[0], nodes[0].submit_many(["echo $NODE_ID"] * 6))
    assert {job["stdout"].strip() for job in jobs} == {nodes[0].node_id}
    assert nodes[1].finish(running)["status"] == "JOB_COMPLETED"

    assert nodes[1].post("/node/resume").json()["status"] == "IDLE"
    assert nodes[1].run("true", target_node_id=nodes[1].node_id)["status"] == "JOB_COMPLETED"


def test_a_drain_with_a_limit(make_node, evidence):
    nodes = make_three(make_node, slots=(1, 2))
    target = nodes[1].node_id
    pinned = nodes[0].submit(evidence.command(3), target_node_id=target)
    fail = nodes[1].submit(evidence.command(60), target_node_id=target, on_node_loss="fail")
    wait_for(lambda: len(evidence.of("begin")) == 2)
    before = time.monotonic()
    drain = nodes[1].post("/node/drain", {"timeout_seconds": 1}).json()["drain"]
    assert drain["remembered"] and drain["uid"] == os.getuid() and drain["until"] > drain["since"]
    job = nodes[1].finish(fail)
    assert time.monotonic() - before >= 1
    assert (job["status"], job["attempt"]) == ("JOB_FAILED", 1) and "drain of its node" in job["error_message"]
    # Whose only node it is waits for it, and begins again there.
    wait_for(lambda: nodes[0].outcomes(pinned) == ["drained"], what="it was handed back")
    told = nodes[0].job(pinned)
    assert told["status"] == "JOB_PENDING"
    assert told["pending_reason"] == "waits for its target node, which is draining"
    assert [(attempt["node_id"], attempt["outcome"]) for attempt in told["attempts"]] == [(target, "drained")]
    nodes[1].post("/node/resume")
    assert nodes[0].finish(pinned)["status"] == "JOB_COMPLETED"
    assert len(evidence.of("begin")) == 3 and len(evidence.of("end")) == 1


def test_a_drain_is_remembered(make_node, tmp_path):
    node = make_node(slots=1).start()
    node.post("/node/drain")
    since = node.status()["drain"]["since"]
    for end in (node.stop, node.kill):
        end()
        node.start()
        status = node.status()
        assert (status["status"], status["drain"]["since"]) == ("DRAINING", since)
        assert status["drain"]["uid"] == os.getuid() and status["drain"]["remembered"]
        assert f"still drained, as user {os.getuid()} asked for" in node.log()
        assert node.post("/jobs", {"command": "true"}).json()["code"] == "draining"
    assert node.post("/node/resume").json()["drain"] is None
    node.restart()
    assert node.status()["status"] == "IDLE"
    assert node.run("true")["status"] == "JOB_COMPLETED"


def test_the_time_of_a_drain_goes_on_over_a_restart(make_node, tmp_path):
    node = make_node(slots=2).start()
    running = node.submit("sleep 60")
    wait_for(lambda: node.status()["running"] == 1)
    node.post("/node/drain", {"timeout_seconds": 2})
    node.kill()
    node.start()
    wait_for(lambda: node.outcomes(running) == ["drained"], what="its time is over")
    # Over while the daemon is away: it is ended after the start.
    node.post("/node/resume")
    wait_for(lambda: node.status()["running"] == 1, what="it begins again")
    node.post("/node/drain", {"timeout_seconds": 1})
    node.kill()
    time.sleep(1.1)
    node.start()
    wait_for(lambda: node.outcomes(running) == ["drained", "drained"], what="its time was over")
    assert node.job(running)["status"] == "JOB_PENDING"
    node.post(f"/jobs/{running}/cancel")


BODIES_WRONG = {
    b"[]": (400, "bad_json"),
    b"{": (400, "bad_json"),
    b"{} {}": (400, "bad_json"),
    b'{"timeout_seconds":1,"timeout_seconds":2}': (400, "bad_json"),
    b'{"timeout_seconds":1.5}': (400, "invalid"),
    b'{"timeout_seconds":"\xff"}': (400, "bad_json"),
    b'{"timeout":1}': (400, "unknown_field"),
    b'{"timeout_seconds":-1}': (400, "invalid"),
    b" " * 5000: (413, "body_too_large"),
}


def test_bodies_of_a_drain(mesh_node):
    json_type = {"Content-Type": "application/json"}
    for body, wanted in BODIES_WRONG.items():
        answer = mesh_node.post("/node/drain", body, headers=json_type)
        assert (answer.status, answer.json()["code"]) == wanted, body
    assert mesh_node.status()["status"] == "IDLE"
    for body in (b"", b" \n", b"{}", b'{"timeout_seconds":null}', b'{"timeout_seconds":0}'):
        assert mesh_node.post("/node/drain", body, headers=json_type).json()["status"] == "DRAINING", body
        assert mesh_node.post("/node/resume").json()["status"] == "IDLE"


def test_what_waits_in_a_drained_node_goes_elsewhere(make_node, evidence):
    nodes = make_three(make_node, slots=(1, 1))
    ids = nodes[0].submit_many([evidence.command(1)] * 8)
    wait_for(lambda: len(evidence.of("begin")) >= 2)
    nodes[0].post("/node/drain")
    begun = sum(line[2] == nodes[0].node_id for line in evidence.of("begin"))
    assert {job["status"] for job in finish_all(nodes[0], ids)} == {"JOB_COMPLETED"}
    where = collections.Counter(line[2] for line in evidence.of("begin"))
    assert where[nodes[0].node_id] <= begun + 1 and sum(where.values()) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="a node of another user takes root")
def test_a_node_of_another_user_gets_nothing(make_node, tmp_path):
    """It is on the same machine, and cannot read the key; anybody can start a node, a job too."""
    harness.open_to_others(str(tmp_path))
    own = make_node(slots=0).start()
    other = make_node(discovery_port=own.discovery_port, slots=2, user=65534).start()
    wait_for(lambda: own.sees(other) and other.sees(own), 15)
    assert not own.peers()[other.node_id]["trusted"] and not other.peers()[own.node_id]["trusted"]
    waiting = own.submit_many(["echo $NODE_ID"] * 3)
    theirs = other.run("true")
    assert theirs["status"] == "JOB_COMPLETED"
    # One of our own is given all of them, at once: they were not given away before.
    third = make_node(discovery_port=own.discovery_port, slots=1).start()
    assert {job["stdout"].strip() for job in finish_all(own, waiting)} == {third.node_id}
    # Nor does it get rid of its own.
    given = other.submit_many(["sleep 0.3; echo $NODE_ID"] * 6)
    assert {job["stdout"].strip() for job in finish_all(other, given)} == {other.node_id}
