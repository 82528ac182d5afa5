# SPDX-License-Identifier: LGPL-2.1-or-later
"""Datagrams as other nodes send them, made and read here by hand: an opinion of its own about the format."""

import hashlib
import hmac
import socket
import struct

HEARTBEAT, PROBE, PROBE_ACK, GOODBYE = 1, 4, 5, 6


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """A whole number, or something with a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def timestamp(seconds, nanoseconds=0):
    return field(1, seconds) + (field(2, nanoseconds) if nanoseconds else b"")


def node_info(node_id, **more):
    """The fields of the first implementation; more: node_port, slots, running, queued, interval."""
    data = field(1, node_id) + field(2, more.get("address", "10.0.0.1:3000")) + field(3, more.get("status", 1))
    data += field(4, timestamp(more.get("at", 1700000000)))
    for key, value in more.get("metadata", {"os": "linux"}).items():
        data += field(5, field(1, key) + field(2, value))
    data += field(6, more.get("version", "1.0.0"))
    for name, number in (("node_port", 7), ("slots", 8), ("running", 9), ("queued", 10), ("interval", 11)):
        if name in more:
            data += field(number, more[name])
    return data


def message(kind, sender, info=None, **more):
    """A MeshMessage; more: at, incarnation, sequence, instance, nonce, echo, padding."""
    data = field(1, kind)
    if info is not None:
        data += field(2, info)
    data += field(5, timestamp(more.get("at", 1700000000))) + field(6, sender)
    for name, number in (("incarnation", 7), ("sequence", 8)):
        if name in more:
            data += field(number, more[name])
    if "instance" in more:
        data += fixed64(9, more["instance"])
    for name, number in (("nonce", 10), ("echo", 11), ("padding", 13)):
        if name in more:
            data += field(number, more[name])
    return data


def padded(size, *arguments, **more):
    """A message of exactly this size, as a question has to be as long as its answer."""
    # The padding field costs one byte for its number, and one or two for its length.
    free = size - len(message(*arguments, **more))
    return message(*arguments, **more, padding=b"x" * (free - (2 if free < 130 else 3)))


class Keys:
    """The first key of a key file, and what is derived from it (RFC 5869)."""

    SEAL_SIZE = 18 + 6 + 19  # what seal() adds

    def __init__(self, path):
        with open(path) as file:
            lines = [line.strip() for line in file if not line.startswith("#")]
        self.mesh_id, secret = (bytes.fromhex(line) for line in lines[:2])
        self.extracted = hmac.digest(self.mesh_id, secret, hashlib.sha256)
        self.key_id = self.derive("worker-mesh key id", 4)
        self.datagram = self.derive("worker-mesh datagram", 32)
        self.link = self.derive("worker-mesh link", 32)

    def derive(self, purpose, size):
        return hmac.digest(self.extracted, purpose.encode() + b"\1", hashlib.sha256)[:size]

    def seal(self, data):
        """As a member of the mesh sends it."""
        data += field(14, self.mesh_id) + field(15, self.key_id) + varint(16 << 3 | 2) + varint(16)
        return data + hmac.digest(self.datagram, data, hashlib.sha256)[:16]


def heartbeat(node_id, **more):
    return message(HEARTBEAT, node_id, node_info(node_id, **more), **more)


def fields_of(data):
    """Yields (number, value) of one message."""
    position = 0

    def read():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while position < len(data):
        key = read()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, read()
        elif kind == 1:
            yield number, data[position : position + 8]
            position += 8
        elif kind == 2:
            length = read()
            yield number, data[position : position + length]
            position += length
        else:
            raise ValueError(f"kind {kind}")


def sender_of(data):
    return dict(fields_of(data)).get(6, b"").decode()


def kind_of(data):
    return dict(fields_of(data)).get(1, 0)


class Listener:
    """Hears what is broadcast on loopback at a discovery port, beside the nodes."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.bind(("0.0.0.0", port))
        self.socket.settimeout(10)

    def receive(self):
        return self.socket.recvfrom(65536)

    def send(self, data, address=None):
        self.socket.sendto(data, address or ("127.255.255.255", self.port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
