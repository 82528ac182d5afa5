# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus face, over a bus of the test's own: what it offers, what it refuses, and what it survives."""

import json
import os
import pwd
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import bus
import datagrams
import harness
import pytest
from bus import (
    DENIED, ERROR, JOB, MANAGER, NAME, PEER, PROPERTIES, ROOT, fails, finished, integer, job_path, variant,
)  # fmt: skip
from harness import wait_for

NOBODY = pwd.getpwnam("nobody").pw_uid
LOG_CONTROL = ("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1")
DOCUMENT = os.path.join(os.path.dirname(__file__), "..", "..", "dbus", "org.workermesh.Mesh1.xml")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


# What it offers.


def test_names_and_properties(bus_node):
    node, client = bus_node
    own = f"{NAME}.node_{node.node_id.removeprefix('node-')}"
    wait_for(lambda: client.has_owner(own), what="its own name")
    assert client.owner(own) == client.owner(NAME)
    told, status = client.get_all(ROOT, MANAGER), node.status()
    assert told["NodeId"] == node.node_id and told["Status"] == "IDLE" and told["StatusReason"] == ""
    for name, key in (("Slots", "slots"), ("RunningJobs", "running"), ("QueuedJobs", "queued"),
                      ("PeerCount", "peer_count"), ("StrangerCount", "stranger_count"),
                      ("Security", "security"), ("MeshId", "mesh_id"), ("Version", "version"), ("Address", "address"),
                      ("Metadata", "metadata"), ("Labels", "labels"), ("ExecutorConnected", "executor_connected")):  # fmt: skip
        assert told[name] == status[key], name
    for name, limit in status["limits"].items():
        assert told["Limits"][name] == {key: limit.get(key) or other for key, other in
                                        (("enforced", False), ("reason", ""), ("default", 0), ("ceiling", 0))}  # fmt: skip


def test_a_job_from_submission_to_its_end(bus_node):
    node, client = bus_node
    client.watch(f"type='signal',sender='{NAME}'")
    client.manager("Subscribe")
    options = {"env": variant("a{ss}", {"A": "b c"}), "stdin": variant("ay", b"\0in\xff"), "cwd": variant("s", "/"),
               "timeout_seconds": variant("y", 20)}  # fmt: skip
    job_id, path = client.submit("pwd; echo $A; cat; echo oops >&2; exit 3", options)
    assert path == job_path(job_id)
    assert client.signal("JobNew").body == [job_id, path]
    assert client.signal("JobRemoved").body == [job_id, path, "JOB_FAILED"]
    changes = [message for message in client.signals if message.member == "PropertiesChanged" and message.path == path]
    assert [message.body[1]["Status"] for message in changes] == ["JOB_RUNNING", "JOB_FAILED"]
    assert {"ExitCode", "FinishedAt", "Stdout"} <= set(changes[1].body[2])

    job, same = client.get_all(path, JOB), node.job(job_id)
    assert job["Stdout"] == b"/\nb c\n\0in\xff" and job["Stderr"] == b"oops\n" and job["ExitCode"] == 3
    assert job["Command"] == same["command"] and job["Status"] == same["status"] == "JOB_FAILED"
    assert job["TimeoutUSec"] == 20_000_000 and job["EnvNames"] == ["A"] and job["StdinBytes"] == 4
    assert job["Submitter"] == same["submitter"] == f"uid:{os.geteuid()}"
    assert job["CreatedAt"] <= job["StartedAt"] <= job["FinishedAt"] < time.time() * 1e6
    assert job["ExecutorNodeId"] == job["CreatedByNode"] == node.node_id
    assert client.manager("GetJob", "s", [job_id]) == [path]
    assert client.get(path, JOB, "ExitCode") == 3


def test_busctl_as_in_the_documents(bus_node, private_bus):
    node, _ = bus_node
    command = ["busctl", f"--address={private_bus.address}", "--json=short"]
    call = [*command, "call", NAME, ROOT, MANAGER, "SubmitJob", "sa{sv}", "uptime", "0"]
    answer = json.loads(subprocess.run(call, capture_output=True, check=True).stdout)
    assert node.finish(answer["data"][0])["exit_code"] == 0
    for path in (ROOT, answer["data"][1]):
        assert subprocess.run([*command, "introspect", NAME, path], capture_output=True, check=True).stdout


