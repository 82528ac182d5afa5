# SPDX-License-Identifier: LGPL-2.1-or-later
"""Permission by polkit, which is played by the test: it grants, refuses, asks for a dialog, says nothing, or is not
there."""

import os
import pwd
import threading
import time

import bus
import pytest
from bus import DENIED, ERROR, JOB, NAME, BusError, job_path
from harness import wait_for

NOBODY, DAEMON = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid
REFUSAL = "only root, the user that runs the node, and members of group worker-mesh may do this"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


class Polkit:
    """Answers on a connection of its own, in a thread: granted, challenge, or None for no answer."""

    def __init__(self, private_bus):
        self.client = private_bus.connect()
        assert self.client.call_bus("RequestName", "su", ["org.freedesktop.PolicyKit1", 0]) == [1]
        self.answers = {}
        self.asked, self.called_off = [], []
        self.ended = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            if not self.client.receive(time.monotonic() + 0.05) or not self.client.calls:
                continue
            message = self.client.calls.pop(0)
            if message.member == "CancelCheckAuthorization":
                self.called_off.append(message.body[0])
                continue
            (kind, details), action, _, flags, cancellation = message.body
            self.asked.append((kind, details["name"], action, flags, cancellation))
            answer = self.answers.get(action)
            if answer is not None:
                fields = {5: ("u", message.serial), 6: ("s", message.sender)}
                self.client.send(bus.RETURN, fields, "(bba{ss})", [(*answer, {})])

    def end(self):
        self.ended = True
        self.thread.join()
        self.client.close()


@pytest.fixture
def polkit(private_bus):
    own = Polkit(private_bus)
    yield own
    own.end()


@pytest.fixture
def nobody(private_bus):
    with private_bus.connect(NOBODY) as client:
        yield client


def refused(name, function, *arguments, **more):
    with pytest.raises(BusError) as caught:
        function(*arguments, **more)
    assert (caught.value.name, caught.value.text) == (name, REFUSAL)


SUBMIT, OWN, ANY, MANAGE, PEERS = (
    f"org.workermesh.mesh1.{name}"
    for name in ("submit-job", "cancel-own-job", "cancel-any-job", "manage-node", "manage-peers")
)


def test_absent(bus_node, nobody):
    node, _ = bus_node
    refused(DENIED, nobody.submit, "true")
    job_id = node.submit("sleep 100")
    refused(DENIED, nobody.manager, "CancelJob", "s", [job_id])
    refused(DENIED, nobody.manager, "CancelJob", "s", ["00000000-0000-4000-8000-000000000000"])


def test_grants(bus_node, polkit, nobody):
    node, _ = bus_node
    polkit.answers[SUBMIT] = (True, False)
    job_id, path = nobody.submit("id -u >&2; sleep 100")
    assert polkit.asked == [("system-bus-name", nobody.name, SUBMIT, 0, polkit.asked[0][4])]
    assert node.job(job_id)["submitter"] == f"uid:{NOBODY}"
    assert "sleep" in nobody.get(path, JOB, "Command")

    polkit.answers[OWN] = (False, False)
    refused(DENIED, nobody.call, path, JOB, "Cancel")
    polkit.answers[OWN] = (True, False)
    nobody.call(path, JOB, "Cancel")
    assert node.finish(job_id)["status"] == "JOB_CANCELLED"
    assert [action for _, _, action, _, _ in polkit.asked] == [SUBMIT, OWN, OWN]


def test_members_of_the_mesh(bus_node, polkit, nobody):
    node, _ = bus_node
    polkit.answers[PEERS] = (False, False)
    for call in (("Invite", "t", [60]), ("Join", "ss", ["", ""]), ("Leave",)):
        refused(DENIED, nobody.manager, *call)
    polkit.answers[PEERS] = (True, False)
    token, _ = nobody.manager("Invite", "t", [60])
    before = node.status()["mesh_id"]
    nobody.manager("Join", "ss", [token, ""])
    nobody.manager("Leave")
    assert node.status()["mesh_id"] != before
    assert {action for _, _, action, _, _ in polkit.asked} == {PEERS}


def test_drain_and_resume(bus_node, polkit, nobody):
    node, client = bus_node
    polkit.answers[MANAGE] = (False, False)
    refused(DENIED, nobody.manager, "Drain")
    refused(DENIED, nobody.manager, "DrainWithOptions", "a{sv}", [{}])
    assert node.status()["status"] == "IDLE"
    polkit.answers[MANAGE] = (True, False)
    nobody.manager("Drain")
    assert node.status()["status"] == "DRAINING"
    with pytest.raises(BusError) as caught:
        client.submit("true")
    assert caught.value.name == ERROR + "Draining"
    nobody.manager("Resume")
    assert node.status()["status"] == "IDLE"
    assert {action for _, _, action, _, _ in polkit.asked} == {MANAGE}
    client.manager("Drain")
    client.manager("Resume")
    assert node.run("true")["status"] == "JOB_COMPLETED"


