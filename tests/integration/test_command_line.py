# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a person meets it: options, settings, their errors, the first screen, the exit statuses."""

import os
import re
import signal
import socket
import subprocess

import harness
import pytest
from harness import wait_for

USAGE, CONFIGURATION = 2, 6


def call(*arguments, tmp_path=None, deadline=10, **environment):
    """Runs a daemon that is expected to end by itself."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path or "/nonexistent"), "LANG": "C.UTF-8", **environment}
    return subprocess.run(
        [harness.PROGRAM, *(str(argument) for argument in arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )


@pytest.mark.parametrize("option", ["--help", "-help", "-h"])
def test_help_fits_a_terminal(option):
    result = call(option)
    assert (result.returncode, result.stderr) == (0, "")
    for name in ("api-port", "discovery-port", "node-port", "interface", "state-dir", "config", "slots", "version"):
        assert f"--{name}" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "worker-mesh(8)" in result.stdout and "worker-mesh.conf(5)" in result.stdout


@pytest.mark.parametrize("option", ["--version", "-version"])
def test_version(option):
    result = call(option)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"worker-mesh.*\d+\.\d+", result.stdout)


@pytest.mark.parametrize(
    "arguments, pieces",
    [
        (["--no-such-option"], ["no-such-option"]),
        (["-no-such-option"], ["no-such-option"]),
        (["stray"], ["stray"]),
        (["--api-port"], ["api-port"]),
        (["--api-port", "many"], ["api-port", "many", "65535"]),
        (["-api-port", "many"], ["api-port", "many", "65535"]),
        (["--api-port", "70000"], ["api-port", "70000", "65535"]),
        (["--api-port", "-1"], ["api-port", "-1", "65535"]),
        (["--api-port", ""], ["api-port"]),
        (["--api-port", "3000x"], ["api-port", "3000x", "65535"]),
        (["--discovery-port", "0"], ["discovery-port", "0", "65535"]),
        (["--discovery-port", "99999999999999999999"], ["discovery-port", "99999999999999999999"]),
        (["--slots", "-3"], ["slots", "-3"]),
        (["--slots", "two"], ["slots", "two"]),
        (["--bus", "both"], ["--bus", "both", "auto, system, session, none"]),
        (["--log-level", "loud"], ["log-level", "loud", "debug"]),
    ],
)
def test_a_wrong_command_line(arguments, pieces, tmp_path):
    result = call(*arguments, tmp_path=tmp_path)
    assert result.returncode == USAGE, result.stderr
    assert result.stdout == ""
    for piece in pieces:
        assert piece in result.stderr
    assert len(result.stderr.splitlines()) <= 3, "one message, not the whole help"


@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("DISCOVERY_PORT", "eighty", "65535"),
        ("DISCOVERY_PORT", "65536", "65535"),
        ("API_PORT", "x", "65535"),
        ("HEARTBEAT_INTERVAL", "soon", "100ms"),
        ("HEARTBEAT_INTERVAL", "1ms", "100ms"),
        ("HEARTBEAT_INTERVAL", "2h", "1h"),
        ("PEER_TIMEOUT", "-5s", ""),
        ("KEEPER_WAIT", "5ms", ""),
        ("SLOTS", "all", ""),
        ("OUTPUT_MAX", "1", "4K"),
        ("OUTPUT_MAX", "1T", "64M"),
    ],
)
def test_a_wrong_variable(name, value, allowed, tmp_path):
    result = call("--api-port", harness.free_port(), tmp_path=tmp_path, **{name: value})
    assert result.returncode == CONFIGURATION, result.stderr
    assert name in result.stderr and value in result.stderr and allowed in result.stderr


def test_a_timeout_shorter_than_the_interval(tmp_path):
    result = call(
        "--api-port", harness.free_port(), tmp_path=tmp_path, HEARTBEAT_INTERVAL="10s", PEER_TIMEOUT="5s"
    )
    assert result.returncode == CONFIGURATION, result.stderr
    assert "PEER_TIMEOUT" in result.stderr or "PeerTimeout" in result.stderr


@pytest.mark.parametrize(
    "content, line, pieces",
    [
        ("[Mesh]\nApiPort=many\n", 2, ["ApiPort", "many", "65535"]),
        ("[Mesh]\n\n# a port\nDiscoveryPort=0\n", 4, ["DiscoveryPort", "65535"]),
        ("[Mesh]\nHeartbeatInterval=soon\n", 2, ["HeartbeatInterval", "soon"]),
        ("[Mesh]\nOutputMax=1\n", 2, ["OutputMax", "4K"]),
    ],
)
def test_a_wrong_setting_names_file_and_line(content, line, pieces, tmp_path):
    path = tmp_path / "mesh.conf"
    path.write_text(content)
    result = call("--config", path, tmp_path=tmp_path)
    assert result.returncode == CONFIGURATION, result.stderr
    assert f"{path}:{line}" in result.stderr
    for piece in pieces:
        assert piece in result.stderr


def test_a_configuration_file_that_is_not_there(tmp_path):
    result = call("--config", tmp_path / "gone.conf", tmp_path=tmp_path)
    assert result.returncode == CONFIGURATION, result.stderr
    assert "gone.conf" in result.stderr


def test_option_before_variable_before_file(make_node, tmp_path):
    path = tmp_path / "mesh.conf"
    path.write_text("[Mesh]\nSlots=3\nHeartbeatInterval=1s\n")
    node = make_node(["--config", path]).start()
    assert node.status()["slots"] == 3
    node = make_node(["--config", path], {"SLOTS": "4"}).start()
    assert node.status()["slots"] == 4
    node = make_node(["--config", path, "--slots", "5"], {"SLOTS": "4"}).start()
    assert node.status()["slots"] == 5


def test_files_and_their_drop_ins(make_node):
    """In a /run of its own, so that nothing of this machine is read or changed."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a /run of its own")
    folder = "/run/worker-mesh"
    script = f"""
        mount -t tmpfs tmpfs /run && mkdir -p {folder}/worker-mesh.conf.d && cd {folder} || exit 99
        printf '[Mesh]\\nSlots=2\\nQueueMax=7\\n' > worker-mesh.conf
        printf '[Mesh]\\nSlots=3\\n' > worker-mesh.conf.d/10-first.conf
        printf '[Mesh]\\nSlots=4\\nNoSuchKey=1\\n' > worker-mesh.conf.d/20-second.conf
        cd / && exec "$@"
    """
    if os.path.exists("/etc/worker-mesh/worker-mesh.conf"):
        pytest.skip("this machine has a worker-mesh.conf of its own, which comes first")
    node = make_node(prefix=["unshare", "--mount", "sh", "-c", script, "sh"]).start()
    assert node.status()["slots"] == 4, "the last one wins"
    assert f"{folder}/worker-mesh.conf.d/20-second.conf:3" in node.log() and "NoSuchKey" in node.log()


