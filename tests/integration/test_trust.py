# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who has a key of the mesh belongs to it, and nobody else: real nodes, TLS clients that others wrote, and datagrams
that were recorded, altered or made up."""

import contextlib
import os
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

import bus
import datagrams
import pytest
from harness import wait_for

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets take root")
PRIORITY = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"


def port_of(node):
    return int(node.options[node.options.index("--node-port") + 1])


def two(make_node, **more):
    first = make_node(**more).start()
    second = make_node(discovery_port=first.discovery_port, **more).start()
    wait_for(lambda: first.sees(second) and second.sees(first), 10)
    return first, second


def told(command):
    """What a client says who has nothing to say, and leaves."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


def test_tls_clients_that_others_wrote(mesh_node):
    port, keys = port_of(mesh_node), datagrams.Keys(mesh_node.key_file)
    name, key = f"{keys.mesh_id.hex()}/{keys.key_id.hex()}", keys.link.hex()
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")

    gnutls = ["gnutls-cli", "127.0.0.1", "-p", str(port), "--priority", PRIORITY]
    assert "Handshake was completed" in told([*gnutls, "--pskusername", name, "--pskkey", key])
    assert "Handshake was completed" not in told([*gnutls, "--pskusername", name, "--pskkey", wrong])
    assert "Handshake was completed" not in told([*gnutls, "--pskusername", name[:-1] + "x", "--pskkey", key])
    assert "Handshake was completed" not in told([*gnutls[:4], str(port), "--insecure"])

    openssl = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"]
    cipher = ["-ciphersuites", "TLS_AES_128_GCM_SHA256"]
    assert "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256" in told([*openssl, *cipher, "-psk_identity", name, "-psk", key])
    assert "Cipher is (NONE)" in told([*openssl, *cipher, "-psk_identity", name, "-psk", wrong])
    assert "alert unknown psk identity" in told(openssl)
    older = told([*openssl[:-1], "-tls1_2", "-cipher", "PSK", "-psk_identity", name, "-psk", key])
    assert "Cipher is (NONE)" in older and "alert" in older
    assert mesh_node.run("echo well")["stdout"] == "well\n"


def test_nodes_that_start_at_once_have_one_key(make_node):
    first = make_node().launch()
    nodes = [first] + [make_node(discovery_port=first.discovery_port).launch() for _ in range(3)]
    for node in nodes:
        wait_for(node.answers, 20)
        node.known_id = node.get("/health").json()["node_id"]
    wait_for(lambda: all(node.sees(*(set(nodes) - {node})) for node in nodes), 10)
    assert len({node.status()["mesh_id"] for node in nodes}) == 1
    assert sum(node.log().count("Made the key of a new mesh") for node in nodes) == 1
    assert stat.S_IMODE(os.stat(first.key_file).st_mode) == 0o600


def test_two_meshes_on_one_network(make_node, tmp_path):
    key_file = str(tmp_path / "another.key")
    first = make_node(slots=0).start()
    second = make_node(discovery_port=first.discovery_port).start()
    others = [make_node(discovery_port=first.discovery_port, key_file=key_file) for _ in range(2)]
    for node in others:
        node.start()
    for node in (first, second, *others):
        wait_for(lambda node=node: (node.status()["peer_count"], node.status()["stranger_count"]) == (1, 2), 10)
    assert first.status()["mesh_id"] == second.status()["mesh_id"] != others[0].status()["mesh_id"]
    refused = first.post("/jobs", {"command": "true", "target_node_id": others[0].node_id})
    assert (refused.status, refused.json()["code"]) == (422, "target_unknown")
    assert "does not belong to this mesh" in refused.json()["detail"]
    ids = first.submit_many(["echo $NODE_ID"] * 20)
    assert {first.finish(job_id)["stdout"].strip() for job_id in ids} == {second.node_id}
    listed = others[0].get("/jobs?scope=mesh").json()["jobs"]
    assert not listed, "nothing is known of the jobs of another mesh"
    for node in (first, second):
        assert {peer["trusted"] for peer in node.peers().values() if peer["node_id"] in
                {other.node_id for other in others}} == {False}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "is no key file: there is no id of a mesh in it."),
        ("0" * 32 + "\nabc\n", 0o600, "mesh.key:2: a key is 64 hexadecimal digits."),
        ("0" * 32 + "\n" + "1" * 64 + "\n", 0o644, "may be used by others (mode 0644)"),
    ],
)
def test_a_key_file_that_is_none(make_node, text, mode, said):
    node = make_node()
    with open(node.key_file, "w") as file:
        file.write(text)
    os.chmod(node.key_file, mode)
    node.launch()
    assert node.process.wait(10) == 6, "it is no better at the next start"
    assert said in node.log()
    with open(node.key_file) as file:
        assert file.read() == text


