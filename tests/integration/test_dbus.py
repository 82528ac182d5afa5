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
import harness
import pytest
from bus import ERROR, JOB, MANAGER, NAME, PEER, PROPERTIES, ROOT, BusError, integer, job_path, variant
from harness import wait_for

NOBODY = pwd.getpwnam("nobody").pw_uid
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
LOG_CONTROL = ("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1")
DOCUMENT = os.path.join(os.path.dirname(__file__), "..", "..", "dbus", "org.workermesh.Mesh1.xml")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


def finished(client, path):
    """The properties of a job that has ended."""
    final = {"JOB_COMPLETED", "JOB_FAILED", "JOB_TIMEOUT", "JOB_CANCELLED"}
    wait_for(lambda: client.get(path, JOB, "Status") in final, 30, f"{path} has ended")
    return client.get_all(path, JOB)


def fails(name, function, *arguments, **more):
    """The text of the error that the call must give."""
    with pytest.raises(BusError) as caught:
        function(*arguments, **more)
    assert caught.value.name == name, caught.value
    assert caught.value.text and "\n" not in caught.value.text
    return caught.value.text


# What it offers.


def test_names_and_properties(bus_node):
    node, client = bus_node
    own = f"{NAME}.node_{node.node_id.removeprefix('node-')}"
    wait_for(lambda: client.has_owner(own), what="its own name")
    assert client.owner(own) == client.owner(NAME)
    told, status = client.get_all(ROOT, MANAGER), node.status()
    assert told["NodeId"] == node.node_id and told["Status"] == "IDLE" and told["StatusReason"] == ""
    for name, key in (("Slots", "slots"), ("RunningJobs", "running"), ("QueuedJobs", "queued"),
                      ("PeerCount", "peer_count"), ("Version", "version"), ("Address", "address"),
                      ("Metadata", "metadata"), ("ExecutorConnected", "executor_connected")):  # fmt: skip
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
    assert found[0][1] == client.get_all(found[0][0], JOB)
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
    _, path = client.submit("echo secret-out; echo secret-err >&2 # secret-command", {"env": variant("a{ss}", {"SECRET": "x"})})
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


# What is wrong.

WRONG_OPTIONS = [
    ("timeout_seconds", variant("s", "5"), "timeout_seconds must be a whole number of seconds, such as 300, not a string"),
    ("timeout_seconds", variant("d", 1.5), "not a number with a fraction"),
    ("timeout_seconds", variant("b", True), "not a boolean"),
    ("timeout_seconds", variant("t", 2**64 - 1), "it must be 1 to 604800"),
    ("env", variant("s", "A=b"), "env must be a dictionary of strings (a{ss}), not a string"),
    ("env", variant("a{sv}", {"A": integer(1)}), "env must be a dictionary of strings"),
    ("env", variant("a{ss}", {f"A{number}": "" for number in range(257)}), "env has 257 entries; at most 256"),
    ("cwd", integer(1), "cwd must be a string, not a number"),
    ("stdin", variant("as", ["a"]), "stdin must be a string or bytes (ay), not an array of strings"),
    ("stdin", variant("ay", bytes((1 << 20) + 1)), "stdin is 1048577 bytes long; at most 1048576"),
    ("best_effort", variant("s", "yes"), "best_effort must be true or false, not a string"),
    ("memory_max", variant("s", "1G"), "memory_max must be a whole number, not a string"),
    ("target_node_id", variant("as", []), "target_node_id must be a string, not an array of strings"),
    ("idempotency_key", variant("s", ""), "Idempotency-Key must be 1 to 255 printable ASCII characters"),
    ("timeout_seconds", variant("(ii(aav))", (1, 2, ([[integer(1)]],))), "not another type"),
]


@pytest.mark.parametrize("key,value,text", WRONG_OPTIONS)
def test_a_wrong_option_is_named(bus_node, key, value, text):
    node, client = bus_node
    told = fails(ERROR + "Invalid", client.submit, "true", {key: value})
    assert text in told and (key in told or key == "idempotency_key")
    assert node.jobs() == []


