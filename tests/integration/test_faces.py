# SPDX-License-Identifier: LGPL-2.1-or-later
"""One core, two faces: every case goes through REST and through D-Bus, to two nodes of the same kind, and must give the
same job, the same error and the same words."""

import os
import pwd
import re
import signal

import bus
import harness
import pytest
from bus import DENIED, JOB, MANAGER, NAME, ROOT, BusError, integer, job_path, variant
from harness import UUID, wait_for
from test_access import as_user

NOBODY = pwd.getpwnam("nobody").pw_uid
UNKNOWN = "00000000-0000-4000-8000-000000000000"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


def as_variant(value):
    """A value of JSON as one of D-Bus."""
    if isinstance(value, bool):
        return variant("b", value)
    if isinstance(value, int):
        return integer(value) if -(2**63) <= value < 2**63 else variant("t", min(value, 2**64 - 1))
    if isinstance(value, float):
        return variant("d", value)
    if isinstance(value, str):
        return variant("s", value)
    if isinstance(value, dict):
        plain = all(isinstance(item, str) for item in value.values())
        return variant("a{ss}", value) if plain else variant("a{sv}", {key: as_variant(item) for key, item in value.items()})
    return variant("as", value)


class Rest:
    """Each operation gives (code, text, result); code is None where it was done."""

    def __init__(self, node):
        self.node = node

    def ask(self, method, path, body=None, headers=None):
        answer = self.node.request(method, harness.API + path, body, headers)
        if answer.status >= 400:
            problem = answer.json()
            return problem["code"], problem["detail"], None
        return None, None, answer.json()

    def submit(self, job, key=None):
        code, text, result = self.ask("POST", "/jobs", job, {"Idempotency-Key": key} if key is not None else None)
        return code, text, result and result["job_id"]

    def submit_many(self, jobs, key=None):
        code, text, result = self.ask("POST", "/jobs", jobs, {"Idempotency-Key": key} if key is not None else None)
        return code, text, result and [job["job_id"] for job in result["jobs"]]

    def get(self, job_id):
        code, text, result = self.ask("GET", f"/jobs/{job_id}")
        return code, text, result and result["job_id"]

    def cancel(self, job_id):
        # With a job that had ended, the answer is that of one that has.
        code, text, result = self.ask("POST", f"/jobs/{job_id}/cancel")
        return code, text, result and job_path(result["job_id"])

    def drain(self, options=None):
        code, text, result = self.ask("POST", "/node/drain", options)
        return code, text, result and self.drained(result["drain"])

    def drained(self, drain):
        return bool(drain["until"]), drain["uid"], drain["remembered"]

    def list(self, **options):
        query = "&".join(f"{key}={value}" for key, value in options.items())
        code, text, result = self.ask("GET", f"/jobs?{query}")
        return code, text, result and [job["job_id"] for job in result["jobs"]]


class Bus:
    def __init__(self, client):
        self.client = client

    def ask(self, member, signature, arguments):
        try:
            return None, None, self.client.manager(member, signature, arguments)
        except BusError as error:
            if error.name == DENIED:
                return "forbidden", error.text, None
            assert error.name.startswith(bus.ERROR), error
            name = error.name.removeprefix(bus.ERROR)
            return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower(), error.text, None

    @staticmethod
    def options(job):
        return {key: as_variant(value) for key, value in job.items() if key != "command"}

    def submit(self, job, key=None):
        options = self.options(job) | ({"idempotency_key": variant("s", key)} if key is not None else {})
        code, text, result = self.ask("SubmitJob", "sa{sv}", [job["command"], options])
        return code, text, result and result[0]

    def submit_many(self, jobs, key=None):
        jobs = [(job["command"], self.options(job)) for job in jobs]
        options = {"idempotency_key": variant("s", key)} if key is not None else {}
        code, text, result = self.ask("SubmitJobs", "a(sa{sv})a{sv}", [jobs, options])
        return code, text, result and [job_id for job_id, _ in result[0]]

    def get(self, job_id):
        code, text, result = self.ask("GetJob", "s", [job_id])
        return code, text, result and self.client.get(result[0], JOB, "Id")

    def cancel(self, job_id):
        code, text, result = self.ask("CancelJob", "s", [job_id])
        return code, text, job_path(job_id) if result else None

    def drain(self, options=None):
        options = {key: as_variant(value) for key, value in (options or {}).items()}
        code, text, _ = self.ask("DrainWithOptions", "a{sv}", [options])
        return code, text, None if code else self.drained(self.client.get(ROOT, MANAGER, "Drained"))

    def drained(self, drain):
        return drain["Until"] < 2**64 - 1, drain["Uid"], drain["Remembered"]

    def list(self, **options):
        code, text, result = self.ask("ListJobs", "a{sv}", [{key: as_variant(value) for key, value in options.items()}])
        return code, text, result and [job["Id"] for _, job in result[0]]


