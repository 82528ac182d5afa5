# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a job and a peer are on the bus, value by value, against what they are over HTTP."""

import contextlib
import datetime
import sqlite3

import pytest
from bus import JOB, MANAGER, PEER, ROOT, job_path
from harness import wait_for

# Property of the bus → field of REST. Where a field may be null the bus has an empty text, 0 or -1.
FIELDS = {
    "Id": "job_id",
    "Status": "status",
    "ExitCode": "exit_code",
    "Signal": "signal",
    "CreatedAt": "created_at",
    "StartedAt": "started_at",
    "FinishedAt": "finished_at",
    "DurationUSec": "duration_ms",
    "Attempt": "attempt",
    "Attempts": "attempts",
    "TimeoutUSec": "timeout_seconds",
    "TargetNodeId": "target_node_id",
    "CreatedByNode": "created_by_node",
    "ExecutorNodeId": "executor_node_id",
    "CancelRequested": "cancel_requested",
    "PendingReason": "pending_reason",
    "Priority": "priority",
    "Retries": "retries",
    "RetriesUsed": "retries_used",
    "OnNodeLoss": "on_node_loss",
    "Requires": "requires",
    "MemoryMax": "memory_max",
    "CpuWeight": "cpu_weight",
    "CpuQuota": "cpu_quota",
    "TasksMax": "tasks_max",
    "BestEffort": "best_effort",
    "OomKilled": "oom_killed",
    "Command": "command",
    "Cwd": "cwd",
    "EnvNames": "env_names",
    "StdinBytes": "stdin_bytes",
    "Submitter": "submitter",
    "ErrorMessage": "error_message",
    "Stdout": "stdout",
    "Stderr": "stderr",
    "StdoutTotalBytes": "stdout_total_bytes",
    "StderrTotalBytes": "stderr_total_bytes",
    "StdoutTruncated": "stdout_truncated",
    "StderrTruncated": "stderr_truncated",
}

JOBS = {
    "everything": {
        "command": "cat; echo err >&2; exit 3",
        "env": {"ONE": "1", "TWO": "2"},
        "cwd": "/tmp",
        "stdin": "in\n",
        "timeout_seconds": 77,
        "memory_max": 64 << 20,
        "cpu_weight": 50,
        "cpu_quota": 150,
        "tasks_max": 20,
        "best_effort": True,
        "priority": 9,
        "retries": 0,
        "on_node_loss": "fail",
        "requires": ["host", "os"],
    },
    "nothing": {"command": "true"},
    "a signal": {"command": "kill -USR1 $$"},
    "a long output": {"command": "head -c 20000 /dev/zero | tr '\\0' x; head -c 20000 /dev/zero | tr '\\0' y >&2"},
}


def microseconds(text):
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.timestamp() * 1000) * 1000


def as_on_the_bus(name, value):
    """A value of REST in the type that the bus has; times as exact as REST tells them."""
    if name == "ExitCode":
        return -1 if value is None else value
    if name == "DurationUSec":
        return (value or 0) * 1000
    if name == "TimeoutUSec":
        return value * 1000000
    if name.endswith("At"):
        return microseconds(value) if value else 0
    if name in ("Stdout", "Stderr"):
        return value.encode()[:4096]
    if value is None:
        numbers = {"Signal", "MemoryMax", "CpuWeight", "CpuQuota", "TasksMax"}
        return 0 if name in numbers else False if name in ("BestEffort", "OomKilled") else ""
    return value


@pytest.mark.parametrize("which", JOBS)
def test_a_job_is_the_same_on_both(make_bus_node, private_bus, which):
    node = make_bus_node(environment={"OUTPUT_MAX": "8K"}).start()
    request = JOBS[which]
    if which == "everything":
        request = {**request, "target_node_id": node.node_id}
    job = node.finish(node.submit(**request))
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner("org.workermesh.Mesh1"), what="the node has its name")
        properties = client.get_all(job_path(job["job_id"]), JOB)
    assert set(properties) == set(FIELDS)
    for name, field in FIELDS.items():
        value = properties[name]
        if name.endswith("At") or name == "DurationUSec":
            value = value // 1000 * 1000
        assert value == as_on_the_bus(name, job.get(field)), name
    # Beyond being equal, they are right.
    assert properties["Attempt"] == 1 and properties["DurationUSec"] > 0
    if which == "everything":
        assert properties["ExitCode"] == 3 and properties["Stdout"] == b"in\n" and properties["StderrTotalBytes"] == 4
        assert properties["TargetNodeId"] == node.node_id and properties["BestEffort"] is True
        assert (properties["Priority"], properties["OnNodeLoss"], properties["Requires"]) == (9, "fail", ["host", "os"])
        assert [properties[name] for name in ("MemoryMax", "CpuWeight", "CpuQuota", "TasksMax")] == [64 << 20, 50, 150, 20]
    if which == "a signal":
        assert (properties["Signal"], properties["ExitCode"], properties["Status"]) == (10, -1, "JOB_FAILED")
    if which == "a long output":
        assert properties["StderrTotalBytes"] == 20000 and properties["StderrTruncated"] is True
        assert node.get(f"/jobs/{job['job_id']}/stderr").body.startswith(b"yyyy")
        assert not properties["OomKilled"]


