# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several hosts of tests/lab with the service, which give jobs to each other, for the benchmarks: their databases lie on
a disk of this machine, and their cables can be listened to."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time

import node
import service_host
from node import Failure
from service_host import HERE, START_SECONDS, hosts

from service import give_key, new_key, share_key  # isort: skip; in the folder of the lab, which is known by now

TRUST_SECONDS = 40
CAPTURE_SECONDS = 60  # to take apart what was heard


def trust_each_other(those):
    """Whether each of them may give jobs to all others, and has its executor."""
    try:
        for host in those:
            peers = host.get("/peers", timeout=5)["peers"]
            if sum(peer["trusted"] and peer["verified"] for peer in peers) != len(those) - 1:
                return False
        return True
    except (OSError, http.client.HTTPException, AssertionError):
        return False


class Member:
    """One of the hosts."""

    def __init__(self, bench, host, settings, key):
        self.host, self.bench = host, bench
        self.folder = service_host.make_folder(bench, host, ("service", "journal"))
        service_host.prepare(bench, host, self.folder, settings)
        give_key(host, key)
        service_host.start(host)
        self.node_id = host.get("/status")["node_id"]

    @property
    def state(self):
        return f"{self.folder}/service"

    def program(self, name, **options):
        return service_host.program_on(self.host, name, **options)

    def spawn(self, count, **options):
        return self.program("bench-spawn", count=count, **options)

    def commit(self, count):
        """One row after the other, each durable before the next, on the disk where the database is."""
        template, limit = node.database_in(self.state), f"{self.folder}/limit.db"
        return self.program("bench-commit", template=template, database=limit, count=count, submitters=1)

    def copies(self):
        """On how many disks a job is when it is accepted."""
        return self.host.request("POST", "/jobs", {"command": "true"})[1]["copies"]


class Mesh:
    """Used with "with". Members come one after the other."""

    def __init__(self, bench, settings=""):
        self.bench, self.settings = bench, settings
        self.lab = hosts.Lab(build=bench.build)
        self.key = new_key()
        self.members = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.lab.close()
        if isinstance(error, AssertionError):
            raise Failure(str(error)) from error

    def add(self):
        """One more; returns when all know all."""
        member = Member(self.bench, self.lab.up(1)[0], self.settings, self.key)
        self.members.append(member)
        those = [other.host for other in self.members]
        hosts.wait_for(lambda: trust_each_other(those), TRUST_SECONDS, "all trust all")
        return member

    def add_keeper(self, owner):
        """A member that has copies of the jobs of the owner, who has chosen it before any other is there."""
        member = self.add()
        hosts.wait_for(lambda: owner.copies() == 2, START_SECONDS, "jobs are on two disks", interval=0.5)
        return member

    @contextlib.contextmanager
    def capture(self, member):
        """Gives a dictionary, which holds what was on its cable when the with block is over (link_capture.py)."""
        command = ["nsenter", "--target", str(self.lab.init), "--net", sys.executable]
        command += [os.path.join(HERE, "link_capture.py"), member.host.name]
        heard = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                if process.stdout.readline() != "ready\n":
                    raise Failure(f"the cable of {member.host} cannot be listened to.")
                begin = time.monotonic()
                yield heard
                heard["seconds"] = time.monotonic() - begin
                output, _ = process.communicate(timeout=CAPTURE_SECONDS)
                if process.returncode != 0:
                    raise Failure(f"what was on the cable of {member.host} cannot be read.")
                heard.update(json.loads(output))
            finally:
                process.kill()
