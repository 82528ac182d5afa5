# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job answers on every node, wherever it was submitted and wherever it runs: its record, a wait for its end, its
output as it comes, and a cancel."""

import contextlib
import http.client
import os
import signal
import threading
import time

import harness
import pytest
from bus import JOB, NAME, job_path
from harness import API, wait_for
from test_dispatch import make_three

SOMEBODY = "/jobs/00000000-0000-4000-8000-000000000001"


def tell_the_same(nodes, job_id):
    """What all nodes say of the job, field by field."""
    answers = [node.get(f"/jobs/{job_id}") for node in nodes]
    for node, answer in zip(nodes, answers):
        assert answer.status == 200, (node.node_id, answer)
        assert answer.headers["X-Node-ID"] == node.node_id, "who answers, not who has it"
    bodies = [answer.json() for answer in answers]
    for body in bodies[1:]:
        assert list(body) == list(bodies[0])
        for field, value in bodies[0].items():
            assert body[field] == value, field
    return bodies[0]


class Follower:
    """Reads an output as it comes, and notes when."""

    def __init__(self, node, job_id, stream="stdout", query="follow=1"):
        self.pieces, self.error, self.status = [], None, None
        self.path = f"{API}/jobs/{job_id}/{stream}?{query}"
        self.connection = node.connection(60)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            self.connection.request("GET", self.path)
            answer = self.connection.getresponse()
            self.status = answer.status
            while piece := answer.read1(65536):
                self.pieces.append((time.monotonic(), piece))
        except (OSError, http.client.HTTPException) as error:
            self.error = error

    @property
    def text(self):
        return b"".join(piece for _, piece in self.pieces)

    def end(self, deadline=30):
        self.thread.join(deadline)
        assert not self.thread.is_alive(), f"it goes on: {self.text[-100:]!r}"
        return self.text


def gate(tmp_path, name="gate"):
    """A command that goes on when the test says so, and what says so."""
    path = str(tmp_path / name)
    os.mkfifo(path)

    def open_it():
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        return None

    def go_on():
        writer = wait_for(open_it, 20, "the job waits at the gate")
        os.write(writer, b"on\n")
        os.close(writer)

    # One that is there again before the gate was closed reads nothing.
    return f"until read x < {path}; do :; done", go_on


def test_right_after_it_was_submitted(make_node):
    nodes = make_three(make_node, slots=(1, 1, 1))
    for n in range(30):
        job_id = nodes[n % 3].submit("true")
        answer = nodes[(n + 1) % 3].get(f"/jobs/{job_id}")
        assert answer.status == 200, answer


def test_every_state_is_told_the_same(make_node, tmp_path):
    owner, runner, other = nodes = make_three(make_node, slots=(1, 1, 0))
    read, go_on = gate(tmp_path)
    more = {"env": {"COLOUR": "red", "SECRET": "of mine"}, "stdin": "given\n", "cwd": str(tmp_path), "timeout_seconds": 77}
    job_id = owner.submit(f"echo größer; echo err >&2; {read}; exit 3", target_node_id=runner.node_id, **more)
    wait_for(lambda: owner.job(job_id)["status"] == "JOB_RUNNING")
    running = tell_the_same(nodes, job_id)
    assert (running["executor_node_id"], running["created_by_node"]) == (runner.node_id, owner.node_id)
    assert running["env_names"] == ["COLOUR", "SECRET"] and running["stdin_bytes"] == 6

    rules = {"requires": ["no=such-label"], "priority": 7, "retries": 2, "on_node_loss": "fail"}
    waiting = owner.submit("true", target_node_id=runner.node_id, **rules)
    told = tell_the_same(nodes, waiting)
    assert told["status"] == "JOB_PENDING" and told["pending_reason"]
    assert {name: told[name] for name in rules} == rules
    assert other.post(f"/jobs/{waiting}/cancel").status in (200, 202)

    go_on()
    ended = other.finish(job_id)
    assert (ended["status"], ended["exit_code"], ended["stdout"], ended["stderr"]) == (
        "JOB_FAILED", 3, "größer\n", "err\n",
    )  # fmt: skip
    assert tell_the_same(nodes, job_id) == ended
    assert other.finish(waiting)["status"] == "JOB_CANCELLED"
    tell_the_same(nodes, waiting)

    here = owner.submit("sleep 60", target_node_id=owner.node_id)
    wait_for(lambda: owner.job(here)["status"] == "JOB_RUNNING")
    assert tell_the_same(nodes, here)["executor_node_id"] == owner.node_id
    assert other.post(f"/jobs/{here}/cancel").status in (200, 202)
    assert other.finish(here)["status"] == "JOB_CANCELLED"
    tell_the_same(nodes, here)

    late = runner.run("sleep 60", timeout_seconds=1, target_node_id=owner.node_id)
    assert late["status"] == "JOB_TIMEOUT"
    tell_the_same(nodes, late["job_id"])
    killed = runner.run("kill -9 $$", target_node_id=runner.node_id)
    assert tell_the_same(nodes, killed["job_id"])["signal"] == 9


def test_earlier_attempts_are_told_the_same(make_node):
    nodes = make_three(make_node, slots=(0, 1, 1), PEER_TIMEOUT="3s")
    job_id = nodes[0].submit("sleep 60")
    wait_for(lambda: nodes[0].job(job_id)["status"] == "JOB_RUNNING")
    first = nodes[0].job(job_id)["executor_node_id"]
    lost = next(node for node in nodes if node.node_id == first)
    executor = lost.executor_pid()
    lost.kill()
    os.kill(executor, signal.SIGKILL)
    rest = [node for node in nodes if node is not lost]
    wait_for(lambda: (nodes[0].job(job_id)["attempt"], nodes[0].job(job_id)["status"]) == (2, "JOB_RUNNING"), 30)
    told = tell_the_same(rest, job_id)
    assert [(attempt["attempt"], attempt["node_id"]) for attempt in told["attempts"]] == [(1, first)]
    assert rest[1].post(f"/jobs/{job_id}/cancel").status in (200, 202)


def test_a_job_that_nobody_has(make_node):
    nodes = make_three(make_node, slots=(1, 1, 1))
    before = time.monotonic()
    for path in (SOMEBODY, SOMEBODY + "/stdout", SOMEBODY + "?wait=20s", SOMEBODY + "/stdout?follow=1"):
        answer = nodes[0].get(path)
        assert (answer.status, answer.json()["code"]) == (404, "not_found")
        assert "could not be asked" not in answer.json()["detail"]
    assert nodes[0].post(SOMEBODY + "/cancel").status == 404
    assert time.monotonic() - before < 5


def test_a_wait_on_a_third_node(make_node, tmp_path):
    owner, _, other = make_three(make_node, slots=(0, 1, 0))
    read, go_on = gate(tmp_path)
    job_id = owner.submit(f"{read}; echo done")
    early = other.get(f"/jobs/{job_id}?wait=300ms")
    assert early.status == 200 and early.json()["status"] in ("JOB_PENDING", "JOB_RUNNING")
    answers = []
    thread = threading.Thread(target=lambda: answers.append((other.get(f"/jobs/{job_id}?wait=60s"), time.monotonic())))
    thread.start()
    wait_for(lambda: owner.job(job_id)["status"] == "JOB_RUNNING")
    go_on()
    assert owner.finish(job_id)["status"] == "JOB_COMPLETED"
    ended = time.monotonic()
    thread.join(10)
    answer, at = answers[0]
    assert (answer.json()["status"], answer.json()["stdout"]) == ("JOB_COMPLETED", "done\n")
    assert at - ended < 1, "as soon as it is known"


@pytest.mark.parametrize("where", [0, 1, 2])
def test_output_comes_as_it_is_printed(make_node, tmp_path, where):
    """On the owner, on the node that runs it, and on a third one."""
    nodes = make_three(make_node, slots=(0, 1, 0))
    read, go_on = gate(tmp_path)
    job_id = nodes[0].submit(f"for i in 1 2 3; do {read}; echo line $i; echo error $i >&2; done; {read}")
    follower = Follower(nodes[where], job_id)
    errors = Follower(nodes[where], job_id, "stderr", "follow=1&offset=6")
    for n in (1, 2, 3):
        go_on()
        wait_for(lambda n=n: follower.text.endswith(b"line %d\n" % n), 5, f"line {n} comes before the next one")
    assert nodes[where].output(job_id) == b"line 1\nline 2\nline 3\n", "and what there is now"
    assert nodes[where].get(f"/jobs/{job_id}/stdout?offset=7").body == b"line 2\nline 3\n"
    go_on()
    assert follower.end() == b"line 1\nline 2\nline 3\n"
    assert errors.end() == b"error 1\nerror 2\nerror 3\n"[6:]


def test_large_outputs_are_whole(make_node):
    nodes = make_three(make_node, slots=(0, 1, 0))
    for size in (0, 1, 16384, 16385, 65536, 200000, 1000000):
        job_id = nodes[0].submit(f"head -c {size} /dev/zero | tr '\\0' x; head -c {size} /dev/zero | tr '\\0' y >&2")
        job = nodes[2].finish(job_id)
        assert (len(job["stdout"]), len(job["stderr"])) == (size, size)
        assert job == tell_the_same(nodes, job_id)
        for node in nodes:
            assert node.output(job_id) == b"x" * size and node.output(job_id, "stderr") == b"y" * size


def test_an_output_of_which_the_middle_is_missing(make_node):
    nodes = make_three(make_node, slots=(0, 1, 0), OUTPUT_MAX="100000")
    job_id = nodes[0].submit("seq 1 100000")
    job = nodes[2].finish(job_id)
    assert job["stdout_truncated"] and "bytes left out" in job["stdout"]
    assert job == tell_the_same(nodes, job_id)
    total = job["stdout_total_bytes"]
    for offset in (0, 10, 49000, 51000, 200000, total - 50000, total - 10, total, total + 5):
        bodies = {node.get(f"/jobs/{job_id}/stdout?offset={offset}").body for node in nodes}
        assert len(bodies) == 1, offset
    assert nodes[2].get(f"/jobs/{job_id}/stdout?offset={2**64 - 1}").body == b""


def test_a_cancel_on_a_third_node(make_node):
    owner, _, other = make_three(make_node, slots=(0, 1, 0))
    job_id = owner.submit("sleep 60")
    wait_for(lambda: owner.job(job_id)["status"] == "JOB_RUNNING")
    answer = other.post(f"/jobs/{job_id}/cancel")
    assert answer.status in (200, 202), answer
    assert answer.json()["cancel_requested"]
    assert owner.finish(job_id)["status"] == "JOB_CANCELLED"
    again = other.post(f"/jobs/{job_id}/cancel")
    assert (again.status, again.json()["status"]) == (200, "JOB_CANCELLED")


def test_the_serving_daemon_is_killed(make_node, tmp_path):
    """In the middle of a wait and of a stream, which go on where they were when it is back."""
    owner, _, other = make_three(make_node, slots=(0, 1, 0))
    read, go_on = gate(tmp_path)
    job_id = owner.submit(f"echo before; {read}; echo after; {read}")
    follower = Follower(other, job_id)
    waited = []
    waiter = threading.Thread(target=lambda: waited.append(other.get(f"/jobs/{job_id}?wait=60s", timeout=70)))
    waiter.start()
    wait_for(lambda: follower.text == b"before\n")
    owner.kill()
    go_on()
    owner.start()
    wait_for(lambda: follower.text == b"before\nafter\n", 20, "it goes on, and repeats nothing")
    go_on()
    assert follower.end() == b"before\nafter\n"
    waiter.join(20)
    assert waited[0].json()["status"] == "JOB_COMPLETED"


def test_the_running_daemon_is_killed(make_node, tmp_path):
    owner, runner, other = make_three(make_node, slots=(0, 1, 0))
    read, go_on = gate(tmp_path)
    job_id = owner.submit(f"echo before; {read}; echo after; {read}")
    followers = [Follower(node, job_id) for node in (owner, other)]
    for follower in followers:
        wait_for(lambda follower=follower: follower.text == b"before\n")
    runner.kill()
    go_on()
    runner.start()
    for follower in followers:
        wait_for(lambda follower=follower: follower.text == b"before\nafter\n", 20, "its executor kept it all")
    go_on()
    for follower in followers:
        assert follower.end() == b"before\nafter\n"


def test_the_owner_stops_answering(make_node):
    """A node that hangs delays nobody but who asks it, and that not for long; and then it is told."""
    owner, runner, other = make_three(make_node, slots=(0, 1, 1), PEER_TIMEOUT="20s", HEARTBEAT_INTERVAL="5s")
    job_id = owner.submit("sleep 60; true", target_node_id=runner.node_id)
    wait_for(lambda: owner.job(job_id)["status"] == "JOB_RUNNING")
    assert other.job(job_id)["status"] == "JOB_RUNNING"
    owner.send(signal.SIGSTOP)
    try:
        before = time.monotonic()
        answer = other.get(f"/jobs/{job_id}")
        assert time.monotonic() - before < 3
        assert answer.status == 404 and "1 could not be asked" in answer.json()["detail"]
        own = other.run("echo quick", target_node_id=other.node_id)
        assert own["stdout"] == "quick\n"
    finally:
        owner.send(signal.SIGCONT)
    wait_for(lambda: other.get(f"/jobs/{job_id}").status == 200, 10, "it is there again")
    assert other.post(f"/jobs/{job_id}/cancel").status in (200, 202)


def test_a_key_that_another_node_has_seen(make_node):
    nodes = make_three(make_node, slots=(1, 1, 1))
    key = {"Idempotency-Key": "of this test"}
    first = nodes[0].post("/jobs", {"command": "echo once"}, headers=key)
    assert first.status == 201
    for node in nodes[1:]:
        again = node.post("/jobs", {"command": "echo once"}, headers=key)
        assert again.json()["job_id"] == first.json()["job_id"]
        other = node.post("/jobs", {"command": "echo twice"}, headers=key)
        assert (other.status, other.json()["code"]) == (422, "key_reused")
    assert nodes[2].finish(first.json()["job_id"])["stdout"] == "once\n"
    assert sum(len(node.jobs()) for node in nodes) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes root")
def test_whose_job_it_is(make_node):
    """The asking node decides, by the record of the owner."""
    owner, runner, other = make_three(make_node, slots=(0, 1, 0))
    job_id = owner.submit("echo secret; sleep 60", env={"A": "b"})
    wait_for(lambda: owner.job(job_id)["status"] == "JOB_RUNNING")

    def ask(method, path):
        """As nobody in particular."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                answer = other.request(method, API + path)
                os.write(writer, b"%d %s" % (answer.status, answer.body[:4000]))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            text = file.read()
        os.waitpid(pid, 0)
        status, _, body = text.partition(b" ")
        return harness.Response(int(status), {}, body)

    told = ask("GET", f"/jobs/{job_id}")
    assert told.status == 200 and told.json()["redacted"]
    assert not {"command", "env_names", "stdout", "submitter"} & set(told.json())
    assert ask("GET", f"/jobs/{job_id}/stdout").status == 403
    assert ask("POST", f"/jobs/{job_id}/cancel").status == 403
    assert owner.job(job_id)["status"] == "JOB_RUNNING"
    assert owner.post(f"/jobs/{job_id}/cancel").status in (200, 202)


