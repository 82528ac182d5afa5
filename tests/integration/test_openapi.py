# SPDX-License-Identifier: LGPL-2.1-or-later
"""The description of the HTTP interface against a running node: every endpoint, method, status and key that is seen is
described, and what is described is seen, but for statuses that take a full disk or a crowd.

check() takes the address of any node: test_openapi.py http://localhost:3000 asks one that runs. It submits a few short jobs
to it, and has it leave its mesh: not one that is of use to anybody."""

import contextlib
import http.client
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.parse

import schema
import yaml

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
API = "/api/v1"
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
NOBODY = 65534
UNKNOWN_ID = "550e8400-e29b-41d4-a716-446655440000"
RARE_STATUSES = {"408", "410", "429", "500", "503"}
RARE_KEYS = {"Health.reason", "Limit.reason"} | {
    f"Attempt.{key}"  # of nodes that were lost: test_dispatch.py
    for key in ("attempt", "epoch", "node_id", "outcome", "started_at", "finished_at", "exit_code", "signal", "error_message")
}


def load():
    with open(os.path.join(ROOT, "src", "api", "rest", "openapi.yaml"), encoding="utf-8") as file:
        return yaml.safe_load(file)


@contextlib.contextmanager
def another_user():
    """The user of a socket is the one who makes it."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class Recorder:
    """Asks a node, and holds each answer against the description."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)
        self.description = load()
        self.document = schema.Document(self.description)
        self.statuses, self.keys, self.codes = set(), set(), set()

    def template(self, path):
        for template in self.description["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return template
        raise AssertionError(f"{path} is not described")

    def ask(self, method, target, body=None, headers=(), status=None, connect=contextlib.nullcontext):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=20)
        with connect():
            connection.connect()
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert status is None or response.status == status, (method, target, response.status, data[:500])
        return self.record(method, target.partition("?")[0], response, data)

    def record(self, method, path, response, data):
        template = self.template(path)
        place = f"{method} {template} {response.status}"
        operation = self.description["paths"][template][method.lower()]
        assert str(response.status) in operation["responses"], f"{place} is not described: {data[:300]!r}"
        self.statuses.add((template, method, str(response.status)))

        described = self.document.resolve(operation["responses"][str(response.status)])
        for name in described["headers"]:
            assert name != "X-Node-ID" or response.headers[name], place
        for name in ("Location", "Retry-After", "Idempotency-Replayed"):
            assert not response.headers[name] or name in described["headers"], f"{place}: {name} is not described"

        kind = response.headers["Content-Type"]
        assert kind in described["content"], f"{place}: {kind} is not described"
        if kind == "application/octet-stream":
            return data
        value, wanted = json.loads(data), described["content"][kind]["schema"]
        problems = self.document.problems(value, wanted)
        assert not problems, f"{place}: {problems}"
        self.walk(value, wanted, "")
        if kind == "application/problem+json":
            assert value["status"] == response.status and value["error"] == value["detail"]
            self.codes.add(value["code"])
        return value

    def walk(self, value, node, name):
        """Notes the keys of value by the name of the schema that describes them."""
        for option in node.get("oneOf", ()):
            if not self.document.problems(value, option):
                self.walk(value, option, name)
                return
        name = node["$ref"].rpartition("/")[2] if "$ref" in node else name
        node = self.document.resolve(node)
        if isinstance(value, list):
            for item in value:
                self.walk(item, node["items"], name + "[]")
        for key, below in node.get("properties", {}).items():
            if isinstance(value, dict) and key in value:
                self.keys.add(f"{name}.{key}")
                self.walk(value[key], below, f"{name}.{key}")

    def described_keys(self):
        found = set()

        def collect(node, name):
            name = node["$ref"].rpartition("/")[2] if "$ref" in node else name
            node = self.document.resolve(node)
            for option in node.get("oneOf", ()):
                collect(option, name)
            if "items" in node:
                collect(node["items"], name + "[]")
            for key, below in node.get("properties", {}).items():
                found.add(f"{name}.{key}")
                collect(below, f"{name}.{key}")

        for operations in self.description["paths"].values():
            for method, operation in operations.items():
                for response in operation["responses"].values() if method in ("get", "post") else ():
                    for content in self.document.resolve(response)["content"].values():
                        collect(content["schema"], "")
        return found


def submit(recorder, command, **fields):
    return recorder.ask("POST", API + "/jobs", json.dumps({"command": command, **fields}), JSON, 201)["job_id"]


