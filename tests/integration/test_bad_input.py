# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever comes in, the answer is one line that says what was wrong, and the node goes on."""

import contextlib
import json
import socket

import harness
import pytest
from harness import API

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = harness.Node(tmp_path_factory.mktemp("node"), slots=2).start()
    yield node
    assert node.end() is None


@pytest.fixture(autouse=True)
def still_there(node):
    yield
    assert node.process.poll() is None
    assert node.run("echo alive")["stdout"] == "alive\n"


def check_problem(answer, status):
    """RFC 9457, and the one-line error of the first implementation."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] and problem["code"] == problem["code"].lower()
    assert problem["error"] and "\n" not in problem["error"]
    return problem


def raw_request(node, data, deadline=10.0):
    """Sends bytes as they are and returns all that comes back until the server closes or the deadline."""
    with socket.create_connection(("127.0.0.1", node.api_port), timeout=deadline) as connection:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            connection.sendall(data)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while piece := connection.recv(65536):
                received += piece
                if b"\r\n\r\n" in received and b"Connection: close" not in data:
                    break
        return received


def nested(depth):
    return b'{"command": "true", "env": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


@pytest.mark.parametrize(
    "body, hint",
    [
        (b"", ""),
        (b" ", ""),
        (b"{", ""),
        (b"not json", ""),
        (b'{"command": "true"', ""),
        (b'{"command": "true"} trailing', ""),
        (b'{"command": "true"}{"command": "true"}', ""),
        (b"{'command': 'true'}", ""),
        (b'{"command": "true",}', ""),
        (b"null", ""),
        (b"7", ""),
        (b'"true"', ""),
        (b"{}", "command"),
        (b'{"command": null}', "command"),
        (b'{"command": 7}', "command"),
        (b'{"command": ["true"]}', "command"),
        (b'{"command": ""}', "command"),
        (b'{"command": "a\\u0000b"}', "command"),
        (b'{"command": "\xff"}', "UTF-8"),
        (b'{"command": "\xc0\xaf"}', "UTF-8"),
        (b'{"command": "\\ud800"}', ""),
        (json.dumps({"command": "x" * (64 * 1024 + 1)}).encode(), "command"),
        (b'{"command": "true", "comand": "x"}', "comand"),
        (b'{"command": "true", "command": "false"}', "command"),
        (b'{"command": "true", "timeout_seconds": "60"}', "timeout_seconds"),
        (b'{"command": "true", "timeout_seconds": 0}', "timeout_seconds"),
        (b'{"command": "true", "timeout_seconds": -1}', "timeout_seconds"),
        (b'{"command": "true", "timeout_seconds": 1.5}', "timeout_seconds"),
        (b'{"command": "true", "timeout_seconds": 604801}', "604800"),
        (b'{"command": "true", "timeout_seconds": 99999999999999999999}', "timeout_seconds"),
        (b'{"command": "true", "timeout_seconds": 1e400}', "timeout_seconds"),
        (b'{"command": "true", "memory_max": 1048575}', "memory_max"),
        (b'{"command": "true", "memory_max": 0}', "memory_max"),
        (b'{"command": "true", "memory_max": -1}', "memory_max"),
        (b'{"command": "true", "memory_max": "64M"}', "memory_max"),
        (b'{"command": "true", "memory_max": 1.5}', "memory_max"),
        (b'{"command": "true", "memory_max": 1125899906842625}', "memory_max"),
        (b'{"command": "true", "memory_max": 99999999999999999999}', "memory_max"),
        (b'{"command": "true", "cpu_weight": 0}', "cpu_weight"),
        (b'{"command": "true", "cpu_weight": 10001}', "cpu_weight"),
        (b'{"command": "true", "cpu_weight": true}', "cpu_weight"),
        (b'{"command": "true", "cpu_quota": 0}', "cpu_quota"),
        (b'{"command": "true", "cpu_quota": 1000001}', "cpu_quota"),
        (b'{"command": "true", "cpu_quota": "150%"}', "cpu_quota"),
        (b'{"command": "true", "tasks_max": 0}', "tasks_max"),
        (b'{"command": "true", "tasks_max": 4194305}', "tasks_max"),
        (b'{"command": "true", "tasks_max": []}', "tasks_max"),
        (b'{"command": "true", "best_effort": 1}', "best_effort"),
        (b'{"command": "true", "best_effort": "yes"}', "best_effort"),
        (b'{"command": "true", "priority": 1001}', "priority"),
        (b'{"command": "true", "priority": 1.5}', "priority"),
        (b'{"command": "true", "priority": -99999999999999999999}', "priority"),
        (b'{"command": "true", "retries": 101}', "retries"),
        (b'{"command": "true", "retries": "two"}', "retries"),
        (b'{"command": "true", "on_node_loss": "retry"}', "requeue"),
        (b'{"command": "true", "on_node_loss": []}', "on_node_loss"),
        (b'{"command": "true", "requires": {"gpu": "a100"}}', "requires"),
        (b'{"command": "true", "requires": ["gpu", null]}', "requires"),
        (b'{"command": "true", "requires": [""]}', "requires"),
        (b'{"command": "true", "requires": ["gpu=a,b"]}', "requires"),
        (b'{"command": "true", "env": []}', "env"),
        (b'{"command": "true", "env": {"A": 1}}', "env"),
        (b'{"command": "true", "env": {"": "x"}}', "env"),
        (b'{"command": "true", "env": {"A=B": "x"}}', "env"),
        (b'{"command": "true", "env": {"A": "x\\u0000"}}', "NUL"),
        (b'{"command": "true", "cwd": "relative"}', "cwd"),
        (b'{"command": "true", "cwd": 1}', "cwd"),
        (b'{"command": "true", "stdin": 1}', "stdin"),
        (b'{"command": "true", "target_node_id": 5}', "target_node_id"),
        (b'{"command": "true", "target_node_id": "../etc"}', "target_node_id"),
        (nested(1), "env"),
        (nested(1000), ""),
        (nested(200000), ""),
        (b"[" * 500000, ""),
        (b'[{"command": "true"}, 7]', "1"),
        (b'[{"command": "true"}, {"command": ""}]', "command"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_a_wrong_body(node, body, hint):
    answer = node.request("POST", API + "/jobs", body, JSON)
    problem = check_problem(answer, 400)
    assert hint in problem["error"]


def test_no_body_and_no_length(node):
    answer = raw_request(
        node, b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n"
    )
    assert answer.split()[1] in (b"400", b"411")


def test_limits_that_still_fit(node):
    assert node.post("/jobs", {"command": "true #" + "x" * (64 * 1024 - 6)}).status == 201
    env = {f"V{number}": "x" for number in range(256)}
    assert node.post("/jobs", {"command": "true", "env": env}).status == 201
    assert node.post("/jobs", {"command": "true", "timeout_seconds": 604800}).status == 201
    assert node.post("/jobs", {"command": "true", "stdin": "x" * 1024 * 1024}).status == 201


def test_limits_that_do_not(node):
    env = {f"V{number}": "x" for number in range(257)}
    check_problem(node.post("/jobs", {"command": "true", "env": env}), 400)
    check_problem(node.post("/jobs", {"command": "true", "env": {"A": "x" * 64 * 1024}}), 400)
    check_problem(node.post("/jobs", {"command": "true", "env": {"A" * 257: "x"}}), 400)
    check_problem(node.post("/jobs", {"command": "true", "stdin": "x" * (1024 * 1024 + 1)}), 400)
    check_problem(node.post("/jobs", {"command": "true", "cwd": "/" + "x" * 4095}), 400)


@pytest.mark.parametrize(
    "line", [b"{", b'{"command": ""}', b'["x"]', b'{"command": "true"} {"command": "true"}', b"7"]
)
def test_a_wrong_line(node, line):
    body = b'{"command": "true"}\n' + line + b'\n{"command": "true"}\n'
    problem = check_problem(
        node.request("POST", API + "/jobs", body, {"Content-Type": "application/x-ndjson"}), 400
    )
    assert problem["line"] == 2 and "line 2" in problem["error"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""]
)
def test_a_wrong_content_type(node, kind):
    check_problem(node.request("POST", API + "/jobs", b'{"command": "true"}', {"Content-Type": kind}), 415)


def test_no_content_type(node):
    answer = raw_request(
        node, b'POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 19\r\n\r\n{"command": "true"}'
    )
    assert answer.split()[1] == b"415"


def test_content_type_with_a_charset(node):
    kind = {"Content-Type": "application/json; charset=utf-8"}
    assert node.request("POST", API + "/jobs", b'{"command": "true"}', kind).status == 201


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api", "/api/v2/jobs", "/api/v1/jobs/a/b/c", "/api/v1/healthy", "//", "/%2e%2e/etc/passwd"]
)
def test_an_unknown_path(node, path):
    check_problem(node.request("GET", path), 404)


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "/jobs", {"GET", "POST"}),
        ("PUT", "/jobs", {"GET", "POST"}),
        ("POST", "/health", {"GET"}),
        ("PATCH", "/status", {"GET"}),
        ("POST", "/peers", {"GET"}),
        ("POST", "/jobs/550e8400-e29b-41d4-a716-446655440000", {"GET"}),
        ("GET", "/jobs/550e8400-e29b-41d4-a716-446655440000/cancel", {"POST"}),
        ("BREW", "/jobs", {"GET", "POST"}),
        ("OPTIONS", "/jobs", {"GET", "POST"}),
        ("TRACE", "/jobs", {"GET", "POST"}),
    ],
)
def test_a_wrong_method(node, method, path, allowed):
    answer = node.request(method, API + path)
    check_problem(answer, 405)
    assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_an_oversized_header(node):
    answer = raw_request(
        node, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300000 + b"\r\n\r\n"
    )
    assert answer.split()[1] in (b"413", b"431")


def test_too_many_headers(node):
    lines = b"".join(b"X%d: y\r\n" % number for number in range(20000))
    answer = raw_request(node, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
    assert answer.split()[1] in (b"413", b"431")


def test_an_oversized_path(node):
    answer = raw_request(node, b"GET /" + b"x" * 300000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.split()[1] in (b"404", b"413", b"414", b"431")


def test_an_oversized_body(node):
    """Refused by its length before it is sent, and by its size where no length was given."""
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = raw_request(node, head + b"Content-Length: 99999999999\r\n\r\n{")
    assert answer.split()[1] == b"413"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", node.api_port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(64 * 1024):
                connection.sendall(chunk)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(4096).split()[1] == b"413"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"GET /api/v1/health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 5\r\nContent-Length: 50\r\n\r\n{}{}{",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n0\r\n\r\n",
        b"\0" * 10000,
    ],
    ids=range(9),
)
def test_no_http(node, data):
    answer = raw_request(node, data, deadline=1)
    assert b" 200 " not in answer[:20] and b" 201 " not in answer[:20]


def test_http_1_0(node):
    answer = raw_request(node, b"GET /api/v1/health HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] == b"200" and b"healthy" in answer


def test_a_client_that_stops_half_way(node):
    before = len(node.jobs())
    halves = [
        b"POST /api/v1/jobs HT",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"command": "true"}',
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n14\r\n{"command": "true"}\n\r\n',
    ]
    open_ones = []
    for half in halves:
        connection = socket.create_connection(("127.0.0.1", node.api_port))
        connection.sendall(half)
        open_ones.append(connection)
    assert node.get("/health").status == 200
    for connection in open_ones:
        connection.close()
    assert node.get("/health").status == 200
    assert len(node.jobs()) == before, "half a request submits nothing"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "localhost.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_browser_that_was_led_here(node, headers, method):
    body = b'{"command": "true"}' if method == "POST" else None
    answer = node.request(method, API + "/jobs", body, {**JSON, **headers})
    problem = check_problem(answer, 403)
    assert any(name in problem["error"] for name in headers)
    assert not any(name.lower().startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_a_host_that_is_ours(node, host):
    for suffix in ("", f":{node.api_port}"):
        assert node.request("GET", API + "/jobs", headers={"Host": host + suffix}).status == 200


def test_no_page_may_read_answers(node):
    answer = node.request("GET", API + "/jobs")
    assert not any(name.lower().startswith("access-control-") for name in answer.headers)