def test_a_credential(make_node, tmp_path):
    first = make_node().start()
    folder = tmp_path / "credentials"
    folder.mkdir()
    shutil.copy(first.key_file, folder / "mesh.key")
    os.chmod(folder / "mesh.key", 0o440)  # as the service manager leaves it
    environment = {"CREDENTIALS_DIRECTORY": str(folder), "KEY_FILE": ""}
    second = make_node(discovery_port=first.discovery_port, environment=environment).start()
    wait_for(lambda: first.sees(second) and first.peers()[second.node_id]["trusted"], 10)


def test_open_is_shouted_about(make_node):
    open_node = make_node(["--security", "open"]).start()
    closed = make_node(discovery_port=open_node.discovery_port).start()
    wait_for(lambda: closed.sees(open_node) and open_node.sees(closed), 10)
    status = open_node.status()
    assert (status["security"], status["mesh_id"], status["peer_count"]) == ("open", None, 0)
    assert "warning: Security=open: whoever reaches this node over the network can run commands" in open_node.log()
    assert closed.status()["security"] == "closed"
    peer = closed.peers()[open_node.node_id]
    assert (peer["trusted"], peer["metadata"]["security"]) == (False, "open")


def host_of(make_node, tmp_path, name, first=None, **more):
    """A node with a key of its own, as on another machine."""
    port = {"discovery_port": first.discovery_port} if first else {}
    return make_node(key_file=str(tmp_path / f"{name}.key"), **port, **more).start()


def test_invited(make_node, tmp_path):
    """The host that joins has two nodes, which share the key file."""
    first = host_of(make_node, tmp_path, "first", slots=0)
    second = host_of(make_node, tmp_path, "second", first)
    sibling = host_of(make_node, tmp_path, "second", first, slots=1)
    wait_for(lambda: second.sees(first, sibling), 10)
    mesh_id = first.status()["mesh_id"]
    invitation = first.post("/mesh/invite").json()
    assert (invitation["mesh_id"], invitation["node_id"]) == (mesh_id, first.node_id)
    token = invitation["token"]

    for wrong in ("", "wm1", token[:-1], token[:-1] + ("0" if token[-1] != "0" else "1"), token.replace("wm1", "wm2")):
        answer = second.post("/mesh/join", {"token": wrong})
        assert (answer.status, answer.json()["code"], answer.json()["field"]) == (400, "invalid", "token"), wrong
    answer = second.post("/mesh/join", {"token": token.upper()})
    assert answer.status == 200 and answer.json()["mesh_id"] == mesh_id
    assert second.post("/mesh/join", {"token": token}).status == 200, "it is in this mesh already"
    wait_for(lambda: sibling.status()["mesh_id"] == mesh_id, 5, "it reads the file again")
    wait_for(lambda: all(node.status()["peer_count"] == 2 for node in (first, second, sibling)), 10)
    assert "has used an invitation" in first.log()
    assert {first.run("true")["executor_node_id"] for _ in range(3)} <= {second.node_id, sibling.node_id}
    with open(tmp_path / "first.key") as one, open(tmp_path / "second.key") as other:
        assert one.read() == other.read()
    assert stat.S_IMODE(os.stat(tmp_path / "second.key").st_mode) == 0o600

    # It is good once; what is on the disk counts after a restart.
    third = host_of(make_node, tmp_path, "third", first)
    answer = third.post("/mesh/join", {"token": token})
    assert (answer.status, answer.json()["code"]) == (422, "invitation_unknown")
    second.restart()
    wait_for(lambda: second.peers().get(first.node_id, {}).get("trusted"), 10)

    # And out again.
    answer = sibling.post("/mesh/leave")
    assert answer.status == 200 and answer.json()["mesh_id"] not in (mesh_id, third.status()["mesh_id"])
    wait_for(lambda: first.status()["peer_count"] == 0 and second.status()["peer_count"] == 1, 15)


