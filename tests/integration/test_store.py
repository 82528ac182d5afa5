# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was acknowledged stays: over kills, full disks and damaged files."""

import contextlib
import glob
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import harness
import pytest
from harness import API, wait_for


def rows(node, query, *arguments):
    with contextlib.closing(sqlite3.connect(f"file:{node.database}?mode=ro", uri=True)) as database:
        return database.execute(query, arguments).fetchall()


class Submitter(threading.Thread):
    """Submits one job after the other and notes what was acknowledged, until the node is gone."""

    def __init__(self, node, prefix, command, batch=1):
        super().__init__()
        self.node, self.prefix, self.command, self.batch = node, prefix, command, batch
        self.acknowledged, self.sent = {}, 0

    def run(self):
        connection = self.node.connection(10)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while True:
                names = [f"{self.prefix}.{self.sent + number}" for number in range(self.batch)]
                self.sent += self.batch
                jobs = [{"command": self.command % name} for name in names]
                answer = harness.ask(connection, "POST", API + "/jobs", jobs if self.batch > 1 else jobs[0])
                if answer.status != 201:
                    break
                made = answer.json()["jobs"] if self.batch > 1 else [answer.json()]
                self.acknowledged |= {job["job_id"]: name for job, name in zip(made, names)}


@pytest.mark.parametrize("slots", [0, 4])
def test_kill_at_any_moment(make_node, tmp_path, slots):
    """Rounds of kill -9 while many clients submit. With no slots all wait, and run after the last restart."""
    generator = random.Random(slots)
    node = make_node(slots=slots).start()
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    acknowledged = {}
    for number in range(6):
        submitters = [
            Submitter(node, f"{number}.{client}", f"echo x >> {evidence}/%s", batch=1 if client else 20)
            for client in range(6)
        ]
        for submitter in submitters:
            submitter.start()
        time.sleep(generator.uniform(0.05, 0.6))
        node.kill()
        for submitter in submitters:
            submitter.join()
            acknowledged |= submitter.acknowledged
        node.start()
    assert len(acknowledged) > 50
    node.options += ["--slots", "8"]
    node.restart()
    node.wait_until_all_ended(120)
    history = {job["job_id"]: job for job in node.jobs()}
    for job_id, name in acknowledged.items():
        assert job_id in history, "acknowledged and lost"
        assert history[job_id]["status"] == "JOB_COMPLETED", history[job_id]["error_message"]
        assert (evidence / name).read_text() == "x\n", "each ran once"
    # What was not acknowledged may be there, whole. A job that starts at once may have begun before its acceptance was on
    # the disk: killed in between, nobody was told of it, and nobody remembers it. At most one a slot and kill.
    remembered = {job["command"].rpartition("/")[2] for job in history.values()}
    forgotten = {path.name for path in evidence.iterdir()} - remembered
    assert remembered <= {path.name for path in evidence.iterdir()}
    assert not forgotten & set(acknowledged.values())
    assert len(forgotten) <= slots * 6


def test_order_and_results_over_a_restart(make_node):
    node = make_node().start()
    ids = node.submit_many([f"echo {number}; exit {number % 2}" for number in range(50)])
    for job_id in ids:
        node.finish(job_id)
    before = node.jobs()
    node.restart()
    assert node.jobs() == before
    node.kill()
    node.start()
    assert node.jobs() == before


