# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes are killed at the worst moment. The truth is what the jobs themselves wrote."""

import os
import shutil
import signal
import time

import harness
import pytest
from harness import processes, wait_for

N_JOBS = 20


class Evidence:
    """Jobs that say when they begin, wait for a file, and say when they end."""

    def __init__(self, directory):
        self.directory = directory

    def command(self, number):
        base = f"{self.directory}/{number}"
        return (
            f"echo $ATTEMPT >> {base}.begun; echo head {number}; "
            f"while ! [ -e {self.directory}/go.{number} ]; do sleep 0.05; done; "
            f"echo tail {number}; echo over >> {base}.ended"
        )

    def release(self, *numbers):
        for number in numbers:
            (self.directory / f"go.{number}").touch()

    def lines(self, number, moment):
        path = self.directory / f"{number}.{moment}"
        return path.read_text().split() if path.exists() else []

    def all_begun(self, numbers):
        return all(self.lines(number, "begun") for number in numbers)


@pytest.fixture
def evidence(tmp_path):
    directory = tmp_path / "evidence"
    directory.mkdir()
    return Evidence(directory)


def run_twenty(node, evidence):
    ids = node.submit_many([evidence.command(number) for number in range(N_JOBS)])
    wait_for(lambda: evidence.all_begun(range(N_JOBS)), 20)
    return ids


def check_all_in_history(node, evidence, ids):
    for number, job_id in enumerate(ids):
        job = node.finish(job_id)
        assert (job["status"], job["exit_code"]) == ("JOB_COMPLETED", 0), job
        assert node.output(job_id) == b"head %d\ntail %d\n" % (number, number)
        assert evidence.lines(number, "begun") == ["1"], "started once, as the first attempt"
        assert evidence.lines(number, "ended") == ["over"]


@pytest.mark.parametrize("newer", [False, True], ids=["same binary", "newer binary"])
def test_kill_of_the_daemon(make_node, evidence, tmp_path, newer):
    node = make_node(slots=N_JOBS).start()
    ids = run_twenty(node, evidence)
    executor = node.executor_pid()
    node.kill()
    if newer:
        node.program = str(tmp_path / "worker-mesh-newer")
        shutil.copy(harness.PROGRAM, node.program)
    # Some end while nobody listens, some when the next daemon is there.
    evidence.release(*range(0, 10))
    wait_for(lambda: all(evidence.lines(number, "ended") for number in range(10)))
    node.start()
    assert node.executor_pids() == [executor], "the same executor goes on"
    evidence.release(*range(10, N_JOBS))
    check_all_in_history(node, evidence, ids)


def test_kill_of_the_daemon_again_and_again(make_node, evidence):
    node = make_node(slots=N_JOBS).start()
    ids = run_twenty(node, evidence)
    for number in range(N_JOBS):
        if number % 4 == 0:
            node.kill()
        evidence.release(number)
        if number % 4 == 0:
            node.start()
    check_all_in_history(node, evidence, ids)


def test_jobs_that_wait_survive_the_daemon(make_node, evidence):
    node = make_node(slots=1).start()
    ids = node.submit_many([evidence.command(number) for number in range(5)])
    wait_for(lambda: evidence.all_begun([0]))
    node.kill()
    node.start()
    evidence.release(*range(5))
    for number, job_id in enumerate(ids):
        assert node.finish(job_id)["status"] == "JOB_COMPLETED"
        assert evidence.lines(number, "begun") == ["1"]


def test_stops_in_the_middle_of_a_queue(make_node, tmp_path):
    """An orderly stop gives running jobs their time, and takes back what has not started; none is killed or run twice."""
    node = make_node(slots=4).start()
    ids = node.submit_many([f"echo {number} >> {tmp_path}/evidence; sleep 0.005" for number in range(2000)])
    for done in (100, 400, 700, 1000, 1300):
        wait_for(lambda: node.status()["queued"] <= 2000 - done, 30)
        node.restart()
    node.wait_until_all_ended()
    assert node.job(ids[-1])["status"] == "JOB_COMPLETED"
    wrong = [(job["status"], job["error_message"]) for job in node.jobs() if job["status"] != "JOB_COMPLETED"]
    assert not wrong
    numbers = [int(line) for line in (tmp_path / "evidence").read_text().split()]
    assert sorted(numbers) == list(range(2000)), "each once"


def test_a_timeout_is_kept_without_the_daemon(make_node, tmp_path):
    node = make_node().start()
    job_id = node.submit(f"touch {tmp_path}/begun; sleep 60", timeout_seconds=1)
    wait_for((tmp_path / "begun").exists)
    node.kill()
    wait_for(lambda: not processes.with_variable("JOB_ID", job_id), what="the executor ends it")
    node.start()
    assert node.finish(job_id)["status"] == "JOB_TIMEOUT"


def test_cancel_after_a_restart(make_node, tmp_path):
    node = make_node().start()
    job_id = node.submit(f"touch {tmp_path}/begun; sleep 60")
    wait_for((tmp_path / "begun").exists)
    node.kill()
    node.start()
    assert node.post(f"/jobs/{job_id}/cancel").status in (200, 202)
    assert node.finish(job_id)["status"] == "JOB_CANCELLED"
    assert not processes.with_variable("JOB_ID", job_id)


def test_follow_after_a_restart(make_node, evidence):
    node = make_node().start()
    (job_id,) = node.submit_many([evidence.command(0)])
    wait_for(lambda: evidence.all_begun([0]))
    node.kill()
    node.start()
    connection = node.connection()
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    stream = connection.getresponse()
    assert stream.read(7) == b"head 0\n"
    evidence.release(0)
    assert stream.read() == b"tail 0\n"