def test_many_jobs_all_or_none(bus_node):
    node, client = bus_node
    commands = [(f"echo {number}", {}) for number in range(300)]
    (jobs,) = client.manager("SubmitJobs", "a(sa{sv})a{sv}", [commands, {}])
    assert len({job_id for job_id, _ in jobs}) == 300 and all(path == job_path(job_id) for job_id, path in jobs)
    assert finished(client, jobs[123][1])["Stdout"] == b"123\n"
    node.wait_until_all_ended()

    wrong = [("true", {}), ("true", {"timeout_seconds": integer(0)}), ("true", {})]
    text = fails(ERROR + "Invalid", client.manager, "SubmitJobs", "a(sa{sv})a{sv}", [wrong, {}])
    assert text.startswith("job 1: timeout_seconds is 0")
    assert len(node.jobs()) == 300

    key = {"idempotency_key": variant("s", "once")}
    first = client.manager("SubmitJobs", "a(sa{sv})a{sv}", [commands[:2], key])
    assert client.manager("SubmitJobs", "a(sa{sv})a{sv}", [commands[:2], key]) == first
    fails(ERROR + "KeyReused", client.manager, "SubmitJobs", "a(sa{sv})a{sv}", [commands[:3], key])


def test_pages_of_jobs(bus_node):
    node, client = bus_node
    ids = node.submit_many([f"echo {number}" for number in range(25)])
    node.wait_until_all_ended()
    found, cursor, pages = [], None, 0
    while cursor != 0:
        options = {"limit": integer(10), "status": variant("s", "completed,FAILED")}
        jobs, cursor = client.manager("ListJobs", "a{sv}", [options | ({"cursor": variant("t", cursor)} if cursor else {})])
        found += jobs
        pages += 1
    assert pages == 3 and [job["Id"] for _, job in found] == ids[::-1]
    whole = client.get_all(found[0][0], JOB)
    assert whole.pop("Attempts") == [], "only of a job that is asked for by itself"
    assert found[0][1] == whole
    assert client.manager("ListJobs", "a{sv}", [{"status": variant("s", "RUNNING")}]) == [[], 0]


def test_a_page_stays_small(bus_node):
    """Whatever the jobs are, a bus takes the answer, and no job is left out."""
    node, client = bus_node
    command = "true # " + "x" * 65000
    (jobs,) = client.manager("SubmitJobs", "a(sa{sv})a{sv}", [[(command, {})] * 200, {}])
    seen, cursor = [], None
    while cursor != 0:
        options = {"limit": integer(1000), **({"cursor": variant("t", cursor)} if cursor else {})}
        page, cursor = client.manager("ListJobs", "a{sv}", [options])
        assert sum(len(job["Command"]) for _, job in page) < 5 << 20
        seen += [path for path, _ in page]
    assert sorted(seen) == sorted(path for _, path in jobs)


def test_output_piece_by_piece(bus_node):
    _, client = bus_node
    _, path = client.submit("seq 30000; echo err >&2")
    job = finished(client, path)
    assert len(job["Stdout"]) == 4096 and job["StdoutTotalBytes"] > 160000 and not job["StdoutTruncated"]
    data, more = b"", True
    while more:
        piece, more = client.call(path, JOB, "ReadOutput", "st", ["stdout", len(data)])
        assert 0 < len(piece) <= 64 << 10
        data += piece
    assert data == b"".join(b"%d\n" % number for number in range(1, 30001))
    assert client.call(path, JOB, "ReadOutput", "st", ["stderr", 1]) == [b"rr\n", False]
    fails(ERROR + "BadParameter", client.call, path, JOB, "ReadOutput", "st", ["stdin", 0])


def test_cancel_by_id_and_by_object(bus_node):
    node, client = bus_node
    job_id, _ = client.submit("sleep 100")
    wait_for(lambda: node.job(job_id)["started_at"] or node.status()["running"], what="it runs")
    client.manager("CancelJob", "s", [job_id])
    assert node.finish(job_id)["status"] == "JOB_CANCELLED"
    _, path = client.submit("sleep 100")
    client.call(path, JOB, "Cancel")
    assert finished(client, path)["Status"] == "JOB_CANCELLED"
    assert client.call(path, JOB, "Cancel") == [True]


# The document.