class Faces:
    """The same operation through both, and what each node made of it."""

    def __init__(self, rest_node, bus_node, client):
        self.nodes = (rest_node, bus_node)
        self.faces = (Rest(rest_node), Bus(client))

    def both(self, operation, *arguments, **more):
        answers = [getattr(face, operation)(*arguments, **more) for face in self.faces]
        told = [(code, self.plain(text)) for code, text, _ in answers]
        assert told[0] == told[1], (operation, arguments)
        return answers[0][0], [result for _, _, result in answers]

    def each(self, operation, *arguments):
        """Where each node has an argument of its own."""
        answers = [getattr(face, operation)(*own) for face, own in zip(self.faces, zip(*arguments))]
        assert answers[0][:2] == answers[1][:2], (operation, arguments)
        return answers[0][0], [result for _, _, result in answers]

    def plain(self, text):
        """Without the name of the node that answers."""
        return text and harness.NODE_ID.sub("node-…", text)


@pytest.fixture
def make_faces(make_bus_node, private_bus):
    clients = []

    def make(*options, environment=None):
        nodes = [make_bus_node([*options, "--bus", "none"], environment), make_bus_node(options, environment)]
        for node in nodes:
            harness.open_to_others(node.directory)
            node.start()
        clients.append(private_bus.connect())
        wait_for(lambda: clients[0].has_owner(NAME), what="the node has its name")
        return Faces(*nodes, clients[0])

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def faces(make_faces):
    return make_faces(environment={"JOB_TASKS_MAX_CEILING": "100", "LABELS": "labelled=yes"})


# What differs from one node, run or moment to another.
OWN = {"job_id", "created_at", "started_at", "finished_at", "duration_ms", "created_by_node", "executor_node_id"}

GOOD = {
    "plain": {"command": "echo out; echo err >&2"},
    "exit code": {"command": "exit 7"},
    "signal": {"command": "kill -9 $$"},
    "environment": {"command": "echo $A-$B", "env": {"A": "1", "B": "ü ' \""}},
    "no environment": {"command": "true", "env": {}},
    "stdin": {"command": "wc -c; pwd", "stdin": "some text\n", "cwd": "/usr"},
    "empty stdin": {"command": "cat", "stdin": ""},
    "timeout": {"command": "sleep 60", "timeout_seconds": 1},
    "longest timeout": {"command": "true", "timeout_seconds": 604800},
    "any target": {"command": "true", "target_node_id": ""},
    "no such folder": {"command": "true", "cwd": "/nonexistent"},
    "not UTF-8": {"command": r"printf '\377\376'"},
    "long command": {"command": "true #" + "x" * 65530},
    "limits": {"command": "true", "memory_max": 64 << 20, "cpu_weight": 1, "cpu_quota": 150, "tasks_max": 10,
               "best_effort": True},
    "rules": {"command": "true", "priority": -7, "retries": 3, "on_node_loss": "fail", "requires": ["os", "labelled=yes"]},
    "no rules": {"command": "true", "priority": 0, "retries": 0, "on_node_loss": "requeue", "requires": []},
}

