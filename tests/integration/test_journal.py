# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the journal has of jobs: their story in order, over restarts, within bounds."""

import collections
import os
import re
import signal
import threading
import time

import harness
import journal as fake
import pytest
from harness import wait_for


@pytest.fixture
def journal(tmp_path):
    journal = fake.Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def node(make_node, journal):
    return make_node(environment=journal.environment, slots=8).start()


def levels(entries):
    return [int(entry["PRIORITY"]) for entry in entries]


def test_the_story_of_a_short_job(node, journal):
    command = "echo one; echo two; echo wrong >&2; exit 3"
    job_id = node.submit(command)
    story = journal.wait_for_end(job_id)
    assert [(entry.text("STREAM"), entry.message) for entry in story[:-1]] == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stderr", "wrong"),
    ]
    end = story[-1]
    assert re.fullmatch(rf"Job {job_id} failed after \S+: exited with status 3\.", end.message)
    assert end.text("SYSLOG_IDENTIFIER") == "worker-mesh"
    assert end.text("JOB_STATUS") == "JOB_FAILED"
    assert end.text("EXIT_CODE") == "3"
    assert end.text("ATTEMPT") == "1"
    assert end.text("NODE_ID") == end.text("EXECUTOR") == node.node_id
    assert end.text("SUBMITTER") == f"uid:{os.getuid()}"
    assert end.text("SUBMITTER_UID") == str(os.getuid())
    assert end.text("COMMAND") == command
    assert 0 < int(end["DURATION_USEC"]) < 30_000_000
    assert re.fullmatch("[0-9a-f]{32}", end.text("MESSAGE_ID"))
    assert levels(story) == [6, 6, 6, 5]
    assert {entry.text("SYSLOG_IDENTIFIER") for entry in story[:-1]} == {"worker-mesh-job"}


@pytest.mark.parametrize(
    "command, more, status, level, message",
    [
        ("true", {}, "JOB_COMPLETED", 6, r"completed \(exit status 0\) after"),
        ("kill -SEGV $$", {}, "JOB_FAILED", 4, r"failed after \S+: killed by signal 11 \(SIGSEGV\)"),
        ("sleep 60", {"timeout_seconds": 1}, "JOB_TIMEOUT", 4, r"ran into its timeout of 1s, and was ended after 1\."),
        ("true", {"cwd": "/no/such/folder"}, "JOB_FAILED", 4, "failed.*: .*/no/such/folder"),
    ],
)
def test_how_it_ended(node, journal, command, more, status, level, message):
    job_id = node.submit(command, **more)
    (end,) = [entry for entry in journal.wait_for_end(job_id) if "JOB_STATUS" in entry]
    assert end.text("JOB_STATUS") == status
    assert int(end["PRIORITY"]) == level
    assert re.search(message, end.message), end.message
    if "SEGV" in command:
        assert end.text("SIGNAL") == "SIGSEGV"
        assert "EXIT_CODE" not in end


def test_who_cancelled(node, journal):
    job_id = node.submit("sleep 60")
    wait_for(lambda: node.job(job_id)["status"] == "JOB_RUNNING")
    for _ in range(3):
        node.post(f"/jobs/{job_id}/cancel")
    cancel, *_, end = journal.wait_for_end(job_id)
    assert cancel.text("CANCELLED_BY_UID") == str(os.getuid())
    assert cancel.message == f"User {os.getuid()} asked to cancel job {job_id}."
    assert end.text("JOB_STATUS") == "JOB_CANCELLED"
    assert len([entry for entry in journal.of(job_id) if "CANCELLED_BY_UID" in entry]) == 1


def test_who_cancelled_on_another_node(make_node, journal):
    owner = make_node(environment=journal.environment, slots=1).start()
    other = make_node(discovery_port=owner.discovery_port).start()
    wait_for(lambda: other.sees(owner) and other.peers()[owner.node_id]["verified"], 15)
    job_id = owner.submit("sleep 60", target_node_id=owner.node_id)
    assert other.post(f"/jobs/{job_id}/cancel").status in (200, 202)
    cancel, *_, end = journal.wait_for_end(job_id)
    assert (cancel.text("CANCELLED_BY_UID"), cancel.text("CANCELLED_BY_NODE")) == (str(os.getuid()), other.node_id)
    assert cancel.message == f"User {os.getuid()} of node {other.node_id} asked to cancel job {job_id}."
    assert end.text("JOB_STATUS") == "JOB_CANCELLED"