def shape(interface):
    """Everything of an interface that can be compared."""
    found = {}
    for member in interface:
        if member.tag == "annotation":
            continue
        notes = sorted((note.get("name"), note.get("value")) for note in member.findall("annotation"))
        notes = [note for note in notes if note != ("org.freedesktop.DBus.Property.EmitsChangedSignal", "true")]
        default = "in" if member.tag == "method" else None
        parts = [(arg.get("name"), arg.get("type"), arg.get("direction", default)) for arg in member.findall("arg")]
        found[member.tag, member.get("name")] = (member.get("type"), member.get("access"), parts, notes)
    return found


def test_the_document_is_the_interface(make_bus_node, private_bus):
    port = harness.free_port()
    node, other = (make_bus_node(discovery_port=port).start() for _ in range(2))
    wait_for(lambda: node.sees(other) and other.sees(node), 20, "they see each other")
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME))
        (_, peer, *_), *_ = client.manager("ListPeers")[0]
        _, job = client.submit("true")
        told = {}
        for path in (ROOT, job, peer):
            for interface in ElementTree.fromstring(client.introspect(path)).findall("interface"):
                if interface.get("name").startswith("org.workermesh"):
                    told[interface.get("name")] = shape(interface)
        written = {part.get("name"): shape(part) for part in ElementTree.parse(DOCUMENT).getroot().findall("interface")}
        assert set(told) == set(written) == {MANAGER, JOB, PEER}
        for name, members in written.items():
            assert told[name] == members, name
        for path, interface in ((ROOT, MANAGER), (job, JOB), (peer, PEER)):
            names = {name for kind, name in written[interface] if kind == "property"}
            assert set(client.get_all(path, interface)) == names


def test_every_member_is_described():
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    for interface in ElementTree.parse(DOCUMENT, parser).getroot().findall("interface"):
        before = None
        for member in interface:
            if member.tag in ("method", "signal", "property"):
                assert before is not None and before.tag is ElementTree.Comment, member.get("name")
            before = member


def test_the_policy_of_polkit():
    """Each action has the daemon's user as its owner, or polkit would not answer it."""
    folder = os.path.dirname(DOCUMENT)
    root = ElementTree.parse(os.path.join(folder, "org.workermesh.mesh1.policy")).getroot()
    actions = {action.get("id"): action for action in root.findall("action")}
    prefix = "org.workermesh.mesh1."
    names = ("submit-job", "cancel-own-job", "cancel-any-job", "manage-node", "manage-peers")
    assert set(actions) == {prefix + name for name in names}
    for action in actions.values():
        notes = {note.get("key"): note.text for note in action.findall("annotate")}
        assert notes == {"org.freedesktop.policykit.owner": "unix-user:worker-mesh"}
        assert {limit.tag for limit in action.find("defaults")} == {"allow_any", "allow_inactive", "allow_active"}


def test_the_policy_of_the_bus(tmp_path):
    """The bus takes it, and gives the names to nobody else."""
    policy = os.path.abspath(os.path.join(os.path.dirname(DOCUMENT), "org.workermesh.Mesh1.conf"))
    own = bus.Bus(str(tmp_path), extra=f"<policy context='default'><deny own='*'/></policy><include>{policy}</include>")
    own.start()
    try:
        with own.connect() as client:
            root = os.geteuid() == 0
            for name in (NAME, f"{NAME}.node_0123456789abcdef"):
                if root:
                    assert client.call_bus("RequestName", "su", [name, 0]) == [1]
                else:
                    fails(DENIED, client.call_bus, "RequestName", "su", [name, 0])
            fails(DENIED, client.call_bus, "RequestName", "su", [f"{NAME}x", 0])
            if root:
                harness.open_to_others(str(tmp_path))
                with own.connect(NOBODY) as other:
                    fails(DENIED, other.call_bus, "RequestName", "su", [f"{NAME}.node_1", 0])
    finally:
        own.end()


# Peers.


def test_peers_are_objects_that_come_and_go(make_bus_node, private_bus):
    port = harness.free_port()
    node = make_bus_node(discovery_port=port).start()
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME))
        client.watch(f"type='signal',sender='{NAME}'")
        assert client.manager("ListPeers") == [[]]
        other = make_bus_node(["--bus", "none"], discovery_port=port, slots=3).start()
        node_id, path = client.signal("PeerAdded").body
        assert node_id == other.node_id
        assert client.signal("InterfacesAdded").body[0] == path
        wait_for(lambda: client.get(path, PEER, "Verified"), what="it has answered")
        (objects,) = client.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        assert list(objects) == [path] and objects[path][PEER]["NodeId"] == other.node_id
        assert client.manager("ListPeers")[0] == [(other.node_id, path, other.status()["address"], "IDLE")]
        assert client.get(path, PEER, "Slots") == 3

        other.submit("sleep 100")
        client.signal("PropertiesChanged", matching=lambda message: message.path == path and message.body[1].get("Status"))
        assert wait_for(lambda: client.get(path, PEER, "RunningJobs") == 1, what="the peer's job is seen")
        other.process.kill()
        assert client.signal("PeerRemoved", 20).body == [node_id, path]
        assert client.signal("InterfacesRemoved").body == [path, [PEER]]
        fails("org.freedesktop.DBus.Error.UnknownObject", client.get, path, PEER, "NodeId")
        assert node.status()["peer_count"] == 0