def test_kill_of_the_executor(make_node, evidence):
    node = make_node(slots=4).start()
    ids = node.submit_many([evidence.command(number) for number in range(4)])
    wait_for(lambda: evidence.all_begun(range(4)))
    executor = node.executor_pid()
    first = [processes.with_variable("JOB_ID", job_id) for job_id in ids]
    os.kill(executor, signal.SIGKILL)
    for number, job_id in enumerate(ids):
        wait_for(lambda: evidence.lines(number, "begun") == ["1", "2"], what="it begins again")
        assert not set(first[number]) & set(processes.with_variable("JOB_ID", job_id)), "the first one is gone"
        evidence.release(number)
        job = node.finish(job_id)
        assert job["status"] == "JOB_COMPLETED"
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["executor_lost"]
    # Another one comes, and works.
    assert node.run("echo again")["stdout"] == "again\n"
    assert node.executor_pid() != executor
    assert node.status()["status"] == "IDLE"


def test_jobs_that_wait_survive_the_executor(make_node, evidence):
    node = make_node(slots=1).start()
    ids = node.submit_many([evidence.command(number) for number in range(3)])
    wait_for(lambda: evidence.all_begun([0]))
    evidence.release(1, 2)
    os.kill(node.executor_pid(), signal.SIGKILL)
    wait_for(lambda: evidence.lines(0, "begun") == ["1", "2"])
    evidence.release(0)
    for number in range(3):
        assert node.finish(ids[number])["status"] == "JOB_COMPLETED"
        assert len(evidence.lines(number, "ended")) == 1


def test_kill_of_both(make_node, evidence):
    node = make_node(slots=1).start()
    ids = node.submit_many([evidence.command(number) for number in range(3)])
    # On disk, so that the next daemon knows that it ran.
    wait_for(lambda: node.job(ids[0])["status"] == "JOB_RUNNING")
    evidence.release(1, 2)
    executor = node.executor_pid()
    node.kill()
    os.kill(executor, signal.SIGKILL)
    node.start()
    wait_for(lambda: evidence.lines(0, "begun") == ["1", "2"])
    evidence.release(0)
    for number in range(3):
        assert node.finish(ids[number])["status"] == "JOB_COMPLETED"
        assert len(evidence.lines(number, "ended")) == 1
    assert not processes.with_variable("JOB_ID", ids[0])


def test_kill_of_both_at_any_moment(make_node, evidence):
    """Whether a job had started may not be known any more: it fails, or runs again as the next attempt. None is lost."""
    node = make_node(slots=4).start()
    ids = node.submit_many([evidence.command(number) for number in range(40)])
    for number in range(40):
        evidence.release(number)
        if number % 10 == 5:
            executor = node.executor_pid()
            node.kill()
            os.kill(executor, signal.SIGKILL)
            node.start()
    for number, job_id in enumerate(ids):
        job = node.finish(job_id)
        begun = evidence.lines(number, "begun")
        assert begun == [str(attempt) for attempt in sorted(map(int, begun))], "one attempt after the other"
        assert len(set(begun)) == len(begun), "each attempt once"
        if job["status"] == "JOB_COMPLETED":
            assert evidence.lines(number, "ended")
        else:
            assert job["status"] == "JOB_FAILED" and "executor" in job["error_message"]


def test_a_daemon_that_was_paused(make_node, evidence):
    node = make_node(slots=2).start()
    ids = node.submit_many([evidence.command(number) for number in range(2)])
    wait_for(lambda: evidence.all_begun(range(2)))
    node.send(signal.SIGSTOP)
    evidence.release(0, 1)
    wait_for(lambda: all(evidence.lines(number, "ended") for number in range(2)))
    node.send(signal.SIGCONT)
    for job_id in ids:
        assert node.finish(job_id)["status"] == "JOB_COMPLETED"


def test_an_executor_that_is_paused_does_not_block_the_daemon(make_node):
    node = make_node().start()
    executor = node.executor_pid()
    os.kill(executor, signal.SIGSTOP)
    try:
        ids = node.submit_many(["echo late"] * 2000)
        begin = time.monotonic()
        assert node.get("/health").status == 200
        assert time.monotonic() - begin < 1
        assert node.job(ids[-1])["status"] == "JOB_PENDING"
    finally:
        os.kill(executor, signal.SIGCONT)
    assert node.finish(ids[-1], 60)["status"] == "JOB_COMPLETED"


def test_the_executor_leaves_an_empty_house(make_node):
    """Neither daemon nor job for a minute: it ends by itself; not before, and not while a job runs."""
    idle, busy = make_node().start(), make_node().start()
    busy_job = busy.submit("sleep 75; echo done")
    wait_for(lambda: processes.with_variable("JOB_ID", busy_job))
    executors = [idle.executor_pid(), busy.executor_pid()]
    begin = time.monotonic()
    idle.kill()
    busy.kill()
    wait_for(lambda: not processes.is_alive(executors[0]), 80, "the idle one leaves", interval=0.2)
    assert time.monotonic() - begin > 50
    assert processes.is_alive(executors[1])
    busy.start()
    assert busy.finish(busy_job, 60)["stdout"] == "done\n"


def test_an_executor_that_left_is_started_again(make_node):
    node = make_node().start()
    os.kill(node.executor_pid(), signal.SIGTERM)
    assert node.run("echo again")["stdout"] == "again\n"
