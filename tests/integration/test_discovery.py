# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nodes of one machine find each other over loopback, and are not misled by what else arrives there."""

import os
import random
import shutil
import signal
import time

import datagrams
import harness
import pytest
from datagrams import Listener
from harness import free_port, wait_for


def test_peers_are_verified(make_mesh):
    """Each has answered a fresh question of the other: what is listed is no recording."""
    nodes = make_mesh(3)
    for node in nodes:
        wait_for(lambda: all(peer["verified"] for peer in node.peers().values()), 5)


def test_three_nodes(make_mesh):
    nodes = make_mesh(3)
    for node in nodes:
        answer = node.get("/peers").json()
        assert answer["count"] == 2
        for peer in answer["peers"]:
            assert {"node_id", "address", "status", "last_heartbeat", "version", "metadata"} <= set(peer)
            assert peer["address"].startswith("127.0.0.1:")
            assert peer["status"] == "IDLE"
            assert harness.TIME.fullmatch(peer["last_heartbeat"])
        assert node.status()["peer_count"] == 2
        for other in nodes:
            if other is not node:
                assert node.peers()[other.node_id]["address"] == other.status()["address"]


def test_a_new_node_is_answered_at_once(make_node):
    """Not with the next heartbeat, which is a minute away."""
    slow = {"HEARTBEAT_INTERVAL": "1min", "PEER_TIMEOUT": "5min"}
    port = free_port()
    first = make_node(discovery_port=port, environment=slow).start()
    second = make_node(discovery_port=port, environment=slow).start()
    wait_for(lambda: first.sees(second) and second.sees(first), 2)


def test_default_node_ports(make_node):
    """Without --node-port each takes the next free one."""
    port = free_port()
    nodes = [make_node(discovery_port=port, node_port=None).start() for _ in range(3)]
    wait_for(lambda: all(node.status()["peer_count"] == 2 for node in nodes))
    numbers = {int(node.status()["address"].rpartition(":")[2]) for node in nodes}
    assert len(numbers) == 3 and all(8081 <= number <= 8180 for number in numbers)


def test_different_discovery_ports_are_different_meshes(make_node):
    nodes = [make_node().start(), make_node().start()]
    with Listener(nodes[0].discovery_port) as listener:
        senders = {datagrams.sender_of(listener.receive()[0]) for _ in range(5)}
    assert senders == {nodes[0].node_id}
    assert all(node.peers() == {} for node in nodes)


def test_goodbye(make_node):
    """Removed at once, long before the timeout."""
    patient = {"PEER_TIMEOUT": "10min"}
    port = free_port()
    first = make_node(discovery_port=port, environment=patient).start()
    second = make_node(discovery_port=port, environment=patient).start()
    wait_for(lambda: first.sees(second))
    assert second.stop() == 0
    wait_for(lambda: not first.peers(), 2)


def test_removal_on_silence(make_mesh):
    nodes = make_mesh(3)
    nodes[1].kill()
    nodes[2].send(signal.SIGSTOP)
    begin = time.monotonic()
    wait_for(lambda: not nodes[0].peers(), 10)
    assert time.monotonic() - begin > 1
    nodes[2].send(signal.SIGCONT)
    wait_for(lambda: nodes[0].sees(nodes[2]), 5, "the paused one is back")
    wait_for(lambda: nodes[2].sees(nodes[0]), 5, "and sees us")
    nodes[1].start()
    wait_for(lambda: nodes[0].sees(nodes[1], nodes[2]), 5, "the killed one is back")


