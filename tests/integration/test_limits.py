# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits of jobs over the life of a node. The nodes here run their jobs in process groups, where no limit can be
enforced, on every machine; tests/vm shows that limits hold."""

import contextlib
import sqlite3
import subprocess

import pytest
from harness import EXECUTOR, wait_for

REASON = "its jobs run in process groups, without the memory controller"
ALL = {"memory_max": 1 << 30, "cpu_weight": 50, "cpu_quota": 150, "tasks_max": 100}


@pytest.fixture
def make_grouped(make_node, tmp_path):
    """Makes nodes whose executor makes no cgroups."""
    path = tmp_path / "executor"
    path.write_text(f'#!/bin/sh\nexec {EXECUTOR} --cgroup no "$@"\n')
    path.chmod(0o755)
    return lambda *options, **settings: make_node([*options, "--executor-program", path], **settings)


def test_refused_with_the_reason(make_grouped):
    node = make_grouped().start()
    answer = node.post("/jobs", {"command": "true", "memory_max": 1 << 30})
    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (422, "limit_unavailable", "memory_max")
    assert answer.json()["error"] == (
        f'memory_max cannot be enforced on this node: {REASON}; "best_effort": true accepts the job without it'
    )
    answer = node.post("/jobs", [{"command": "true"}, {"command": "true", "tasks_max": 5}])
    assert (answer.status, answer.json()["index"], answer.json()["field"]) == (422, 1, "tasks_max")
    assert node.jobs() == []
    for limit in node.status()["limits"].values():
        assert limit["enforced"] is False and "process groups" in limit["reason"]
    assert node.run("true")["oom_killed"] is False


def test_said_at_the_start(make_grouped):
    node = make_grouped("--job-tasks-max=50").start()
    line = f"Limits of jobs that cannot be enforced here: memory_max ({REASON}), cpu_weight and cpu_quota ("
    wait_for(lambda: node.all_logs().count(line) == 2, what="the line of the executor and that of the daemon")
    wait_for(lambda: "The node's setting of tasks_max for its jobs has no effect: " in node.all_logs())
    # A default is no reason to refuse a job that did not ask for it.
    assert node.run("echo hi")["stdout"] == "hi\n"


def test_best_effort(make_grouped):
    node = make_grouped().start()
    job = node.run("echo hi", **ALL, best_effort=True)
    assert (job["status"], job["stdout"], job["oom_killed"], job["best_effort"]) == ("JOB_COMPLETED", "hi\n", False, True)
    assert {name: job[name] for name in ALL} == ALL
    (listed,) = node.jobs()
    assert {name: listed[name] for name in ALL} == ALL
    plain = node.run("true")
    assert not plain.keys() & {*ALL, "best_effort"}


def test_an_executor_that_comes_later(make_node, tmp_path):
    """Until it is there nobody knows what can be enforced: jobs are taken, and it refuses those that it cannot start."""
    socket = str(tmp_path / "executor.sock")
    node = make_node(["--executor-socket", socket]).launch()
    wait_for(node.answers)
    assert node.status()["limits"]["memory_max"]["enforced"] is None
    strict, relaxed = node.submit("true", memory_max=1 << 30), node.submit("true", memory_max=1 << 30, best_effort=True)
    with subprocess.Popen([EXECUTOR, "--cgroup", "no", "--socket", socket]) as executor:
        try:
            job = node.finish(strict)
            assert (job["status"], job["started_at"]) == ("JOB_FAILED", None)
            assert job["error_message"].startswith(f"memory_max cannot be enforced on this node: {REASON}")
            assert node.finish(relaxed)["status"] == "JOB_COMPLETED"
            assert node.post("/jobs", {"command": "true", "memory_max": 1 << 30}).status == 422
        finally:
            executor.terminate()


def test_kept_over_a_crash(make_grouped):
    """An unfinished job has its limits when the node is back, and the executor judges by them."""
    node = make_grouped(slots=0).start()
    job_id = node.submit("true", **ALL, best_effort=True)
    strict = node.submit("true", **ALL, best_effort=True)
    node.kill()
    with contextlib.closing(sqlite3.connect(node.database)) as database:
        database.execute(
            "UPDATE job_limits SET best_effort = 0 WHERE seq = (SELECT seq FROM jobs WHERE job_id = ?)", (strict,)
        )
        database.commit()
    node.options[node.options.index("--slots") + 1] = 1
    node.start()
    job = node.finish(job_id)
    assert job["status"] == "JOB_COMPLETED"
    assert {name: job[name] for name in ALL} == ALL
    job = node.finish(strict)
    assert (job["status"], job["attempt"]) == ("JOB_FAILED", 1)
    assert job["error_message"].startswith(f"memory_max cannot be enforced on this node: {REASON}")


def test_the_same_key_with_other_limits(make_grouped):
    node = make_grouped().start()
    headers = {"Idempotency-Key": "one"}
    body = {"command": "true", "tasks_max": 50, "best_effort": True}
    assert node.post("/jobs", body, headers=headers).status == 201
    assert node.post("/jobs", body, headers=headers).status == 201
    answer = node.post("/jobs", {**body, "tasks_max": 51}, headers=headers)
    assert (answer.status, answer.json()["code"]) == (422, "key_reused")
    answer = node.post("/jobs", {"command": "true"}, headers=headers)
    assert (answer.status, answer.json()["code"]) == (422, "key_reused")


def test_a_database_of_the_first_version(make_grouped):
    node = make_grouped().start()
    old = node.run("echo old")
    node.stop()
    with contextlib.closing(sqlite3.connect(node.database)) as database:
        first = ("jobs", "worker_nodes")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in tables:
            if name not in first:
                database.execute(f"DROP TABLE {name}")
        version = database.execute("PRAGMA user_version").fetchone()
        database.executescript("PRAGMA user_version = 1")
    node.start()
    assert node.job(old["job_id"]) == old
    job = node.run("true", tasks_max=7, best_effort=True)
    assert job["tasks_max"] == 7
    with contextlib.closing(sqlite3.connect(node.database)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == version
