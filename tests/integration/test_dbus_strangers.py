# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the D-Bus face refuses, and what strangers cannot do to it: wrong and absurd calls, too many of them, and clients or
a bus that do not read."""

import os
import pwd
import signal
import time

import datagrams
import pytest
from bus import ERROR, JOB, MANAGER, NAME, PEER, PROPERTIES, ROOT, BusError, fails, finished, integer, job_path, variant
from harness import wait_for

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")

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
    ("priority", integer(1001), "priority is 1001; it must be -1000 to 1000"),
    ("retries", variant("t", 2**64 - 1), "it must be 0 to 100"),
    ("on_node_loss", variant("b", True), "on_node_loss must be a string, not a boolean"),
    ("requires", variant("s", "gpu"), "requires must be an array of strings (as), not a string"),
    ("requires", variant("as", ["gpu"] * 300), "requires has 300 labels; at most 16"),
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


def test_characters_that_stand_for_nothing(make_bus_node, private_bus):
    """sd-bus neither sends nor takes U+FFFE and its like, which JSON and peers may have: they hide nothing else."""
    node, text = make_bus_node(environment={"PEER_TIMEOUT": "20s"}).start(), "\ufffe\ufdd0\U0010ffff"
    with private_bus.connect() as client, datagrams.Listener(node.discovery_port) as listener:
        wait_for(lambda: client.has_owner(NAME), what="the node has its name")
        job_id = node.submit(f"true # {text}")
        node.finish(job_id)
        assert node.job(job_id)["command"] == f"true # {text}"
        ((path, properties),), _ = client.manager("ListJobs", "a{sv}", [{}])
        assert path == job_path(job_id) and properties["Command"] == "true # " + "\ufffd" * 3
        assert client.get(path, JOB, "Command") == properties["Command"]

        listener.send(datagrams.heartbeat("node-1", version=text, metadata={text: text}, incarnation=1, sequence=1))
        wait_for(lambda: node.status()["stranger_count"] == 1, what="it is listed")
        (objects,) = client.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        ((peer, interfaces),) = objects.items()
        assert interfaces[PEER]["Version"] == "\ufffd" * 3
        assert client.get(peer, PEER, "Metadata") == {"\ufffd" * 3: "\ufffd" * 3}

        assert "U+FFFE" in fails(ERROR + "Invalid", client.submit, f"true # {text}")
        assert "U+FFFE" in fails(ERROR + "Invalid", client.submit, "true", {"cwd": variant("s", f"/{text}")})
        assert len(node.jobs()) == 1


def test_a_variable_that_is_given_twice(bus_node):
    node, client = bus_node
    env = variant("a{ss}", [("A", "1"), ("B", "2"), ("A", "3")])
    assert fails(ERROR + "Invalid", client.submit, "true", {"env": env}) == "env sets A more than once"
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


@needs_root
def test_a_stop_does_not_wait_for_the_bus(make_bus_node, private_bus):
    node, client = make_bus_node(user=NOBODY).start(), private_bus.connect()
    wait_for(lambda: client.has_owner(NAME), what="the node has its name")
    client.watch(f"type='signal',sender='{NAME}'")
    client.manager("Subscribe")
    private_bus.process.send_signal(signal.SIGSTOP)
    try:
        rate(node, 3000)
        node.send(signal.SIGTERM)
        assert node.process.wait(10) == 0
    finally:
        private_bus.process.send_signal(signal.SIGCONT)
        client.close()
