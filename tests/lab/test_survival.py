# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a service manager, an administrator or a bug does to the daemon while jobs run, and that no job notices."""

import concurrent.futures
import time

import pytest
from evidence import Evidence
from hosts import wait_for
from service import ended, is_off, is_ready, main_pid

JOBS = 20
CONFIGURATION = f"[Mesh]\nSlots={JOBS}\nDrainTimeout=3s\nKillGrace=1s\n"
EXECUTOR_FAILED = "7e1ba72787ca4c71bf02ed657d6a9fc5"
UNIT = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\n"


def comes_back(host, old_pid, deadline=20):
    wait_for(lambda: main_pid(host) not in (0, old_pid), deadline, "the daemon was started again")
    wait_for(lambda: is_ready(host), deadline, "it answers")


@pytest.fixture(scope="module")
def host(lab):
    host = lab.up(1)[0]
    host.activate()
    host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
    host.write("/etc/systemd/system/worker-mesh.service.d/lab.conf", UNIT)
    host.run("systemctl daemon-reload && systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    return host


def restart(host):
    host.run("systemctl restart worker-mesh")


def kill(host):
    host.run("systemctl kill --kill-whom=main --signal=KILL worker-mesh")


def abort(host):
    host.run("systemctl kill --kill-whom=main --signal=ABRT worker-mesh")


def freeze(host):
    """Its watchdog then has it killed."""
    host.run("systemctl kill --kill-whom=main --signal=STOP worker-mesh")


def upgrade(host):
    """As a package does: new files under the old names, then a restart."""
    for path in ("/usr/bin/worker-mesh", "/usr/libexec/worker-mesh/worker-mesh-executor"):
        host.run(f"cp {path} {path}.new && mv {path}.new {path}")
    host.run("systemctl daemon-reload && systemctl restart worker-mesh")


DISTURBANCES = {
    "restart": restart,
    "kill": kill,
    "abort": abort,
    "freeze": freeze,
    "upgrade": upgrade,
}


def submit_jobs(host, name):
    """The evidence, and the ids of jobs that all run."""
    evidence = Evidence(host, name)
    ids = [host.submit(evidence.command(exit_status=number % 3)) for number in range(JOBS)]
    evidence.wait_until_all("start")
    return evidence, ids


def check_history(host, evidence, ids):
    """Each job ended once, as it says itself, and the history has it with all that it printed."""
    for number, (name, job_id) in enumerate(zip(evidence.names, ids)):
        job = ended(host, job_id)
        assert job["exit_code"] == number % 3, job
        assert job["status"] == ("JOB_FAILED" if number % 3 else "JOB_COMPLETED"), job
        assert job["stdout"] == f"{name} begins\n{name} ends\n", job
    assert evidence.problems() == []


@pytest.mark.parametrize("what", DISTURBANCES)
def test_jobs_go_on(host, what):
    host.run("systemctl reset-failed worker-mesh")
    evidence, ids = submit_jobs(host, what)
    executor, daemon = main_pid(host, "worker-mesh-executor"), main_pid(host)
    DISTURBANCES[what](host)
    comes_back(host, daemon)
    assert evidence.count("end") == 0
    assert {host.get(f"/jobs/{job_id}")["status"] for job_id in ids} == {"JOB_RUNNING"}
    evidence.release()
    evidence.wait_until_all("end")
    check_history(host, evidence, ids)
    assert main_pid(host, "worker-mesh-executor") == executor


def test_jobs_go_on_when_the_service_manager_executes_itself_again(host):
    evidence, ids = submit_jobs(host, "reexec")
    executor, daemon = main_pid(host, "worker-mesh-executor"), main_pid(host)
    host.run("systemctl daemon-reexec")
    wait_for(lambda: is_ready(host), 10)
    assert host.submit("true")
    evidence.release()
    evidence.wait_until_all("end")
    check_history(host, evidence, ids)
    assert (main_pid(host, "worker-mesh-executor"), main_pid(host)) == (executor, daemon)


def test_jobs_go_on_through_a_crash_loop(host):
    """Until systemd gives up; they end while there is no daemon, and the next one still learns how."""
    host.run("systemctl reset-failed worker-mesh")
    evidence, ids = submit_jobs(host, "loop")
    executor = main_pid(host, "worker-mesh-executor")
    crashes = 0
    end = time.monotonic() + 40
    while host.show("worker-mesh", "ActiveState") != "failed":
        assert time.monotonic() < end, "the start limit is never hit"
        crashes += host.run("systemctl kill --kill-whom=main --signal=KILL worker-mesh", check=False).status == 0
        time.sleep(0.05)
    assert crashes >= 10
    assert main_pid(host, "worker-mesh-executor") == executor
    evidence.release()
    evidence.wait_until_all("end")
    host.run("systemctl reset-failed 'worker-mesh*' && systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    check_history(host, evidence, ids)
    assert main_pid(host, "worker-mesh-executor") == executor


def begun_again(host, evidence, ids):
    """After all of them were lost with their executor."""
    wait_for(lambda: evidence.count("start") == 2 * JOBS, 20, "all begin again")
    assert evidence.count("end") == 0
    evidence.release()
    for number, job_id in enumerate(ids):
        job = ended(host, job_id)
        assert job["status"] == ("JOB_FAILED" if number % 3 else "JOB_COMPLETED"), job
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["executor_lost"], job
    assert [evidence.count("start"), evidence.count("end")] == [2 * JOBS, JOBS]


def test_an_executor_that_crashes_takes_its_jobs_along(host):
    """Nothing of them goes on, and they begin again."""
    evidence, ids = submit_jobs(host, "executor")
    executor, daemon = main_pid(host, "worker-mesh-executor"), main_pid(host)
    host.run("systemctl kill --kill-whom=main --signal=KILL worker-mesh-executor")
    wait_for(lambda: main_pid(host, "worker-mesh-executor") not in (0, executor) and is_ready(host), 20)
    begun_again(host, evidence, ids)
    assert ended(host, host.submit("echo goes on"))["stdout"] == "goes on\n"
    assert main_pid(host) == daemon


def test_an_executor_that_cannot_be_started(host):
    """The node says so, and jobs wait until it is there."""
    host.run("systemctl mask --runtime --now worker-mesh-executor.service worker-mesh-executor.socket")
    host.run("systemctl restart worker-mesh")
    waiting = host.submit("echo waited")
    wait_for(lambda: "no executor" in host.show("worker-mesh", "StatusText"), 5)
    wait_for(lambda: host.journal(f"MESSAGE_ID={EXECUTOR_FAILED}"), 10, "the journal tells of it")
    assert host.get(f"/jobs/{waiting}")["status"] == "JOB_PENDING"
    host.run("systemctl unmask --runtime worker-mesh-executor.service worker-mesh-executor.socket")
    host.run("systemctl start worker-mesh")
    assert ended(host, waiting)["stdout"] == "waited\n"
    wait_for(lambda: "no executor" not in host.show("worker-mesh", "StatusText"), 5)


def stop_in_background(host):
    """A future of how long it took."""

    def stop():
        begin = time.monotonic()
        host.run("systemctl stop worker-mesh")
        return time.monotonic() - begin

    return concurrent.futures.ThreadPoolExecutor(1).submit(stop)


def test_a_stop_waits_for_running_jobs(host):
    evidence, ids = submit_jobs(host, "drain")
    later = Evidence(host, "later")
    waiting = [host.submit(later.command(until="true")) for _ in range(5)]
    stop = stop_in_background(host)
    wait_for(lambda: host.get("/status")["status"] == "DRAINING", 5)
    assert host.request("POST", "/jobs", {"command": "true"})[0] == 503
    assert evidence.count("end") == 0 and not stop.done()
    evidence.release()
    assert stop.result(20) < 3
    assert is_off(host)
    assert evidence.problems() == []
    assert later.lines() == []
    host.run("systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    check_history(host, evidence, ids)
    for job_id in waiting:
        assert ended(host, job_id)["status"] == "JOB_COMPLETED"
    assert later.problems() == []


def test_a_stop_ends_what_does_not_end_itself(host):
    """DrainTimeout= is 3 s and KillGrace= 1 s. After the next start it begins again, unless it must not."""
    stubborn, obedient = Evidence(host, "stubborn"), Evidence(host, "obedient")
    forever = "while :; do sleep 0.1; done"
    once = host.submit(stubborn.command(at_start="trap '' TERM HUP INT;", until=forever), on_node_loss="fail")
    again = host.submit(obedient.command(until=forever))
    stubborn.wait_until_all("start")
    obedient.wait_until_all("start")
    duration = stop_in_background(host).result(30)
    assert 3 <= duration < 3 + 1 + 2, duration
    assert is_off(host)
    assert host.run("pgrep -u worker-mesh-job", check=False).stdout == ""
    assert [stubborn.count("end"), obedient.count("end")] == [0, 0]
    host.run("systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    job = ended(host, once)
    assert job["status"] == "JOB_FAILED" and "drain" in job["error_message"], job
    wait_for(lambda: obedient.count("start") == 2, 10, "what was ended begins again")
    assert host.request("POST", f"/jobs/{again}/cancel")[0] in (200, 202)
    assert ended(host, again)["status"] == "JOB_CANCELLED"
    assert [stubborn.count("start"), obedient.count("start")] == [1, 2]


def test_a_shutdown_of_the_machine_drains_too(host):
    evidence, ids = submit_jobs(host, "shutdown")
    host.run("systemctl --no-block poweroff")
    wait_for(lambda: host.get("/status")["status"] == "DRAINING", 5)
    evidence.release()
    wait_for(lambda: not host.is_up(), 20, "the host is off")
    host.crash()
    host.boot()
    wait_for(lambda: is_ready(host), 10, "the service is started at boot")
    check_history(host, evidence, ids)


def test_power_loss(host):
    """What had ended is kept; what ran begins again."""
    before = host.submit("echo before")
    assert ended(host, before)["status"] == "JOB_COMPLETED"
    evidence, ids = submit_jobs(host, "power")
    later = Evidence(host, "after-power")
    waiting = [host.submit(later.command(until="true")) for _ in range(5)]
    host.crash()
    host.boot()
    wait_for(lambda: is_ready(host), 10)
    begun_again(host, evidence, ids)
    for job_id in waiting:
        assert ended(host, job_id)["status"] == "JOB_COMPLETED"
    assert later.problems() == []
    assert host.get(f"/jobs/{before}")["stdout"] == "before\n"