def ask_about_the_node(recorder):
    listed = recorder.ask("GET", "/", status=200)
    assert recorder.ask("GET", API, status=200) == listed
    described = {
        (method.upper(), path)
        for path, operations in recorder.description["paths"].items()
        for method in operations
        if method in ("get", "post")
    }
    assert {(endpoint["method"], endpoint["path"]) for endpoint in listed["endpoints"]} == described
    for path in ("/health", "/status", "/peers"):
        recorder.ask("GET", API + path, status=200)
    for body in (None, '{"timeout_seconds":60}'):
        recorder.ask("POST", API + "/node/drain", body, JSON if body else (), status=200)
    recorder.ask("POST", API + "/node/drain", " " * 5000, JSON, 413)
    recorder.ask("POST", API + "/node/resume", status=200)


def ask_about_the_mesh(recorder):
    """Who belongs to it; afterwards the node has a mesh of its own."""

    def join(status, peer=None, **more):
        body = json.dumps({"token": token, "peer": peer})
        recorder.ask("POST", API + "/mesh/join", body, JSON, status, **more)

    token = recorder.ask("POST", API + "/mesh/invite", status=200)["token"]
    recorder.ask("POST", API + "/mesh/invite", '{"expires_seconds":60}', JSON, 200)
    for path in ("invite", "join"):
        recorder.ask("POST", f"{API}/mesh/{path}", " " * 5000, JSON, 413)
    join(200)
    recorder.ask("POST", API + "/mesh/leave", status=200)
    own = recorder.ask("GET", API + "/status", status=200)["address"].rpartition(":")[2]
    join(422, f"127.0.0.1:{own}")
    join(503, "127.0.0.1:1")
    # One change at a time: somebody accepts the connection, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waiting = threading.Thread(target=join, args=(503, f"127.0.0.1:{silent.getsockname()[1]}"))
        waiting.start()
        accepted, _ = silent.accept()
        join(409)
        recorder.ask("POST", API + "/mesh/leave", status=409)
        accepted.close()
        waiting.join()
    for _ in range(32):
        recorder.ask("POST", API + "/mesh/invite", status=200)
    recorder.ask("POST", API + "/mesh/invite", status=409)


def ask_about_jobs(recorder):
    """Short jobs, for every key that a job can have; returns the id of one that has ended."""
    binary = submit(recorder, r"printf '\377'; printf '\377' >&2", env={"A": "1"}, cwd="/", stdin="x", timeout_seconds=60)
    long = submit(recorder, "head -c 5000 /dev/zero | tr '\\0' x; head -c 5000 /dev/zero | tr '\\0' y >&2")
    killed = submit(recorder, "kill -9 $$")
    submit(recorder, "true", priority=1, retries=1, on_node_loss="fail", requires=["os"])
    submit(recorder, "true", memory_max=1 << 30, cpu_weight=100, cpu_quota=100, tasks_max=100, best_effort=True)
    recorder.ask("POST", API + "/jobs", '[{"command":"exit 3"},{"command":"true"}]', JSON, 201)
    recorder.ask("POST", API + "/jobs", '{"command":"true"}\n{"command":"true"}\n', LINES, 201)
    for job_id in (binary, long, killed):
        recorder.ask("GET", f"{API}/jobs/{job_id}?wait=30s", status=200)
        for output in ("stdout", "stderr"):
            recorder.ask("GET", f"{API}/jobs/{job_id}/{output}?offset=0&follow=1", status=200)
    page = recorder.ask("GET", API + "/jobs?limit=2", status=200)
    recorder.ask("GET", f"{API}/jobs?status=COMPLETED,FAILED&cursor={page['next_cursor']}", status=200)
    recorder.ask("GET", API + "/jobs?limit=50", status=200)
    recent = recorder.ask("GET", API + "/jobs?scope=mesh&limit=2", status=200)
    recorder.ask("GET", f"{API}/jobs?scope=mesh&cursor={recent['next_cursor']}", status=200)

    body, key = '{"command":"true"}', {**JSON, "Idempotency-Key": f"openapi-{time.time_ns()}"}
    recorder.ask("POST", API + "/jobs?wait=30s", body, key, 200)
    recorder.ask("POST", API + "/jobs", body, key, 201)
    recorder.ask("POST", API + "/jobs", '{"command":"false"}', key, 422)
    pending = recorder.ask("POST", API + "/jobs?wait=1ms", '{"command":"trap \\"\\" TERM; sleep 60 & wait; wait"}', JSON, 202)
    cancel(recorder, pending["job_id"])
    if os.geteuid() == 0:
        recorder.ask("GET", f"{API}/jobs/{binary}", status=200, connect=another_user)
        recorder.ask("GET", API + "/jobs", status=200, connect=another_user)
        recorder.ask("GET", f"{API}/jobs/{binary}/stdout", status=403, connect=another_user)
        recorder.ask("POST", API + "/jobs", body, JSON, 403, connect=another_user)
    return binary


