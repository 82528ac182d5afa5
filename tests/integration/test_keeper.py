# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs that outlive their owner: three real nodes on loopback, of which one ends for good, or for a while. The truth is
what the jobs wrote themselves, and what is in the databases."""

import collections
import contextlib
import os
import signal
import sqlite3
import time

import pytest
from harness import FINAL, processes, wait_for
from test_dispatch import Evidence, make_three
from test_managed import managed_node, manager  # noqa: F401, a fixture


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path)


def rows(node, query, *values):
    with contextlib.closing(sqlite3.connect(f"file:{node.database}?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


def cancel(node, job_id):
    assert node.post(f"/jobs/{job_id}/cancel").status in (200, 202)


def has_keeper(node):
    """Jobs are on two disks."""
    answer = node.post("/jobs", {"command": "true"})
    assert answer.status == 201, answer
    return answer.json()["copies"] == 2


def make_mesh_of_three(make_node, slots, **environment):
    nodes = make_three(make_node, slots=slots, **environment)
    wait_for(lambda: has_keeper(nodes[0]), 15, "the first node has a keeper")
    for job in nodes[0].jobs():
        cancel(nodes[0], job["job_id"])
    wait_for(lambda: all(job["status"] in FINAL for job in nodes[0].jobs()), 20)
    return nodes


def keeper_of(node, others):
    """The one that has the copies of its jobs."""
    names = {name for (name,) in rows(node, "SELECT node_id FROM holders")}
    kept = [other for other in others if other.node_id in names]
    assert len(kept) == 1 and len(names) == 1, names
    return kept[0]


def end_for_good(node):
    """The power is gone: the daemon, its executor and all jobs."""
    node.send(signal.SIGSTOP)
    executors = node.executor_pids()
    for pid in executors:
        os.kill(pid, signal.SIGKILL)
    node.kill()
    processes.end(processes.with_variable("NODE_ID", node.node_id), grace=0)


def owners(nodes, job_id):
    return [node for node in nodes if rows(node, "SELECT 1 FROM jobs WHERE job_id = ?", job_id)]


def test_answers_say_how_many_copies(make_node):
    alone = make_node(slots=1).start()
    answer = alone.post("/jobs", {"command": "true"}).json()
    assert answer["copies"] == 1 and set(answer) == {"job_id", "target_node", "command", "status", "created_at", "copies"}
    alone.stop()

    nodes = make_mesh_of_three(make_node, (1, 1, 1))
    keeper = keeper_of(nodes[0], nodes[1:])
    # Who asks the keeper for what ended is told by the owner, which has all of a long output.
    long = nodes[0].run("head -c 100000 /dev/zero | tr '\\0' x", target_node_id=nodes[1].node_id)["job_id"]
    query = "SELECT count(*) FROM copies WHERE job_id = ? AND status = 'JOB_COMPLETED'"
    wait_for(lambda: rows(keeper, query, long) == [(1,)], 20, "the keeper has its end")
    assert keeper.get(f"/jobs/{long}/stdout").body == b"x" * 100000
    assert len(keeper.job(long)["stdout"]) == 100000

    answer = nodes[0].post("/jobs", [{"command": "sleep 30"}] * 3)
    assert [job["copies"] for job in answer.json()["jobs"]] == [2, 2, 2]
    for job in answer.json()["jobs"]:
        told = rows(keeper, "SELECT owner_node_id, status, command FROM copies WHERE job_id = ?", job["job_id"])
        assert told == [(nodes[0].node_id, None, "sleep 30")]
        assert owners(nodes, job["job_id"]) == [nodes[0]], "it is not the keeper's"
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        assert nodes[0].post("/jobs", {"command": "sleep 29"}, headers=headers).json()["copies"] == 2

    for job in nodes[0].jobs(status="pending,running"):
        cancel(nodes[0], job["job_id"])
    wait_for(lambda: rows(keeper, "SELECT count(*) FROM copies WHERE status IS NULL") == [(0,)], 20, "all copies have ended")


def test_a_lost_owner(make_node, evidence):
    """It never comes back: its keeper takes its jobs over, and each of them ends."""
    nodes = make_mesh_of_three(make_node, (1, 2, 2))
    owner, others = nodes[0], nodes[1:]
    keeper = keeper_of(owner, others)
    done = owner.submit("echo out; echo err >&2; exit 3")
    owner.finish(done)
    answer = owner.post("/jobs", [{"command": evidence.command(0.5)}] * 20)
    jobs = answer.json()["jobs"]
    assert {job["copies"] for job in jobs} == {2}
    wait_for(lambda: len(evidence.of("end")) >= 2, 20, "some have run")
    end_for_good(owner)

    ids = [job["job_id"] for job in jobs]
    wait_for(lambda: rows(keeper, "SELECT count(*) FROM takeovers")[0][0] > 0, 20, "the keeper has taken jobs over")
    for job_id in ids:
        wait_for(lambda job_id=job_id: keeper.get(f"/jobs/{job_id}").status == 200, 20, "the keeper tells of the job")
        assert keeper.finish(job_id, 60)["status"] == "JOB_COMPLETED"
    assert {line[0] for line in evidence.of("end")} == set(ids)
    # Only what the lost node ran itself, in its one slot, may have been done without anybody hearing of it.
    assert len(evidence.of("end")) <= len(ids) + 1
    assert rows(keeper, "SELECT count(*) FROM copies WHERE status IS NULL") == [(0,)]
    assert rows(keeper, "SELECT DISTINCT from_node_id FROM takeovers") == [(owner.node_id,)]

    # What had ended before is told by the keeper, whoever is asked.
    for node in others:
        told = node.job(done)
        assert (told["status"], told["exit_code"], told["stdout"], told["stderr"]) == ("JOB_FAILED", 3, "out\n", "err\n")
        assert told["created_by_node"] == owner.node_id
        assert node.get(f"/jobs/{done}/stdout").body == b"out\n"
    assert done not in {job["job_id"] for job in keeper.jobs()}, "but it is not this node's"


def test_an_owner_comes_back(make_node, evidence):
    """Its jobs are another node's by then, and nothing runs twice."""
    nodes = make_mesh_of_three(make_node, (0, 1, 1))
    owner, others = nodes[0], nodes[1:]
    keeper = keeper_of(owner, others)
    before = owner.submit_many(["echo before"] * 3)
    for job_id in before:
        owner.finish(job_id)
    ids = owner.submit_many([evidence.command(0.3)] * 20)
    wait_for(lambda: len(evidence.of("end")) >= 2, 20, "some have run")
    end_for_good(owner)
    wait_for(lambda: rows(keeper, "SELECT count(*) FROM takeovers")[0][0] > 0, 20, "the keeper has taken jobs over")
    moved = {job_id for (job_id,) in rows(keeper, "SELECT job_id FROM jobs JOIN takeovers USING (seq)")}
    assert len(moved) >= 10

    owner.start()
    wait_for(lambda: all(len(owners(nodes, job_id)) == 1 for job_id in moved), 30, "each has one owner")
    assert all(owners(nodes, job_id) == [keeper] for job_id in moved)
    for job_id in ids:
        assert owner.finish(job_id, 60)["status"] == "JOB_COMPLETED"
    ended = collections.Counter(line[0] for line in evidence.of("end"))
    assert ended == dict.fromkeys(ids, 1)
    stranger = owner.submit("true")
    assert owner.finish(stranger)["status"] == "JOB_COMPLETED"

    # The keeper spoke for it meanwhile; what had ended is told by its owner again, whoever is asked.
    for node in nodes:
        for job_id in before:
            assert node.job(job_id)["stdout"] == "before\n"
        wait_for(
            lambda node=node: {
                job["owner_node_id"] for job in node.get("/jobs?scope=mesh").json()["jobs"] if job["job_id"] in before
            } == {owner.node_id},
            10,
            "its owner is known",
        )