def test_invitations_that_are_not_good(make_node, tmp_path):
    first = host_of(make_node, tmp_path, "first")
    second = host_of(make_node, tmp_path, "second", first)

    def joins(token, peer=None):
        answer = second.post("/mesh/join", {"token": token, **({"peer": peer} if peer else {})})
        return answer.status, answer.json().get("code")

    token = first.post("/mesh/invite", {"expires_seconds": 1}).json()["token"]
    time.sleep(1.2)
    assert joins(token) == (422, "invitation_unknown")
    for seconds in (0, -1, 604801, 10**30):
        assert first.post("/mesh/invite", {"expires_seconds": seconds}).status == 400
    # It ends with the daemon that gave it out.
    token = first.post("/mesh/invite").json()["token"]
    first.restart()
    assert joins(token) == (422, "invitation_unknown")
    # Found where it is said to be, and not elsewhere.
    token = first.post("/mesh/invite").json()["token"]
    assert joins(token, "localhost") == (400, "invalid")
    assert joins(token, "127.0.0.1:1") == (503, "inviter_away")
    assert joins(token, f"127.0.0.1:{first.api_port}")[0] == 503, "something else is there"
    assert joins(token, f"127.0.0.1:{port_of(first)}") == (200, None)
    # So many are good at a time.
    answers = [first.post("/mesh/invite").status for _ in range(40)]
    assert answers == [200] * 32 + [409] * 8
    # Who guesses is not heard for a while, also with one that is good.
    third = host_of(make_node, tmp_path, "third", first)
    old = [third.post("/mesh/invite").json()["token"] for _ in range(10)]
    third.restart()
    good = third.post("/mesh/invite").json()["token"]
    wait_for(lambda: third.node_id in second.peers(), 10)
    assert {joins(token) for token in old} == {(422, "invitation_unknown")}
    assert joins(good) == (422, "invitation_unknown")
    open_node = make_node(["--security", "open"], discovery_port=first.discovery_port).start()
    assert open_node.post("/mesh/invite").json()["code"] == "conflict"
    assert open_node.post("/mesh/join", {"token": good}).json()["code"] == "conflict"
    assert open_node.post("/mesh/leave").json()["code"] == "conflict"


def test_two_nodes_of_a_host_change_their_keys_at_once(make_node, tmp_path):
    """They go on together, with what is in the file."""
    first = host_of(make_node, tmp_path, "first")
    second = host_of(make_node, tmp_path, "first", first)
    wait_for(lambda: first.sees(second) and second.sees(first), 10)
    for _ in range(8):
        asking = [threading.Thread(target=node.post, args=("/mesh/leave",)) for node in (first, second)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        with open(tmp_path / "first.key") as file:
            mesh_id = next(line for line in file if not line.startswith("#")).strip()
        wait_for(lambda mesh_id=mesh_id: {node.status()["mesh_id"] for node in (first, second)} == {mesh_id}, 5)
    wait_for(lambda: first.sees(second) and first.peers()[second.node_id]["trusted"], 10)


def test_the_inviter_is_heard_among_many_strangers(make_node, tmp_path):
    """There is no place for it in the list, and somebody uses its name."""
    first = host_of(make_node, tmp_path, "first")
    token = first.post("/mesh/invite").json()["token"]
    second = make_node(discovery_port=first.discovery_port, key_file=str(tmp_path / "second.key"))
    first.send(signal.SIGSTOP)
    second.start()
    with datagrams.Listener(first.discovery_port) as listener:
        for number in range(64):
            listener.send(datagrams.heartbeat(f"node-{number:016x}", node_port=9))
        wait_for(lambda: second.status()["stranger_count"] == 64)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(second.post("/mesh/join", {"token": token})))
        asking.start()
        listener.send(datagrams.heartbeat(first.node_id, node_port=9))
        first.send(signal.SIGCONT)
        asking.join()
    assert answers[0].status == 200, answers