def test_unknown_and_repeated_options(bus_node):
    _, client = bus_node
    text = fails(ERROR + "UnknownField", client.submit, "true", {"tiemout": integer(5)})
    assert 'unknown option "tiemout"' in text and "timeout_seconds" in text and "idempotency_key" in text
    text = fails(ERROR + "UnknownField", client.submit, "true", {"ü" * 500 + "\n": integer(5)})
    assert len(text) < 330 and "..." in text
    twice = [("cwd", variant("s", "/")), ("cwd", variant("s", "/tmp"))]
    assert fails(ERROR + "Invalid", client.submit, "true", twice) == '"cwd" is given more than once'
    text = fails(ERROR + "UnknownField", client.manager, "SubmitJobs", "a(sa{sv})a{sv}",
                 [[("true", {}), ("true", {"idempotency_key": variant("s", "a")})], {}])  # fmt: skip
    assert text.startswith("job 1: ")
    fails(ERROR + "UnknownField", client.manager, "ListJobs", "a{sv}", [{"before": integer(1)}])
    for value in (integer(0), integer(1001), integer(-1)):
        fails(ERROR + "BadParameter", client.manager, "ListJobs", "a{sv}", [{"limit": value}])
    fails(ERROR + "BadParameter", client.manager, "ListJobs", "a{sv}", [{"status": variant("s", "DONE")}])
    fails(ERROR + "BadParameter", client.manager, "ListJobs", "a{sv}", [{"cursor": variant("s", "c1")}])


def test_wrong_ids_objects_and_signatures(bus_node):
    _, client = bus_node
    nobody = "00000000-0000-4000-8000-000000000000"
    for text in (nobody, "", "1", nobody.replace("-", ""), "x" * 100000):
        for member in ("GetJob", "CancelJob"):
            fails(ERROR + "NotFound", client.manager, member, "s", [text])
    fails(ERROR + "NotFound", client.get_all, job_path(nobody), JOB)
    fails(ERROR + "NotFound", client.get, job_path(nobody), JOB, "Status")
    unknown = "org.freedesktop.DBus.Error.Unknown"
    for path in (f"{ROOT}/job/1", f"{ROOT}/job/{'A' * 32}", f"{ROOT}/job/{'0' * 31}/0", f"{ROOT}/job"):
        fails(unknown + "Object", client.get_all, path, JOB)
    fails(unknown + "Object", client.get, f"{ROOT}/peer/nobody", PEER, "NodeId")
    _, path = client.submit("true")
    fails(unknown + "Property", client.get, path, JOB, "Colour")
    fails(unknown + "Interface", client.get_all, path, PEER)
    fails(unknown + "Method", client.call, path, JOB, "Explode")
    fails("org.freedesktop.DBus.Error.InvalidArgs", client.manager, "SubmitJob", "s", ["true"])
    fails("org.freedesktop.DBus.Error.InvalidArgs", client.call, path, PROPERTIES, "Get", "s", [JOB])
    with pytest.raises(BusError):
        client.call(path, PROPERTIES, "Set", "ssv", [JOB, "Command", variant("s", "false")])
    fails(ERROR + "NotSubscribed", client.manager, "Unsubscribe")


def test_too_many_and_too_large(bus_node):
    node, client = bus_node
    call = ("SubmitJobs", "a(sa{sv})a{sv}")
    text = fails(ERROR + "BodyTooLarge", client.manager, *call, [[("true", {})] * 10001, {}])
    assert text == "more than 10000 jobs; send the rest in another request"
    text = fails(ERROR + "Invalid", client.manager, *call, [[], {}])
    assert text == "the request has 0 jobs; 1 to 10000 are allowed"
    big = {"stdin": variant("ay", bytes(1 << 20))}
    text = fails(ERROR + "BodyTooLarge", client.manager, *call, [[("true", big)] * 33, {}])
    assert "longer than 32 MiB" in text
    fails(ERROR + "BodyTooLarge", client.submit, "x" * (33 << 20), timeout=120)
    assert "command is 65537 bytes long" in fails(ERROR + "Invalid", client.submit, "x" * 65537)
    assert node.jobs() == []
    (jobs,) = client.manager(*call, [[("true", {})] * 10000, {}])
    assert len(jobs) == 10000
    node.wait_until_all_ended()