def test_the_command_line_of_sqlite(make_node):
    node = make_node().start()
    job_id = node.submit("echo hello", env={"A": "b"}, timeout_seconds=60)
    node.finish(job_id)
    command = f'sqlite3 {node.state_dir}/worker_*.db "SELECT * FROM jobs ORDER BY created_at DESC LIMIT 5"'
    output = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    for piece in (job_id, "echo hello", "JOB_COMPLETED", "hello"):
        assert piece in output
    columns = {row[1] for row in rows(node, "PRAGMA table_info(jobs)")}
    assert {
        "job_id", "target_node_id", "command", "env", "timeout_seconds", "status", "created_by_node", "exit_code",
        "stdout", "stderr", "error_message", "created_at", "started_at", "finished_at", "updated_at",
    } <= columns  # fmt: skip
    columns = {row[1] for row in rows(node, "PRAGMA table_info(worker_nodes)")}
    assert {
        "node_id", "address", "status", "last_heartbeat", "metadata", "version", "created_at", "updated_at",
    } <= columns  # fmt: skip
    columns = {row[1] for row in rows(node, "PRAGMA table_info(attempts)")}
    assert {
        "seq", "epoch", "attempt", "node_id", "started_at", "finished_at", "outcome", "exit_code", "signal", "error_message",
    } <= columns  # fmt: skip
    columns = {row[1] for row in rows(node, "PRAGMA table_info(guests)")}
    assert {
        "job_id", "owner_node_id", "epoch", "attempt", "executor_instance", "command", "created_at", "updated_at",
        "stdout", "stderr",
    } <= columns  # fmt: skip
    ((timeout, created_by, exit_code),) = rows(
        node, "SELECT timeout_seconds, created_by_node, exit_code FROM jobs WHERE job_id = ?", job_id
    )
    assert (timeout, created_by, exit_code) == (60, node.node_id, 0)
    assert rows(node, "PRAGMA user_version")[0][0] > 0


def test_a_reader_does_not_disturb(make_node):
    node = make_node().start()
    with contextlib.closing(sqlite3.connect(node.database)) as database:
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM jobs").fetchall()
        for _ in range(50):
            assert node.run("true")["status"] == "JOB_COMPLETED"


def test_a_writer_that_holds_the_file_for_a_moment(make_node):
    node = make_node().start()
    with contextlib.closing(sqlite3.connect(node.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(node.post("/jobs", {"command": "true"})))
        waiting.start()
        begin = time.monotonic()
        assert node.get("/health").status == 200
        assert time.monotonic() - begin < 1, "the loop does not wait for the file"
        database.execute("ROLLBACK")
        waiting.join(20)
    assert answers and answers[0].status in (201, 503)
    wait_for(lambda: node.post("/jobs", {"command": "true"}).status == 201, 20)


def test_history_is_pruned(make_node):
    node = make_node(environment={"HISTORY_MAX_JOBS": "50"}).start()
    ids = node.submit_many(["true"] * 400)
    node.finish(ids[-1], 60)
    wait_for(lambda: len(node.jobs()) <= 60, 90, "old jobs go", interval=0.5)
    assert node.jobs()[0]["job_id"] == ids[-1], "the oldest first"


def damage(path, offset, size):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(size))


def test_a_damaged_file(make_node):
    node = make_node().start()
    node.run("echo before")
    database = node.database
    node.stop()
    damage(database, 0, 4096)
    node.start()
    assert glob.glob(database + ".damaged-*"), "set aside, not deleted"
    assert os.path.basename(database) in node.log() and "damaged" in node.log()
    assert node.jobs() == []
    assert node.run("echo after")["stdout"] == "after\n"


def test_an_empty_file(make_node):
    node = make_node().start()
    database = node.database
    node.stop()
    for path in glob.glob(database + "*"):
        os.truncate(path, 0)
    node.start()
    assert node.run("echo after")["stdout"] == "after\n"