def test_one_that_never_ran(make_node, journal):
    node = make_node(environment=journal.environment, slots=0).start()
    job_id = node.submit("true")
    node.post(f"/jobs/{job_id}/cancel")
    end = journal.wait_for_end(job_id)[-1]
    assert end.message == f"Job {job_id} was cancelled before it started."
    assert end.text("ATTEMPT") == "0"
    assert "EXECUTOR" not in end and "DURATION_USEC" not in end


def test_a_long_command_is_cut(node, journal):
    job_id = node.submit("true # " + "\u00e4" * 10000)
    command = journal.wait_for_end(job_id)[-1]["COMMAND"]
    assert len(command) <= 1024 + 3
    assert command.decode().endswith("\u00e4\u2026")


def test_a_long_job_is_followed(node, journal, tmp_path):
    job_id = node.submit(f"echo begun; while ! test -e {tmp_path}/go; do sleep 0.02; done; echo on; echo late >&2")
    wait_for(lambda: journal.output(job_id) == [b"begun"], what="it is followed")
    start = journal.of(job_id)[0]
    assert start.message == f"Job {job_id} has started, and goes on."
    assert start.text("COMMAND").startswith("echo begun")
    assert not journal.ends(job_id)
    (tmp_path / "go").touch()
    story = journal.wait_for_end(job_id)
    assert [entry.text("STREAM") for entry in story][:2] == [None, "stdout"]
    assert journal.output(job_id) == [b"begun", b"on"]
    assert journal.output(job_id, "stderr") == [b"late"]
    assert "JOB_STATUS" in story[-1]


def test_more_long_jobs_than_are_followed(make_node, journal, tmp_path):
    node = make_node(environment=journal.environment, slots=80).start()
    ids = node.submit_many([f"echo {i}; while ! test -e {tmp_path}/go; do sleep 0.2; done" for i in range(80)])

    def followed():
        return [job_id for job_id in ids if journal.output(job_id)]

    wait_for(lambda: len(followed()) == 48, 30, "as many are followed as may be")
    # Readers through REST still find room.
    assert node.output(ids[-1]) == b"79\n"
    (tmp_path / "go").touch()
    for number, job_id in enumerate(ids):
        journal.wait_for_end(job_id, 60)
        assert journal.output(job_id) == [str(number).encode()]


def test_binary_output(node, journal):
    job_id = node.submit(r"printf 'a\001\033[1m\377\n\n\nb\000c\000\nno end'")
    story = journal.wait_for_end(job_id)
    assert [(entry["MESSAGE"], entry.text("LINE_BREAK")) for entry in story[:-1]] == [
        (b"a\x01\x1b[1m\xff", None),
        (b"b", "nul"),
        (b"c", "nul"),
        (b"no end", "eof"),
    ]


def test_long_lines_are_split(node, journal):
    job_id = node.submit("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short")
    story = journal.wait_for_end(job_id)[:-1]
    assert [(len(entry["MESSAGE"]), entry.text("LINE_BREAK")) for entry in story] == [
        (16384, "line-max"),
        (16384, "line-max"),
        (40000 - 2 * 16384, None),
        (5, None),
    ]


def numbered(job_id, journal):
    return [int(line) for line in journal.output(job_id)]


COUNT = "i=0; while test $i -lt {n}; do i=$((i + 1)); echo $i; sleep 0.01; done"


@pytest.mark.parametrize("how", ["kill", "kill and away"])
def test_the_next_daemon_goes_on(node, journal, how):
    n = 500
    job_id = node.submit(COUNT.format(n=n))
    wait_for(lambda: len(journal.output(job_id)) > 150, what="it is followed")
    node.kill()
    if how == "kill and away":
        wait_for(lambda: not harness.processes.with_variable("JOB_ID", job_id), 60, "the job has ended")
    node.start()
    journal.wait_for_end(job_id, 60)
    numbers = numbered(job_id, journal)
    # Everything, in order; what was printed twice is one piece around the kill.
    assert set(numbers) == set(range(1, n + 1))
    repeated = len(numbers) - n
    assert repeated <= 50
    assert sum(1 for a, b in zip(numbers, numbers[1:]) if b <= a) <= 1
    assert len(journal.ends(job_id)) == 1


