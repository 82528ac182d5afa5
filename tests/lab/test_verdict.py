# SPDX-License-Identifier: LGPL-2.1-or-later
"""The judge of the campaigns finds what it is there for: each test spoils a good record in one way."""

import copy

import pytest
from verdict import FORBIDDEN, judge

NEEDS_LAB = False
NODES = {f"h{number}": f"node-{number:016x}" for number in (1, 2, 3)}
CUT = {"host": "h2", "what": "cable", "begin": 102.0, "end": 112.0}


def lines(name, host, begin, end, attempt=1, exit_status=0, job_id=None, is_ended=True, epoch=1):
    words = [name, job_id or f"id-{name}", str(epoch), str(attempt), NODES[host]]
    times = [("start", begin), ("beat", (begin + end) / 2), ("end" if is_ended else "beat", end)]
    return [[host, [kind, *words, f"{when:.3f}", str(exit_status)]] for kind, when in times]


LOST = "it ended, and its output is lost with the node that owned it"


def told(name, host, attempt=1, exit_status=0, **more):
    return {
        "job_id": f"id-{name}",
        "status": "JOB_FAILED" if exit_status else "JOB_COMPLETED",
        "exit_code": exit_status,
        "attempt": attempt,
        "executor_node_id": NODES[host],
        "stdout": f"{name} begins\n{name} ends\n",
        "attempts": [{"attempt": 1, "node_id": NODES["h2"], "exit_code": None}] if attempt == 2 else [],
        "error_message": None,
        **more,
    }


def wish(name, exit_status=0, **more):
    return {
        "name": name,
        "job_id": f"id-{name}",
        "host": "h1",
        "asked": 100.0,
        "acknowledged": 100.1,
        "exit_status": exit_status,
        **more,
    }


def record():
    """h1 owns two jobs; "a" ran at home, "b" on h2, whose cable was out for ten seconds, and then on h3."""
    jobs = {"id-a": told("a", "h1", exit_status=3), "id-b": told("b", "h3", attempt=2)}
    return {
        "landed": [],
        "interval": 1,
        "detected_within": 8,
        "nodes": NODES,
        "wishes": [wish("a", exit_status=3), wish("b")],
        "lines": lines("a", "h1", 100.5, 102.5, exit_status=3)
        + lines("b", "h2", 101.0, 110.0)
        + lines("b", "h3", 107.0, 116.0, attempt=2),
        "troubles": [dict(CUT)],
        "told": {"h1": jobs, "h2": {}, "h3": {}},
        "told_again": {"h1": copy.deepcopy(jobs), "h2": {}, "h3": {}},
        "losses": [
            {"by": by, "of": of, "at": 106.5} for by, of in (("h1", "h2"), ("h3", "h2"), ("h2", "h1"), ("h2", "h3"))
        ],
        "failures": [],
    }


def found(spoiled):
    """What of that which must not be is there."""
    verdict = judge(spoiled)
    assert verdict.is_good() == (not any(verdict.figures[name] for name in FORBIDDEN))
    return {name for name in FORBIDDEN if verdict.figures[name]}


def test_a_good_one():
    verdict = judge(record())
    assert verdict.problems == []
    figures = {name: n for name, n in verdict.figures.items() if n}
    assert figures == {"submitted": 2, "acknowledged": 2, "runs": 3, "again": 1, "twice": 1}
    assert verdict.detections == [4.5, 4.5]


def without(spoiled, name):
    spoiled["lines"] = [line for line in spoiled["lines"] if line[1][1] != name]


def test_a_job_is_lost():
    spoiled = record()
    without(spoiled, "b")
    assert found(spoiled) == {"lost", "told_wrong"}
    spoiled = record()
    spoiled["lines"] = [line for line in spoiled["lines"] if line[1][1] != "b" or line[1][0] != "end"]
    assert found(spoiled) == {"lost", "told_wrong"}, "began, and did not end"


def test_a_job_that_nobody_wanted():
    spoiled = record()
    spoiled["lines"] += lines("c", "h2", 101, 102)
    assert found(spoiled) == {"unasked"}
    spoiled = record()
    spoiled["lines"] += lines("a", "h1", 100.05, 101, job_id="id-other")
    assert found(spoiled) == {"unasked"}, "accepted twice"
    spoiled["troubles"].append({"host": "h1", "what": "down", "begin": 100.07, "end": 100.5})
    assert found(spoiled) == set(), "unless nobody was told of the first before its daemon was gone"
    assert judge(spoiled).figures["forgotten"] == 1


def test_again_without_reason():
    spoiled = record()
    spoiled["lines"] += lines("a", "h3", 103, 105, attempt=2, exit_status=3)
    assert "again_wrong" in found(spoiled)
    spoiled = record()
    spoiled["troubles"][0]["end"] = 104.0
    assert "again_wrong" in found(spoiled), "its cable was not out for long enough"
    spoiled = record()
    spoiled["lines"] += lines("b", "h1", 107.0, 107.2, attempt=2)
    assert "again_wrong" in found(spoiled), "one attempt on two nodes"
    spoiled = record()
    for which in ("told", "told_again"):
        spoiled[which]["h1"]["id-b"]["attempt"] = 1
    spoiled["lines"] = spoiled["lines"][:6] + lines("b", "h3", 107.0, 116.0, epoch=2)
    assert found(spoiled) == set(), "but for another owner's"
    spoiled = record()
    spoiled["wishes"][1]["on_node_loss"] = "fail"
    assert found(spoiled) == {"again_wrong"}