def cancel(recorder, job_id):
    """One that runs is ended in the background, at first; asked again it has ended."""
    end = time.monotonic() + 20
    while recorder.ask("GET", f"{API}/jobs/{job_id}", status=200)["status"] == "JOB_PENDING":
        assert time.monotonic() < end
    recorder.ask("POST", f"{API}/jobs/{job_id}/cancel")
    recorder.ask("GET", f"{API}/jobs/{job_id}?wait=30s", status=200)
    recorder.ask("POST", f"{API}/jobs/{job_id}/cancel", status=200)


def ask_wrongly(recorder, job_id):
    body = '{"command":"true"}'
    for template, operations in recorder.description["paths"].items():
        path = template.replace("{id}", job_id)
        for method in ("GET", "POST"):
            if method.lower() not in operations:
                continue
            post = (body, JSON) if (method, template) == ("POST", API + "/jobs") else (None, {})
            recorder.ask(method, path + "?colour=red", *post, 400)
            recorder.ask(method, path, post[0], {**post[1], "Host": "evil.example"}, 403)
            recorder.ask(method, path, post[0], {**post[1], "Origin": "null"}, 403)
            recorder.ask(method, path + "?" + "x" * 3000, *post, 414)
            recorder.ask(method, path, post[0], {**post[1], "X": "x" * 9000}, 431)
            if method == "POST":
                recorder.ask(method, path, body, {"Content-Type": "text/plain"}, 415)
            if "{id}" in template:
                recorder.ask(method, template.replace("{id}", UNKNOWN_ID), status=404)
    for wrong in ("{", '{"command":7}', '{"comand":""}', '{"command":""}', '[{"command":"a"},{"command":""}]'):
        recorder.ask("POST", API + "/jobs", wrong, JSON, 400)
    recorder.ask("POST", API + "/jobs", '{"command":"a"}\n{"command":""}', LINES, 400)
    recorder.ask("POST", API + "/jobs", '{"command":"a","target_node_id":"node-elsewhere"}', JSON, 422)
    recorder.ask("POST", API + "/jobs", None, {**JSON, "Content-Length": "99999999999"}, 413)
    recorder.ask("POST", API + "/jobs", None, {**JSON, "Transfer-Encoding": "gzip"}, 501)


def check(url):
    recorder = Recorder(url)
    ask_about_the_node(recorder)
    job_id = ask_about_jobs(recorder)
    ask_about_the_mesh(recorder)
    ask_wrongly(recorder, job_id)

    unseen = {
        f"{method.upper()} {path} {status}"
        for path, operations in recorder.description["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post")
        for status in operation["responses"]
        if (path, method.upper(), status) not in recorder.statuses and status not in RARE_STATUSES
    }
    # Whether a cancel has to wait for the end of the job is a matter of time.
    unseen -= {f"POST {API}/jobs/{{id}}/cancel 202"}
    assert not unseen, f"described, but never seen: {sorted(unseen)}"
    without_root = set() if os.geteuid() == 0 else {"Job.redacted"}
    missing = recorder.described_keys() - recorder.keys - RARE_KEYS - without_root
    assert not missing, f"described, but never seen: {sorted(missing)}"


def test_codes():
    """The codes of the sources are those of the description."""
    described = set(load()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"])
    with open(os.path.join(ROOT, "src", "api", "rest", "answer.c"), encoding="utf-8") as file:
        codes = set(re.findall(r'\[FAULT_\w+\] = \{\s*"(\w+)"', file.read()))
    with open(os.path.join(ROOT, "src", "api", "ops.c"), encoding="utf-8") as file:
        codes |= set(re.findall(r'\[PROBLEM_\w+\] = "(\w+)"', file.read())) - {"none"}
    assert described == codes


def test_a_running_mesh(make_mesh):
    nodes = make_mesh(2)
    check(f"http://localhost:{nodes[0].api_port}")


if __name__ == "__main__":
    check(sys.argv[1])