WRONG = {
    "empty command": {"command": ""},
    "blank command": {"command": " \t\n"},
    "long command": {"command": "x" * 65537},
    "timeout 0": {"command": "true", "timeout_seconds": 0},
    "negative timeout": {"command": "true", "timeout_seconds": -5},
    "a week and a second": {"command": "true", "timeout_seconds": 604801},
    "timeout is text": {"command": "true", "timeout_seconds": "5"},
    "timeout is true": {"command": "true", "timeout_seconds": True},
    "relative cwd": {"command": "true", "cwd": "tmp"},
    "empty cwd": {"command": "true", "cwd": ""},
    "long cwd": {"command": "true", "cwd": "/" + "x" * 4095},
    "cwd is a number": {"command": "true", "cwd": 5},
    "target is no id": {"command": "true", "target_node_id": "no/id"},
    "target is too long": {"command": "true", "target_node_id": "x" * 64},
    "another target": {"command": "true", "target_node_id": "node-0123456789abcdef"},
    "env name": {"command": "true", "env": {"A-B": "x"}},
    "env digit": {"command": "true", "env": {"1A": "x"}},
    "env empty name": {"command": "true", "env": {"": "x"}},
    "env reserved": {"command": "true", "env": {"JOB_ID": "x"}},
    "env too many": {"command": "true", "env": {f"A{number}": "" for number in range(257)}},
    "env too large": {"command": "true", "env": {"A": "x" * 65536}},
    "long stdin": {"command": "true", "stdin": "x" * ((1 << 20) + 1)},
    "little memory": {"command": "true", "memory_max": 1000, "best_effort": True},
    "negative memory": {"command": "true", "memory_max": -1, "best_effort": True},
    "memory is text": {"command": "true", "memory_max": "1G"},
    "weight 0": {"command": "true", "cpu_weight": 0, "best_effort": True},
    "weight 10001": {"command": "true", "cpu_weight": 10001, "best_effort": True},
    "quota 0": {"command": "true", "cpu_quota": 0, "best_effort": True},
    "no tasks": {"command": "true", "tasks_max": 0, "best_effort": True},
    "beyond a ceiling": {"command": "true", "tasks_max": 101, "best_effort": True},
    "best effort is text": {"command": "true", "best_effort": "yes"},
    "priority 1001": {"command": "true", "priority": 1001},
    "priority is text": {"command": "true", "priority": "high"},
    "negative retries": {"command": "true", "retries": -1},
    "101 retries": {"command": "true", "retries": 101},
    "no such loss": {"command": "true", "on_node_loss": "ignore"},
    "loss is a number": {"command": "true", "on_node_loss": 1},
    "no label": {"command": "true", "requires": ["gpu", "a b"]},
    "label without key": {"command": "true", "requires": ["=x"]},
    "long label": {"command": "true", "requires": ["x" * 32]},
    "too many labels": {"command": "true", "requires": ["gpu"] * 17},
}