def test_an_owner_that_stops(make_node, evidence):
    """Who says goodbye is not waited for: its keeper goes on at once."""
    nodes = make_mesh_of_three(make_node, (1, 1, 1), PEER_TIMEOUT="60s")
    owner = nodes[0]
    keeper = keeper_of(owner, nodes[1:])
    busy = {node: node.submit("sleep 100", target_node_id=node.node_id) for node in nodes}
    for node in nodes:
        wait_for(lambda node=node: node.job(busy[node])["status"] == "JOB_RUNNING", 20, "no slot is free")
    ids = owner.submit_many([evidence.command(0.1)] * 5)
    cancel(owner, busy[owner])
    assert owner.stop() == 0
    left = set(ids) - {line[0] for line in evidence.of("begin")}
    assert len(left) > 0
    for job_id in left:
        wait_for(lambda job_id=job_id: owners([keeper], job_id), 20, "the keeper has it")
    for node in nodes[1:]:
        cancel(node, busy[node])
    assert {keeper.finish(job_id)["status"] for job_id in left} == {"JOB_COMPLETED"}

    owner.start()
    for job_id in ids:
        assert owner.finish(job_id)["status"] == "JOB_COMPLETED", "whoever has it"
    assert sorted(line[0] for line in evidence.of("end")) == sorted(ids), "each ran once"