def test_a_crowd_of_peers_is_told_a_part_at_a_time(make_bus_node, private_bus):
    """Members can invent nodes: the bus hears of all of them, but not of all at once."""
    node, n = make_bus_node(environment={"PEER_TIMEOUT": "20s"}).start(), 300
    keys = datagrams.Keys(node.key_file)
    with private_bus.connect() as client, datagrams.Listener(node.discovery_port) as listener:
        wait_for(lambda: client.has_owner(NAME))
        client.watch(f"type='signal',sender='{NAME}',interface='{MANAGER}'")
        begin = time.monotonic()
        for number in range(n):
            beat = datagrams.heartbeat(f"node-{number:016x}", incarnation=1, sequence=1, instance=number)
            listener.send(keys.seal(beat))
        added = [client.signal("PeerAdded").body for _ in range(wait_for(lambda: node.status()["peer_count"] or 0))]
        while len(added) < node.status()["peer_count"]:
            added.append(client.signal("PeerAdded").body)
        # 64 every quarter of a second.
        assert time.monotonic() - begin > (len(added) // 64 - 1) * 0.25
        assert len(added) > 128 and len({path for _, path in added}) == len(added)
        (objects,) = client.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        assert set(objects) == {path for _, path in added}
        assert len(client.manager("ListPeers")[0]) == len(added)


def test_changes_of_the_node_are_told_together(bus_node):
    node, client = bus_node
    client.watch(f"type='signal',sender='{NAME}',path='{ROOT}',member='PropertiesChanged'")
    begin = time.monotonic()
    node.submit_many(["true"] * 3000)
    node.wait_until_all_ended()
    client.signal("PropertiesChanged", matching=lambda message: message.body[1].get("Status") == "IDLE")
    assert len(client.signals) + 1 <= 4 * (time.monotonic() - begin) + 2


# Who may.


@needs_root
def test_others_see_state_and_times_only(bus_node, private_bus):
    node, client = bus_node
    options = {"env": variant("a{ss}", {"SECRET": "x"})}
    _, path = client.submit("echo secret-out; echo secret-err >&2 # secret-command", options)
    finished(client, path)
    with private_bus.connect(NOBODY) as other:
        job = other.get_all(path, JOB)
        assert job["Status"] == "JOB_COMPLETED" and job["FinishedAt"] > 0
        (page, _) = other.manager("ListJobs", "a{sv}", [{}])
        for seen in (job, page[0][1]):
            assert not {"Command", "Stdout", "Stderr", "EnvNames", "Submitter", "ErrorMessage", "Cwd"} & set(seen)
            assert "secret" not in repr(seen).lower()
        for name in ("Command", "Stdout"):
            fails(DENIED, other.get, path, JOB, name)
        fails(DENIED, other.call, path, JOB, "ReadOutput", "st", ["stdout", 0])
        fails(DENIED, other.submit, "true")
        _, running = client.submit("sleep 100")
        fails(DENIED, other.call, running, JOB, "Cancel")
        assert other.manager("ListPeers") == [[]]
        other.manager("Subscribe")
    assert len(node.jobs()) == 2


@needs_root
def test_log_control(bus_node, private_bus):
    node, client = bus_node
    path, interface = LOG_CONTROL
    assert client.get_all(path, interface) == {"LogLevel": "info", "LogTarget": "console", "SyslogIdentifier": "worker-mesh"}

    def put(by, name, value):
        return by.call(path, PROPERTIES, "Set", "ssv", [interface, name, value])

    put(client, "LogLevel", variant("s", "debug"))
    assert client.get(path, interface, "LogLevel") == "debug"
    node.run("true")
    assert "debug: Job" in node.log()
    fails("org.freedesktop.DBus.Error.InvalidArgs", put, client, "LogLevel", variant("s", "loud"))
    fails("org.freedesktop.DBus.Error.InvalidArgs", put, client, "LogLevel", integer(7))
    fails("org.freedesktop.DBus.Error.NotSupported", put, client, "LogTarget", variant("s", "journal"))
    put(client, "LogTarget", variant("s", "console"))
    with private_bus.connect(NOBODY) as other:
        assert other.get(path, interface, "LogLevel") == "debug"
        fails(DENIED, put, other, "LogLevel", variant("s", "err"))
    assert client.get(path, interface, "LogLevel") == "debug"


# The bus.


def test_no_bus_is_no_error(make_node):
    node = make_node().start()
    assert node.log().count("No D-Bus interface: there is no session bus.") == 1
    assert node.run("true")["exit_code"] == 0
    quiet = make_node(["--bus", "none"], {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}).start()
    assert "D-Bus" not in quiet.log() and " bus " not in quiet.log()
    other = make_node([], {"DBUS_SESSION_BUS_ADDRESS": "unixexec:path=/bin/true"}).start()
    assert "No D-Bus interface: the address of the bus is not a unix socket" in other.log()


def test_a_bus_that_comes_later(make_node, private_bus):
    private_bus.end()
    node = make_node([], {"DBUS_SESSION_BUS_ADDRESS": private_bus.address}).start()
    assert node.run("true")["exit_code"] == 0
    private_bus.start()
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME), what="the node has its name")


