# SPDX-License-Identifier: LGPL-2.1-or-later
"""One repetition of a scenario: hosts that share jobs, something that is done to them, and everything written down that
verdict.py needs. A stage is a lab for any number of repetitions."""

import collections
import contextlib
import http.client
import random
import re
import shutil
import subprocess
import tempfile
import time

import next_version
from hosts import Lab, in_parallel, wait_for
from load import Load
from scenarios import SCENARIOS
from service import UNFINISHED, is_ready, share_key
from verdict import judge

PEER_LOST = "51d07155c421e199276045ce411e500f"
SLOTS = 3
UNIT = "[Unit]\nStartLimitIntervalSec=0\n"  # daemons are killed more often here than an administrator would
SETTINGS = "/etc/worker-mesh/worker-mesh.conf.d/lab.conf"

# How often nodes say that they are alive, after how long they are off the list, and within how long one that is gone must
# be lost: on a machine that has other things to do.
Pace = collections.namedtuple("Pace", "name interval peer_timeout detected_within")
FAST = Pace("fast", 1, 6, 12)
DEFAULT = Pace("default", 5, 30, 18)

SETTLE_SECONDS = 90.0
INDEX_SECONDS = 30.0
SILENT_SECONDS = 3.0  # a run that has not written for so long is gone
# What the mesh can do, so that it is asked for and judged:
#   calls         every node tells of every job
#   index         every node has an index of the jobs of all (scope=mesh)
#   on-node-loss  some jobs say "on_node_loss": "fail"
#   requeue-own   what an owner ran itself when its power went begins again
#   takeover      a keeper goes on with the jobs of an owner that does not return (and needs calls, to be seen)
#   one-answer    after a split all nodes tell the same exit status, run and output, and not only the same status
FEATURES = ("calls", "index", "on-node-loss", "requeue-own", "takeover", "one-answer")
LANDED = frozenset(("calls", "index", "on-node-loss", "requeue-own", "takeover"))


