# SPDX-License-Identifier: LGPL-2.1-or-later
"""What clients ask, and what they get."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import threading
import time

import harness
import pytest
from harness import API, wait_for


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One node for all cases that leave it as it was."""
    node = harness.Node(tmp_path_factory.mktemp("node"), slots=4).start()
    yield node
    assert node.end() is None


def curl(*arguments):
    result = subprocess.run(
        ["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# The examples of the first implementation, to the letter but for the port.


def test_example_health(node):
    answer = curl(f"http://localhost:{node.api_port}/api/v1/health")
    assert answer["status"] == "healthy"
    assert answer["node_id"] == node.node_id
    assert harness.TIME.fullmatch(answer["timestamp"])


def test_example_status(node):
    answer = curl(f"http://localhost:{node.api_port}/api/v1/status")
    assert {"node_id", "address", "status", "peer_count", "metadata", "timestamp"} <= set(answer)
    assert (answer["node_id"], answer["status"], answer["peer_count"]) == (node.node_id, "IDLE", 0)
    assert isinstance(answer["metadata"], dict)


def test_example_peers(node):
    assert curl(f"http://localhost:{node.api_port}/api/v1/peers") == {"peers": [], "count": 0}


def test_example_submit(node):
    answer = curl(
        "-X", "POST", f"http://localhost:{node.api_port}/api/v1/jobs",
        "-H", "Content-Type: application/json",
        "-d", '{"command": "echo Hello World"}',
    )  # fmt: skip
    assert harness.UUID.fullmatch(answer["job_id"])
    assert answer["target_node"] == node.node_id
    assert answer["command"] == "echo Hello World"
    assert answer["status"] == "JOB_PENDING"
    assert harness.TIME.fullmatch(answer["created_at"])


def test_example_submit_with_everything(node):
    answer = curl(
        "-X", "POST", f"http://localhost:{node.api_port}/api/v1/jobs",
        "-H", "Content-Type: application/json",
        "-d", json.dumps({
            "target_node_id": node.node_id,
            "command": "echo $MESSAGE",
            "env": {"MESSAGE": "Hello from env"},
            "timeout_seconds": 60,
        }),
    )  # fmt: skip
    assert answer["target_node"] == node.node_id
    job = node.finish(answer["job_id"])
    assert (job["stdout"], job["target_node_id"]) == ("Hello from env\n", node.node_id)


def test_example_jobs(node):
    job_id = node.submit("echo listed")
    node.finish(job_id)
    answer = curl(f"http://localhost:{node.api_port}/api/v1/jobs?limit=10")
    assert answer["count"] == len(answer["jobs"]) <= 10
    job = answer["jobs"][0]
    assert {
        "job_id", "target_node_id", "command", "status", "exit_code", "stdout", "stderr", "error_message",
        "created_at", "started_at", "finished_at",
    } <= set(job)  # fmt: skip
    assert (job["job_id"], job["status"], job["stdout"]) == (job_id, "JOB_COMPLETED", "listed\n")


# Answers in general.


@pytest.mark.parametrize("path", ["/", f"{API}/health", f"{API}/jobs", "/nowhere", f"{API}/jobs/x"])
def test_every_answer_names_the_node(node, path):
    assert node.request("GET", path).headers["X-Node-ID"] == node.node_id


def test_the_map_of_endpoints(node):
    answer = node.request("GET", "/")
    assert answer.status == 200
    text = answer.body.decode()
    for path in ("/api/v1/health", "/api/v1/status", "/api/v1/peers", "/api/v1/jobs"):
        assert path in text


def test_head(node):
    answer = node.request("HEAD", API + "/health")
    assert (answer.status, answer.body) == (200, b"")


def test_created(node):
    answer = node.post("/jobs", {"command": "true"})
    assert answer.status == 201
    assert answer.headers["Location"] == f"{API}/jobs/{answer.json()['job_id']}"
    assert answer.headers["Content-Type"].startswith("application/json")


def test_ids_are_unique_and_answer(node):
    ids = {node.submit("true") for _ in range(20)}
    assert len(ids) == 20
    for job_id in ids:
        assert node.job(job_id)["job_id"] == job_id
    upper = next(iter(ids)).upper()
    assert node.get(f"/jobs/{upper}").status == 200


def test_many_requests_on_one_connection(node):
    connection = node.connection()
    for number in range(200):
        answer = harness.ask(connection, "POST", API + "/jobs", {"command": f"echo {number}"})
        assert answer.status == 201
    assert node.finish(answer.json()["job_id"])["stdout"] == "199\n"


def test_pipelined_requests(node):
    with socket.create_connection(("127.0.0.1", node.api_port), timeout=10) as raw:
        raw.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        data = b""
        while data.count(b'"healthy"') < 3:
            piece = raw.recv(4096)
            assert piece, data
            data += piece


# Several jobs in one request.


def test_array(node):
    answer = node.post("/jobs", [{"command": f"echo {number}"} for number in range(5)])
    assert answer.status == 201
    assert answer.json()["count"] == 5
    ids = [job["job_id"] for job in answer.json()["jobs"]]
    assert [node.finish(job_id)["stdout"] for job_id in ids] == [f"{number}\n" for number in range(5)]


def test_array_of_one(node):
    answer = node.post("/jobs", [{"command": "true"}])
    assert (answer.status, answer.json()["count"]) == (201, 1)


def test_lines(node):
    body = b'{"command": "echo 0"}\n\n  {"command": "echo 1", "env": {"A": "b"}}\r\n{"command": "echo 2"}'
    answer = node.post("/jobs", body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status == 201, answer
    ids = [job["job_id"] for job in answer.json()["jobs"]]
    assert [node.finish(job_id)["stdout"] for job_id in ids] == ["0\n", "1\n", "2\n"]


@pytest.mark.parametrize("form", ["array", "lines"])
def test_all_or_nothing(node, form):
    before = node.get("/jobs?limit=1").json()["jobs"]
    jobs = [{"command": "true"} for _ in range(100)]
    jobs[57]["timeout_seconds"] = 0
    body = jobs if form == "array" else "\n".join(json.dumps(job) for job in jobs).encode()
    kind = "application/json" if form == "array" else "application/x-ndjson"
    answer = node.post("/jobs", body, headers={"Content-Type": kind})
    assert answer.status == 400
    problem = answer.json()
    assert problem["index"] == 57 and problem["field"] == "timeout_seconds"
    assert "timeout_seconds" in problem["error"]
    after = node.get("/jobs?limit=1").json()["jobs"]
    assert before == after


def test_ten_thousand(make_node):
    node = make_node(slots=0).start()
    ids = node.submit_many([f"echo {number}" for number in range(10000)])
    assert len(set(ids)) == 10000
    assert node.status()["queued"] == 10000
    assert [job["job_id"] for job in node.jobs(status="pending")] == ids[::-1]
    answer = node.post("/jobs", [{"command": "true"}] * 10001)
    assert answer.status in (400, 413)
    assert "10000" in answer.json()["error"].replace(",", "")
    assert node.status()["queued"] == 10000


def test_empty_array(node):
    assert node.post("/jobs", []).status == 400


# Looking at jobs.


def test_wait(node, tmp_path):
    job_id = node.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.02; done; echo waited")
    begin = time.monotonic()
    answer = node.get(f"/jobs/{job_id}?wait=200ms")
    assert answer.json()["status"] in ("JOB_PENDING", "JOB_RUNNING")
    assert 0.15 < time.monotonic() - begin < 5
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(node.get(f"/jobs/{job_id}?wait=30s")))
    waiting.start()
    (tmp_path / "go").touch()
    waiting.join(10)
    assert answers and answers[0].json()["stdout"] == "waited\n"


def test_wait_of_one_that_ended(node):
    job_id = node.submit("true")
    node.finish(job_id)
    begin = time.monotonic()
    assert node.get(f"/jobs/{job_id}?wait=30s").json()["status"] == "JOB_COMPLETED"
    assert time.monotonic() - begin < 5


def test_post_and_wait(node):
    answer = node.post("/jobs?wait=30s", {"command": "echo both"})
    assert answer.status == 200, answer
    assert (answer.json()["status"], answer.json()["stdout"]) == ("JOB_COMPLETED", "both\n")
    answer = node.post("/jobs?wait=50ms", {"command": "sleep 1; echo late"})
    assert answer.status == 202, answer
    assert node.finish(answer.json()["job_id"])["stdout"] == "late\n"
    assert node.post("/jobs?wait=1s", [{"command": "true"}]).status == 400, "for a single job"


@pytest.mark.parametrize("wait", ["soon", "-1s", "6min", ""])
def test_a_wrong_wait(node, wait):
    job_id = node.submit("true")
    assert node.get(f"/jobs/{job_id}?wait={wait}").status == 400


def test_pages(make_node):
    node = make_node(slots=0).start()
    ids = node.submit_many(["true"] * 25)
    pages, cursor = [], ""
    while cursor is not None:
        page = node.get(f"/jobs?limit=10{cursor and '&cursor=' + cursor}").json()
        pages.append([job["job_id"] for job in page["jobs"]])
        cursor = page.get("next_cursor")
        if len(pages) == 1:
            # What comes later does not shift the pages.
            node.submit_many(["true"] * 3)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert sum(pages, []) == ids[::-1]
    assert node.get("/jobs").json()["count"] == 28
    node.submit_many(["true"] * 40)
    assert node.get("/jobs").json()["count"] == 50, "the limit where none is given"


def test_filter_by_status(make_node):
    node = make_node().start()
    good, bad = node.submit("true"), node.submit("false")
    node.finish(good), node.finish(bad)
    assert [job["job_id"] for job in node.jobs(status="failed")] == [bad]
    assert [job["job_id"] for job in node.jobs(status="JOB_COMPLETED")] == [good]
    assert node.jobs(status="JOB_TIMEOUT") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=100000", "status=nothing", "cursor=..", "colour=red"],
)
def test_a_wrong_query(node, query):
    answer = node.get("/jobs?" + query)
    assert answer.status == 400, answer
    assert query.split("=")[0] in answer.json()["error"]


def test_a_list_carries_the_beginning_of_long_output(node):
    job_id = node.submit("head -c 100000 /dev/zero | tr '\\0' z")
    node.finish(job_id)
    listed = next(job for job in node.jobs() if job["job_id"] == job_id)
    assert listed["stdout"] == "z" * 4096
    assert node.job(job_id)["stdout"] == "z" * 100000


@pytest.mark.parametrize("job_id", ["550e8400-e29b-41d4-a716-446655440000", "x", "1", "..", "%00"])
def test_a_job_that_is_not_there(node, job_id):
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/stdout"):
        assert node.get(path).status in (400, 404)
    assert node.post(f"/jobs/{job_id}/cancel").status in (400, 404)


def test_target_somewhere_else(node):
    answer = node.post("/jobs", {"command": "true", "target_node_id": "node-0123456789abcdef"})
    assert (answer.status, answer.json()["code"]) == (422, "target_unknown")
    assert node.node_id in answer.json()["error"], "says which one it is"


# The same request twice.


def test_idempotency_key(node, tmp_path):
    headers = {"Idempotency-Key": f"key-{node.api_port}"}
    body = {"command": f"echo run >> {tmp_path}/evidence", "env": {"A": "1", "B": "2"}}
    first = node.post("/jobs", body, headers=headers)
    assert first.status == 201
    node.finish(first.json()["job_id"])
    again = node.post("/jobs", body, headers=headers)
    assert again.status in (200, 201)
    assert again.json()["job_id"] == first.json()["job_id"]
    # The same in another spelling.
    spelled = b'{ "env": {"B":"2", "A":"\\u0031"},\n "command": %s }' % json.dumps(body["command"]).encode()
    again = node.post("/jobs", spelled, headers={**headers, "Content-Type": "application/json"})
    assert again.json()["job_id"] == first.json()["job_id"]
    other = node.post("/jobs", {**body, "timeout_seconds": 7}, headers=headers)
    assert (other.status, other.json()["code"]) == (422, "key_reused")
    assert (tmp_path / "evidence").read_text() == "run\n"


def test_idempotency_key_of_an_array(node):
    headers = {"Idempotency-Key": f"array-{node.api_port}"}
    jobs = [{"command": "echo 1"}, {"command": "echo 2"}]
    first = node.post("/jobs", jobs, headers=headers)
    assert first.status == 201
    again = node.post("/jobs", jobs, headers=headers)
    assert again.json()["jobs"] == first.json()["jobs"]
    for other in ([jobs[0], {"command": "echo 3"}], jobs[:1], [*jobs, {"command": "echo 3"}], jobs[::-1]):
        answer = node.post("/jobs", other, headers=headers)
        assert (answer.status, answer.json()["code"]) == (422, "key_reused"), other


def test_idempotency_key_over_restarts(make_node, tmp_path):
    node = make_node().start()
    headers = {"Idempotency-Key": "one"}
    body = [{"command": f"echo run >> {tmp_path}/evidence"}] * 3
    first = node.post("/jobs", body, headers=headers)
    ids = [job["job_id"] for job in first.json()["jobs"]]
    assert first.status == 201 and len(set(ids)) == 3
    node.kill()
    node.start()
    again = node.post("/jobs", body, headers=headers)
    assert [job["job_id"] for job in again.json()["jobs"]] == ids
    for job_id in ids:
        node.finish(job_id)
    node.restart()
    again = node.post("/jobs", body, headers=headers)
    assert [job["job_id"] for job in again.json()["jobs"]] == ids
    assert (tmp_path / "evidence").read_text() == "run\n" * 3


def test_idempotency_key_when_the_first_job_has_left_the_history(make_node, tmp_path):
    node = make_node().start()
    headers = {"Idempotency-Key": "one"}
    body = [{"command": f"echo run >> {tmp_path}/evidence"}] * 3
    first = node.post("/jobs", body, headers=headers).json()
    for job in first["jobs"]:
        node.finish(job["job_id"])
    with contextlib.closing(sqlite3.connect(node.database, timeout=10)) as database, database:
        database.execute("DELETE FROM jobs WHERE job_id = ?", (first["jobs"][0]["job_id"],))
    again = node.post("/jobs", body, headers=headers)
    assert (again.status, again.json()) == (201, first)
    again = node.post("/jobs", [*body, {"command": "true"}], headers=headers)
    assert (again.status, again.json()["code"]) == (422, "key_reused")
    assert (tmp_path / "evidence").read_text() == "run\n" * 3


def test_idempotency_key_at_the_same_moment(node, tmp_path):
    headers = {"Idempotency-Key": f"race-{node.api_port}"}
    answers = []

    def submit():
        answers.append(node.post("/jobs", {"command": f"echo run >> {tmp_path}/evidence"}, headers=headers))

    threads = [threading.Thread(target=submit) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 201}
    (job_id,) = {answer.json()["job_id"] for answer in answers}
    node.finish(job_id)
    assert (tmp_path / "evidence").read_text() == "run\n"


@pytest.mark.parametrize("key", ["", "x" * 256, "gr\u00fcn"])
def test_a_wrong_idempotency_key(node, key):
    headers = {"Idempotency-Key": key.encode("latin-1"), "Content-Type": "application/json"}
    assert node.post("/jobs", b'{"command": "true"}', headers=headers).status == 400


# The doors.


def test_unix_socket(make_node):
    node = make_node()
    path = os.path.join(node.directory, "api.sock")
    node.options += ["--api-socket", path]
    node.start()
    tcp = node.get("/health").json()
    node.api_socket = path
    assert node.get("/health").json()["node_id"] == tcp["node_id"]
    assert node.run("echo by socket")["stdout"] == "by socket\n"
    # A file that a killed daemon left does not keep the next one out.
    node.api_socket = None
    node.kill()
    node.start()
    node.api_socket = path
    assert node.get("/health").status == 200


def test_inherited_sockets(make_node):
    """As from a service manager: LISTEN_FDS and LISTEN_FDNAMES."""
    node = make_node()
    path = os.path.join(node.directory, "inherited.sock")
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(path)
        for listening in (tcp, unix):
            listening.listen()
        node.pass_fds = (tcp.fileno(), unix.fileno())
        script = 'exec 3<&$1 4<&$2; shift 2; export LISTEN_PID=$$; exec "$@"'
        node.prefix = ["/bin/bash", "-c", script, "bash", str(tcp.fileno()), str(unix.fileno())]
        node.environment |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:api"}
        node.api_port = tcp.getsockname()[1]
        node.launch()
    wait_for(node.answers)
    assert node.run("echo tcp")["stdout"] == "tcp\n"
    node.api_socket = path
    assert node.run("echo unix")["stdout"] == "unix\n"
    assert node.run("env | grep -c ^LISTEN_ || true")["stdout"] == "0\n"


def test_inherited_node_stream(make_node):
    """A stream socket of this name is for other nodes, and no door for clients."""
    node = make_node()
    with socket.socket() as http, socket.socket() as stream:
        for listening in (http, stream):
            listening.bind(("127.0.0.1", 0))
            listening.listen()
        node.pass_fds = (http.fileno(), stream.fileno())
        script = 'exec 3<&$1 4<&$2; shift 2; export LISTEN_PID=$$; exec "$@"'
        node.prefix = ["/bin/bash", "-c", script, "bash", str(http.fileno()), str(stream.fileno())]
        node.environment |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:node"}
        node.api_port = http.getsockname()[1]
        node.launch()
        wait_for(node.answers)
        with socket.create_connection(stream.getsockname()) as client:
            client.settimeout(0.5)
            client.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                answer = client.recv(1024)
            except (TimeoutError, ConnectionError):
                answer = b""
            assert answer == b""


def test_inherited_datagram_sockets(make_node):
    node = make_node(node_port=None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as discovery, socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM
    ) as own:
        discovery.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        discovery.bind(("0.0.0.0", node.discovery_port))
        own.bind(("0.0.0.0", 0))
        port = own.getsockname()[1]
        node.pass_fds = (discovery.fileno(), own.fileno())
        script = 'exec 3<&$1 4<&$2; shift 2; export LISTEN_PID=$$; exec "$@"'
        node.prefix = ["/bin/bash", "-c", script, "bash", str(discovery.fileno()), str(own.fileno())]
        node.environment |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "discovery:node"}
        node.launch()
    wait_for(node.answers)
    assert node.status()["address"].endswith(f":{port}")
    other = make_node(discovery_port=node.discovery_port).start()
    wait_for(lambda: node.sees(other) and other.sees(node))
    assert other.peers()[node.node_id]["address"] == f"127.0.0.1:{port}"