def test_system_bus_where_a_service_manager_started_it(make_node, private_bus, tmp_path):
    environment = {"DBUS_SYSTEM_BUS_ADDRESS": private_bus.address, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    make_node([], environment).start()
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME), what="the node has its name on the system bus")
    user = make_node([], {**environment, "MANAGERPID": "1"}).start()
    assert "there is no session bus" in user.log()
    forced = make_node(["--bus", "system"], {"DBUS_SYSTEM_BUS_ADDRESS": private_bus.address}).start()
    wait_for(lambda: "Another node has the name" in forced.log(), what="it waits for the name")


def test_the_bus_goes_away_and_comes_back(bus_node, private_bus):
    node, client = bus_node
    client.watch("type='signal'")
    client.manager("Subscribe")
    for _ in range(2):
        private_bus.end()
        job = node.run("echo alive")
        assert job["stdout"] == "alive\n"
        private_bus.start()
        with private_bus.connect() as again:
            wait_for(lambda: again.has_owner(NAME), 20, "the node has its name again")
            again.watch(f"type='signal',interface='{MANAGER}'")
            _, path = again.submit("true")
            finished(again, path)
            assert not [message for message in again.signals if message.member.startswith("Job")]
    assert node.log().count("The session bus has gone away") == 2


def test_another_node_takes_the_name_over(make_bus_node, private_bus):
    first, second = make_bus_node().start(), None
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME), what="the first has the name")
        second = make_bus_node().start()
        own = f"{NAME}.node_{second.node_id.removeprefix('node-')}"
        wait_for(lambda: client.has_owner(own), what="the second has a name of its own")
        assert client.get(ROOT, MANAGER, "NodeId") == first.node_id
        assert client.get(ROOT, MANAGER, "NodeId", destination=own) == second.node_id
        first.process.kill()
        wait_for(lambda: client.has_owner(NAME) and client.owner(NAME) == client.owner(own), what="the second takes over")
        assert client.get(ROOT, MANAGER, "NodeId") == second.node_id
        job_id, _ = client.submit("true")
        assert second.finish(job_id)["exit_code"] == 0


def test_a_node_that_stops_tells_of_its_last_jobs(make_bus_node, private_bus):
    node = make_bus_node(environment={"DRAIN_TIMEOUT": "1s"}, slots=2).start()
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(NAME), what="the node has its name")
        client.watch(f"type='signal',sender='{NAME}',interface='{MANAGER}'")
        client.manager("Subscribe")
        jobs = [client.submit("sleep 60", {"on_node_loss": bus.variant("s", "fail")})[0] for _ in range(2)]
        wait_for(lambda: node.status()["running"] == 2, what="both run")
        node.send(signal.SIGTERM)
        ended = {tuple(client.signal("JobRemoved").body[::2]) for _ in jobs}
        assert ended == {(job_id, "JOB_FAILED") for job_id in jobs}
        assert node.process.wait(10) == 0
