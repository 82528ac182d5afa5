# SPDX-License-Identifier: LGPL-2.1-or-later
"""Daemon and executor as a service manager runs them: side by side, the executor on a socket that it is handed. A stop
reaches the executor first; a signal of the daemon alone is a restart."""

import os
import signal
import socket
import subprocess
import time

import harness
import pytest
from harness import processes, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="jobs of another user take root")


class Manager:
    """Holds the executor's socket, and starts what listens there."""

    def __init__(self, directory, options=()):
        self.directory = str(directory)
        self.path = os.path.join(self.directory, "managed.sock")
        self.runtime = os.path.join(self.directory, "runtime")
        os.mkdir(self.runtime)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        self.socket.listen(64)
        self.options = list(options)
        self.process = None
        self.starts = 0

    def start(self):
        """As systemd: descriptor 3, and the process id of who may take it."""
        self.starts += 1
        number = self.socket.fileno()
        script = f'exec {number}>&{number}; LISTEN_PID=$$ exec "$@" 3<&{number}'
        log = open(os.path.join(self.directory, f"executor-log-{self.starts}"), "wb")
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "sh", harness.EXECUTOR, "--idle-timeout=infinity", *self.options],
            env={"PATH": os.environ["PATH"], "LISTEN_FDS": "1", "RUNTIME_DIRECTORY": self.runtime},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(number,),
        )
        log.close()
        return self

    def log(self):
        with open(os.path.join(self.directory, f"executor-log-{self.starts}"), encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        processes.end(processes.using(self.runtime), grace=0)
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    made = []

    def make(*options):
        made.append(Manager(tmp_path, options))
        return made[-1].start()

    yield make
    for one in made:
        one.end()


def managed_node(make_node, manager, **settings):
    node = make_node(options=["--executor-socket", manager.path], **settings)
    node.has_executor = lambda: node.run("true")["status"] == "JOB_COMPLETED"
    return node.start()


def begun(path):
    return wait_for(lambda: path.exists(), what=f"{path} was written by a job")


def test_a_signal_of_the_daemon_alone_is_a_restart(make_node, manager, tmp_path):
    executor = manager()
    node = managed_node(make_node, executor)
    job_id = node.submit(f"touch {tmp_path}/begun; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo $ATTEMPT")
    begun(tmp_path / "begun")

    before = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - before < 3, "a restart does not wait for jobs"
    assert executor.process.poll() is None, "the executor stays"
    node.start()
    (tmp_path / "go").touch()
    job = node.finish(job_id)
    assert (job["status"], node.output(job_id)) == ("JOB_COMPLETED", b"1\n"), job


def test_peers_hear_no_goodbye_of_a_restart(make_node, manager):
    executor = manager()
    node = managed_node(make_node, executor)
    other = make_node(discovery_port=node.discovery_port, environment={"PEER_TIMEOUT": "20s"}).start()
    wait_for(lambda: other.sees(node))
    node.stop()
    # One heartbeat later, as nobody knows when a goodbye does not come.
    heard = other.peers()[node.node_id]["last_heartbeat"]
    time.sleep(0.5)
    assert other.sees(node), "nobody said goodbye"
    node.start()
    wait_for(lambda: other.peers()[node.node_id]["last_heartbeat"] > heard)


def test_a_stop_reaches_the_executor_first(make_node, manager, tmp_path):
    executor = manager()
    node = managed_node(make_node, executor, slots=1)
    other = make_node(discovery_port=node.discovery_port, environment={"PEER_TIMEOUT": "60s"}).start()
    wait_for(lambda: other.sees(node))
    running = node.submit(f"touch {tmp_path}/begun; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done")
    waiting = node.submit("true")
    begun(tmp_path / "begun")

    executor.stop()
    wait_for(lambda: node.status()["status"] == "DRAINING")
    refused = node.post("/jobs", {"command": "true"})
    assert (refused.status, refused.json()["code"]) == (503, "draining")
    wait_for(lambda: other.peers()[node.node_id]["status"] == "DRAINING", what="peers are told at once")
    (tmp_path / "go").touch()
    assert executor.process.wait(10) == 0
    assert node.job(running)["status"] == "JOB_COMPLETED", "it had its time"

    assert node.stop() == 0
    wait_for(lambda: not other.peers(), what="a stop says goodbye")
    executor.start()
    node.start()
    assert node.finish(waiting)["status"] == "JOB_COMPLETED", "what had not begun runs after the next start"


def test_a_job_that_does_not_end_is_killed_after_the_drain(make_node, manager, tmp_path):
    """It begins again with the next executor, unless it must not start twice."""
    executor = manager()
    node = managed_node(make_node, executor, environment={"DRAIN_TIMEOUT": "500ms"})
    forever = "trap '' TERM; touch {}/{}; while :; do sleep 0.1; done"
    again = node.submit(forever.format(tmp_path, "again"))
    once = node.submit(forever.format(tmp_path, "once"), on_node_loss="fail")
    begun(tmp_path / "again")
    begun(tmp_path / "once")
    executor.stop()
    assert executor.process.wait(10) == 0
    job = node.job(once)
    assert job["status"] == "JOB_FAILED" and "drain" in job["error_message"], job
    job = node.job(again)
    assert job["status"] == "JOB_PENDING" and "2 jobs run still" in node.log(), job
    (tmp_path / "again").unlink()
    executor.start()
    begun(tmp_path / "again")
    job = node.job(again)
    assert job["attempt"] == 2 and job["attempts"][0]["outcome"] == "drained", job
    assert node.post(f"/jobs/{again}/cancel").status in (200, 202)


def test_an_executor_that_was_restarted_alone_gets_jobs_again(make_node, manager):
    executor = manager()
    node = managed_node(make_node, executor)
    executor.stop()
    executor.process.wait(10)
    wait_for(lambda: node.status()["status"] == "DRAINING")
    executor.start()
    wait_for(lambda: node.status()["status"] == "IDLE")
    assert node.run("true")["status"] == "JOB_COMPLETED"


def test_an_executor_without_a_daemon_ends_its_jobs(make_node, manager, tmp_path):
    executor = manager()
    node = managed_node(make_node, executor)
    node.submit(f"echo $$ > {tmp_path}/pid.tmp; mv {tmp_path}/pid.tmp {tmp_path}/pid; sleep 1000")
    begun(tmp_path / "pid")
    node.kill()
    executor.stop()
    assert executor.process.wait(10) == 0
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the job is gone")


def test_a_daemon_that_dies_while_it_drains(make_node, manager, tmp_path):
    executor = manager()
    node = managed_node(make_node, executor, environment={"DRAIN_TIMEOUT": "1min"})
    node.submit(f"touch {tmp_path}/begun; sleep 1000")
    begun(tmp_path / "begun")
    executor.stop()
    wait_for(lambda: node.status()["status"] == "DRAINING")
    node.kill()
    assert executor.process.wait(10) == 0, "nobody is left to wait for"


@needs_root
def test_jobs_have_a_user_and_no_capability(make_node, manager, tmp_path):
    executor = manager("--job-user=nobody", "--daemon-user=daemon")
    node = managed_node(make_node, executor)
    job = node.run(
        "id -un; id -G; echo $USER $LOGNAME; grep -E '^Cap' /proc/self/status | sort -u -k2; "
        "echo named > /dev/stdout; echo named > /dev/stderr; kill -0 $PPID || echo no signal"
    )
    lines = node.output(job["job_id"]).decode().splitlines()
    assert lines[0] == "nobody" and lines[2] == "nobody nobody", lines
    assert "0" not in lines[1].split(), "no group of root's"
    capabilities = [line for line in lines if line.startswith("Cap")]
    assert len(capabilities) == 1 and int(capabilities[0].split()[1], 16) == 0, "every set is empty"
    assert lines[-2:] == ["named", "no signal"], lines
    assert b"named\n" in node.output(job["job_id"], "stderr")


@pytest.mark.parametrize(
    "option, message",
    [
        ("--job-user=no-such-user", "There is no user no-such-user (--job-user)"),
        ("--job-user=root", "Jobs cannot run as root"),
        ("--daemon-user=no-such-user", "There is no user no-such-user (--daemon-user)"),
    ],
)
def test_a_user_that_cannot_be(manager, option, message):
    executor = manager(option)
    assert executor.process.wait(10) == 1
    assert message in executor.log()