# JSON and D-Bus have other words for a type, and a command is no option: the code is the same, and the field is named.
WRONG_IN_OTHER_WORDS = {
    "timeout is a fraction": ({"command": "true", "timeout_seconds": 1.5}, "invalid", "timeout_seconds"),
    "env is text": ({"command": "true", "env": "A=1"}, "invalid", "env"),
    "env of numbers": ({"command": "true", "env": {"A": 1}}, "invalid", "env"),
    "stdin is a number": ({"command": "true", "stdin": 1}, "invalid", "stdin"),
    "requires is text": ({"command": "true", "requires": "gpu"}, "invalid", "requires"),
    "target is an array": ({"command": "true", "target_node_id": ["a"]}, "invalid", "target_node_id"),
    "unknown": ({"command": "true", "tiemout": 5}, "unknown_field", "tiemout"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_same_job(faces, name):
    code, ids = faces.both("submit", GOOD[name])
    assert code is None and all(UUID.fullmatch(job_id) for job_id in ids)
    jobs = [node.finish(job_id) for node, job_id in zip(faces.nodes, ids)]
    assert {key: value for key, value in jobs[0].items() if key not in OWN} == {
        key: value for key, value in jobs[1].items() if key not in OWN
    }
    # And what D-Bus says of it is what REST says.
    told, said = faces.faces[1].client.get_all(job_path(ids[1]), JOB), jobs[1]
    assert (told["Id"], told["Status"], told["Command"]) == (said["job_id"], said["status"], said["command"])
    assert told["ExitCode"] == (-1 if said["exit_code"] is None else said["exit_code"])
    assert told["Signal"] == (said["signal"] or 0) and told["Attempt"] == said["attempt"]
    assert told["ErrorMessage"] == (said["error_message"] or "") and told["Cwd"] == (said["cwd"] or "")
    assert told["EnvNames"] == said["env_names"] and told["StdinBytes"] == said["stdin_bytes"]
    assert told["TimeoutUSec"] == said["timeout_seconds"] * 1_000_000
    for name, key in (("MemoryMax", "memory_max"), ("CpuWeight", "cpu_weight"), ("CpuQuota", "cpu_quota"),
                      ("TasksMax", "tasks_max"), ("BestEffort", "best_effort"), ("OomKilled", "oom_killed"),
                      ("Priority", "priority"), ("Retries", "retries"), ("RetriesUsed", "retries_used"),
                      ("OnNodeLoss", "on_node_loss"), ("Requires", "requires")):  # fmt: skip
        assert told[name] == said.get(key, 0), name
    assert told["DurationUSec"] // 1000 == (said["duration_ms"] or 0)
    for stream in ("stdout", "stderr"):
        assert told[stream.capitalize()] == faces.nodes[1].output(ids[1], stream)
        assert told[f"{stream.capitalize()}TotalBytes"] == said[f"{stream}_total_bytes"]


def test_the_same_refusal(faces):
    for name, job in WRONG.items():
        code, _ = faces.both("submit", job)
        assert code in ("invalid", "target_unknown"), name
        code, _ = faces.both("submit_many", [{"command": "true"}, job])
        assert code in ("invalid", "target_unknown"), name
    assert not faces.nodes[0].jobs() and not faces.nodes[1].jobs()


def test_the_same_refusal_in_other_words(faces):
    for name, (job, code, field) in WRONG_IN_OTHER_WORDS.items():
        for face in faces.faces:
            told, text, _ = face.submit(job)
            assert told == code and field in text, name
            told, text, _ = face.submit_many([{"command": "true"}, job])
            assert told == code and field in text and text.startswith("job 1: "), name
    assert not faces.nodes[0].jobs() and not faces.nodes[1].jobs()


def test_a_key_and_its_second_use(faces):
    job, other = {"command": "echo once"}, {"command": "echo twice"}
    _, first = faces.both("submit", job, key="a key")
    assert faces.both("submit", job, key="a key") == (None, first)
    assert first[0] == first[1], "ids are made from user and key"
    assert faces.both("submit", other, key="a key")[0] == "key_reused"
    assert faces.both("submit_many", [job, other], key="a key")[0] == "key_reused"
    _, many = faces.both("submit_many", [job, other], key="many")
    assert faces.both("submit_many", [job, other], key="many") == (None, many)
    for key in ("", "x" * 256):
        answers = [face.submit(job, key=key) for face in faces.faces]
        assert {code for code, *_ in answers} <= {"invalid", "bad_parameter"}
        assert answers[0][1] == answers[1][1]


def test_a_key_is_one_for_both_faces(faces):
    """Where both ask one node."""
    job = {"command": "echo once", "env": {"B": "2", "A": "1"}, "timeout_seconds": 9}
    rest, client = Rest(faces.nodes[1]), faces.faces[1]
    assert rest.submit(job, key="shared") == client.submit(job, key="shared")
    assert client.submit({"command": "other"}, key="shared")[:2] == rest.submit({"command": "other"}, key="shared")[:2]
    assert client.submit({"command": "other"}, key="shared")[0] == "key_reused"


def test_cancel_in_every_state(make_faces):
    faces = make_faces("--slots", "1")
    _, running = faces.both("submit", {"command": "sleep 60"})
    _, waiting = faces.both("submit", {"command": "sleep 60"})
    for node in faces.nodes:
        wait_for(lambda node=node: node.status()["running"] == 1, what="the first runs")
    for ids in (waiting, running, waiting):
        assert faces.each("cancel", ids)[0] is None
        for node, job_id in zip(faces.nodes, ids):
            assert node.finish(job_id)["status"] == "JOB_CANCELLED"
    _, ended = faces.both("submit", {"command": "true"})
    for node, job_id in zip(faces.nodes, ended):
        node.finish(job_id)
    assert faces.each("cancel", ended)[0] is None
    for node, job_id in zip(faces.nodes, ended):
        assert node.job(job_id)["status"] == "JOB_COMPLETED"


def test_unknown_ids(faces):
    for job_id in (UNKNOWN, "550e8400", "x"):
        assert faces.both("get", job_id)[0] == "not_found"
        assert faces.both("cancel", job_id)[0] == "not_found"


def test_lists(faces):
    _, first = faces.both("submit_many", [{"command": "true"}, {"command": "false"}] * 30)
    for node in faces.nodes:
        node.wait_until_all_ended()
    for options in ({}, {"limit": 7}, {"status": "FAILED"}, {"limit": 1000, "status": "completed,JOB_FAILED"},
                    {"status": "RUNNING"}, {"scope": "node"}):  # fmt: skip
        code, lists = faces.both("list", **options)
        assert code is None
        places = [[ids.index(job_id) for job_id in found] for ids, found in zip(first, lists)]
        assert places[0] == places[1] == sorted(places[0], reverse=True), options
    for options in ({"limit": 0}, {"limit": 1001}, {"status": "DONE"}, {"status": ""}, {"cursor": "c1"}, {"scope": "all"}):
        assert faces.both("list", **options)[0] == "bad_parameter", options
    for face in faces.faces:
        code, text, _ = face.list(colour="red")
        assert code in ("bad_parameter", "unknown_field") and "colour" in text


def test_lists_of_the_mesh(faces):
    """The two nodes are two meshes: each lists its own."""
    _, first = faces.both("submit_many", [{"command": "true"}, {"command": "false"}] * 5)
    for node in faces.nodes:
        node.wait_until_all_ended()
    for options, n in (({}, 10), ({"status": "FAILED"}, 5), ({"limit": 3}, 3)):
        code, lists = faces.both("list", scope="mesh", **options)
        assert code is None
        for ids, found in zip(first, lists):
            assert len(found) == n and set(found) <= set(ids), options


def test_limits_that_cannot_be_enforced(faces):
    """On a machine that can enforce them, both accept the job."""
    for job in ({"memory_max": 64 << 20}, {"cpu_quota": 50}, {"tasks_max": 10}):
        code, _ = faces.both("submit", {"command": "true", **job})
        assert code in (None, "limit_unavailable")


def test_a_full_queue(make_faces):
    faces = make_faces("--slots", "0", environment={"QUEUE_MAX": "3"})
    assert faces.both("submit_many", [{"command": "true"}] * 4)[0] == "queue_full"
    assert faces.both("submit_many", [{"command": "true"}] * 3)[0] is None
    assert faces.both("submit", {"command": "true"})[0] == "queue_full"


DRAINS_WRONG = {
    "negative": ({"timeout_seconds": -1}, "invalid"),
    "a week and a second": ({"timeout_seconds": 604801}, "invalid"),
    "far too large": ({"timeout_seconds": 2**64}, "invalid"),
    "text": ({"timeout_seconds": "5"}, "invalid"),
    "true": ({"timeout_seconds": True}, "invalid"),
}


def test_draining_within_a_time(faces):
    _, ids = faces.both("submit", {"command": "sleep 60"})
    for node in faces.nodes:
        wait_for(lambda node=node: node.status()["running"] == 1, what="it runs")
    for options, code in DRAINS_WRONG.values():
        assert faces.both("drain", options)[0] == code, options
        assert all(node.status()["status"] == "BUSY" and node.status()["drain"] is None for node in faces.nodes)
    assert faces.faces[0].drain({"tiemout": 5})[0] == faces.faces[1].drain({"tiemout": 5})[0] == "unknown_field"
    assert faces.both("drain") == (None, [(False, os.getuid(), True)] * 2)
    assert faces.both("drain", {"timeout_seconds": 604800}) == (None, [(True, os.getuid(), True)] * 2)
    assert all(node.status()["running"] == 1 for node in faces.nodes)
    assert faces.both("drain", {"timeout_seconds": 1}) == (None, [(True, os.getuid(), True)] * 2)
    for node, job_id in zip(faces.nodes, ids):
        wait_for(lambda node=node, job_id=job_id: node.outcomes(job_id) == ["drained"], what="it was handed back")
    client = faces.faces[1].client
    assert client.get(ROOT, MANAGER, "Drained")["Since"] > 0
    client.manager("Resume")
    assert client.get(ROOT, MANAGER, "Drained") == {}


def test_draining(make_faces):
    faces = make_faces(environment={"DRAIN_TIMEOUT": "20s"})
    faces.both("submit", {"command": "sleep 4"})
    for node in faces.nodes:
        wait_for(lambda node=node: node.status()["running"] == 1, what="it runs")
        node.send(signal.SIGTERM)
        wait_for(lambda node=node: node.status()["status"] == "DRAINING", what="it drains")
    assert faces.both("submit", {"command": "true"})[0] == "draining"
    assert faces.faces[1].client.get(ROOT, MANAGER, "Status") == "DRAINING"


@needs_root
def test_users(faces, private_bus):
    _, ids = faces.both("submit", {"command": "sleep 60"})
    rest_node = faces.nodes[0]
    with private_bus.connect(NOBODY) as client:
        other = Bus(client)

        def rest(method, path, body=None):
            status, text = as_user(NOBODY, rest_node, method, path, body)
            problem = harness.json.loads(text)
            return (problem["code"], problem["detail"]) if status >= 400 else (None, None)

        for body in ({"command": "true"}, {"command": ""}, {"command": "true", "nonsense": 1}):
            assert rest("POST", "/jobs", body) == other.submit(body)[:2]
            assert other.submit(body)[0] == "forbidden"
        assert rest("POST", f"/jobs/{ids[0]}/cancel") == other.cancel(ids[1])[:2]
        assert rest("POST", f"/jobs/{UNKNOWN}/cancel") == other.cancel(UNKNOWN)[:2]
        assert other.cancel(UNKNOWN)[0] == "forbidden"
        assert rest("GET", f"/jobs/{ids[0]}") == other.get(ids[1])[:2] == (None, None)
        assert rest("GET", "/jobs") == other.list()[:2] == (None, None)
        assert rest("GET", f"/jobs/{UNKNOWN}") == other.get(UNKNOWN)[:2]
    for node, job_id in zip(faces.nodes, ids):
        assert node.job(job_id)["status"] not in harness.FINAL
