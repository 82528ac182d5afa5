# SPDX-License-Identifier: LGPL-2.1-or-later
"""A journal for a node under test: a datagram socket that reads the native protocol of systemd's."""

import collections
import mmap
import os
import socket
import struct
import threading
import time

from harness import wait_for

DATAGRAM_MAX = 1 << 20
SEALS = 0x000F
F_GET_SEALS = 1034


def parse(data):
    """The fields of one message; values are bytes."""
    fields, at = {}, 0
    while at < len(data):
        end = data.index(b"\n", at)
        line = data[at:end]
        if b"=" in line:
            name, value = line.split(b"=", 1)
            at = end + 1
        else:
            name, (size,) = line, struct.unpack("<Q", data[end + 1 : end + 9])
            value = data[end + 9 : end + 9 + size]
            assert len(value) == size and data[end + 9 + size : end + 10 + size] == b"\n"
            at = end + 10 + size
        name = name.decode("ascii")
        assert name not in fields, f"{name} is there twice"
        fields[name] = value
    return fields


class Entry(dict):
    """One message. Attributes are text, keys are bytes."""

    def __init__(self, fields):
        super().__init__(fields)
        self.received = time.monotonic()

    def text(self, name):
        return self[name].decode() if name in self else None

    @property
    def message(self):
        return self["MESSAGE"].decode(errors="replace")

    @property
    def is_output(self):
        return "STREAM" in self


class Journal:
    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.05)
        self.entries = []
        self.by_job = collections.defaultdict(list)
        self.reading = threading.Event()
        self.reading.set()
        self.closing = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    @property
    def environment(self):
        return {"WORKER_MESH_JOURNAL": self.path}

    def read(self):
        while not self.closing:
            if not self.reading.wait(0.05):
                continue
            try:
                data, ancillary, flags, _ = self.socket.recvmsg(DATAGRAM_MAX, socket.CMSG_SPACE(4))
            except TimeoutError:
                continue
            assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
            for _, _, value in ancillary:
                (fd,) = struct.unpack("i", value)
                with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as file:
                    data = file[:]
                os.close(fd)
            entry = Entry(parse(data))
            self.entries.append(entry)
            if "JOB_ID" in entry:
                self.by_job[entry.text("JOB_ID")].append(entry)

    def stop_reading(self):
        self.reading.clear()

    def go_on(self):
        self.reading.set()

    def close(self):
        self.closing = True
        self.thread.join()
        self.socket.close()

    def of(self, job_id):
        return list(self.by_job.get(job_id, ()))

    def ends(self, job_id):
        return [entry for entry in self.of(job_id) if "JOB_STATUS" in entry]

    def output(self, job_id, stream="stdout"):
        return [entry["MESSAGE"] for entry in self.of(job_id) if entry.text("STREAM") == stream]

    def wait_for_end(self, job_id, deadline=30.0):
        """Everything about a job, in order, when its last line is there."""
        wait_for(lambda: self.ends(job_id), deadline, f"the journal has the end of {job_id}")
        return self.of(job_id)
