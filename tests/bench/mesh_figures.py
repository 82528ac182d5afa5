# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures of a mesh: jobs that one host gives to another, hosts that are lost, many peers. See README.md."""

import collections
import concurrent.futures
import contextlib
import json
import random
import sqlite3
import statistics
import subprocess
import time

import node
from mesh_hosts import Mesh, hosts, share_key, trust_each_other
from node import Failure
from service_host import SERVICE_PORT

PEER_LOST = "51d07155c421e199276045ce411e500f"
PROCESSORS_IDLE = 0.02
# Where a machine is busy a keeper is soon too slow, and another one takes its place in the middle of a figure.
PATIENT = "KeeperWait=5s"
CHANGES_GATHER_SECONDS = 2.5  # until the last changes have reached the index of the others


def _body(command, target=None):
    return json.dumps({"command": command, **({"target_node_id": target.node_id} if target else {})})


def _ran_on(owner, since):
    """How many of the owner's jobs ran where, and for how long all together, as its database has them."""
    path = f"file:{node.database_in(owner.state)}?mode=ro"
    query = "SELECT executor_node_id, count(*), sum(duration_usec) FROM jobs WHERE seq > ? AND status = 'JOB_COMPLETED'"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
        rows = database.execute(f"{query} GROUP BY executor_node_id", (since,)).fetchall()
    return {name: n for name, n, _ in rows}, sum(usec for _, _, usec in rows) / 1e6


def _last_job(owner):
    with contextlib.closing(sqlite3.connect(f"file:{node.database_in(owner.state)}?mode=ro", uri=True)) as database:
        return database.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0]


# j


def _latency_of(bench, name, owner, target, goals):
    """A job at a time, beside a bare spawn and a bare commit in turns."""
    count = bench.amount(500, 10)
    options = {"port": SERVICE_PORT, "body": _body("true", target)}
    owner.program("bench-latency", count=bench.amount(50, 2), **options)
    before = _last_job(owner)
    rounds = [
        (owner.program("bench-latency", count=count, **options), owner.spawn(count), owner.commit(count))
        for _ in range(bench.rounds)
    ]
    where, _ = _ran_on(owner, before)
    if where != {(target or owner).node_id: count * bench.rounds}:
        raise Failure(f"the jobs ran elsewhere: {where}")
    added = [(ours["p50_usec"] - spawn["p50_usec"]) / 1000 for ours, spawn, _ in rounds]
    print(f"    {name}:")
    if goals:
        bench.goal(f"{name}: added", added, " ms", below=2.5)
        bench.goal(f"{name}: p99", [ours["p99_usec"] / 1000 for ours, _, _ in rounds], " ms", below=20)
    else:
        bench.remark(f"{name}: added", added, " ms")
        bench.remark(f"{name}: p99", [ours["p99_usec"] / 1000 for ours, _, _ in rounds], " ms")
    bench.remark("added, in commits", [ms * 1000 / commit["p50_usec"] for ms, (_, _, commit) in zip(added, rounds)])
    bench.remark("median", [ours["p50_usec"] / 1000 for ours, _, _ in rounds], " ms")
    bench.remark("bare spawn", [spawn["p50_usec"] / 1000 for _, spawn, _ in rounds], " ms")
    bench.remark("bare commit", [commit["p50_usec"] / 1000 for _, _, commit in rounds], " ms")


def latency(bench):
    bench.title("j", 'POST ?wait=30s of "true" on one host, one at a time, that runs there or on another')
    with Mesh(bench, settings=PATIENT) as mesh:
        owner = mesh.add()
        _latency_of(bench, "here, no peers", owner, None, goals=False)
        keeper = mesh.add_keeper(owner)
        _latency_of(bench, "here, a copy there", owner, None, goals=False)
        _latency_of(bench, "there, and the copy", owner, keeper, goals=True)
        third = mesh.add()
        _latency_of(bench, "there, the copy elsewhere", owner, third, goals=True)


# k


