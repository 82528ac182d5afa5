# SPDX-License-Identifier: LGPL-2.1-or-later
"""A bus of a test's own, and clients of it that speak D-Bus by themselves: as any user, with any message, or without
ever reading."""

import contextlib
import os
import socket
import struct
import subprocess
import time

import harness
import pytest

NAME = "org.workermesh.Mesh1"
ROOT = "/org/workermesh/Mesh1"
MANAGER = "org.workermesh.Mesh1.Manager"
JOB = "org.workermesh.Mesh1.Job"
PEER = "org.workermesh.Mesh1.Peer"
PROPERTIES = "org.freedesktop.DBus.Properties"
ERROR = "org.workermesh.Mesh1.Error."
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
CALL, RETURN, ERROR_REPLY, SIGNAL = 1, 2, 3, 4
NO_REPLY, INTERACTIVE = 1, 4
FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "b": "I", "h": "I"}
ALIGNMENT = {"y": 1, "n": 2, "q": 2, "g": 1, "v": 1, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
  {extra}
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_connections_per_user">4096</limit>
  <limit name="max_completed_connections">4096</limit>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">4096</limit>
  <limit name="reply_timeout">300000</limit>
</busconfig>
"""


def variant(signature, value):
    return (signature, value)


def integer(value):
    return variant("x", value)


def next_type(signature, start=0):
    """The first complete type from start on."""
    end = start
    while signature[end] == "a":
        end += 1
    if signature[end] in "({":
        depth = 0
        while True:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[end], 0)
            if depth == 0:
                break
            end += 1
    return signature[start : end + 1]


def types(signature):
    found, position = [], 0
    while position < len(signature):
        found.append(next_type(signature, position))
        position += len(found[-1])
    return found


class Writer:
    def __init__(self):
        self.data = bytearray()

    def align(self, size):
        self.data += bytes(-len(self.data) % size)

    def write(self, kind, value):
        self.align(ALIGNMENT.get(kind[0], 4))
        if kind[0] in FIXED:
            self.data += struct.pack("<" + FIXED[kind[0]], value)
        elif kind[0] in "so":
            text = value.encode() if isinstance(value, str) else value
            self.data += struct.pack("<I", len(text)) + text + b"\0"
        elif kind[0] == "g":
            self.data += bytes([len(value)]) + value.encode() + b"\0"
        elif kind[0] == "v":
            self.write("g", value[0])
            self.write(value[0], value[1])
        elif kind[0] == "a":
            self.write_array(kind[1:], value)
        else:
            for member, part in zip(types(kind[1:-1]), value):
                self.write(member, part)

    def write_array(self, kind, value):
        position = len(self.data)
        self.data += bytes(4)
        self.align(ALIGNMENT.get(kind[0], 4))
        start = len(self.data)
        if kind == "y":
            self.data += bytes(value)
        else:
            for item in value.items() if isinstance(value, dict) else value:
                self.write(kind, item)
        struct.pack_into("<I", self.data, position, len(self.data) - start)


class Reader:
    def __init__(self, data):
        self.data, self.position = data, 0

    def read(self, kind):
        alignment = ALIGNMENT.get(kind[0], 4)
        self.position += -self.position % alignment
        if kind[0] in FIXED:
            code = "<" + FIXED[kind[0]]
            (value,) = struct.unpack_from(code, self.data, self.position)
            self.position += struct.calcsize(code)
            return bool(value) if kind == "b" else value
        if kind[0] in "sog":
            size = self.read("y" if kind == "g" else "u")
            text = bytes(self.data[self.position : self.position + size]).decode()
            self.position += size + 1
            return text
        if kind[0] == "v":
            return self.read(self.read("g"))
        if kind[0] == "a":
            return self.read_array(kind[1:])
        return tuple(self.read(member) for member in types(kind[1:-1]))

    def read_array(self, kind):
        size = self.read("u")
        self.position += -self.position % ALIGNMENT.get(kind[0], 4)
        end = self.position + size
        if kind == "y":
            value = bytes(self.data[self.position : end])
            self.position = end
            return value
        items = []
        while self.position < end:
            items.append(self.read(kind))
        return dict(items) if kind[0] == "{" else items


class Message:
    FIELDS = {
        1: "path", 2: "interface", 3: "member", 4: "error", 5: "reply_to", 6: "destination", 7: "sender", 8: "signature",
    }  # fmt: skip

    def __init__(self, kind, flags, serial, fields, body):
        self.kind, self.flags, self.serial = kind, flags, serial
        self.path = self.interface = self.member = self.error = self.sender = self.reply_to = None
        self.signature = ""
        for number, value in fields:
            setattr(self, self.FIELDS.get(number, "other"), value)
        reader = Reader(body)
        self.body = [reader.read(part) for part in types(self.signature)]

    def __repr__(self):
        return f"<{self.interface}.{self.member} {self.path} {self.error} {self.body!r:.300}>"


class BusError(Exception):
    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


def encode(kind, flags, serial, fields, signature, arguments):
    """fields: number → (type, value)."""
    body = Writer()
    for part, argument in zip(types(signature), arguments):
        body.write(part, argument)
    header = Writer()
    header.data += struct.pack("<cBBBII", b"l", kind, flags, 1, len(body.data), serial)
    if signature:
        fields = {**fields, 8: ("g", signature)}
    header.write("a(yv)", [(number, value) for number, value in fields.items()])
    header.align(8)
    return bytes(header.data + body.data)


class Client:
    """One connection. Messages that are no answer gather in signals."""

    def __init__(self, path, user=0, hello=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.buffer = bytearray()
        self.serial = 0
        self.signals, self.calls, self.replies = [], [], {}
        own = os.geteuid()
        if user != own:
            os.setegid(user)
            os.seteuid(user)
        try:
            self.socket.connect(path)
        finally:
            if user != own:
                os.seteuid(own)
                os.setegid(own)
        identity = str(user).encode().hex().encode()
        self.socket.sendall(b"\0AUTH EXTERNAL " + identity + b"\r\nBEGIN\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += self.socket.recv(1)
        assert answer.startswith(b"OK "), answer
        self.name = self.call_bus("Hello")[0] if hello else None

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, kind, fields, signature="", arguments=(), flags=0):
        self.serial += 1
        self.socket.sendall(encode(kind, flags, self.serial, fields, signature, arguments))
        return self.serial

    def start(self, path, interface, member, signature="", arguments=(), destination=NAME, flags=0):
        """A call whose answer is taken by finish()."""
        fields = {1: ("o", path), 2: ("s", interface), 3: ("s", member), 6: ("s", destination)}
        return self.send(CALL, fields, signature, arguments, flags)

    def read_message(self, deadline):
        """One message, or None when there was none in time."""
        while True:
            size = self.message_size()
            if size and len(self.buffer) >= size:
                break
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 20)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionError("the bus closed the connection")
            self.buffer += data
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        _, kind, flags, _, body_size, serial = struct.unpack_from("<cBBBII", data)
        reader = Reader(data)
        reader.position = 12
        fields = reader.read("a(yv)")
        return Message(kind, flags, serial, fields, data[len(data) - body_size :])

    def message_size(self):
        if len(self.buffer) < 16:
            return None
        body, _, fields = struct.unpack_from("<III", self.buffer, 4)
        return 16 + fields + -fields % 8 + body

    def receive(self, deadline):
        """Sorts one message in; False when there was none in time."""
        message = self.read_message(deadline)
        if message is None:
            return False
        if message.kind in (RETURN, ERROR_REPLY):
            self.replies[message.reply_to] = message
        else:
            (self.calls if message.kind == CALL else self.signals).append(message)
        return True

    def finish(self, serial, timeout=30.0):
        deadline = time.monotonic() + timeout
        while serial not in self.replies:
            assert self.receive(deadline), f"no answer within {timeout} s"
        message = self.replies.pop(serial)
        if message.kind == ERROR_REPLY:
            raise BusError(message.error, message.body[0] if message.body else "")
        return message.body

    def call(self, *arguments, timeout=30.0, **more):
        return self.finish(self.start(*arguments, **more), timeout)

    def call_bus(self, member, signature="", arguments=()):
        bus = "org.freedesktop.DBus"
        return self.call("/org/freedesktop/DBus", bus, member, signature, arguments, destination=bus)

    def signal(self, member, deadline=10.0, matching=lambda message: True):
        """Takes the first signal of this name."""
        end, seen = time.monotonic() + deadline, 0
        while True:
            while seen < len(self.signals):
                message = self.signals[seen]
                if message.member == member and matching(message):
                    return self.signals.pop(seen)
                seen += 1
            assert self.receive(end), f"no {member} within {deadline} s; the last were {self.signals[-5:]}"

    # What the tests ask for.

    def has_owner(self, name):
        return self.call_bus("NameHasOwner", "s", [name])[0]

    def owner(self, name=NAME):
        return self.call_bus("GetNameOwner", "s", [name])[0]

    def watch(self, rule):
        self.call_bus("AddMatch", "s", [rule])

    def manager(self, member, signature="", arguments=(), destination=NAME, **more):
        return self.call(ROOT, MANAGER, member, signature, arguments, destination=destination, **more)

    def submit(self, command, options=None, **more):
        return self.manager("SubmitJob", "sa{sv}", [command, options or {}], **more)

    def get(self, path, interface, name, destination=NAME):
        return self.call(path, PROPERTIES, "Get", "ss", [interface, name], destination=destination)[0]

    def get_all(self, path, interface, destination=NAME):
        return self.call(path, PROPERTIES, "GetAll", "s", [interface], destination=destination)[0]

    def introspect(self, path, destination=NAME):
        return self.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", destination=destination)[0]


def job_path(job_id):
    return f"{ROOT}/job/{job_id.replace('-', '')}"


def finished(client, path):
    """The properties of a job that has ended."""
    harness.wait_for(lambda: client.get(path, JOB, "Status") in harness.FINAL, 30, f"{path} has ended")
    return client.get_all(path, JOB)


def fails(name, function, *arguments, **more):
    """The text of the error that the call must give."""
    with pytest.raises(BusError) as caught:
        function(*arguments, **more)
    assert caught.value.name == name, caught.value
    assert caught.value.text and "\n" not in caught.value.text
    return caught.value.text


class Bus:
    """A dbus-daemon of the test's own."""

    def __init__(self, directory, extra=""):
        self.path = os.path.join(directory, "bus")
        self.configuration = os.path.join(directory, "bus.conf")
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(path=self.path, extra=extra))
        self.process = None

    @property
    def address(self):
        return f"unix:path={self.path}"

    def start(self):
        command = ["dbus-daemon", f"--config-file={self.configuration}", "--nofork", "--nopidfile"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_for(self.answers, what="the bus answers")
        return self

    def answers(self):
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self, user=0, **more):
        return Client(self.path, user if os.geteuid() == 0 else os.geteuid(), **more)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
