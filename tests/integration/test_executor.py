# SPDX-License-Identifier: LGPL-2.1-or-later
"""How jobs run and end, seen through REST. What a job did is read from what it left, not from what the daemon says."""

import os
import re
import signal
import threading
import time

import harness
import pytest
from harness import processes, wait_for


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One node for all cases that leave it as it was."""
    node = harness.Node(tmp_path_factory.mktemp("node"), slots=8).start()
    yield node
    assert node.end() is None


def test_completed(node):
    job = node.run("echo out; echo err >&2")
    assert (job["status"], job["exit_code"]) == ("JOB_COMPLETED", 0)
    assert (job["stdout"], job["stderr"]) == ("out\n", "err\n")
    assert not job["error_message"]
    for moment in ("created_at", "started_at", "finished_at"):
        assert harness.TIME.fullmatch(job[moment]), moment
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


@pytest.mark.parametrize("exit_code", [1, 2, 42, 125, 128, 255])
def test_other_exit_status(node, exit_code):
    job = node.run(f"exit {exit_code}")
    assert (job["status"], job["exit_code"]) == ("JOB_FAILED", exit_code)
    assert job["error_message"]


@pytest.mark.parametrize("name, number", [("KILL", 9), ("SEGV", 11), ("TERM", 15), ("USR1", 10)])
def test_killed_by_a_signal(node, name, number):
    job = node.run(f"kill -{name} $$")
    assert job["status"] == "JOB_FAILED"
    assert job["signal"] in (number, f"SIG{name}")
    assert f"SIG{name}" in job["error_message"]


def test_command_not_found(node):
    job = node.run("no-such-command-anywhere")
    assert (job["status"], job["exit_code"]) == ("JOB_FAILED", 127)
    assert "not found" in job["error_message"]


def test_not_executable(node, tmp_path):
    (tmp_path / "data").write_text("no program")
    job = node.run(f"{tmp_path}/data")
    assert (job["status"], job["exit_code"]) == ("JOB_FAILED", 126)
    assert "execut" in job["error_message"]


def test_it_is_a_shell(node):
    job = node.run("""printf '%s\\n' "b  c" a | sort | tr '\\n' ';'; x=$(echo 3); echo "$((x * 2))" '$x'""")
    assert job["stdout"] == "a;b  c;6 $x\n"


def test_several_lines(node):
    assert node.run("for i in 1 2 3\ndo\n  echo $i\ndone\n")["stdout"] == "1\n2\n3\n"


def test_environment(node):
    job_id = node.submit("env", env={"GREETING": "good morning", "EMPTY": "", "UMLAUT": "gr\u00fcn = 1"})
    lines = node.finish(job_id)["stdout"].splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert variables["GREETING"] == "good morning"
    assert variables["EMPTY"] == ""
    assert variables["UMLAUT"] == "gr\u00fcn = 1"
    assert variables["JOB_ID"] == job_id
    assert variables["NODE_ID"] == node.node_id
    assert (variables["EPOCH"], variables["ATTEMPT"]) == ("1", "1")
    assert {"PATH", "HOME", "LANG"} <= set(variables)
    # What the shell itself sets.
    extra = set(variables) - {"GREETING", "EMPTY", "UMLAUT", "JOB_ID", "NODE_ID", "EPOCH", "ATTEMPT", "PATH", "HOME", "LANG"}
    assert extra <= {"PWD", "OLDPWD", "SHLVL", "_", "USER", "LOGNAME", "SHELL"}, "a small clean environment"


def test_env_wins_over_the_base(node):
    assert node.run("echo $LANG $HOME", env={"LANG": "de_DE.UTF-8", "HOME": "/"})["stdout"] == "de_DE.UTF-8 /\n"


def test_env_values_are_never_listed(node):
    job_id = node.submit("true", env={"PASSWORD": "swordfish-47"})
    node.finish(job_id)
    for path in (f"/jobs/{job_id}", "/jobs?limit=10"):
        assert b"swordfish-47" not in node.get(path).body


def test_working_directory(node, tmp_path):
    assert node.run("pwd", cwd=str(tmp_path))["stdout"] == f"{tmp_path}\n"


def test_working_directory_that_is_not_there(node):
    job = node.run("true", cwd="/no/such/folder")
    assert job["status"] == "JOB_FAILED"
    assert "/no/such/folder" in job["error_message"]
    assert job["exit_code"] is None


def test_stdin_is_empty(node):
    job = node.run("readlink /proc/self/fd/0; cat; echo end")
    assert job["stdout"] == "/dev/null\nend\n"


def test_stdin_is_what_was_given(node):
    assert node.run("sort", stdin="b\na\n")["stdout"] == "a\nb\n"
    large = "0123456789abcde\n" * 40000
    assert node.run("wc -c; wc -l", stdin=large)["stdout"].split()[0] == str(len(large))


def test_only_three_descriptors(node):
    numbers = node.run("ls /proc/self/fd")["stdout"].split()
    assert set(numbers) <= {"0", "1", "2", "3"}, "3 is the folder that ls reads"


def test_signals_are_as_usual(node):
    status = node.run("grep -E '^Sig(Blk|Ign)' /proc/self/status")["stdout"]
    assert re.findall(r"(\w+):\s*0+$", status, re.M) == ["SigBlk", "SigIgn"]


def test_timeout(node, tmp_path):
    begin = time.monotonic()
    job_id = node.submit(f"echo begun; sleep 60; touch {tmp_path}/ended", timeout_seconds=1)
    job = node.finish(job_id)
    assert 0.9 < time.monotonic() - begin < 5
    assert job["status"] == "JOB_TIMEOUT"
    assert job["stdout"] == "begun\n"
    assert "1" in job["error_message"]
    assert not processes.with_variable("JOB_ID", job_id)


def test_timeout_asks_first(node, tmp_path):
    job = node.run("trap 'echo asked; exit 3' TERM; echo begun; while :; do sleep 0.05; done", timeout_seconds=1)
    assert job["status"] == "JOB_TIMEOUT"
    assert job["stdout"] == "begun\nasked\n"


def test_timeout_of_one_that_does_not_listen(node):
    job_id = node.submit("trap '' TERM; (trap '' TERM; sleep 61 & wait) & while :; do sleep 1; done", timeout_seconds=1)
    assert node.finish(job_id)["status"] == "JOB_TIMEOUT"
    assert not processes.with_variable("JOB_ID", job_id)


@pytest.mark.parametrize(
    "command",
    [
        "setsid sh -c 'sleep 300' & echo $!",
        "setsid -f sleep 300; true",
        "(setsid sh -c 'setsid sleep 300 & setsid sleep 300 & wait' </dev/null >/dev/null 2>&1 &) ; true",
        "sh -c 'trap \"\" TERM HUP; setsid sleep 300 &' ; exit 3",
    ],
)
def test_no_grandchild_outlives_its_job(node, command):
    job_id = node.submit(command)
    job = node.finish(job_id, 10)
    assert job["status"] in ("JOB_COMPLETED", "JOB_FAILED")
    assert not processes.with_variable("JOB_ID", job_id)


def test_a_grandchild_that_holds_the_output_does_not_hold_the_job(node):
    begin = time.monotonic()
    job = node.run("setsid sleep 300 & echo done")
    assert job["stdout"] == "done\n"
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("slots", [1, 2])
def test_the_next_job_after_a_killed_one(make_node, slots):
    """Newer kernels kill at once whatever is cloned into a cgroup that has ever been killed as a whole: such a cgroup
    must not be used again."""
    node = make_node(slots=slots).start()
    for _ in range(slots * 3):
        assert node.run("sleep 60", timeout_seconds=1, env={"A": "x"})["status"] == "JOB_TIMEOUT"
        node.run("setsid sleep 300 & echo left over")
        assert node.run("echo next")["stdout"] == "next\n"


def test_cancel(node, tmp_path):
    job_id = node.submit(f"touch {tmp_path}/begun; sleep 60")
    wait_for((tmp_path / "begun").exists)
    answer = node.post(f"/jobs/{job_id}/cancel")
    assert answer.status in (200, 202), answer
    job = node.finish(job_id)
    assert job["status"] == "JOB_CANCELLED"
    assert not processes.with_variable("JOB_ID", job_id)
    again = node.post(f"/jobs/{job_id}/cancel")
    assert (again.status, again.json()["status"]) == (200, "JOB_CANCELLED")


def test_cancel_of_one_that_ended(node):
    job_id = node.submit("true")
    node.finish(job_id)
    answer = node.post(f"/jobs/{job_id}/cancel")
    assert (answer.status, answer.json()["status"]) == (200, "JOB_COMPLETED")


def test_cancel_of_one_that_waits(make_node, tmp_path):
    node = make_node(slots=1).start()
    node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done")
    job_id = node.submit(f"touch {tmp_path}/ran")
    answer = node.post(f"/jobs/{job_id}/cancel")
    assert answer.status in (200, 202), answer
    job = node.finish(job_id)
    assert job["status"] == "JOB_CANCELLED" and job["started_at"] is None
    (tmp_path / "go").touch()
    assert node.run("true")["status"] == "JOB_COMPLETED"
    assert not (tmp_path / "ran").exists()


def test_output_is_bounded(make_node):
    node = make_node(environment={"OUTPUT_MAX": "64K"}).start()
    job_id = node.submit("echo first; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last; echo small >&2")
    job = node.finish(job_id)
    assert (job["stdout_truncated"], job["stderr_truncated"]) == (True, False)
    kept = node.output(job_id)
    assert len(kept) <= 65 * 1024
    assert kept.startswith(b"first\nxxx") and kept.endswith(b"xxx\nlast\n")
    assert re.search(rb"\d{6}", kept), "says how much is missing"
    assert node.output(job_id, "stderr") == b"small\n"
    assert node.get(f"/jobs/{job_id}/stdout?offset=1000007").body == b"last\n", "a position in what was written"


def test_a_mebibyte_is_kept_whole_by_default(node):
    job_id = node.submit("head -c 1048576 /dev/zero | tr '\\0' y")
    job = node.finish(job_id)
    assert not job["stdout_truncated"]
    assert node.output(job_id) == b"y" * 1048576
    job_id = node.submit("head -c 1048577 /dev/zero | tr '\\0' y >&2")
    assert node.finish(job_id)["stderr_truncated"]


def test_binary_output(node):
    job_id = node.submit("printf 'a\\000b\\377\\376c\\n'; head -c 256 /dev/urandom >&2")
    job = node.finish(job_id)
    assert job["stdout"].startswith("a\0b") and job["stdout"].endswith("c\n")
    assert node.output(job_id) == b"a\0b\xff\xfec\n"
    assert len(node.output(job_id, "stderr")) == 256
    page = node.get("/jobs?limit=1")
    page.body.decode("utf-8", "strict")
    assert page.json()["jobs"][0]["job_id"] == job_id


def test_output_from_an_offset(node):
    job_id = node.submit("printf 0123456789")
    node.finish(job_id)
    assert node.get(f"/jobs/{job_id}/stdout?offset=4").body == b"456789"
    assert node.get(f"/jobs/{job_id}/stdout?offset=10").body == b""
    assert node.get(f"/jobs/{job_id}/stdout?offset=99").status in (200, 416)


def test_output_while_it_runs(node, tmp_path):
    job_id = node.submit(f"echo one; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done; echo two")
    wait_for(lambda: node.get(f"/jobs/{job_id}/stdout").body == b"one\n")
    connection = node.connection()
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    stream = connection.getresponse()
    assert stream.read(4) == b"one\n"
    (tmp_path / "go").touch()
    assert stream.read() == b"two\n", "the stream ends with the job"
    assert node.finish(job_id)["status"] == "JOB_COMPLETED"


def test_without_follow_the_answer_ends_before_the_job(node):
    job_id = node.submit("yes")
    wait_for(lambda: node.get(f"/jobs/{job_id}/stdout?offset=2000000").body)
    connection = node.connection()
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout")
    body = connection.getresponse().read(64 * 1024 * 1024)
    node.post(f"/jobs/{job_id}/cancel")
    assert body.startswith(b"y\ny\n") and len(body) < 64 * 1024 * 1024


def test_follow_of_one_that_waits(make_node, tmp_path):
    node = make_node(slots=1).start()
    node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done")
    job_id = node.submit("echo late")
    connection = node.connection()
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    (tmp_path / "go").touch()
    assert connection.getresponse().read() == b"late\n"


def test_follow_ends_with_a_job_that_never_runs(make_node):
    node = make_node(slots=0).start()
    job_id = node.submit("echo never")
    connection = node.connection(timeout=10)
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    node.post(f"/jobs/{job_id}/cancel")
    assert connection.getresponse().read() == b""


def test_follow_goes_on_with_the_next_executor(make_node):
    """What the job has printed before it begins again is not told twice."""
    node = make_node(slots=1).start()
    job_id = node.submit('echo one; [ "$ATTEMPT" != 1 ] || sleep 100; echo two')
    connection = node.connection(timeout=10)
    connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    stream = connection.getresponse()
    assert stream.read(4) == b"one\n"
    os.kill(node.executor_pid(), signal.SIGKILL)
    assert stream.read() == b"two\n"
    assert node.finish(job_id)["stdout"] == "one\ntwo\n"


def test_follow_of_one_that_ended(node):
    job_id = node.submit("echo gone")
    node.finish(job_id)
    assert node.get(f"/jobs/{job_id}/stdout?follow=1").body == b"gone\n"


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def test_much_output_costs_neither_memory_nor_latency(make_node, tmp_path):
    """10 MB/s for some seconds; a follower that reads, and one that never does."""
    node = make_node().start()
    pids = [node.pid, node.executor_pid()]
    before = [memory_of(pid) for pid in pids]
    script = "while ! [ -e %s/stop ]; do head -c 1000000 /dev/zero; sleep 0.1; done" % tmp_path
    job_id = node.submit(script)
    lazy = node.connection()
    lazy.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
    received = []

    def follow():
        connection = node.connection()
        connection.request("GET", f"{harness.API}/jobs/{job_id}/stdout?follow=1")
        answer = connection.getresponse()
        while piece := answer.read(65536):
            received.append(len(piece))

    follower = threading.Thread(target=follow)
    follower.start()
    slowest, end = 0.0, time.monotonic() + (60 if harness.SLOW else 8)
    connection = node.connection()
    while time.monotonic() < end:
        begin = time.monotonic()
        assert harness.ask(connection, "GET", harness.API + "/health").status == 200
        slowest = max(slowest, time.monotonic() - begin)
        time.sleep(0.01)
    after = [memory_of(pid) for pid in pids]
    (tmp_path / "stop").touch()
    job = node.finish(job_id)
    follower.join(10)
    assert not follower.is_alive()
    assert job["status"] == "JOB_COMPLETED" and job["stdout_truncated"]
    assert sum(received) > 1024 * 1024
    assert slowest < 0.5
    assert node.is_sanitized() or all(now - then < 16 * 1024 * 1024 for now, then in zip(after, before)), (before, after)


def test_a_thousand_jobs_two_at_a_time_in_order(make_node, tmp_path):
    node = make_node(slots=2).start()
    evidence = tmp_path / "evidence"
    # Each line is one write of its own, so that the order in the file is the order in time.
    command = "echo + %d >> {0}; sleep 0.003; echo - %d >> {0}".format(evidence)
    commands = [command % (number, number) for number in range(1000)]
    ids = node.submit_many(commands)
    for job_id in ids[::100] + ids[-2:]:
        assert node.finish(job_id, 60)["status"] == "JOB_COMPLETED"
    node.wait_until_all_ended()
    lines = [line.split() for line in evidence.read_text().splitlines()]
    running, most, begun = 0, 0, []
    for what, number in lines:
        running += 1 if what == "+" else -1
        most = max(most, running)
        if what == "+":
            begun.append(int(number))
    assert sorted(begun) == list(range(1000)), "each once"
    assert len(lines) == 2000
    assert most == 2
    # When one begins, all before it have begun but the one that runs beside it and was slower to write.
    assert all(number - place <= 1 for place, number in enumerate(begun))
    history = node.jobs()
    assert [job["job_id"] for job in history] == ids[::-1]
    assert {job["status"] for job in history} == {"JOB_COMPLETED"}


def test_no_slots_runs_nothing(make_node, tmp_path):
    node = make_node(slots=0).start()
    job_id = node.submit(f"touch {tmp_path}/ran")
    assert node.get(f"/jobs/{job_id}?wait=1s").json()["status"] == "JOB_PENDING"
    assert not (tmp_path / "ran").exists()
    node.stop()
    node.options += ["--slots", "1"]
    node.start()
    assert node.finish(job_id)["status"] == "JOB_COMPLETED"
    assert (tmp_path / "ran").exists()


def test_queue_full(make_node):
    node = make_node(environment={"QUEUE_MAX": "5"}, slots=0).start()
    node.submit_many(["true"] * 5)
    answer = node.post("/jobs", {"command": "true"})
    assert (answer.status, answer.json()["code"]) == (429, "queue_full")
    assert "Retry-After" in answer.headers


def test_a_cgroup_for_each_job(node):
    """Where the executor said that it has a subtree: each job in a leaf of its own below it."""
    found = re.search(r"cgroups below (\S+?)\.?$", node.log(), re.M)
    if not found:
        pytest.skip("the executor could make no cgroups here")
    tree = os.path.basename(found.group(1))
    ids = node.submit_many(["grep ^0:: /proc/self/cgroup; sleep 0.3"] * 4)
    leaves = [node.finish(job_id)["stdout"].strip() for job_id in ids]
    assert len(set(leaves)) == 4
    assert all(tree in leaf for leaf in leaves)


def test_default_timeout_is_five_minutes(node):
    job_id = node.submit("true")
    job = node.finish(job_id)
    assert job.get("timeout_seconds", 300) == 300
    assert os.path.exists(node.database)