def test_labels_and_pressure_of_peers(make_node):
    port = free_port()
    first = make_node(["--label", "gpu=a100", "--label=fast"], discovery_port=port).start()
    second = make_node(discovery_port=port, environment={"LABELS": "os=other"}).start()
    wait_for(lambda: first.sees(second) and second.sees(first))

    def told(node, other):
        return node.peers()[other.node_id]

    for node, other in ((first, second), (second, first)):
        wait_for(lambda: told(node, other)["labels"] == other.status()["labels"], what="labels")
        shown = told(node, other)["pressure"]
        assert (shown is None) == (not os.path.exists("/proc/pressure/cpu"))
        assert shown is None or all(0 <= shown[name] <= 100 for name in ("cpu", "memory", "io"))
    assert {"gpu": "a100", "fast": ""}.items() <= told(second, first)["labels"].items()
    assert told(first, second)["labels"]["os"] == "other"
    assert {"slots", "running", "queued"} <= told(first, second).keys()


def test_changed_labels_are_told_at_once(make_node, tmp_path):
    path = tmp_path / "labels.conf"
    path.write_text("[Mesh]\nLabels=gpu=a100\n")
    port = free_port()
    slow = {"HEARTBEAT_INTERVAL": "1min", "PEER_TIMEOUT": "5min"}
    first, second = (make_node(["--config", path], discovery_port=port, environment=slow).start() for _ in range(2))
    wait_for(lambda: second.sees(first), 5)
    path.write_text("[Mesh]\nLabels=gpu=h100\n")
    first.send(signal.SIGHUP)
    wait_for(lambda: second.peers()[first.node_id]["labels"].get("gpu") == "h100", 5, "not with the next heartbeat")
    assert second.status()["labels"]["gpu"] == "a100"


def test_labels_of_strangers(mesh_node):
    with datagrams.Listener(mesh_node.discovery_port) as listener:
        info = datagrams.node_info("node-x")
        for key, value in (("good", "yes"), ("bad key", "x"), ("bad", "a b"), ("long", "x" * 64)):
            info += datagrams.field(15, datagrams.field(1, key) + datagrams.field(2, value))
        info += datagrams.field(16, datagrams.field(1, 5000) + datagrams.field(2, 15))
        listener.send(datagrams.message(datagrams.HEARTBEAT, "node-x", info))
        peer = wait_for(lambda: mesh_node.peers().get("node-x"))
    assert peer["labels"] == {"good": "yes"}
    assert peer["pressure"] == {"cpu": 100.0, "memory": 1.5, "io": 0.0}


def test_a_node_that_hangs_is_told_of(make_mesh):
    """Long before it is off the list."""
    first, second = make_mesh(2, environment={"HEARTBEAT_INTERVAL": "500ms", "PEER_TIMEOUT": "10min"})
    wait_for(lambda: first.peers()[second.node_id]["verified"])
    second.send(signal.SIGSTOP)
    line = f"Peer {second.node_id} at {first.peers()[second.node_id]['address']} does not answer"
    wait_for(lambda: line in first.log(), 20, "it is lost, and the log says so")
    assert first.sees(second)
    second.send(signal.SIGCONT)
    time_before = first.peers()[second.node_id]["last_heartbeat"]
    wait_for(lambda: first.peers()[second.node_id]["last_heartbeat"] > time_before, 10, "it is heard again")
    assert "does not answer" not in second.log(), "who was paused itself judges nobody"
    assert first.log().count("does not answer") == 1


