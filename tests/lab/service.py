# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service on a host of the lab, as tests ask for it again and again."""

import http.client
import os
import time

KEY_PATH = "/var/lib/worker-mesh/mesh.key"
UNFINISHED = ("JOB_PENDING", "JOB_RUNNING")


def share_key(hosts):
    """They belong to one mesh from now on: as a person does it who copies the file. The daemons are not told."""
    text = new_key()
    for host in hosts:
        give_key(host, text)


def new_key():
    return f"{os.urandom(16).hex()}\n{os.urandom(32).hex()}\n"


def give_key(host, text):
    host.run(f"umask 077; cat >{KEY_PATH}; chown worker-mesh:worker-mesh {KEY_PATH}", stdin=text)


def answers(host):
    try:
        return host.request("GET", "/health", timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def is_ready(host):
    """The daemon answers, and has its executor."""
    try:
        return answers(host) and host.get("/status", timeout=2)["executor_connected"]
    except (OSError, http.client.HTTPException):
        return False


def main_pid(host, unit="worker-mesh"):
    return int(host.show(unit, "MainPID"))


def is_off(host):
    return [host.show(unit, "ActiveState") for unit in ("worker-mesh", "worker-mesh-executor")] == ["inactive"] * 2


def ended(host, job_id, deadline=20):
    """The job, when it has ended."""
    end = time.monotonic() + deadline
    while True:
        job = host.get(f"/jobs/{job_id}?wait=5s")
        if job["status"] not in UNFINISHED:
            return job
        assert time.monotonic() < end, f"{job_id} has not ended within {deadline} s: {job}"
