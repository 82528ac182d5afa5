# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs that write down themselves when they began, that they are still there, and when they ended; and clients that ask
for them until they are accepted. What the jobs wrote and what the clients were told is all that verdict.py looks at."""

import contextlib
import http.client
import os
import random
import threading
import time

from evidence import FOLDER

BEAT_SECONDS = 0.5
ASK_SECONDS = 4.0  # longer than a request takes on a machine that has other things to do
AGAIN_SECONDS = 0.2
FIRST = 6
BURSTS = (1, 1, 1, 1, 5)  # how many come at once; on average less than two

# A line is written in one piece (O_APPEND): what, whose wish, job, epoch, attempt, node, when, exit status. All hosts of a lab
# have one clock.
COMMAND = (
    'say() {{ echo "$1 {name} $JOB_ID $EPOCH $ATTEMPT $NODE_ID $(date +%s.%N) {exit_status}" >>{path}; }}; '
    "say start; echo {name} begins; i=0; "
    "while [ $i -lt {beats} ]; do i=$((i+1)); sleep {pause}; say beat; done; "
    "echo {name} ends; say end; exit {exit_status}"
)


def output_of(name):
    return f"{name} begins\n{name} ends\n"


class Wish:
    """A job that one host is asked for. Its key lets no second one be made of it there."""

    def __init__(self, host, name, path, chance, fields):
        self.host, self.name, self.fields = host, name, fields
        seconds = chance.uniform(8, 14) if chance.random() < 0.2 else chance.uniform(0.1, 4)
        beats = max(1, round(seconds / BEAT_SECONDS))
        self.exit_status = chance.choice((0, 0, 0, 3))
        self.command = COMMAND.format(
            name=name, path=path, beats=beats, pause=f"{seconds / beats:.2f}", exit_status=self.exit_status
        )
        self.job_id = self.acknowledged = None
        self.asked = None

    def ask(self):
        """Whether it is accepted; no answer is no."""
        if self.job_id is None:
            self.asked = self.asked or time.time()
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, answer = self.host.request(
                    "POST",
                    "/jobs",
                    {"command": self.command, **self.fields},
                    {"Content-Type": "application/json", "Idempotency-Key": self.name},
                    timeout=ASK_SECONDS,
                )
                if status in (200, 201):
                    self.job_id, self.acknowledged = answer["job_id"], time.time()
                elif status not in (429, 503):
                    raise AssertionError(f"{self.host} refused {self.name}: {status} {answer}")
        return self.job_id is not None

    def record(self):
        names = ("name", "job_id", "asked", "acknowledged", "exit_status")
        return {**{name: getattr(self, name) for name in names}, "host": self.host.name, **self.fields}


class Load:
    """Wishes that come in at random on some hosts, each host with a client of its own, while the with block lasts."""

    def __init__(self, name, every, hosts, seed, pace=1.2, attributes=()):
        """every: host, on which jobs may run. hosts: that are asked. pace: how often wishes come in a second, of all hosts together.
        attributes: pairs of a share of all jobs and of fields that these have."""
        self.name, self.every, self.hosts, self.seed = name, every, hosts, seed
        self.pace, self.attributes = pace / len(hosts), attributes
        self.path = f"{FOLDER}/{name}"
        self.wishes, self.failures = [], []
        self.enough = threading.Event()
        self.forsaken = set()
        self.threads = []
        for host in every:
            os.makedirs(host.path(FOLDER), exist_ok=True)
            os.chmod(host.path(FOLDER), 0o1777)

    def __enter__(self):
        self.threads = [threading.Thread(target=self._client, args=(host,), daemon=True) for host in self.hosts]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        for thread in self.threads:
            thread.join()

    def _client(self, host):
        chance = random.Random(f"{self.seed} {host}")
        due = time.monotonic()
        # Some hosts have more to give away than others, so that each runs jobs of each.
        pace = self.pace * chance.choice((0.3, 1.0, 2.0))
        burst = chance.randint(2, 2 * FIRST)
        waiting = []
        while not self.enough.is_set():
            if time.monotonic() >= due:
                waiting += [self._wish(host, chance) for _ in range(burst)]
                due = time.monotonic() + chance.expovariate(pace)
                burst = chance.choice(BURSTS)
            try:
                waiting = [wish for wish in waiting if not wish.ask()]
            except AssertionError as failure:
                self.failures.append(str(failure))
                return
            self.enough.wait(AGAIN_SECONDS if waiting else max(0.0, min(AGAIN_SECONDS, due - time.monotonic())))

    def _wish(self, host, chance):
        fields = {}
        for share, some in self.attributes:
            if chance.random() < share:
                fields.update(some)
        count = sum(wish.host is host for wish in self.wishes) + 1
        wish = Wish(host, f"{self.name}-{host}-{count}", self.path, chance, fields)
        self.wishes.append(wish)
        return wish

    def forsake(self, host):
        """It never comes back: nobody goes on asking it."""
        self.forsaken.add(host)

    def all_accepted(self):
        """Asks once more for what nobody has accepted so far."""
        return all([wish.ask() for wish in self.wishes if wish.host not in self.forsaken])

    def lines(self):
        """What the jobs wrote: pairs of the host's name and the words of a line."""
        found = []
        for host in self.every:
            with contextlib.suppress(FileNotFoundError):
                found += [(host.name, line.split()) for line in host.kept(self.path).splitlines()]
        return found

    def begun(self):
        return sum(words[0] == "start" for _, words in self.lines())
