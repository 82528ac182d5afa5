# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs that write down themselves that they began and ended. What they wrote, each line in one piece with O_APPEND,
is the truth about how often and when they ran, whatever a daemon says."""

import collections
import os

from hosts import wait_for

FOLDER = "/var/lib/evidence"


class Evidence:
    """The jobs of one test on one host. They wait for release(), or for as long as they are told."""

    def __init__(self, host, name):
        self.host, self.name = host, name
        self.names = []
        os.makedirs(host.path(FOLDER), exist_ok=True)
        os.chmod(host.path(FOLDER), 0o1777)

    @property
    def path(self):
        return f"{FOLDER}/{self.name}"

    def command(self, exit_status=0, until=None, at_start="", at_end=""):
        """Of one more job, for /bin/sh. until: what to wait for, instead of release()."""
        name = f"{self.name}-{len(self.names) + 1}"
        self.names.append(name)
        until = until or f"while ! [ -e {self.path}.go ]; do sleep 0.1; done"
        return (
            f"{at_start} echo start {name} >>{self.path}; echo {name} begins; {until}; {at_end} echo {name} ends;"
            f" echo end {name} >>{self.path}; exit {exit_status}"
        )

    def release(self):
        self.host.write(f"{self.path}.go", "")

    def lines(self):
        try:
            return [line.split() for line in self.host.read(self.path).splitlines()]
        except FileNotFoundError:
            return []

    def count(self, kind):
        return sum(line[0] == kind for line in self.lines())

    def wait_until_all(self, kind, deadline=20.0):
        """kind: start, end."""
        wait_for(lambda: self.count(kind) >= len(self.names), deadline, f"all {len(self.names)} jobs wrote {kind}")

    def problems(self):
        """Whatever differs from each job beginning once and ending once."""
        seen = collections.Counter(tuple(line) for line in self.lines())
        found = []
        for name in self.names:
            starts, ends = seen.pop(("start", name), 0), seen.pop(("end", name), 0)
            if starts == 0:
                found.append(f"{name} was lost")
            elif starts > 1:
                found.append(f"{name} began {starts} times" + (", two at once" if self._overlaps(name) else ""))
            if ends != 1 and starts:
                found.append(f"{name} ended {ends} times")
        return found + [f"unexpected: {line}" for line in seen]

    def _overlaps(self, name):
        running = 0
        for kind, whose in self.lines():
            if whose == name:
                running += 1 if kind == "start" else -1
                if running > 1:
                    return True
        return False