def test_a_key_file_that_is_a_link(make_node, tmp_path):
    """What it leads to is replaced, and the link stays."""
    first = host_of(make_node, tmp_path, "real")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    second = host_of(make_node, tmp_path, "link", first)
    assert second.post("/mesh/leave").status == 200
    assert (tmp_path / "link.key").is_symlink()
    wait_for(lambda: first.status()["mesh_id"] == second.status()["mesh_id"], 5)


def test_invited_while_the_inviter_is_away(make_node, tmp_path):
    first = host_of(make_node, tmp_path, "first")
    second = host_of(make_node, tmp_path, "second", first)
    token = first.post("/mesh/invite").json()["token"]
    first.send(signal.SIGSTOP)
    wait_for(lambda: not second.peers(), 10)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(second.post("/mesh/join", {"token": token})))
    asking.start()
    # Another change has to wait. (No word at all changes nothing.)
    wait_for(lambda: second.post("/mesh/join", {"token": ""}).status == 409, 5)
    assert second.post("/mesh/leave").json()["code"] == "conflict" and not answers
    first.send(signal.SIGCONT)
    asking.join()
    assert answers[0].status == 200, answers
    assert answers[0].json()["mesh_id"] == first.status()["mesh_id"]


@ROOT_ONLY
def test_an_invitation_is_no_use_to_who_listens(make_node, tmp_path):
    first = host_of(make_node, tmp_path, "first")
    second = host_of(make_node, tmp_path, "second", first)
    wait_for(lambda: first.node_id in second.peers(), 10)
    with captured({port_of(first), port_of(second), first.discovery_port}) as packets:
        token = first.post("/mesh/invite").json()["token"]
        assert second.post("/mesh/join", {"token": token}).status == 200
        wait_for(lambda: second.status()["peer_count"] == 1, 10)
    wire = b"".join(packets)
    with open(tmp_path / "first.key") as file:
        keys = [line.strip() for line in file if not line.startswith("#")]
    assert len(wire) > 1000
    assert keys[1].encode() not in wire and bytes.fromhex(keys[1]) not in wire
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    bits = 0
    for letter in token[3:]:
        bits = bits << 5 | letters.index(letter)
    whole = bits.to_bytes(45, "big")
    assert whole[:16] in wire, "the id of the mesh is no secret, and is where this test thinks that it is"
    assert whole[24:40] not in wire


def test_invited_over_the_bus(make_bus_node, private_bus, tmp_path):
    first = make_bus_node(key_file=str(tmp_path / "first.key")).start()
    second = host_of(make_bus_node, tmp_path, "second", first)
    own = f"org.workermesh.Mesh1.node_{second.node_id.removeprefix('node-')}"
    with private_bus.connect() as client:
        wait_for(lambda: client.has_owner(own) and client.has_owner(bus.NAME))
        token, expires_at = client.manager("Invite", "t", [0])
        assert 590 < expires_at / 1e6 - time.time() <= 600
        with pytest.raises(bus.BusError) as caught:
            client.manager("Join", "ss", ["wm1", ""], destination=own)
        assert caught.value.name == "org.workermesh.Mesh1.Error.Invalid"
        client.manager("Join", "ss", [token, ""], destination=own)
        assert second.status()["mesh_id"] == first.status()["mesh_id"]
        with pytest.raises(bus.BusError) as caught:
            client.manager("Invite", "t", [10**9])
        assert caught.value.name == "org.workermesh.Mesh1.Error.Invalid"
        client.manager("Leave", destination=own)
        assert second.status()["mesh_id"] != first.status()["mesh_id"]