def test_load_is_shown_within_a_heartbeat(make_mesh, tmp_path):
    first, second = make_mesh(2, slots=2, environment={"HEARTBEAT_INTERVAL": "1s"})
    # The other one would take some.
    here = {"target_node_id": first.node_id}
    jobs = [first.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done", **here) for _ in range(5)]

    def seen():
        return second.peers()[first.node_id]

    wait_for(lambda: (seen()["running"], seen()["queued"]) == (2, 3), 2.5)
    assert seen()["status"] == "BUSY" and seen()["slots"] == 2
    (tmp_path / "go").touch()
    for job in jobs:
        first.finish(job)
    wait_for(lambda: (seen()["running"], seen()["queued"], seen()["status"]) == (0, 0, "IDLE"), 2.5)


def test_draining_is_shown(make_mesh, tmp_path):
    first, second = make_mesh(2, environment={"DRAIN_TIMEOUT": "20s"})
    first.submit(f"while ! [ -e {tmp_path}/go ]; do sleep 0.05; done")
    wait_for(lambda: first.status()["running"] == 1)
    first.send(signal.SIGTERM)
    wait_for(lambda: second.peers()[first.node_id]["status"] == "DRAINING", 3)
    (tmp_path / "go").touch()
    wait_for(lambda: not second.peers(), 5, "goodbye")


def test_peers_are_in_the_database(make_mesh):
    first, second = make_mesh(2)
    wait_for(lambda: second.node_id in str(rows(first, "SELECT node_id FROM worker_nodes")), 10)


def rows(node, query):
    import sqlite3

    with sqlite3.connect(f"file:{node.database}?mode=ro", uri=True) as database:
        return database.execute(query).fetchall()


# Two nodes with one identity.


def test_a_second_node_with_the_same_identity(make_node):
    port = free_port()
    first = make_node(discovery_port=port)
    first.start()
    identity = first.node_id
    first.stop()
    second = make_node(discovery_port=port)
    # Without the socket of the executor, which may be about to go.
    shutil.copytree(first.state_dir, second.state_dir, ignore=shutil.ignore_patterns("*.sock"))
    first.start()
    second.start()
    assert second.node_id == identity, "the same machine: it cannot know yet"
    wait_for(lambda: second.status()["status"] == "FAILED", 10, "the later one gives way")
    answer = second.post("/jobs", {"command": "true"})
    assert (answer.status, answer.json()["code"]) == (503, "duplicate_node")
    wait_for(lambda: identity in second.log() or "id" in second.log(), 5)
    assert first.run("echo elder")["stdout"] == "elder\n"
    assert first.status()["status"] in ("IDLE", "BUSY")
    # The other one leaves: this one may work.
    first.stop()
    wait_for(lambda: second.status()["status"] == "IDLE", 10)
    assert second.run("echo heir")["stdout"] == "heir\n"


# What else arrives on the port.


def test_the_heartbeat_of_the_first_implementation(mesh_node):
    with Listener(mesh_node.discovery_port) as listener:
        listener.send(datagrams.heartbeat("worker-old_1.example", version="0.9", metadata={"hostname": "old"}))
        wait_for(lambda: "worker-old_1.example" in mesh_node.peers())
        peer = mesh_node.peers()["worker-old_1.example"]
        assert (peer["status"], peer["version"], peer["metadata"]) == ("IDLE", "0.9", {"hostname": "old"})
        assert peer["verified"] is False, "it cannot be asked"
        wait_for(lambda: not mesh_node.peers(), 10, "removed when it falls silent")


def test_our_heartbeat_is_one_that_it_understands(mesh_node):
    with Listener(mesh_node.discovery_port) as listener:
        while True:
            data, address = listener.receive()
            fields = dict(datagrams.fields_of(data))
            if fields[1] == datagrams.HEARTBEAT:
                break
    assert len(data) <= 1200
    assert fields[6].decode() == mesh_node.node_id
    info = dict(datagrams.fields_of(fields[2]))
    assert info[1].decode() == mesh_node.node_id
    assert info[3] == 1 and info[6]
    assert dict(datagrams.fields_of(info[4]))[1] > 1600000000
    assert address[1] == int(mesh_node.status()["address"].rpartition(":")[2]), "sent from the node port"


def test_garbage(mesh_node):
    generator = random.Random(1)
    good = datagrams.heartbeat("node-00000000000000aa", incarnation=1, sequence=1, instance=7)
    with Listener(mesh_node.discovery_port) as listener:
        for size in (0, 1, 2, 7, 100, 1200, 1201, 5000, 65507):
            listener.send(generator.randbytes(size))
        for _ in range(3000):
            damaged = bytearray(good)
            for _ in range(generator.randrange(1, 6)):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            listener.send(bytes(damaged[: generator.randrange(len(damaged) + 1)]))
        listener.send(good + datagrams.field(13, b"x" * 2000))
        listener.send(datagrams.heartbeat("", incarnation=1))
        listener.send(datagrams.heartbeat("a" * 64))
        listener.send(datagrams.heartbeat("bad/id\n"))
        listener.send(datagrams.heartbeat("node-x", status=77))
        listener.send(datagrams.message(datagrams.HEARTBEAT, "node-other", datagrams.node_info("node-mismatch")))
        listener.send(datagrams.message(3, mesh_node.node_id))
    assert mesh_node.run("echo alive")["stdout"] == "alive\n"
    for name in mesh_node.peers():
        assert name and len(name) <= 63 and "/" not in name and "\n" not in name
    assert len(mesh_node.log().splitlines()) < 200, "garbage does not fill the log"


def test_repeated_and_old_datagrams(mesh_node):
    keys = datagrams.Keys(mesh_node.key_file)

    def beat(**more):
        return keys.seal(datagrams.heartbeat("node-00000000000000aa", instance=7, node_port=9, **more))

    def seen():
        return mesh_node.peers().get("node-00000000000000aa", {}).get("running")

    with Listener(mesh_node.discovery_port) as listener:
        listener.send(beat(incarnation=5, sequence=10, running=1))
        wait_for(lambda: seen() == 1)
        listener.send(beat(incarnation=5, sequence=9, running=2))
        listener.send(beat(incarnation=5, sequence=10, running=3))
        listener.send(beat(incarnation=4, sequence=99, running=4))
        goodbye = datagrams.message(
            datagrams.GOODBYE, "node-00000000000000aa", incarnation=4, sequence=100, instance=7
        )
        listener.send(keys.seal(goodbye))
        listener.send(beat(incarnation=5, sequence=11, running=5))
        wait_for(lambda: seen() == 5)
        # A recording does not keep a dead one alive.
        recording = beat(incarnation=5, sequence=11, running=5)
        end = time.monotonic() + 8
        while mesh_node.peers() and time.monotonic() < end:
            listener.send(recording)
            time.sleep(0.1)
        assert not mesh_node.peers()


def test_absurd_timestamps_are_accepted_and_not_believed(mesh_node):
    moments = [0, 1, 253402300799, 253402300800, 2**62, -1, -(2**63), 2**63 - 1]
    with Listener(mesh_node.discovery_port) as listener:
        for number, moment in enumerate(moments):
            listener.send(datagrams.heartbeat(f"node-{number:016x}", at=moment))
        wait_for(lambda: len(mesh_node.peers()) >= 4, 2)
        for peer in mesh_node.peers().values():
            assert harness.TIME.fullmatch(peer["last_heartbeat"]), peer
        wait_for(lambda: not mesh_node.peers(), 10, "judged by our clock")
    assert mesh_node.run("true")["status"] == "JOB_COMPLETED"


def test_ten_thousand_invented_members(make_mesh):
    """By somebody who has the key."""
    first, second = make_mesh(2, environment={"PEERS_MAX": "100"})
    wait_for(lambda: first.peers()[second.node_id]["verified"], 5, "it has answered a question")
    keys = datagrams.Keys(first.key_file)
    with Listener(first.discovery_port) as listener:
        for number in range(10000):
            beat = datagrams.heartbeat(f"node-{number:016x}", incarnation=1, sequence=1, node_port=9)
            listener.send(keys.seal(beat))
            if number % 100 == 0:
                # Not faster than they are read, or the kernel drops them.
                assert first.status()["peer_count"] <= 100
    assert second.node_id in first.peers(), "a real one is not pushed out by inventions"
    assert first.run("echo alive")["stdout"] == "alive\n"
    assert first.log().count("\n") < 1000, "nor does anybody fill the log"
    wait_for(lambda: first.sees(second), 10, "the inventions fall silent")


def test_ten_thousand_invented_strangers(make_mesh):
    """They have no key: a few are listed, nothing is believed, and nobody is asked or answered."""
    first, second = make_mesh(2)
    wait_for(lambda: first.peers()[second.node_id]["verified"], 5, "it has answered a question")
    with Listener(first.discovery_port) as listener, Listener(free_port()) as asked:
        for number in range(10000):
            more = {"incarnation": 1, "sequence": 1, "node_port": asked.port, "nonce": bytes(16)}
            listener.send(datagrams.padded(1200, datagrams.HEARTBEAT, f"node-{number:016x}",
                          datagrams.node_info(f"node-{number:016x}", **more), **more))  # fmt: skip
            if number % 100 == 0:
                assert first.status()["stranger_count"] <= 64
        # In the name of a member that is there, too.
        listener.send(datagrams.heartbeat(second.node_id, incarnation=2**50, sequence=1, running=77))
        listener.send(datagrams.message(datagrams.GOODBYE, second.node_id, incarnation=2**50, sequence=2))
        assert first.run("echo alive")["stdout"] == "alive\n"
        status, peers = first.status(), first.peers()
        assert (status["peer_count"], status["stranger_count"]) == (1, 64)
        assert peers[second.node_id]["trusted"] and peers[second.node_id]["running"] == 0
        assert [peer["trusted"] or peer["verified"] for peer in peers.values()].count(False) == 64
        asked.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            asked.receive()
    assert first.log().count("\n") < 400, "nor does anybody fill the log"
    wait_for(lambda: first.status()["stranger_count"] == 0, 30, "they fall silent")
    assert first.sees(second)


def test_answers_are_never_larger_than_the_question(mesh_node):
    keys = datagrams.Keys(mesh_node.key_file)
    port = int(mesh_node.status()["address"].rpartition(":")[2])
    nonce = bytes(range(16))
    with Listener(free_port()) as stranger:
        own = stranger.port
        for kind in (datagrams.PROBE, datagrams.HEARTBEAT):
            for size in (0, 50, 200, 500, 1000):
                info = datagrams.node_info("node-00000000000000bb", node_port=own)
                question = datagrams.message(
                    kind, "node-00000000000000bb", info, incarnation=size + 1, sequence=1, nonce=nonce,
                    padding=b"x" * size,
                )  # fmt: skip
                question = keys.seal(question)
                stranger.send(question, ("127.0.0.1", port))
                stranger.socket.settimeout(0.3)
                try:
                    answer, _ = stranger.receive()
                    assert len(answer) <= len(question)
                except TimeoutError:
                    pass


@pytest.mark.parametrize("size", [192, 400, 1200])
def test_a_probe_is_answered_with_its_nonce(mesh_node, size):
    port = int(mesh_node.status()["address"].rpartition(":")[2])
    nonce = bytes(range(16))
    keys = datagrams.Keys(mesh_node.key_file)
    with Listener(free_port()) as prober:
        own = {"node_port": prober.port, "incarnation": 1, "instance": 3}
        beat = keys.seal(datagrams.heartbeat("node-00000000000000cc", sequence=1, **own))
        prober.send(beat, ("127.0.0.1", mesh_node.discovery_port))
        wait_for(lambda: "node-00000000000000cc" in mesh_node.peers())
        more = {"incarnation": 1, "sequence": 2, "instance": 3, "nonce": nonce}
        question = datagrams.padded(size - keys.SEAL_SIZE, datagrams.PROBE, "node-00000000000000cc", **more)
        question = keys.seal(question)
        assert len(question) == size
        prober.send(question, ("127.0.0.1", port))
        fields = {}
        while fields.get(11) != nonce:
            answer, _ = prober.receive()
            fields = dict(datagrams.fields_of(answer))
        assert len(answer) <= size
        assert fields[6].decode() == mesh_node.node_id
