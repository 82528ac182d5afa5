# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs of all lengths on three hosts, while their daemons are restarted, killed, frozen and cut off at random. Takes a
few seconds by default and minutes with -Dslow-tests=true; STORM_SEED= repeats one."""

import contextlib
import http.client
import os
import random
import time

import pytest
from evidence import Evidence
from hosts import wait_for
from service import ended, is_ready

SECONDS = 90 if os.environ.get("SLOW_TESTS") == "true" else 6
SEED = int(os.environ.get("STORM_SEED", random.SystemRandom().randrange(1 << 32)))
CONFIGURATION = "[Mesh]\nSlots=6\nHeartbeatInterval=1s\nPeerTimeout=5s\n"
UNIT = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n"


@pytest.fixture(scope="module")
def three(lab):
    hosts = lab.up(3)
    for host in hosts:
        host.activate()
        host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", CONFIGURATION)
        host.write("/etc/systemd/system/worker-mesh.service.d/lab.conf", UNIT)
        host.run("systemctl daemon-reload && systemctl start worker-mesh")
    for host in hosts:
        wait_for(lambda: is_ready(host), 10)
    return hosts


def signal_main(host, name):
    host.run(f"systemctl kill --kill-whom=main --signal={name} worker-mesh", check=False)


DISTURBANCES = {
    "restart": lambda host: host.run("systemctl restart worker-mesh"),
    "kill": lambda host: signal_main(host, "KILL"),
    "abort": lambda host: signal_main(host, "ABRT"),
    "freeze": lambda host: signal_main(host, "STOP"),
    "terminate": lambda host: signal_main(host, "TERM"),
    "reload": lambda host: host.run("systemctl reload worker-mesh", check=False),
    "reexec": lambda host: host.run("systemctl daemon-reexec"),
    "cut": lambda host: host.cut(),
    "heal": lambda host: host.heal(),
    "lossy": lambda host: host.loss(30),
}


class Wish:
    """A job that is asked for until it is accepted; its key lets no second one be made of it."""

    def __init__(self, host, evidence, chance):
        self.host = host
        self.command = evidence.command(exit_status=chance.choice((0, 0, 1)), until=f"sleep {chance.random() * 3:.2f}")
        self.headers = {"Content-Type": "application/json", "Idempotency-Key": evidence.names[-1]}
        self.job_id = None

    def ask(self):
        """Whether it has been accepted."""
        if not self.job_id:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = self.host.request("POST", "/jobs", {"command": self.command}, self.headers, timeout=1)
                if status in (200, 201):
                    self.job_id = answer["job_id"]
        return self.job_id


def weather(three, chance):
    """Wishes and disturbances until the time is over; returns the evidence and the wishes of each host, and what was
    done to whom."""
    evidence = {host: Evidence(host, f"storm-{host}") for host in three}
    wishes, told = [], []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        host = chance.choice(three)
        wishes += [Wish(host, evidence[host], chance) for _ in range(chance.randrange(1, 4))]
        for wish in wishes[-20:]:
            wish.ask()
        what, victim = chance.choice(list(DISTURBANCES)), chance.choice(three)
        told.append(f"{victim} {what}")
        DISTURBANCES[what](victim)
    return evidence, wishes, told


def calm(host):
    """Mends what is broken; returns when the host answers again."""
    host.heal()
    host.loss(0)
    # What a signal ended is not started again by itself.
    host.run("systemctl kill --kill-whom=main --signal=CONT worker-mesh", check=False)
    wait_for(lambda: is_ready(host) or host.run("systemctl start worker-mesh", check=False) is None, 30, f"{host} answers")


def test_storm(three):
    print(f"STORM_SEED={SEED}")
    evidence, wishes, told = weather(three, random.Random(SEED))
    for host in three:
        calm(host)
    for wish in wishes:
        wait_for(wish.ask, 30, "the job is accepted")
    assert len({wish.job_id for wish in wishes}) == len(wishes)
    jobs = [ended(wish.host, wish.job_id, 60) for wish in wishes]
    for host in three:
        assert evidence[host].problems() == [], told
        wait_for(lambda: host.get("/peers")["count"] == 2, 20, f"{host} sees both others")
    print(f"{len(jobs)} jobs, {len(told)} disturbances")
    for job in jobs:
        assert job["status"] in ("JOB_COMPLETED", "JOB_FAILED") and job["exit_code"] in (0, 1), job
        assert job["attempt"] == 1, job