def record(node, seconds):
    """The broadcasts of this node, and of no other."""
    heard, end = [], time.monotonic() + seconds
    with datagrams.Listener(node.discovery_port) as listener:
        while time.monotonic() < end:
            data, _ = listener.receive()
            if datagrams.sender_of(data) == node.node_id:
                heard.append(data)
    return heard


def test_recordings_and_changes_of_them(make_node):
    first, second = two(make_node, slots=2)
    recording = record(second, 1.5)
    assert len(recording) > 3
    second.kill()
    wait_for(lambda: not first.peers(), 10)

    # First the very same; a receiver that has just started cannot know that it heard them before. No question is
    # answered: it is listed at most, and nothing is sent there.
    first.restart()
    with datagrams.Listener(first.discovery_port) as listener:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            for data in recording:
                listener.send(data)
            assert not any(peer["verified"] for peer in first.peers().values())
            time.sleep(0.1)
        # Each of their bytes is looked at.
        wait_for(lambda: not first.peers(), 10, "the last of them was heard")
        last = recording[-1]
        for position in range(0, len(last), 3):
            altered = bytearray(last)
            altered[position] ^= 0x40
            listener.send(bytes(altered))
        assert first.run("echo here")["stdout"] == "here\n"
        assert not any(peer["trusted"] for peer in first.peers().values())
    second.start()
    wait_for(lambda: first.sees(second) and first.peers()[second.node_id]["verified"], 10)


def test_keys_are_changed_while_jobs_run(make_node, tmp_path):
    """By hand, each node with a file of its own: the new one is added, then used, then the only one."""
    first = make_node(slots=1).start()
    shutil.copy(first.key_file, tmp_path / "second.key")
    second = make_node(discovery_port=first.discovery_port, slots=2, key_file=str(tmp_path / "second.key")).start()
    wait_for(lambda: first.sees(second) and second.sees(first), 10)
    with open(first.key_file) as file:
        mesh_id, old = [line.strip() for line in file if not line.startswith("#")]
    new = os.urandom(32).hex()

    def write(node, *keys):
        with open(node.key_file, "w") as file:
            file.write("\n".join([mesh_id, *keys]) + "\n")
        seen = node.log().count("Configuration reloaded")
        node.send(signal.SIGHUP)
        wait_for(lambda: node.log().count("Configuration reloaded") > seen)

    ids = []
    for keys in ((old, new), (new, old), (new,)):
        for node in (first, second):
            write(node, *keys)
            ids += first.submit_many(["sleep 0.1; echo $NODE_ID"] * 10)
            assert first.peers()[second.node_id]["trusted"] and second.peers()[first.node_id]["trusted"]
        # New links are made with it, too.
        second.restart()
        wait_for(lambda: first.sees(second) and second.sees(first), 10)
    ended = [first.finish(job_id) for job_id in ids]
    assert {job["status"] for job in ended} == {"JOB_COMPLETED"}
    assert {job["stdout"].strip() for job in ended} == {first.node_id, second.node_id}