def test_calls_of_one_client_are_bounded(bus_node, private_bus):
    """A client whose calls are not answered yet, since nobody reads his, hurts himself only."""
    node, client = bus_node
    with private_bus.connect() as greedy:
        options = {"stdin": variant("ay", bytes(1 << 20))}
        serials = [greedy.start(ROOT, MANAGER, "SubmitJob", "sa{sv}", ["cat | wc -c", options]) for _ in range(600)]
        outcomes = []
        for serial in serials:
            try:
                outcomes.append(greedy.finish(serial)[0])
            except BusError as error:
                assert error.name == ERROR + "TooManyCalls", error
                outcomes.append(None)
        accepted = [job_id for job_id in outcomes if job_id]
    assert accepted
    assert client.submit("true")
    node.wait_until_all_ended()
    assert len(node.jobs()) == len(accepted) + 1


def test_subscribers_are_bounded_and_forgotten(bus_node, private_bus):
    _, client = bus_node
    clients = [private_bus.connect() for _ in range(257)]
    for other in clients[:256]:
        other.manager("Subscribe")
        other.manager("Subscribe")
    fails(ERROR + "TooManySubscribers", clients[256].manager, "Subscribe")
    clients[0].close()

    def room():
        try:
            clients[256].manager("Subscribe")
        except BusError:
            return False
        return True

    wait_for(room, what="one that has left makes room")
    clients[256].manager("Unsubscribe")
    for other in clients[1:]:
        other.close()
    client.watch(f"type='signal',interface='{MANAGER}'")

    def nobody_is_told():
        client.signals.clear()
        _, path = client.submit("true")
        finished(client, path)
        return not [message for message in client.signals if message.interface == MANAGER]

    wait_for(nobody_is_told, what="all are forgotten")


# What nobody reads.


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def rate(node, n):
    begin = time.monotonic()
    for start in range(0, n, 10000):
        node.submit_many(["true"] * min(n - start, 10000))
    node.wait_until_all_ended(120)
    return n / (time.monotonic() - begin)


def test_a_subscriber_that_never_reads(bus_node, private_bus):
    """Costs the daemon neither memory nor, beyond what the bus itself takes of the machine, time."""
    node, client = bus_node
    n = 10000 if not node.is_sanitized() else 2000
    rate(node, 2000)
    before, plain = resident(node.pid), rate(node, n)
    deaf = private_bus.connect()
    deaf.watch(f"type='signal',sender='{NAME}'")
    deaf.manager("Subscribe")
    told = rate(node, n), rate(node, n)
    after = resident(node.pid)
    print(f"jobs/s: {plain:.0f} without, {told[0]:.0f} and {told[1]:.0f} with one that does not read; "
          f"{(after - before) >> 10} KiB more")  # fmt: skip
    if not node.is_sanitized():
        assert after - before < 32 << 20
        assert max(told) > plain * 0.5
    assert client.submit("true")
    deaf.close()


@needs_root
def test_a_bus_that_does_not_read(make_bus_node, private_bus):
    """Stopped, as on a machine that swaps: the daemon goes on, and says what it left out."""
    node, client, n = make_bus_node(user=NOBODY).start(), private_bus.connect(), 20000
    wait_for(lambda: client.has_owner(NAME), what="the node has its name")
    client.watch(f"type='signal',sender='{NAME}',interface='{MANAGER}'")
    client.manager("Subscribe")
    before = resident(node.pid)
    private_bus.process.send_signal(signal.SIGSTOP)
    rate(node, n)
    after = resident(node.pid)
    private_bus.process.send_signal(signal.SIGCONT)

    lost = client.signal("JobSignalsLost", 60).body[0]
    told = [message for message in client.signals if message.member in ("JobNew", "JobRemoved")]
    assert lost > 0 and lost + len(told) == 2 * n
    assert f"{lost} job signals were left out" in node.log()
    _, path = client.submit("true")
    client.signal("JobRemoved", matching=lambda message: message.body[1] == path)
    client.close()
    if not node.is_sanitized():
        assert after - before < 48 << 20
