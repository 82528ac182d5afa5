# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may ask: as root, with the user nobody as a second user of the machine."""

import json
import os
import pwd
import subprocess

import harness
import pytest
from harness import API

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")

NOBODY = pwd.getpwnam("nobody").pw_uid


def as_user(uid, node, method, path, body=None, socket_path=None):
    """Status and answer of a request by another user."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    command += ["curl", "-sS", "--max-time", "10", "-o", "-", "-w", "\n%{http_code}", "-X", method]
    if socket_path:
        command += ["--unix-socket", socket_path]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    command.append(f"http://localhost:{node.api_port}{API}{path}")
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, status = result.stdout.rpartition("\n")
    return int(status), text


@pytest.fixture(params=["tcp", "unix"])
def door(request, make_node):
    """A node of root, and how nobody asks it."""
    node = make_node()
    harness.open_to_others(node.directory)
    path = os.path.join(node.directory, "api.sock")
    node.options += ["--api-socket", path]
    node.start()
    socket_path = path if request.param == "unix" else None
    return node, lambda method, path, body=None, uid=NOBODY: as_user(uid, node, method, path, body, socket_path)


def test_state_is_for_everybody(door):
    node, ask = door
    for path in ("/health", "/status", "/peers"):
        assert ask("GET", path)[0] == 200


def test_submitting_is_not(door, tmp_path):
    node, ask = door
    status, text = ask("POST", "/jobs", {"command": f"touch {tmp_path}/evidence"})
    assert status == 403
    problem = json.loads(text)
    assert problem["code"] == "forbidden" and problem["error"]
    assert node.jobs() == []
    assert not (tmp_path / "evidence").exists()


def test_others_see_state_and_times_only(door):
    node, ask = door
    job_id = node.submit("echo secret-out; echo secret-err >&2 # secret-command", env={"A": "secret-env"})
    node.finish(job_id)
    for path in (f"/jobs/{job_id}", "/jobs", f"/jobs/{job_id}?wait=1s"):
        status, text = ask("GET", path)
        assert status == 200, text
        assert "secret" not in text
        assert job_id in text and "JOB_COMPLETED" in text and "finished_at" in text
    for stream in ("stdout", "stderr"):
        status, text = ask("GET", f"/jobs/{job_id}/{stream}")
        assert status == 403 and "secret" not in text


def test_others_do_not_cancel(door):
    node, ask = door
    job_id = node.submit("sleep 30")
    status, text = ask("POST", f"/jobs/{job_id}/cancel")
    assert status == 403, text
    assert node.job(job_id)["status"] in ("JOB_PENDING", "JOB_RUNNING")
    assert node.post(f"/jobs/{job_id}/cancel").status in (200, 202)


def test_root_by_either_door(door):
    node, ask = door
    status, text = ask("POST", "/jobs", {"command": "true"}, 0)
    assert status == 201, text


def test_the_node_of_another_user(make_node):
    """Its own user and root may do everything."""
    node = make_node(user=NOBODY).start()
    assert as_user(NOBODY, node, "POST", "/jobs", {"command": "true"})[0] == 201
    job = node.run("id -u; echo $HOME")
    assert job["stdout"].split()[0] == str(NOBODY)
    daemon = pwd.getpwnam("daemon").pw_uid
    assert as_user(daemon, node, "POST", "/jobs", {"command": "true"})[0] == 403
    assert as_user(daemon, node, "GET", "/status")[0] == 200


def test_jobs_end_with_their_children_without_root(make_node):
    node = make_node(user=NOBODY).start()
    job_id = node.submit("setsid sh -c 'trap \"\" TERM; sleep 300 & wait' & echo begun")
    assert node.finish(job_id)["stdout"] == "begun\n"
    if "cgroups below" not in node.log():
        assert "cgroup" in node.log(), "it says that a job could hide from it"
    assert not harness.processes.with_variable("JOB_ID", job_id)