def test_a_restart_hands_nothing_over(make_node, manager, evidence):
    """The daemon of a node alone is gone for a moment, as when it is updated."""
    executor = manager()
    nodes = [managed_node(make_node, executor, slots=1)]
    nodes += [make_node(discovery_port=nodes[0].discovery_port, slots=0).start() for _ in range(2)]
    owner = nodes[0]
    wait_for(lambda: has_keeper(owner), 15, "it has a keeper")
    wait_for(lambda: all(job["status"] in FINAL for job in owner.jobs()), 20)
    keeper = keeper_of(owner, nodes[1:])
    ids = owner.submit_many([evidence.command(0.1)] * 20)
    wait_for(lambda: evidence.of("end"), 20, "some have run")
    assert owner.stop() == 0
    owner.start()
    assert {owner.finish(job_id)["status"] for job_id in ids} == {"JOB_COMPLETED"}
    assert sorted(line[0] for line in evidence.of("end")) == sorted(ids), "each ran once"
    assert rows(keeper, "SELECT count(*) FROM takeovers") == [(0,)]
    wait_for(lambda: rows(keeper, "SELECT count(*) FROM copies WHERE status IS NULL") == [(0,)], 20, "its copies have ended")


def test_a_keeper_that_hangs(make_node):
    """It is waited for once, for as long as KeeperWait= says; then another one has all jobs."""
    nodes = make_mesh_of_three(make_node, (0, 0, 0), KEEPER_WAIT="1s", PEER_TIMEOUT="60s")
    owner = nodes[0]
    keeper = keeper_of(owner, nodes[1:])
    (other,) = set(nodes[1:]) - {keeper}
    before = [owner.submit("true") for _ in range(3)]
    keeper.send(signal.SIGSTOP)
    begin = time.monotonic()
    answer = owner.post("/jobs", {"command": "true"}).json()
    assert 0.8 < time.monotonic() - begin < 5 and answer["copies"] == 1, answer
    query = "SELECT job_id FROM copies WHERE status IS NULL AND owner_node_id = ?"
    ids = {*before, answer["job_id"]}
    wait_for(lambda: ids <= {job_id for (job_id,) in rows(other, query, owner.node_id)}, 20, "the other one has all")
    wait_for(lambda: has_keeper(owner), 20, "answers say so")
    # The first one may have copies until it has said that it forgot them.
    held = "SELECT node_id FROM holders"
    assert {name for (name,) in rows(owner, held)} == {keeper.node_id, other.node_id}
    keeper.send(signal.SIGCONT)
    wait_for(lambda: rows(owner, held) == [(other.node_id,)], 30, "it has forgotten them")
    assert rows(keeper, query, owner.node_id) == []
    assert rows(keeper, "SELECT count(*) FROM takeovers") == [(0,)]


def test_a_keeper_that_restarts(make_node, evidence):
    """What it kept is on its disk: when it is back and its owner is gone for good, it takes over from there."""
    nodes = make_mesh_of_three(make_node, (0, 0, 0))
    owner = nodes[0]
    keeper = keeper_of(owner, nodes[1:])
    ids = owner.submit_many([evidence.command(0)] * 5)
    wait_for(lambda: rows(keeper, "SELECT count(*) FROM copies WHERE status IS NULL") == [(5,)], 20)
    # Both in the same moment: the owner cannot choose another one.
    owner.send(signal.SIGSTOP)
    keeper.kill()
    end_for_good(owner)
    keeper.start()
    for job_id in ids:
        wait_for(lambda job_id=job_id: owners([keeper], job_id), 30, "the keeper has it")
    assert keeper.job(ids[0])["status"] == "JOB_PENDING"
    assert rows(keeper, "SELECT count(*) FROM takeovers") == [(5,)]
    assert rows(keeper, "SELECT count(*) FROM copies WHERE status IS NULL") == [(0,)]
    # It has a keeper itself, which has them all.
    (other,) = set(nodes[1:]) - {keeper}
    query = "SELECT count(*) FROM copies WHERE status IS NULL AND owner_node_id = ?"
    wait_for(lambda: rows(other, query, keeper.node_id) == [(5,)], 20, "the next one has copies")
    keeper.kill()
    keeper.start()
    assert {keeper.job(job_id)["status"] for job_id in ids} == {"JOB_PENDING"}
    for job_id in ids:
        cancel(keeper, job_id)
        assert keeper.finish(job_id)["status"] == "JOB_CANCELLED"
