# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the journal of a host tells of the jobs that ran on it, and what it is spared."""

import json
import time

import pytest
from evidence import Evidence
from hosts import wait_for
from service import UNFINISHED, ended, is_ready, main_pid

FINISHED = "71ec16ecaa40431c909f7a02f51a62c5"
STARTED = "4a2602141e824ded8b114f58bb58a19a"
LEFT_OUT = "e5291a7e11b340149febedeeeb7f095e"
SILENT_JOBS = 1000
SLOTS = 8


@pytest.fixture(scope="module")
def host(lab):
    host = lab.up(1)[0]
    host.activate()
    host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", f"[Mesh]\nSlots={SLOTS}\n")
    host.run("systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    return host


def story(host, job_id):
    """All that the journal has about a job of this service."""
    return host.journal("-u", "worker-mesh", f"JOB_ID={job_id}")


def story_with_end(host, job_id):
    """The journal is written right behind the answer to the client."""
    wait_for(lambda: any(entry.get("MESSAGE_ID") == FINISHED for entry in story(host, job_id)), 10, "the line of its end")
    return story(host, job_id)


def printed(entries, stream=None):
    return [entry["MESSAGE"] for entry in entries if "STREAM" in entry and stream in (None, entry["STREAM"])]


def test_the_story_of_a_job(host):
    job_id = host.submit("echo one; sleep 1.2; echo two >&2; sleep 0.2; echo three; exit 4")
    job = ended(host, job_id)
    entries = story_with_end(host, job_id)
    # A job that lasts a second has a line about its start; what it prints follows from then on.
    told = [entry.get("MESSAGE_ID", entry["MESSAGE"]) for entry in entries]
    assert told == [STARTED, "one", "two", "three", FINISHED]
    assert printed(entries, "stdout") == ["one", "three"] and printed(entries, "stderr") == ["two"]
    last = entries[-1]
    node = host.get("/status")["node_id"]
    assert last["NODE_ID"] == last["EXECUTOR"] == node
    assert (last["ATTEMPT"], last["EXIT_CODE"], last["JOB_STATUS"]) == ("1", "4", "JOB_FAILED")
    assert abs(int(last["DURATION_USEC"]) / 1000 - job["duration_ms"]) <= 1
    assert last["SUBMITTER_UID"] == "0" and last["COMMAND"].startswith("echo one")
    assert all(entry["JOB_ID"] == job_id for entry in entries)
    assert all(entry["_SYSTEMD_UNIT"] == "worker-mesh.service" for entry in entries)


def replace_frozen(host, meanwhile):
    """The daemon hears nothing until meanwhile() is true, and is then killed."""
    old = main_pid(host)
    host.run("systemctl kill --kill-whom=main --signal=STOP worker-mesh")
    wait_for(meanwhile, 20)
    host.run("systemctl kill --kill-whom=main --signal=KILL worker-mesh")
    wait_for(lambda: main_pid(host) not in (0, old) and is_ready(host), 20)


@pytest.mark.parametrize("lines", [8, 12], ids=["before-it-ended", "after-it-ended"])
def test_what_was_printed_while_the_daemon_was_away(host, lines):
    """Is there in order, once, and before the line of the end."""
    evidence = Evidence(host, f"away-{lines}")
    count = f"for i in $(seq 12); do echo line $i; echo line $i >>{evidence.path}.lines; sleep 0.25; done"
    job_id = host.submit(evidence.command(until=count))
    wait_for(lambda: "line 1" in printed(story(host, job_id)), 10, "the first line is in the journal")
    heard = len(printed(story(host, job_id)))

    def has_printed():
        return host.read(f"{evidence.path}.lines").count("line") >= lines and (lines < 12 or evidence.count("end"))

    replace_frozen(host, has_printed)
    ended(host, job_id)
    entries = story_with_end(host, job_id)
    name = evidence.names[0]
    assert printed(entries) == [f"{name} begins", *(f"line {i}" for i in range(1, 13)), f"{name} ends"]
    assert entries[-1].get("MESSAGE_ID") == FINISHED and evidence.problems() == []
    assert heard < lines


def test_explained(host):
    job_id = host.submit("exit 3")
    ended(host, job_id)
    story_with_end(host, job_id)
    text = host.run("journalctl", "--no-pager", "-x", "-u", "worker-mesh", f"JOB_ID={job_id}").stdout
    assert f"Subject: Job {job_id} has ended: JOB_FAILED" in text
    assert f"journalctl -u worker-mesh JOB_ID={job_id}" in text


def run_many(host, n, command="true"):
    """Submits n jobs at once and waits until all have ended; returns their ids and how long that took."""
    lines = "\n".join(json.dumps({"command": command}) for _ in range(n))
    begin = time.monotonic()
    status, answer = host.request("POST", "/jobs", lines, {"Content-Type": "application/x-ndjson"})
    assert status == 201, answer
    ids = [job["job_id"] for job in answer["jobs"]]
    wait_for(lambda: host.get("/status")["running"] + host.get("/status")["queued"] == 0, 60, "all have ended")
    duration = time.monotonic() - begin
    assert host.get(f"/jobs/{ids[-1]}")["status"] not in UNFINISHED
    return ids, duration


def test_silent_jobs_have_one_line_each(host):
    """However fast they are: nothing is lost to a rate limit."""
    ids, duration = run_many(host, SILENT_JOBS)
    print(f"{SILENT_JOBS / duration:.0f} jobs/s")

    def lines():
        entries = host.journal("-u", "worker-mesh", f"MESSAGE_ID={FINISHED}", "-n", str(3 * SILENT_JOBS))
        return [entry["JOB_ID"] for entry in entries if entry["JOB_ID"] in wanted]

    wanted = set(ids)
    wait_for(lambda: len(set(lines())) == SILENT_JOBS, 20, "each has a line")
    assert len(lines()) == SILENT_JOBS
    assert "Suppressed" not in host.run("journalctl --no-pager -b").stdout


def test_a_job_that_prints_without_end_does_not_flood(host):
    """Ten megabytes a second: some of it, then how much is left out; and other jobs still have their lines."""
    chunk = "head -c 1048576 /dev/zero | tr '\\0' x | fold -w 99"
    loud = host.submit(f"for i in $(seq 40); do {chunk}; sleep 0.1; done")
    quiet = [host.submit(f"sleep {0.1 * n}; echo quiet") for n in range(5)]
    job = ended(host, loud, 60)
    assert job["stdout_total_bytes"] > 40e6
    entries = story_with_end(host, loud)
    lines = printed(entries)
    left_out = sum(int(entry["LEFT_OUT_BYTES"]) for entry in entries if entry.get("MESSAGE_ID") == LEFT_OUT)
    # A line that did not end with a newline says how it ended.
    written = sum(len(entry["MESSAGE"]) + ("LINE_BREAK" not in entry) for entry in entries if "STREAM" in entry)
    print(
        f"{job['stdout_total_bytes'] / 1e6:.1f} MB in {job['duration_ms']} ms: {len(lines)} lines, {written / 1e6:.2f} MB"
        f" written, {left_out / 1e6:.1f} MB left out"
    )
    assert 0 < written < 2.5e6 and left_out > 35e6
    # The line that stands for the middle that was not kept may be counted, too.
    assert 0 <= written + left_out - job["stdout_total_bytes"] < 100
    assert entries[-1].get("MESSAGE_ID") == FINISHED
    for job_id in quiet:
        ended(host, job_id)
        assert printed(story_with_end(host, job_id)) == ["quiet"]