def test_options_with_one_dash(make_node):
    node = make_node(["-slots", "7"]).start()
    assert node.status()["slots"] == 7


def test_the_first_screen(mesh_node):
    text = mesh_node.log()
    assert len(text.splitlines()) <= 24
    for piece in (
        mesh_node.node_id,
        f"127.0.0.1:{mesh_node.api_port}",
        str(mesh_node.discovery_port),
        mesh_node.database,
    ):
        assert piece in text
    assert harness.NODE_ID.fullmatch(mesh_node.node_id)
    assert os.path.exists(mesh_node.database)


def test_default_state(make_node):
    node = make_node(environment={"XDG_STATE_HOME": ""})
    # As from a terminal: no --state-dir.
    index = node.options.index("--state-dir")
    del node.options[index : index + 2]
    node.state_dir = os.path.join(node.directory, ".local/state/worker-mesh", str(node.api_port))
    del node.environment["XDG_STATE_HOME"]
    node.start()
    assert os.path.exists(node.database)
    node.stop()
    node.environment["XDG_STATE_HOME"] = os.path.join(node.directory, "elsewhere")
    node.state_dir = os.path.join(node.directory, "elsewhere/worker-mesh", str(node.api_port))
    node.known_id = None
    node.start()
    assert os.path.exists(node.database)


def test_state_is_closed_to_other_users(mesh_node):
    assert os.stat(mesh_node.state_dir).st_mode & 0o077 == 0


def test_api_port_taken(make_node):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = make_node(api_port=taken.getsockname()[1]).launch()
        assert node.process.wait(10) not in (0, USAGE, CONFIGURATION)
        assert node.process.returncode > 0
    assert str(node.api_port) in node.log()
    assert re.search("in use|taken", node.log())


def test_node_port_taken(make_node):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        node = make_node(node_port=port).launch()
        assert node.process.wait(10) > 0
    assert str(port) in node.log()
    assert re.search("in use|taken", node.log())


def test_discovery_port_taken_by_another_program(make_node):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        node = make_node(discovery_port=port).launch()
        assert node.process.wait(10) > 0
    assert str(port) in node.log()
    assert re.search("in use|taken", node.log())


def test_second_daemon_on_one_state_directory(mesh_node, make_node):
    other = make_node(state_dir=mesh_node.state_dir).launch()
    assert other.process.wait(10) > 0
    assert mesh_node.state_dir in other.log()
    assert mesh_node.run("true")["status"] == "JOB_COMPLETED", "the first one is not disturbed"