def test_a_job_that_must_not_begin_again():
    """Its end is that its node was lost, and there is nothing wrong in that."""
    good = record()
    good["wishes"][1]["on_node_loss"] = "fail"
    good["lines"] = good["lines"][:3] + lines("b", "h2", 101.0, 104.0, is_ended=False)
    for which in ("told", "told_again"):
        good[which]["h1"]["id-b"].update(status="JOB_FAILED", exit_code=None, attempt=1, executor_node_id=NODES["h2"])
    assert found(good) == set()
    without(good, "b")
    assert found(good) == set(), "nor if it was sent there and never began"
    good["lines"] += lines("b", "h2", 101.0, 104.0, is_ended=False)
    good["troubles"][0]["host"] = "h1"
    good["losses"] = good["losses"][2:]
    assert "lost" not in found(good), "it is the owner that was cut off"
    good["troubles"], good["losses"] = [], []
    assert found(good) == {"lost", "told_wrong"}, "nobody was lost at that time"


def test_two_at_once():
    spoiled = record()
    spoiled["lines"] = spoiled["lines"][:3] + lines("b", "h2", 101.0, 140.0) + lines("b", "h3", 107.0, 141.0, attempt=2)
    assert found(spoiled) == {"twice_wrong"}, "long after the cable was back"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "JOB_RUNNING"},
        {"status": "JOB_FAILED", "exit_code": 3},
        {"exit_code": None, "status": "JOB_TIMEOUT"},
        {"attempt": 3},
        {"executor_node_id": NODES["h1"]},
        {"executor_node_id": None},
        {"executor_node_id": None, "error_message": LOST, "exit_code": 3, "status": "JOB_FAILED"},
        {"stdout": "b begins\n"},
        {"attempts": []},
        {"attempts": [{"attempt": 1, "node_id": NODES["h3"], "exit_code": None}]},
        {"attempts": [{"attempt": 1, "node_id": NODES["h2"], "exit_code": 7}]},
    ],
)
def test_a_node_tells_something_else(change):
    spoiled = record()
    for which in ("told", "told_again"):
        spoiled[which]["h1"]["id-b"].update(change)
    assert found(spoiled) == {"told_wrong"}


def test_an_end_of_which_nobody_has_the_run():
    """Its status is known, and nothing else; but somebody must have ended it."""
    attempts = record()["told"]["h1"]["id-b"]["attempts"] + [{"attempt": 2, "node_id": NODES["h3"], "exit_code": 0}]
    lost = {"executor_node_id": None, "error_message": LOST, "stdout": "", "attempts": attempts}
    good = record()
    for which in ("told", "told_again"):
        good[which]["h1"]["id-b"].update(lost)
    assert found(good) == set()
    good["lines"] = [line for line in good["lines"] if line[1][:2] != ["end", "b"]]
    assert "told_wrong" in found(good)


def test_an_end_that_changes():
    spoiled = record()
    spoiled["told_again"]["h1"]["id-b"].update(attempt=1, executor_node_id=NODES["h2"])
    assert found(spoiled) == {"told_wrong"}


def test_nodes_that_differ():
    spoiled = record()
    assert found(spoiled) == set(), "nobody asks h3 for jobs of h1"
    spoiled["landed"] = ["calls"]
    assert found(spoiled) == {"told_wrong"}, "until every node tells of every job"
    spoiled = record()
    spoiled["index"] = {host: copy.deepcopy(spoiled["told"]["h1"]) for host in NODES}
    assert found(spoiled) == set()
    spoiled["index"]["h2"]["id-b"]["status"] = "JOB_FAILED"
    assert found(spoiled) == {"told_wrong"}
    for index in spoiled["index"].values():
        index["id-b"]["status"] = "JOB_TIMEOUT"
    assert found(spoiled) == {"told_wrong"}, "they agree with each other, and not with the owner"
    spoiled["index"] = {host: copy.deepcopy(spoiled["told"]["h1"]) for host in NODES}
    del spoiled["index"]["h2"]["id-b"]
    assert found(spoiled) == {"told_wrong"}


def test_two_owners():
    """One that was taken over has told an end, too: of the two one counts."""
    spoiled = record()
    spoiled["landed"] = ["calls", "takeover"]
    spoiled["troubles"][0]["host"] = "h1"
    spoiled["losses"] = [{"by": by, "of": of, "at": 106.5} for by, of in (("h2", "h1"), ("h3", "h1"))]
    for which in ("told", "told_again"):
        for host in ("h2", "h3"):
            spoiled[which][host] = copy.deepcopy(spoiled[which]["h1"])
        spoiled[which]["h1"]["id-b"].update(exit_code=None, stdout="")
    assert found(spoiled) == set()
    assert judge(spoiled).figures["differ"] == 1
    spoiled["landed"].append("one-answer")
    assert found(spoiled) == {"told_wrong"}
    spoiled["landed"].pop()
    spoiled["told"]["h1"]["id-b"]["status"] = "JOB_FAILED"
    assert found(spoiled) == {"told_wrong"}


def test_alarms():
    spoiled = record()
    spoiled["losses"].append({"by": "h1", "of": "h3", "at": 106.5})
    assert found(spoiled) == {"false_alarms"}
    spoiled = record()
    spoiled["losses"] = spoiled["losses"][1:]
    assert found(spoiled) == {"undetected"}
    spoiled["troubles"][0]["announced"] = True
    assert found(spoiled) == set(), "it had said goodbye"