def test_many_at_once(make_node):
    nodes = make_three(make_node, slots=(0, 4, 0))
    ids = nodes[0].submit_many(["sleep 0.5; echo $JOB_ID"] * 40)
    answers = {}

    def ask(job_id):
        answers[job_id] = nodes[2].get(f"/jobs/{job_id}?wait=60s", timeout=70)

    threads = [threading.Thread(target=ask, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(70)
    assert [answers[job_id].json()["stdout"].strip() for job_id in ids] == ids


def test_on_the_bus(make_bus_node, private_bus):
    """The objects of a job are on every node."""
    owner = make_bus_node(slots=1).start()
    other = make_bus_node(discovery_port=owner.discovery_port, slots=0).start()
    wait_for(lambda: other.sees(owner) and other.peers()[owner.node_id]["verified"], 15)
    job_id = owner.submit("echo printed; sleep 60")
    wait_for(lambda: owner.output(job_id) == b"printed\n")
    path, name = job_path(job_id), f"{NAME}.node_{other.node_id.removeprefix('node-')}"
    own = f"{NAME}.node_{owner.node_id.removeprefix('node-')}"
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(name) and client.has_owner(own))
        assert client.manager("GetJob", "s", [job_id], destination=name) == [path]
        wait_for(lambda: client.get(path, JOB, "Status", destination=own) == "JOB_RUNNING")
        assert client.get_all(path, JOB, destination=name) == client.get_all(path, JOB, destination=own)
        data, more = client.call(path, JOB, "ReadOutput", "st", ["stdout", 3], destination=name)
        assert (bytes(data), more) == (b"nted\n", False)
        client.manager("CancelJob", "s", [job_id], destination=name)
        assert owner.finish(job_id)["status"] == "JOB_CANCELLED"
        assert client.get(path, JOB, "Status", destination=name) == "JOB_CANCELLED"