class Stage:
    """Hosts for one scenario after the other, and what can be done to them."""

    def __init__(self, build, n_hosts, loss_seconds=600, owners_stay_off=False, landed=LANDED):
        self.lab = Lab(build=build)
        self.loss_seconds, self.owners_stay_off = loss_seconds, owners_stay_off
        self.landed = frozenset(landed)
        self.troubles, self.failures, self.off = [], [], set()
        self.peer_timeout = FAST.peer_timeout
        self.chance = random.Random(0)
        self.nodes, self.upgrades = {}, 0
        try:
            self._begin(n_hosts)
        except BaseException:
            self.close()
            raise

    def _begin(self, n_hosts):
        self.hosts = self.lab.up(n_hosts)

        in_parallel([host.activate for host in self.hosts])
        share_key(self.hosts)

        def start(host):
            host.write("/etc/systemd/system/worker-mesh.service.d/lab.conf", UNIT)
            self._configure(host, FAST)
            host.run("systemctl daemon-reload && systemctl start worker-mesh")

        in_parallel([lambda host=host: start(host) for host in self.hosts])
        wait_for(self.all_trust, SETTLE_SECONDS, "all trust all")
        self.nodes = {host.name: host.get("/status")["node_id"] for host in self.hosts}

    def close(self):
        self.lab.close()

    def _configure(self, host, pace):
        text = f"[Mesh]\nSlots={SLOTS}\nDrainTimeout=30s\n"
        if pace is not DEFAULT:
            text += f"HeartbeatInterval={pace.interval}s\nPeerTimeout={pace.peer_timeout}s\n"
        host.write(SETTINGS, text)

    def set_pace(self, pace):
        if pace.peer_timeout != self.peer_timeout:
            for host in self.hosts:
                self._configure(host, pace)
                host.run("systemctl reload worker-mesh")
            wait_for(self.all_trust, SETTLE_SECONDS, "all trust all")
        self.peer_timeout = pace.peer_timeout

    @property
    def living(self):
        return [host for host in self.hosts if host not in self.off]

    def all_trust(self):
        """Whether every node that is on has its executor, and may give jobs to every other one."""
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            for host in self.living:
                peers = host.get("/peers", timeout=4)["peers"]
                known = sum(peer["trusted"] and peer["verified"] for peer in peers)
                if not is_ready(host) or known < len(self.living) - 1:
                    return False
            return True
        return False

    # What scenarios do.

    def any_host(self):
        return self.chance.choice(self.hosts)

    def pause(self, least, most):
        time.sleep(self.chance.uniform(least, most))

    @contextlib.contextmanager
    def trouble(self, host, what, until_ready=True, **more):
        """Something is wrong with a host for as long as the with block lasts, and until it answers again."""
        trouble = {"host": host.name, "what": what, "begin": time.time(), "end": float("inf"), **more}
        self.troubles.append(trouble)
        yield trouble
        if until_ready and host not in self.off:
            wait_for(lambda: is_ready(host), SETTLE_SECONDS, f"{host} answers again after {what}", interval=0.02)
        if host not in self.off:
            trouble["end"] = time.time()

    def _wait_off(self, host, off, for_good):
        if for_good:
            self.off.add(host)
            return
        self.pause(*off)
        host.boot()
        host.run("systemctl start worker-mesh")

    def cut_power(self, host, off, for_good=False):
        with self.trouble(host, "power"):
            host.crash()
            self._wait_off(host, off, for_good)

    def shut_down(self, host, off):
        """Its runs end before it is off: nothing of them is lost."""
        host.run("systemctl --no-block poweroff")
        # Its cable goes with it, and so does what was said on it.
        wait_for(lambda: not host.is_up(), SETTLE_SECONDS, f"{host} is off")
        with self.trouble(host, "down", announced=True):
            host.crash()
            self._wait_off(host, off, for_good=False)

    def pull_cable(self, host, out):
        with self.trouble(host, "cable"):
            host.cut()
            self.pause(*out)
            host.heal()

    def stop_daemon(self, host, seconds):
        signal = "systemctl kill --kill-whom=main --signal={} worker-mesh"
        with self.trouble(host, "stop"):
            host.run(signal.format("STOP"))
            time.sleep(seconds)
            host.run(signal.format("CONT"))

    def freeze(self, host, seconds):
        with self.trouble(host, "freeze"):
            host.freeze()
            time.sleep(seconds)
            host.thaw()

    def lose_packets(self, percent, seconds):
        for host in self.hosts:
            host.loss(percent)
        time.sleep(seconds)
        for host in self.hosts:
            host.loss(0)

    def disturb(self, host, command):
        """What ends the daemon and lets it come back by itself."""
        before = host.show("worker-mesh", "InvocationID", "ExecMainStartTimestampMonotonic")
        with self.trouble(host, "down"):
            host.run(command)
            wait_for(
                lambda: host.show("worker-mesh", "InvocationID", "ExecMainStartTimestampMonotonic") != before,
                SETTLE_SECONDS,
                f"{host}: there is another daemon",
            )

    @contextlib.contextmanager
    def next_version(self):
        """The programs of another version, for upgrade()."""
        self.upgrades += 1
        version = f"{self.hosts[0].get('/status')['version'].partition('+')[0]}+{self.upgrades}"
        with tempfile.TemporaryDirectory() as folder:
            yield version, next_version.build(self.lab.build, folder, version)

    def upgrade(self, host, version, programs):
        """As a package does it: other files under the old names, then a restart."""
        for path, program in programs.items():
            shutil.copy(program, host.path(path + ".new"))
            host.run("mv", path + ".new", path)
        self.disturb(host, "systemctl daemon-reload && systemctl restart worker-mesh")
        said = host.get("/status")["version"]
        if said != version:
            self.failures.append(f"{host} was upgraded to {version} and says {said}")

    # One repetition.

    def play(self, scenario, seed, pace=FAST):
        """Returns the record."""
        play, _, n_hosts, askers = SCENARIOS[scenario]
        assert len(self.hosts) >= n_hosts and not self.off, "a stage with enough hosts that are on"
        self.chance = random.Random(seed)
        self.troubles, self.failures = [], []
        self.set_pace(pace)
        begin = time.time()
        name = re.sub(r"\W", "-", f"{scenario}-{begin:.3f}")
        attributes = [(0.25, {"on_node_loss": "fail"})] if "on-node-loss" in self.landed else []
        askers = [self.hosts[i] for i in askers or range(len(self.hosts))]
        load = Load(name, self.hosts, askers, seed, attributes=attributes)
        try:
            with load:
                wait_for(lambda: load.begun() > 0, SETTLE_SECONDS, "the first job has begun")
                self.pause(0.5, 4.0)
                play(self)
                self.pause(0.5, 2.0)
            told, told_again = self.settle(load)
        except AssertionError as failure:
            self.failures.append(str(failure))
            told, told_again = self.ask_all(load), {}
        return {
            "scenario": scenario,
            "seed": seed,
            "pace": pace.name,
            "interval": pace.interval,
            "detected_within": pace.detected_within,
            "landed": sorted(self.landed),
            "begin": begin,
            "seconds": time.time() - begin,
            "nodes": self.nodes,
            "wishes": [wish.record() for wish in load.wishes],
            "lines": load.lines(),
            "troubles": self.troubles,
            "told": told,
            "told_again": told_again,
            "index": self.wait_for_indexes(load) if "index" in self.landed else {},
            "losses": self.losses(begin),
            "failures": self.failures + load.failures,
        }

    def settle(self, load):
        """Waits until all has ended that ends; returns what every node tells then, and when all is quiet."""
        for host in self.off:
            load.forsake(host)
        wait_for(self.all_trust, SETTLE_SECONDS, "all trust all again")
        wait_for(load.all_accepted, SETTLE_SECONDS, "all jobs are accepted")
        told = {}

        def all_ended():
            told.update(self.ask_all(load))
            return all(
                told[host.name].get(job_id, {"status": UNFINISHED[0]})["status"] not in UNFINISHED
                for host in self.living
                for job_id in self.known_to(host, load)
            )

        wait_for(all_ended, SETTLE_SECONDS, "all jobs have ended", interval=0.3)
        wait_for(lambda: self.is_quiet(load), SETTLE_SECONDS, "nothing runs any more", interval=0.3)
        return told, self.ask_all(load)

    def is_quiet(self, load):
        last = {}
        for host, words in load.lines():
            last[host, *words[1:5]] = words
        now = time.time()
        if any(words[0] != "end" and now - float(words[6]) < SILENT_SECONDS for words in last.values()):
            return False
        return all(host.get("/status")["running"] == 0 for host in self.living)

    def known_to(self, host, load):
        """Of which jobs a node must be able to tell."""
        return {wish.job_id for wish in load.wishes if wish.host is host or "calls" in self.landed} - {None}

    def ask_all(self, load):
        """What every node tells of every job that it should know."""
        told = {}
        for host in self.living:
            told[host.name] = {}
            for job_id in self.known_to(host, load):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    status, job = host.request("GET", f"/jobs/{job_id}", timeout=20)
                    if status == 200:
                        told[host.name][job_id] = job
        return told

    def wait_for_indexes(self, load):
        """What they have when they have the end of every job, or do not get it."""
        end = time.monotonic() + INDEX_SECONDS
        while True:
            found = self.read_indexes(load)
            ends = {job_id for wish in load.wishes if (job_id := wish.job_id)}
            if time.monotonic() > end or all(
                ends <= {job_id for job_id, job in jobs.items() if job["status"] not in UNFINISHED} for jobs in found.values()
            ):
                return found
            time.sleep(0.5)

    def read_indexes(self, load):
        """What the index of every node has of these jobs."""
        ids = {wish.job_id for wish in load.wishes} - {None}
        found = {}
        for host in self.living:
            found[host.name], cursor = {}, ""
            while cursor is not None and len(found[host.name]) < len(ids):
                try:
                    page = host.get(f"/jobs?scope=mesh&limit=1000{cursor}", timeout=20)
                except (OSError, http.client.HTTPException, AssertionError):
                    break
                found[host.name].update({job["job_id"]: job for job in page["jobs"] if job["job_id"] in ids})
                cursor = f"&cursor={page['next_cursor']}" if page.get("next_cursor") else None
        return found

    def losses(self, since):
        """Who was said to be lost by whom, as the journals tell."""
        names = {node_id: host for host, node_id in self.nodes.items()}
        found = []
        for host in self.living:
            for entry in host.journal(f"MESSAGE_ID={PEER_LOST}", f"--since=@{int(since)}"):
                at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
                node_id = re.search(r"node-[0-9a-f]{16}", entry["MESSAGE"]).group()
                if at >= since and node_id in names:
                    found.append({"by": host.name, "of": names[node_id], "at": at})
        return found

    def journals(self, since):
        told = {}
        for host in self.living:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                text = host.run(f"journalctl --no-pager --output=short-unix --since=@{int(since)}", check=False).stdout
                told[host.name] = text.splitlines()
        return told


class Campaign:
    """Repetitions of scenarios, on a stage that is used again as long as nothing went wrong on it."""

    def __init__(self, build, seed, **how):
        self.build, self.seed, self.how = build, seed, how
        self.stage = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave_stage()

    def leave_stage(self):
        if self.stage:
            self.stage.close()
            self.stage = None

    def repeat(self, scenario, number, pace=FAST):
        """The record and the verdict of one repetition. The journals of a bad one are in the record."""
        n_hosts = SCENARIOS[scenario].hosts
        if self.stage and (len(self.stage.hosts) != n_hosts or self.stage.off):
            self.leave_stage()
        self.stage = self.stage or Stage(self.build, n_hosts, **self.how)
        record = self.stage.play(scenario, f"{self.seed}/{scenario}/{number}", pace)
        verdict = judge(record)
        if not verdict.is_good():
            record["journals"] = self.stage.journals(record["begin"])
            self.leave_stage()
        return record, verdict