def test_attempts_are_the_same_on_both(make_bus_node, private_bus):
    node = make_bus_node().start()
    job_id = node.run("true")["job_id"]
    node.stop()
    with contextlib.closing(sqlite3.connect(node.database)) as database, database:
        database.executemany(
            "INSERT INTO attempts SELECT seq, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM jobs",
            [
                (0, 1, "node-b", None, None, "lost", None, None, None),
                (0, 2, "node-c", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z", "failed", 3, None, "it did"),
                (0, 3, "node-c", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "executor_lost", None, 9, "killed"),
            ],
        )
    node.start()
    told = node.job(job_id)["attempts"]
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in told] == [(1, "lost"), (2, "failed"), (3, "executor_lost")]
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner("org.workermesh.Mesh1"), what="the node has its name")
        attempts = client.get(job_path(job_id), JOB, "Attempts")
        ((_, listed),) = client.manager("ListJobs", "a{sv}", [{}])[0]
    assert "Attempts" not in listed and listed["Id"] == job_id
    assert len(attempts) == len(told)
    for attempt, said in zip(attempts, told, strict=True):
        assert attempt == {
            "Attempt": said["attempt"],
            "Epoch": said["epoch"],
            "NodeId": said["node_id"],
            "Outcome": said["outcome"],
            "StartedAt": microseconds(said["started_at"]) if said["started_at"] else 0,
            "FinishedAt": microseconds(said["finished_at"]) if said["finished_at"] else 0,
            "ExitCode": -1 if said["exit_code"] is None else said["exit_code"],
            "Signal": said["signal"] or 0,
            "ErrorMessage": said["error_message"] or "",
        }


def test_who_asked_for_an_end_is_seen_while_it_comes(bus_node):
    node, client = bus_node
    _, path = client.submit("trap '' TERM; sleep 100 & wait; sleep 100")
    wait_for(lambda: client.get(path, JOB, "StartedAt") > 0, what="it runs")
    assert client.get(path, JOB, "CancelRequested") is False
    client.call(path, JOB, "Cancel")
    assert client.get(path, JOB, "CancelRequested") is True


def test_a_peer_is_the_same_on_both(make_bus_node, private_bus, make_mesh):
    node, other = make_mesh(2, environment={"DBUS_SESSION_BUS_ADDRESS": private_bus.address})
    with private_bus.connect() as client:
        own = f"org.workermesh.Mesh1.node_{node.get('/health').json()['node_id'].removeprefix('node-')}"
        wait_for(lambda: client.has_owner(own), what="the node has its own name")
        (_, path, *_), *_ = client.manager("ListPeers", destination=own)[0]
        wait_for(lambda: client.get(path, PEER, "Verified", destination=own), what="it has answered")
        before = client.get(path, PEER, "LastHeardAt", destination=own)
        assert wait_for(lambda: client.get(path, PEER, "LastHeardAt", destination=own) > before, what="a heartbeat")
        (told,) = node.get("/peers").json()["peers"]
        properties = client.get_all(path, PEER, destination=own)
        assert properties["Version"] == told["version"] == client.get(ROOT, MANAGER, "Version", destination=own)
        for name, field in (
            ("NodeId", "node_id"), ("Address", "address"), ("Status", "status"), ("Slots", "slots"),
            ("RunningJobs", "running"), ("QueuedJobs", "queued"), ("Metadata", "metadata"), ("Verified", "verified"), ("Trusted", "trusted"),
        ):  # fmt: skip
            assert properties[name] == told[field], name
        labels = told["labels"]
        assert properties["Labels"] == labels and {"arch", "os"} <= labels.keys()
        assert properties["Pressure"].keys() == (told["pressure"] or {}).keys()


def test_why_a_job_waits(make_bus_node, private_bus):
    node = make_bus_node(environment={"SLOTS": "1"}).start()
    first, second = node.submit("sleep 100"), node.submit("true")
    wait_for(lambda: node.job(first)["status"] == "JOB_RUNNING", what="the slot is taken")
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner("org.workermesh.Mesh1"), what="the node has its name")
        assert node.job(first)["pending_reason"] is None and client.get(job_path(first), JOB, "PendingReason") == ""
        reason = node.job(second)["pending_reason"]
        assert reason and client.get(job_path(second), JOB, "PendingReason") == reason
        assert [job["pending_reason"] for job in node.jobs()] == [reason, None]
        client.call(job_path(first), JOB, "Cancel")
        assert node.finish(second)["pending_reason"] is None