def test_a_key_that_is_taken_away(make_node, tmp_path):
    """On one side only: the other is out at once, also over the link that was up, and stays out."""
    first = make_node(slots=0).start()
    shutil.copy(first.key_file, tmp_path / "second.key")
    second = make_node(discovery_port=first.discovery_port, key_file=str(tmp_path / "second.key")).start()
    wait_for(lambda: first.sees(second) and first.peers()[second.node_id]["trusted"], 10)
    assert first.run("true")["executor_node_id"] == second.node_id
    with open(first.key_file) as file:
        mesh_id = next(line for line in file if not line.startswith("#")).strip()
    with open(first.key_file, "w") as file:
        file.write(f"{mesh_id}\n{os.urandom(32).hex()}\n")
    first.send(signal.SIGHUP)
    wait_for(lambda: "count from now on" in first.log())
    waiting = first.submit("true")
    wait_for(lambda: not first.peers().get(second.node_id, {"trusted": False})["trusted"], 15)
    end = time.monotonic() + 5  # more than twice PeerTimeout
    while time.monotonic() < end:
        assert not first.peers().get(second.node_id, {"trusted": False})["trusted"]
        time.sleep(0.2)
    assert first.job(waiting)["status"] == "JOB_PENDING"


def test_a_stranger_in_the_name_of_who_was_here_is_not_asked(make_node):
    """A job is asked for that a node had which is gone."""
    first, second = two(make_node, slots=1)
    job = second.run("true")
    wait_for(lambda: first.get(f"/jobs/{job['job_id']}").status == 200, 10)
    second.kill()
    wait_for(lambda: not first.peers(), 10)
    with socket.create_server(("127.0.0.1", 0)) as trap, datagrams.Listener(first.discovery_port) as listener:
        beat = {"incarnation": 99, "sequence": 1, "node_port": trap.getsockname()[1]}
        listener.send(datagrams.heartbeat(second.node_id, **beat))
        wait_for(lambda: second.node_id in first.peers(), 5)
        for path in ("", "/stdout", "/cancel"):
            first.request("POST" if path == "/cancel" else "GET", f"/api/v1/jobs/{job['job_id']}{path}")
        trap.settimeout(1)
        with pytest.raises(TimeoutError):
            trap.accept()


@contextlib.contextmanager
def captured(ports):
    """All that goes to or comes from these ports of loopback, as bytes, when the block is left."""
    packets, stop = [], threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        wire.bind(("lo", 0))

        def read():
            while not stop.is_set() or select.select([wire], [], [], 0)[0]:
                if not select.select([wire], [], [], 0.1)[0]:
                    continue
                data = wire.recv(1 << 17)
                header = 14 + (data[14] & 15) * 4
                if data[23] in (6, 17) and set(struct.unpack_from(">HH", data, header)) & ports:
                    packets.append(data[header:])

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield packets
        finally:
            stop.set()
            reader.join()


@ROOT_ONLY
@pytest.mark.parametrize("security", ["closed", "open"])
def test_nothing_is_in_the_clear(make_node, security):
    """And where everything is, this test sees it."""
    first = make_node(["--security", security], slots=0).start()
    second = make_node(["--security", security], discovery_port=first.discovery_port, slots=2)
    words = {"command": "Kommandowort", "env": "Umgebungswort", "output": "tuptuo-wort", "stdin": "Eingabewort"}
    with captured({port_of(first), port_of(second), first.discovery_port}) as packets:
        second.start()
        wait_for(lambda: first.sees(second) and second.sees(first), 10)
        answer = first.post("/jobs?wait=20s", {
            "command": f"cat; echo {words['command']} >/dev/null; echo $WORD | wc -c; echo {words['output'][::-1]} | rev",
            "env": {"WORD": words["env"]}, "stdin": words["stdin"],
        })  # fmt: skip
        assert answer.status == 200 and answer.json()["status"] == "JOB_COMPLETED", answer
        job = answer.json()
        assert job["executor_node_id"] == second.node_id and words["output"] in job["stdout"]
        # Asked for from the other side, too.
        assert words["output"] in second.get(f"/jobs/{job['job_id']}/stdout").body.decode()
    wire = b"".join(packets)
    assert len(wire) > 1000 and first.node_id.encode() in wire, "heartbeats are seen"
    found = {name for name, word in words.items() if word.encode() in wire}
    assert found == (set(words) if security == "open" else set())