def test_a_file_that_is_cut_off(make_node):
    node = make_node().start()
    node.submit_many(["echo " + "x" * 1000] * 500)
    node.wait_until_all_ended()
    database = node.database
    node.stop()
    size = os.path.getsize(database)
    os.truncate(database, size // 8192 * 4096)
    node.start()
    assert node.run("echo after")["stdout"] == "after\n"


def test_a_file_of_a_newer_version(make_node):
    node = make_node().start()
    database = node.database
    node.stop()
    with contextlib.closing(sqlite3.connect(database)) as file:
        file.execute("PRAGMA user_version = 999")
    node.launch()
    assert node.process.wait(10) > 0
    assert "newer" in node.log() and os.path.basename(database) in node.log()
    assert not glob.glob(database + ".damaged-*")


# A full disk: a small tmpfs.


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", path], check=False).returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(directory):
    path = os.path.join(directory, "ballast")
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return path


def test_a_start_waits_for_room(small_disk, make_node, tmp_path):
    """As a service: a service manager would give up after a few tries."""
    node = make_node(state_dir=str(small_disk / "state")).start()
    job_id = node.run("echo kept")["job_id"]
    assert node.stop() == 0
    ballast = fill(small_disk)

    node.launch()
    assert node.process.wait(10) == 1, "from a terminal a person is told at once"
    assert "Failed to open the database" in node.log()

    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(10)
    node.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    node.launch()
    told = manager.recv(4096).decode()
    assert "STATUS=No room for the database" in told and "EXTEND_TIMEOUT_USEC=" in told
    node.send(signal.SIGTERM)
    assert node.process.wait(10) == 1, "and it can be stopped meanwhile"
    node.launch()
    assert "No room" in manager.recv(4096).decode()
    os.unlink(ballast)
    wait_for(node.answers, 10, "it starts by itself when there is room")
    assert node.output(job_id) == b"kept\n"
    manager.close()


def test_full_disk(small_disk, make_node, tmp_path):
    node = make_node(state_dir=str(small_disk / "state")).start()
    kept = node.run("echo kept")["job_id"]
    running = node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo went on")
    wait_for(lambda: node.job(running)["status"] == "JOB_RUNNING")
    ballast = fill(small_disk)

    def refused():
        answer = node.post("/jobs", {"command": "true # " + "x" * 20000})
        assert answer.status in (201, 503), answer
        return answer if answer.status == 503 else None

    answer = wait_for(refused, 20, "new jobs are refused")
    problem = answer.json()
    assert problem["code"] == "storage" and "Retry-After" in answer.headers
    assert "full" in problem["error"] or "space" in problem["error"]
    status = wait_for(lambda: node.status() if node.status()["status"] == "FAILED" else None, 10)
    assert "full" in str(status) or "space" in str(status)
    assert node.job(running)["status"] == "JOB_RUNNING"
    assert node.job(kept)["stdout"] == "kept\n", "reading goes on"
    # It ends while its end cannot be written, and that is written as soon as it can be.
    (tmp_path / "go").touch()
    os.unlink(ballast)
    assert node.finish(running, 30)["stdout"] == "went on\n"
    wait_for(lambda: node.post("/jobs", {"command": "true"}).status == 201, 30, "it recovers by itself")
    assert node.run("echo again")["stdout"] == "again\n"
    wait_for(lambda: node.status()["status"] == "IDLE")


def test_output_of_a_job_whose_end_is_not_written(small_disk, make_node, tmp_path):
    node = make_node(state_dir=str(small_disk / "state")).start()
    command = f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; head -c 300000 /dev/zero"
    running = node.submit(command)
    wait_for(lambda: node.job(running)["status"] == "JOB_RUNNING")
    ballast = fill(small_disk)
    wait_for(lambda: node.post("/jobs", {"command": "true # " + "x" * 20000}).status == 503, 20, "the disk is full")
    (tmp_path / "go").touch()
    wait_for(lambda: node.status()["running"] == 0, 20)
    assert node.job(running)["status"] == "JOB_RUNNING", "its end is not durable"
    assert len(node.output(running)) == 300000, "the executor still has it"
    os.unlink(ballast)
    assert node.finish(running, 30)["status"] == "JOB_COMPLETED"
    assert len(node.output(running)) == 300000


def test_kill_on_a_full_disk(small_disk, make_node):
    node = make_node(state_dir=str(small_disk / "state"), slots=0).start()
    acknowledged = []
    ballast = fill(small_disk)
    for _ in range(200):
        answer = node.post("/jobs", {"command": "true # " + "x" * 20000})
        if answer.status != 201:
            break
        acknowledged.append(answer.json()["job_id"])
    assert answer.status == 503
    node.kill()
    os.unlink(ballast)
    node.start()
    assert {job["job_id"] for job in node.jobs()} >= set(acknowledged)
    node.options += ["--slots", "4"]
    node.restart()
    for job_id in acknowledged:
        assert node.finish(job_id)["status"] == "JOB_COMPLETED"


def test_a_disk_that_is_full_at_start(small_disk, make_node):
    ballast = fill(small_disk)
    node = make_node(state_dir=str(small_disk / "state")).launch()
    assert node.process.wait(20) > 0, "nothing can be kept: it says so and ends"
    assert "space" in node.log() or "full" in node.log()
    os.unlink(ballast)
    node.start()
    assert node.run("true")["status"] == "JOB_COMPLETED"
    assert json.dumps(node.status())