def makespan(bench):
    n_hosts, slots = 4, 8
    all_slots = n_hosts * slots
    batch, batches = bench.amount(1000, 40), bench.amount(4, 2)
    count = batch * batches
    bench.title("k", f'{count} times "sleep 0.1", given to one of {n_hosts} hosts of {slots} slots')
    rounds = []
    with Mesh(bench, settings=f"Slots={slots}") as mesh:
        for _ in range(n_hosts):
            mesh.add()
        owner = mesh.members[0]
        job = {"command": "sleep 0.1"}
        for _ in range(bench.rounds):
            before = _last_job(owner)
            options = {"batch": batch, "requests": batches, "slots": all_slots, "body": _body(**job)}
            seconds = count / owner.program("bench-jobs", port=SERVICE_PORT, **options)["rate"]
            where, busy = _ran_on(owner, before)
            if sum(where.values()) != count:
                raise Failure(f"{count} jobs should have been completed, and {sum(where.values())} are.")
            alone = owner.spawn(bench.amount(50, 3), **job)["p50_usec"] / 1e6
            limit = count / owner.spawn(count, concurrency=all_slots, **job)["rate"]
            rounds.append(
                {
                    "seconds": seconds,
                    "limit": limit,
                    "ideal": -(-count // all_slots) * alone,
                    "use": 100 * busy / (all_slots * seconds),
                    "there": 100 - 100 * where.get(owner.node_id, 0) / count,
                }
            )
    # What the machine cannot do is no fault of the mesh: the spawn loop is the fair limit.
    bench.goal("makespan / ideal", [each["seconds"] / each["ideal"] for each in rounds], "", below=1.08)
    bench.goal("makespan / spawn loop", [each["seconds"] / each["limit"] for each in rounds], "", below=1.08)
    bench.remark("spawn loop / ideal", [each["limit"] / each["ideal"] for each in rounds])
    bench.remark("makespan", [each["seconds"] for each in rounds], " s")
    bench.remark("spawn loop, as many at once", [each["limit"] for each in rounds], " s")
    bench.remark("ideal", [each["ideal"] for each in rounds], " s")
    bench.remark("mean use of the slots", [each["use"] for each in rounds], " %")
    bench.remark("ran on other hosts", [each["there"] for each in rounds], " %")


# l


def _lost_after(host, victim_id, begin):
    """Seconds from the fault to the message that the node does not answer; None: not yet."""
    for entry in host.journal(f"MESSAGE_ID={PEER_LOST}", f"--since=@{int(begin)}"):
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        if at >= begin and victim_id in entry["MESSAGE"]:
            return at - begin
    return None


def _power(host):
    host.crash()
    return lambda: (host.boot(), host.run("systemctl start worker-mesh"))


def _cable(host):
    host.cut()
    return host.heal


def _stopped(host):
    host.freeze()
    return host.thaw


FAULTS = {"power cut": _power, "cable pulled": _cable, "host stopped": _stopped}


def _detection_of(bench, number):
    """What happened in one lab: by fault, of each survivor how long it took."""
    settle, chance = bench.amount(5.0, 0.5), random.Random(number)
    found = collections.defaultdict(list)
    with hosts.Lab(build=bench.build) as lab:
        members = lab.up(bench.amount(4, 3))
        for host in members:
            host.write("/etc/worker-mesh/worker-mesh.conf.d/bench.conf", "[Mesh]\nSlots=1\n")
            host.activate()
        share_key(members)
        for host in members:
            host.run("systemctl start worker-mesh")
        for kind, fault in FAULTS.items():
            for _ in range(bench.amount(3, 1)):
                hosts.wait_for(lambda: trust_each_other(members), 90, "all trust all", interval=0.5)
                victim = chance.choice(members)
                victim_id = victim.get("/status")["node_id"]
                # At any moment between two heartbeats.
                time.sleep(settle * (1 + chance.random()))
                begin = time.time()
                undo = fault(victim)
                for host in members:
                    if host is not victim:
                        wait = hosts.wait_for
                        seconds = wait(lambda host=host: _lost_after(host, victim_id, begin), 40, "it is lost", interval=1)
                        found[kind].append(seconds)
                undo()
    return found


def detection(bench):
    labs = bench.amount(4, 1)
    bench.title("l", "from a fault to the message that the node does not answer, with the default intervals")
    try:
        with concurrent.futures.ThreadPoolExecutor(max_workers=labs) as pool:
            parts = list(pool.map(lambda number: _detection_of(bench, number), range(labs)))
    except AssertionError as error:
        raise Failure(str(error)) from error
    for kind in FAULTS:
        seconds = [value for part in parts for value in part[kind]]
        bench.goal(kind, seconds, " s", below=10)
        bench.remark("nine of ten within", [statistics.quantiles(seconds, n=10, method="inclusive")[-1]], " s")


# m


def _settle(pids, deadline=60):
    """Until daemon and executor have next to nothing to do."""
    end = time.monotonic() + deadline
    quiet = 0
    while quiet < 3:
        before = node.processor_seconds(pids)
        time.sleep(1)
        quiet = quiet + 1 if node.processor_seconds(pids) - before < PROCESSORS_IDLE else 0
        if time.monotonic() > end:
            raise Failure("the node does not become idle.")


def _anonymous(pids):
    return node.memory(pids)["Pss_Anon"]


def _listed(measured):
    """Jobs in its index of the mesh."""
    cursor, count = "", 0
    while cursor is not None:
        page = measured.get(f"/api/v1/jobs?scope=mesh&limit=1000{cursor}")
        count += page["count"]
        cursor = f"&cursor={page['next_cursor']}" if page.get("next_cursor") else None
    return count


def _with_peers(bench, n_peers, n_jobs, links_close):
    """Kilobytes of a node that has run some jobs: before it has peers, with them, and when its links are closed."""
    with bench.node(slots=2) as measured:
        bench.program("bench-jobs", port=measured.port, batch=bench.amount(1000, 20), slots=2)
        pids = measured.pids()
        _settle(pids)
        kilobytes = {"before": _anonymous(pids)}
        command = [node.program(bench.build, "tests", "bench", "bench-peers"), f"--port={measured.discovery_port}"]
        command += [f"--count={n_peers}", f"--jobs={n_jobs}", "--seconds=300", f"--key-file={measured.key_file}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as peers:
            try:
                hosts.wait_for(lambda: measured.get("/api/v1/status")["peer_count"] == n_peers, 60, "it sees all peers")
                if n_jobs:
                    wanted = bench.amount(1000, 20) + n_peers * n_jobs
                    hosts.wait_for(lambda: _listed(measured) >= min(wanted, 100_000), 60, "it knows all jobs", interval=2)
                _settle(pids)
                kilobytes["with"] = _anonymous(pids)
                if links_close:
                    time.sleep(75)
                    kilobytes["closed"] = _anonymous(pids)
            finally:
                peers.kill()
    return kilobytes


def memory(bench):
    n_peers, n_jobs = bench.amount(200, 10), bench.amount(500, 20)
    bench.title("m", f"memory of a node with {n_peers} peers that know {n_jobs} jobs each: daemon and executor together")
    bare = [_with_peers(bench, n_peers, 0, False) for _ in range(bench.rounds)]
    full = [_with_peers(bench, n_peers, n_jobs, not bench.tiny and i == 0) for i in range(bench.rounds)]
    megabytes = 1 / 1024
    bench.remark("Pss_Anon without peers", [each["before"] * megabytes for each in bare + full], " MB")
    bench.remark(f"{n_peers} peers", [each["with"] * megabytes for each in bare], " MB")
    bench.remark(f"{n_peers} peers, {n_peers * n_jobs} jobs", [each["with"] * megabytes for each in full], " MB")
    if "closed" in full[0]:
        bench.remark("the same, links closed", [full[0]["closed"] * megabytes], " MB")
    bench.remark("a peer", [(each["with"] - each["before"]) / n_peers for each in bare], " KB")
    one_job = [1024 * (a["with"] - a["before"] - b["with"] + b["before"]) / (n_peers * n_jobs) for a, b in zip(full, bare)]
    bench.remark("a job, links included", one_job, " bytes")


# n


class Traffic:
    """What was on the cable of an owner, a job."""

    def __init__(self, heard, idle, n_jobs, owner):
        self.heard, self.idle, self.n_jobs, self.owner = heard, idle, n_jobs, owner.host.address

    def _sum(self, heard, other, name):
        ends = {self.owner, other.host.address}
        return sum(pair.get(name, 0) for pair in heard["pairs"] if {pair["from"], pair["to"]} == ends)

    def a_job(self, other, name):
        """Both directions, less what is there in as many seconds without a job."""
        idle = self._sum(self.idle, other, name) * self.heard["seconds"] / self.idle["seconds"]
        return (self._sum(self.heard, other, name) - idle) / self.n_jobs

    def datagrams(self):
        """Bytes that any of them sent, broadcast included, less what is sent without a job."""
        heard, idle = (sum(pair.get("udp_bytes", 0) for pair in each["pairs"]) for each in (self.heard, self.idle))
        return (heard - idle * self.heard["seconds"] / self.idle["seconds"]) / self.n_jobs

    def kinds(self, other):
        """(from the owner, kind, number, bytes) a job, the largest first."""
        ends = {self.owner, other.host.address}
        rows = [
            (kind["from"] == self.owner, kind["kind"], kind["n"] / self.n_jobs, kind["bytes"] / self.n_jobs)
            for kind in self.heard["kinds"]
            if {kind["from"], kind["to"]} == ends
        ]
        return sorted(rows, key=lambda row: -row[3])


def _tell_traffic(bench, name, executor, keeper, rounds):
    print(f"    {name}, a job, both directions:")
    for role, other in (("executor", executor), ("keeper", keeper)):
        for title, field in (
            ("messages", "frames"),
            ("bytes of messages", "frame_bytes"),
            ("packets with data", "tcp_packets_with_data"),
            ("bytes on the cable", "tcp_bytes"),
        ):
            bench.remark(f"{role}: {title}", [each.a_job(other, field) for each in rounds])
        for outwards, kind, n, size in rounds[-1].kinds(other):
            if size >= 0.1:
                arrow = f"to {role}" if outwards else f"from {role}"
                print(f"            {arrow + ': ' + kind:<26} {n:8.3f} parts {size:8.1f} bytes")
    for title, field in (("messages", "frames"), ("bytes of messages", "frame_bytes"), ("bytes on the cable", "tcp_bytes")):
        bench.remark(f"both: {title}", [sum(each.a_job(other, field) for other in (executor, keeper)) for each in rounds])
    bench.remark("bytes of datagrams, from all to all", [each.datagrams() for each in rounds])


def traffic(bench):
    bench.title("n", 'what "true" costs between the hosts: one owns it, one runs it, one has the copy')
    burst, single = bench.amount(2000, 20), bench.amount(300, 5)
    # What cannot be read cannot be taken apart.
    with Mesh(bench, settings=f"Security=open\n{PATIENT}") as mesh:
        owner = mesh.add()
        keeper = mesh.add_keeper(owner)
        executor = mesh.add()
        body = _body("true", executor)
        ways = {
            "in a burst": (burst, lambda: owner.program("bench-jobs", port=SERVICE_PORT, batch=burst, slots=2, body=body)),
            "one at a time": (
                single,
                lambda: owner.program("bench-latency", port=SERVICE_PORT, count=single, body=body),
            ),
        }
        rounds = collections.defaultdict(list)
        for _ in range(bench.rounds):
            for name, (count, run) in ways.items():
                owner.program("bench-latency", port=SERVICE_PORT, count=1, body=body)
                time.sleep(CHANGES_GATHER_SECONDS)
                with mesh.capture(owner) as heard:
                    run()
                    time.sleep(CHANGES_GATHER_SECONDS)
                with mesh.capture(owner) as idle:
                    time.sleep(bench.amount(10.0, 0.5))
                rounds[name].append(Traffic(heard, idle, count, owner))
    for name in ways:
        _tell_traffic(bench, name, executor, keeper, rounds[name])
