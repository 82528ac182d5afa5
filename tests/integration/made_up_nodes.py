# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nodes that are not there: each has a socket, answers questions as a node does, and may hold a link open. One process
stands for all of them, so that it takes nothing from the test's own time.

    made_up_nodes.py NODE_PORT COUNT links|garbage
"""

import os
import selectors
import socket
import struct
import sys
import time

import datagrams

PONG_AFTER = 1.0
INTERVAL_USEC = 1_000_000


def frame(message):
    return struct.pack(">I", len(message)) + message


PING = frame(datagrams.field(17, 1))


class MadeUpNode:
    def __init__(self, number, port, selector):
        self.node_id = f"node-{0xFA15E000 + number:016x}"
        self.instance = number + 1
        self.sequence = 0
        self.peer = ("127.0.0.1", port)
        self.link = None
        self.heard = False  # over the link
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.port = self.udp.getsockname()[1]
        selector.register(self.udp, selectors.EVENT_READ, self.answer)
        self.selector = selector

    def say(self, kind, **more):
        self.sequence += 1
        info = datagrams.node_info(self.node_id, node_port=self.port, slots=0, interval=INTERVAL_USEC, version="0.1.0")
        self.udp.sendto(
            datagrams.message(
                kind, self.node_id, info, incarnation=1, sequence=self.sequence, instance=self.instance, **more
            ),
            self.peer,
        )

    def answer(self):
        data, _ = self.udp.recvfrom(65536)
        fields = dict(datagrams.fields_of(data))
        if fields.get(10):
            self.say(datagrams.PROBE_ACK, echo=fields[10])

    def connect(self):
        """A link, with a hello; again when it was refused, since a node must have proven to be there."""
        self.heard = False
        self.link = socket.create_connection(self.peer)
        hello = datagrams.field(1, 1) + datagrams.field(2, self.node_id) + datagrams.field(3, "0.1.0")
        hello += datagrams.field(4, 1) + datagrams.fixed64(5, self.instance) + datagrams.field(6, self.sequence + 1)
        self.link.sendall(frame(datagrams.field(1, hello)))
        self.link.setblocking(False)
        self.selector.register(self.link, selectors.EVENT_READ, self.read)

    def read(self):
        try:
            data = self.link.recv(65536)
        except OSError:
            data = b""
        self.heard = bool(data)
        if not data:
            self.selector.unregister(self.link)
            self.link.close()
            self.link = None

    def keep(self):
        self.say(datagrams.HEARTBEAT)
        if self.link is None:
            self.connect()
            return
        try:
            self.link.send(PING)
        except OSError:
            pass


def hold_links(port, count):
    selector = selectors.DefaultSelector()
    nodes = [MadeUpNode(number, port, selector) for number in range(count)]
    due = time.monotonic()
    while True:
        for key, _ in selector.select(max(0, due - time.monotonic())):
            key.data()
        if time.monotonic() >= due:
            due = time.monotonic() + PONG_AFTER
            for node in nodes:
                node.keep()
            print(sum(node.heard for node in nodes), flush=True)


def pour_garbage(port, count):
    """Datagrams and frames as fast as they go: random bytes, known beginnings with random ends, and impossible lengths."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    good = datagrams.heartbeat("node-00000000000000bb", incarnation=1, sequence=1, instance=9)
    hello = datagrams.field(1, datagrams.field(1, 1) + datagrams.field(2, "node-00000000000000bb"))
    sent = 0
    while True:
        for _ in range(count):
            udp.sendto(os.urandom(600), ("127.0.0.1", port))
            udp.sendto(good + os.urandom(200), ("127.0.0.1", port))
        with socket.socket() as link:
            try:
                link.connect(("127.0.0.1", port))
                link.sendall(frame(os.urandom(3000)) if sent % 3 else frame(hello) + struct.pack(">I", 0xFFFFFFFF))
            except OSError:
                pass
        sent += 2 * count + 1
        print(sent, flush=True)


if __name__ == "__main__":
    {"links": hold_links, "garbage": pour_garbage}[sys.argv[3]](int(sys.argv[1]), int(sys.argv[2]))