def test_of_others_and_unknown(bus_node, polkit, nobody):
    node, _ = bus_node
    job_id = node.submit("sleep 100")
    polkit.answers = {OWN: (True, False), ANY: (False, False)}
    refused(DENIED, nobody.manager, "CancelJob", "s", [job_id])
    polkit.answers[ANY] = (True, False)
    with pytest.raises(BusError) as caught:
        nobody.manager("CancelJob", "s", ["00000000-0000-4000-8000-000000000000"])
    assert caught.value.name == ERROR + "NotFound"
    nobody.call(job_path(job_id), JOB, "Cancel")
    assert node.finish(job_id)["status"] == "JOB_CANCELLED"
    assert {action for _, _, action, _, _ in polkit.asked} == {ANY}


def test_refuses_and_is_not_asked_without_need(bus_node, polkit, nobody):
    node, client = bus_node
    polkit.answers = {SUBMIT: (False, False)}
    refused(DENIED, nobody.submit, "true")
    assert len(polkit.asked) == 1
    job_id, _ = client.submit("true")
    node.finish(job_id)
    assert len(polkit.asked) == 1, "root needs nobody's leave"


def test_dialogs_need_the_callers_leave(bus_node, polkit, nobody):
    polkit.answers = {SUBMIT: (False, True)}
    refused("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", nobody.submit, "true")
    refused("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", nobody.submit, "true", flags=bus.INTERACTIVE)
    assert [flags for _, _, _, flags, _ in polkit.asked] == [0, 1]


def test_arguments_are_refused_after_the_user(bus_node, polkit, nobody):
    polkit.answers[SUBMIT] = (False, False)
    refused(DENIED, nobody.submit, "true", {"nonsense": bus.integer(1)})
    polkit.answers[SUBMIT] = (True, False)
    with pytest.raises(BusError) as caught:
        nobody.submit("true", {"nonsense": bus.integer(1)})
    assert caught.value.name == ERROR + "UnknownField"


def test_hangs(bus_node, polkit, nobody):
    """Nothing waits with the client; after five seconds the rule stands, and the question is called off."""
    node, client = bus_node
    begin = time.monotonic()
    serials = [nobody.start(bus.ROOT, bus.MANAGER, "SubmitJob", "sa{sv}", ["true", {}]) for _ in range(300)]
    assert client.submit("true") and node.run("true")["exit_code"] == 0
    assert time.monotonic() - begin < 4, "others are served meanwhile"
    names = []
    for serial in serials:
        with pytest.raises(BusError) as caught:
            nobody.finish(serial)
        names.append(caught.value.name)
    assert 4 < time.monotonic() - begin < 15
    assert set(names) == {DENIED, ERROR + "TooManyCalls"} and names.count(DENIED) == 32
    assert len(polkit.asked) == 32, "not more questions of one user at once"
    wait_for(lambda: len(polkit.called_off) == 32, what="every question is called off")
    assert {cancellation for *_, cancellation in polkit.asked} == set(polkit.called_off)
    assert len(node.jobs()) == 2


def test_one_user_leaves_room_for_others(bus_node, private_bus, polkit, nobody):
    """Dialogs that nobody answers take neither all questions nor the memory of all calls."""
    node, client = bus_node
    large = {"stdin": bus.variant("ay", bytes(1 << 20))}
    call = (bus.ROOT, bus.MANAGER, "SubmitJobs", "a(sa{sv})a{sv}", [[("true", large)] * 24, {}])
    greedy = [private_bus.connect(NOBODY) for _ in range(6)]
    serials = [other.start(*call, flags=bus.INTERACTIVE) for other in greedy]
    serials += [greedy[0].start(bus.ROOT, bus.MANAGER, "SubmitJob", "sa{sv}", ["true", {}]) for _ in range(200)]
    refused_calls = set()

    def others_are_refused():
        for number in range(1, len(greedy)):
            if number in refused_calls:
                continue
            try:
                greedy[number].finish(serials[number], 0.1)
            except BusError as error:
                assert error.name == ERROR + "TooManyCalls"
                refused_calls.add(number)
            except AssertionError:
                pass  # not answered
        return len(refused_calls) >= 4

    wait_for(others_are_refused, 60, "one large call of a user waits, and no more")
    assert client.submit("true", large) and node.run("true")["exit_code"] == 0
    with private_bus.connect(DAEMON) as other:
        polkit.answers[SUBMIT] = (True, False)
        assert other.submit("true", large)
    for other in greedy:
        other.close()


def test_goes_away_while_it_is_asked(bus_node, private_bus, nobody):
    own = Polkit(private_bus)
    serial = nobody.start(bus.ROOT, bus.MANAGER, "SubmitJob", "sa{sv}", ["true", {}], destination=NAME)
    wait_for(lambda: own.asked, what="polkit is asked")
    own.end()
    refused(DENIED, nobody.finish, serial)


def test_another_user_owns_the_node(make_bus_node, private_bus, polkit):
    polkit.answers = {SUBMIT: (False, False)}
    make_bus_node(user=NOBODY).start()
    with private_bus.connect(NOBODY) as own, private_bus.connect(DAEMON) as other, private_bus.connect() as root:
        wait_for(lambda: root.has_owner(NAME), what="it has its name")
        assert own.submit("true") and root.submit("true")
        refused(DENIED, other.submit, "true")