def test_a_state_directory_that_cannot_be_made(make_node):
    node = make_node(state_dir="/proc/no/such/place").launch()
    assert node.process.wait(10) > 0
    assert "/proc/no" in node.log()


def test_a_state_directory_with_a_long_name(make_node, tmp_path):
    """A unix socket below it would have more than the 107 bytes that there are for a path: it says so."""
    node = make_node(state_dir=str(tmp_path / ("x" * 120))).launch()
    assert node.process.wait(10) > 0
    assert re.search(r"too long|107|longer than", node.log()), node.log()


def test_an_interface_that_is_not_there_is_waited_for(make_node):
    node = make_node(["--interface", "nosuchif0"]).start()
    assert node.status()["status"] == "IDLE"


def test_identity_is_stable(mesh_node):
    first = mesh_node.node_id
    mesh_node.stop()
    mesh_node.start()
    assert mesh_node.get("/health").json()["node_id"] == first
    mesh_node.kill()
    mesh_node.start()
    assert mesh_node.get("/health").json()["node_id"] == first


@pytest.fixture
def on_machine(tmp_path):
    """A function that gives the prefix for a program on a machine with this id: one with an /etc of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to stand for another machine")

    def make(machine_id):
        etc = tmp_path / machine_id
        subprocess.run(["cp", "-a", "/etc", etc], check=True)
        (etc / "machine-id").unlink(missing_ok=True)
        (etc / "machine-id").write_text(machine_id + "\n")
        script = 'mount --bind "$1" /etc && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(etc)]

    return make


def test_a_cloned_state_directory_gets_a_new_identity(make_node, on_machine):
    node = make_node(prefix=on_machine("0123456789abcdef0123456789abcdef"))
    node.start()
    original, database = node.node_id, node.database
    job = node.submit("true")
    node.finish(job)
    node.restart()
    assert node.get("/health").json()["node_id"] == original, "the same machine"
    node.stop()
    node.prefix = on_machine("fedcba9876543210fedcba9876543210")
    node.start()
    assert harness.NODE_ID.fullmatch(node.node_id) and node.node_id != original
    assert os.path.exists(database), "the old jobs stay as history"
    assert original in node.log() and node.node_id in node.log()
    assert node.get(f"/jobs/{job}").status == 404
    clone = node.node_id
    node.restart()
    assert node.node_id == clone


def test_one_signal_waits_for_running_jobs(make_node, tmp_path):
    node = make_node(environment={"DRAIN_TIMEOUT": "20s"}).start()
    evidence = tmp_path / "evidence"
    job = node.submit(f"touch {evidence}.begun; sleep 1; touch {evidence}.ended")
    wait_for((tmp_path / "evidence.begun").exists)
    executor = node.executor_pid()
    assert node.stop() == 0
    assert (tmp_path / "evidence.ended").exists()
    wait_for(lambda: not harness.processes.is_alive(executor), what="an orderly stop ends the executor")
    node.start()
    assert node.job(job)["status"] == "JOB_COMPLETED"


def test_a_draining_node_takes_nothing_new(make_node, tmp_path):
    node = make_node(environment={"DRAIN_TIMEOUT": "20s"}).start()
    release = tmp_path / "release"
    node.submit(f"while ! [ -e {release} ]; do sleep 0.05; done")
    wait_for(lambda: node.status()["running"] == 1)
    connection = node.connection()
    harness.ask(connection, "GET", harness.API + "/health")
    node.send(signal.SIGTERM)
    wait_for(
        lambda: harness.ask(connection, "GET", harness.API + "/status").json()["status"] == "DRAINING",
        what="the node says that it drains",
    )
    answer = harness.ask(connection, "POST", harness.API + "/jobs", {"command": "true"})
    assert answer.status == 503 and answer.json()["code"] == "draining"
    assert "Retry-After" in answer.headers
    release.touch()
    assert node.process.wait(10) == 0


def test_second_signal_ends_at_once(make_node, tmp_path):
    node = make_node(environment={"DRAIN_TIMEOUT": "1min"}).start()
    job = node.submit("sleep 60")
    wait_for(lambda: node.status()["running"] == 1)
    node.send(signal.SIGTERM)
    wait_for(lambda: "SIGTERM" in node.log() or "rain" in node.log() or "topping" in node.log(), what="it says so")
    assert node.process.poll() is None
    node.send(signal.SIGINT)
    assert node.process.wait(5) is not None
    wait_for(lambda: not harness.processes.with_variable("JOB_ID", job), what="the job is gone")
    node.start()
    wait_for(lambda: node.job(job)["status"] == "JOB_RUNNING" and node.job(job)["attempt"] == 2, 15, "it begins again")


def test_drain_timeout(make_node):
    """What has not ended by then is ended, and begins again unless it must not start twice."""
    node = make_node(environment={"DRAIN_TIMEOUT": "500ms"}).start()
    command = "trap '' TERM; sleep 60 & wait; sleep 60"
    again, once = node.submit(command), node.submit(command, on_node_loss="fail")
    wait_for(lambda: node.status()["running"] == 2)
    node.stop(10)
    for job in (again, once):
        wait_for(lambda: not harness.processes.with_variable("JOB_ID", job), what="the job is gone")
    node.start()
    ended = node.finish(once)
    assert ended["status"] == "JOB_FAILED" and "drain" in ended["error_message"]
    wait_for(lambda: node.job(again)["attempt"] == 2 and node.job(again)["status"] == "JOB_RUNNING")
    assert [attempt["outcome"] for attempt in node.job(again)["attempts"]] == ["drained"]


def test_an_orderly_stop_leaves_nothing(make_node, tmp_path):
    node = make_node(slots=2).start()
    for job_id in node.submit_many(["true"] * 20 + ["setsid sleep 300 &"]):
        node.finish(job_id)
    node.run("sleep 60", timeout_seconds=1)
    node.submit("sleep 0.5")
    executor, log = node.executor_pid(), node.log()
    assert node.stop() == 0
    assert not harness.processes.is_alive(executor)
    assert not harness.processes.with_variable("NODE_ID", node.node_id)
    found = re.search(r"cgroups below (\S+?)\.?$", log, re.M)
    if found:
        assert not os.path.exists(found.group(1))
    assert "warning" not in node.log() and "error" not in node.log()


def test_reload_takes_new_settings(make_node, tmp_path):
    path = tmp_path / "mesh.conf"
    path.write_text("[Mesh]\nSlots=1\n")
    node = make_node(["--config", path]).start()
    path.write_text("[Mesh]\nSlots=6\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: node.status()["slots"] == 6)
    path.write_text("[Mesh]\nSlots=lots\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: f"{path}:2" in node.log(), what="the wrong line is named")
    assert node.status()["slots"] == 6
    os.kill(node.executor_pid(), signal.SIGKILL)
    assert node.run("echo again")["stdout"] == "again\n", "what is needed later is still known"


def test_labels(make_node, tmp_path):
    path = tmp_path / "mesh.conf"
    path.write_text("[Mesh]\nLabels=gpu=a100 fast\nLabels=arch=other\n")
    node = make_node(["--config", path]).start()
    automatic = {"host": os.uname().nodename, "os": node.status()["labels"]["os"]}
    assert node.status()["labels"] == {**automatic, "arch": "other", "gpu": "a100", "fast": ""}
    with open("/etc/os-release", encoding="utf-8") as file:
        assert re.search(rf'^ID="?{automatic["os"]}"?$', file.read(), re.M)
    path.write_text("[Mesh]\nLabels=gpu=h100\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: node.status()["labels"] == {**automatic, "arch": os.uname().machine, "gpu": "h100"})
    path.write_text("[Mesh]\nLabels=gpu=a,b\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: f"{path}:2" in node.log(), what="the wrong line is named")
    assert node.status()["labels"]["gpu"] == "h100"
    node.stop()
    # An option wins over the variable, and may be repeated.
    node = make_node(["--label", "gpu=one", "--label=more"], environment={"LABELS": "gpu=two other=yes"}).start()
    assert {"gpu": "one", "more": ""}.items() <= node.status()["labels"].items() and "other" not in node.status()["labels"]


def test_reload_names_what_needs_a_start(make_node, tmp_path):
    path = tmp_path / "mesh.conf"
    path.write_text("[Mesh]\nSlots=1\n")
    node = make_node(["--config", path]).start()
    path.write_text("[Mesh]\nSlots=2\nQueueMax=7\nOutputMax=8K\n")
    node.send(signal.SIGHUP)
    wait_for(lambda: "Configuration reloaded" in node.log())
    assert "next start: QueueMax, OutputMax.\n" in node.log()
    assert node.status()["slots"] == 2


def test_ready_is_said_to_the_service_manager(make_node):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        node = make_node()
        path = os.path.join(node.directory, "notify")
        manager.bind(path)
        manager.settimeout(10)
        node.environment["NOTIFY_SOCKET"] = path
        node.start()
        said = manager.recv(4096).decode()
        while "READY=1" not in said:
            said += manager.recv(4096).decode()
        node.post("/node/drain")
        while f"by user {os.getuid()}" not in said:
            said += manager.recv(4096).decode()
        assert "the node is being drained, since 20" in said
        node.send(signal.SIGTERM)
        while "STOPPING=1" not in said:
            said += manager.recv(4096).decode()
        assert "STATUS=" in said