def test_killed_again_and_again(node, journal):
    """Every end is written; again only around a kill."""
    ids, n_kills = [], 4
    for round_number in range(n_kills):
        ids += node.submit_many([f"echo {round_number}-{i}" for i in range(150)])
        node.kill()
        node.start()
    node.wait_until_all_ended()
    wait_for(lambda: not [job_id for job_id in ids if not journal.ends(job_id)], 20, "every end is in the journal")
    counts = collections.Counter(len(journal.ends(job_id)) for job_id in ids)
    assert set(counts) <= set(range(1, n_kills + 2))
    print(f"{len(ids) - counts[1]} of {len(ids)} ends were written more than once over {n_kills} kills")
    for job_id in ids:
        assert set(journal.output(job_id)) == {journal.output(job_id)[0]}


def test_a_flood(node, journal, tmp_path):
    """10 MB/s: bounded in the journal, others are not slowed, and what is left out is said."""
    line = "x" * 99
    flood = node.submit(
        f"(while ! test -e {tmp_path}/stop; do cat {tmp_path}/megabyte; sleep 0.1; done)", timeout_seconds=60
    )
    (tmp_path / "megabyte").write_text((line + "\n") * 10486)
    others = []
    begin = time.monotonic()
    while time.monotonic() < begin + 6:
        submitted = time.monotonic()
        job_id = node.submit("echo other")
        journal.wait_for_end(job_id)
        others.append(time.monotonic() - submitted)
        assert journal.output(job_id) == [b"other"]
    (tmp_path / "stop").touch()
    story = journal.wait_for_end(flood)
    seconds = time.monotonic() - begin
    written = sum(len(entry["MESSAGE"]) for entry in story if entry.is_output)
    print(f"{written} bytes in {seconds:.1f} s; others {sorted(others)[len(others) // 2] * 1000:.1f} ms, {len(others)}")
    assert written < 256 * 1024 + 64 * 1024 * (seconds + 1) + 2 * 256 * 1024
    assert sorted(others)[len(others) // 2] < 0.5
    (left_out,) = [entry for entry in story if "LEFT_OUT_BYTES" in entry]
    assert f"GET /api/v1/jobs/{flood}/stdout" in left_out.message
    assert int(left_out["LEFT_OUT_BYTES"]) > 10 * 1024 * 1024
    assert story[-2] is left_out


def test_much_output_of_a_short_job(node, journal):
    job_id = node.submit("seq 100000")
    story = journal.wait_for_end(job_id)
    numbers = numbered(job_id, journal)
    assert numbers[0] == 1 and numbers[-1] == 100000
    assert 900 <= len(numbers) <= 1000
    (left_out,) = [entry for entry in story if "LEFT_OUT_BYTES" in entry]
    assert int(left_out["LEFT_OUT_LINES"]) == 100000 - len(numbers)
    assert left_out.message.startswith(f"Left out {100000 - len(numbers)} lines (57")


def test_a_thousand_silent_jobs(make_node, journal):
    node = make_node(environment=journal.environment, slots=4).start()
    begin = time.monotonic()
    ids = [job_id for _ in range(10) for job_id in node.submit_many(["true"] * 300)]
    node.wait_until_all_ended(120)
    seconds = time.monotonic() - begin
    wait_for(lambda: len([entry for entry in journal.entries if "JOB_STATUS" in entry]) >= len(ids), 20)
    ends = collections.Counter(entry.text("JOB_ID") for entry in journal.entries if "JOB_STATUS" in entry)
    print(f"{len(ids) / seconds:.0f} jobs/s")
    assert ends == {job_id: 1 for job_id in ids}
    assert not [entry for entry in journal.entries if entry.is_output]


def test_a_journal_that_stands_still(node, journal):
    """The loop goes on, and all is there afterwards."""
    journal.stop_reading()
    ids, delays = [], []
    begin = time.monotonic()
    chatty = node.submit(COUNT.format(n=300))
    while time.monotonic() < begin + 10:
        ids += node.submit_many(["echo line"] * 10)
        asked = time.monotonic()
        assert node.get("/health").status == 200
        delays.append(time.monotonic() - asked)
        time.sleep(0.05)
    print(f"{len(ids)} jobs, slowest answer {max(delays) * 1000:.1f} ms")
    if not node.is_sanitized():
        assert sorted(delays)[int(len(delays) * 0.98)] < 0.05
    node.wait_until_all_ended()
    journal.go_on()
    for job_id in ids + [chatty]:
        journal.wait_for_end(job_id)
    assert all(journal.output(job_id) == [b"line"] for job_id in ids)
    assert numbered(chatty, journal) == list(range(1, 301))
    assert not [entry for entry in journal.entries if "were left out" in entry.message]


def test_without_output(make_node, journal, tmp_path):
    (tmp_path / "conf").write_text("[Mesh]\nJournalOutput=no\n")
    node = make_node(["--config", tmp_path / "conf"], environment=journal.environment, slots=4).start()
    quiet = node.submit("echo not written")
    assert len(journal.wait_for_end(quiet)) == 1
    long = node.submit(f"while ! test -e {tmp_path}/go; do echo on; sleep 0.1; done")
    wait_for(lambda: journal.of(long), what="it has started")
    (tmp_path / "conf").write_text("[Mesh]\nJournalOutput=yes\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: journal.output(long), what="it is followed from now on")
    (tmp_path / "go").touch()
    journal.wait_for_end(long)
    (tmp_path / "conf").write_text("[Mesh]\nJournalOutput=maybe\n")
    node.send(signal.SIGHUP)
    wrong = wait_for(lambda: [entry for entry in journal.entries if "going on with the old" in entry.message])
    assert "MESSAGE_ID" in wrong[0]
    assert any("JournalOutput=maybe: must be yes or no" in entry.message for entry in journal.entries)


def test_a_drain_is_told(make_node, journal):
    node = make_node(environment=journal.environment, slots=1).start()
    running = node.submit("sleep 60")
    wait_for(lambda: node.status()["running"] == 1)
    told = [
        (5, f"user {os.getuid()} drains this node: nothing new begins, and what runs has to end within 1s."),
        (4, "the time of the drain is over: 1 job runs still, and is ended to begin again."),
        (5, f"user {os.getuid()} resumes this node, which was drained: it takes jobs again."),
    ]
    node.post("/node/drain", {"timeout_seconds": 1})
    wait_for(lambda: node.outcomes(running) == ["drained"], what="it was handed back")
    node.post("/node/resume")
    node.post("/node/resume")

    def entries():
        return [entry for entry in journal.entries if "drain" in entry.message and "MESSAGE_ID" in entry and "JOB_ID" not in entry]

    wait_for(lambda: len(entries()) >= 3)
    assert [(int(entry["PRIORITY"]), entry.message) for entry in entries()] == told
    assert len({entry.text("MESSAGE_ID") for entry in entries()}) == 3
    over = wait_for(lambda: [entry for entry in journal.of(running) if "is drained" in entry.message])
    assert over[0].text("ATTEMPT") == "1"
    node.post(f"/jobs/{running}/cancel")


def test_refused_submissions_are_told_together(node, journal):
    errors = []

    def refuse():
        for _ in range(50):
            answer = node.post("/jobs", {"command": ""})
            errors.append(answer.status)

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(errors) == {400}
    told = wait_for(lambda: [entry for entry in journal.entries if "Refused" in entry.message], 20)
    assert re.fullmatch(r"Refused \d+ submissions in the last 10s: \d+ invalid\.", told[0].message)
    assert len(told) == 1


def test_the_level_counts(make_node, journal):
    node = make_node(["--log-level=warning"], environment=journal.environment).start()
    good, bad = node.submit("echo x"), node.submit("kill -SEGV $$")
    journal.wait_for_end(bad)
    node.finish(good)
    assert not journal.of(good)


def test_a_job_that_ran_elsewhere(make_node, journal):
    """Its owner tells its story, and who ran it."""
    owner = make_node(environment=journal.environment, slots=0).start()
    other = make_node(discovery_port=owner.discovery_port, slots=1).start()
    wait_for(lambda: owner.sees(other), 15)
    job_id = owner.submit("echo from there; sleep 1.5; exit 3")
    story = journal.wait_for_end(job_id, 30)
    assert [entry.message for entry in story[:-1]] == ["from there"]
    assert story[-1].text("EXECUTOR") == other.node_id
    assert story[-1].text("NODE_ID") == owner.node_id
    assert story[-1].text("JOB_STATUS") == "JOB_FAILED"
