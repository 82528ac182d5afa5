# SPDX-License-Identifier: LGPL-2.1-or-later
"""What nodes say to each other, as the cable of one of them sees it: packets and bytes of each pair of addresses, and the
messages of their links taken apart, with an opinion of its own about the format of proto/link.proto.

link_capture.py INTERFACE      in the network namespace of the switch; prints "ready", and JSON when stdin has ended"""

import collections
import json
import select
import socket
import struct
import sys

ETH_P_ALL, ETH_P_IP = 3, 0x0800
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 256 << 20
PACKET_MAX = 1 << 17
# Fields of LinkMessage, by what belongs together; what is missing here is counted as "other".
KINDS = {
    1: "hello",
    2: "held",
    3: "held",
    16: "held",
    17: "ping",
    18: "ping",
    4: "assign",
    5: "taken",
    6: "refused",
    7: "started",
    8: "ended",
    9: "kill",
    10: "withdraw",
    11: "retire",
    12: "room",
    13: "output",
    14: "output",
    20: "call",
    21: "call",
    22: "call",
    25: "index",
    26: "index",
    27: "index",
    28: "index",
    30: "copy",
    31: "copy",
    32: "copy",
    33: "kept",
}
# Of the parts of a message that belong together one is counted.
COUNTED = {2, 1, 17, 18, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 21, 22, 25, 26, 30, 33}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def fields_of(message):
    """Number and size in bytes, its key included, of each field."""
    at = 0
    while at < len(message):
        begin = at
        key, at = varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = varint(message, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            size, at = varint(message, at)
            at += size
        else:
            raise ValueError(f"wire type {kind}")
        yield key >> 3, at - begin


class Flow:
    """One direction of a connection, which is quiet when the capture begins: its first byte begins a frame."""

    def __init__(self):
        self.origin = None
        self.segments = {}

    def add(self, sequence, payload):
        if self.origin is None:
            self.origin = sequence
        at = (sequence - self.origin) & 0xFFFFFFFF
        if at < 1 << 31 and len(payload) > len(self.segments.get(at, b"")):
            self.segments[at] = payload

    def frames(self):
        data = bytearray()
        for at, payload in sorted(self.segments.items()):
            if at > len(data):
                raise ValueError("a segment is missing")
            data[at:] = payload
        position = 0
        while position + 4 <= len(data):
            (size,) = struct.unpack_from(">I", data, position)
            yield data[position + 4 : position + 4 + size]
            position += 4 + size


class Capture:
    def __init__(self):
        self.pairs = collections.defaultdict(collections.Counter)
        self.flows = collections.defaultdict(Flow)

    def take(self, packet):
        if len(packet) < 34 or struct.unpack_from(">H", packet, 12)[0] != ETH_P_IP:
            return
        header_size = (packet[14] & 15) * 4
        (ip_size,) = struct.unpack_from(">H", packet, 16)
        source, target = (socket.inet_ntoa(packet[at : at + 4]) for at in (26, 30))
        begin, end = 14 + header_size, 14 + ip_size
        protocol = {6: "tcp", 17: "udp"}.get(packet[23])
        if not protocol:
            return
        pair = self.pairs[source, target]
        pair[f"{protocol}_packets"] += 1
        pair[f"{protocol}_bytes"] += len(packet)
        if protocol == "tcp":
            ports, sequence = struct.unpack_from(">II", packet, begin)
            opens = packet[begin + 13] & 2
            payload = packet[begin + (packet[begin + 12] >> 4) * 4 : end]
            if opens:
                self.flows[source, target, ports] = Flow()
            elif payload:
                pair["tcp_packets_with_data"] += 1
                self.flows[source, target, ports].add(sequence, payload)

    def summary(self):
        kinds = collections.defaultdict(collections.Counter)
        for (source, target, _), flow in self.flows.items():
            for frame in flow.frames():
                self.pairs[source, target]["frames"] += 1
                self.pairs[source, target]["frame_bytes"] += 4 + len(frame)
                for number, size in fields_of(frame):
                    kind = kinds[source, target, KINDS.get(number, "other")]
                    kind["n"] += number in COUNTED or number not in KINDS
                    kind["bytes"] += size
        return {
            "pairs": [{"from": source, "to": target, **pair} for (source, target), pair in self.pairs.items()],
            "kinds": [{"from": key[0], "to": key[1], "kind": key[2], **kind} for key, kind in kinds.items()],
        }


def main():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as cable:
        cable.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        cable.bind((sys.argv[1], 0))
        cable.setblocking(False)
        print("ready", flush=True)
        # Nothing is taken apart before all is there: the nodes need the processor.
        packets = []
        while True:
            readable, _, _ = select.select([cable, sys.stdin], [], [])
            if cable in readable:
                packets.append(cable.recv(PACKET_MAX))
            elif sys.stdin in readable:
                break
    capture = Capture()
    for packet in packets:
        capture.take(packet)
    json.dump(capture.summary(), sys.stdout)


if __name__ == "__main__":
    main()
