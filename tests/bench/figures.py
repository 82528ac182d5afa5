# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured, and against what: one function a figure. See README.md."""

import os
import statistics
import subprocess
import time

import history
import node
from node import Failure, Node

IDLE_NODES = 50
SLICES = 4  # of a round of rates


class Bench:
    """Where to measure and how much, and what came of it."""

    def __init__(self, build, directory, rounds, tiny):
        self.build = build
        self.directory = directory
        self.rounds = rounds
        self.tiny = tiny
        self.reached = []
        self.records = []
        self.letter = None

    def amount(self, usual, tiny):
        return tiny if self.tiny else usual

    def program(self, name, **options):
        """Runs a program of this folder; its figures by name."""
        command = node.words(node.program(self.build, "tests", "bench", name), options)
        result = subprocess.run(command, capture_output=True, text=True, timeout=node.PROGRAM_SECONDS, check=False)
        return node.figures_of(name, result.returncode, result.stdout, result.stderr)

    def node(self, slots, state_directory=None):
        return Node(self.build, self.directory, slots, state_directory)

    def turns(self, measured, limit):
        """Both, again and again, so that what else the machine does meets both."""
        return [(measured(), limit()) for _ in range(self.rounds)]

    def rate_rounds(self, *measured):
        """The rates of all of them in turns; each round in short slices: what disturbs a second or two does not
        decide it."""
        rounds = []
        for _ in range(self.rounds):
            slices = [[measure()["rate"] for measure in measured] for _ in range(SLICES)]
            rounds.append([statistics.harmonic_mean(rates) for rates in zip(*slices)])
        return rounds

    def rate_turns(self, measured, limit):
        """As turns(), in slices."""
        return [({"rate": ours}, {"rate": theirs}) for ours, theirs in self.rate_rounds(measured, limit)]

    def title(self, letter, text):
        self.letter = letter
        print(f"\n({letter}) {text}")

    def _record(self, name, values, unit, **more):
        """For --json. What is printed says the same."""
        middle = statistics.median(values)
        numbers = {"median": middle, "lowest": min(values), "highest": max(values), "values": list(values)}
        self.records.append({"figure": self.letter, "name": name, "unit": unit.strip(), **numbers, **more})

    def remark(self, name, values, unit=""):
        self._record(name, values, unit)
        spread = f"{statistics.median(values):.5g}{unit} ({min(values):.5g} .. {max(values):.5g})"
        print(f"        {name + ':':<30} {spread}")

    def goal(self, name, values, unit, at_least=None, below=None):
        median = statistics.median(values)
        reached = median >= at_least if at_least is not None else median < below
        wanted = f"at least {at_least}" if at_least is not None else f"below {below}"
        spread = f"{median:.3g}{unit} ({min(values):.3g} .. {max(values):.3g})"
        print(f"    {name + ':':<34} {spread:<32} goal {wanted}{unit}: {'reached' if reached else 'NOT reached'}")
        self._record(name, values, unit, goal=wanted, reached=reached)
        self.reached.append(reached)


def check_count(measured_node, status, expected):
    count = measured_node.count_jobs(status)
    if count != expected:
        raise Failure(f"{expected} jobs should be {status} in the database, and {count} are.")


def rates(turns):
    return [measured["rate"] for measured, _ in turns], [limit["rate"] for _, limit in turns]


def ratio(bench, turns, at_least, limit_name, name="node"):
    ours, theirs = rates(turns)
    bench.goal(f"{name} / {limit_name}", [a / b for a, b in zip(ours, theirs)], "", at_least=at_least)
    bench.remark(name, ours, "/s")
    bench.remark(limit_name, theirs, "/s")


def jobs(bench):
    processors = len(os.sched_getaffinity(0))
    for slots in sorted({processors, 4}):
        bench.title("a", f"jobs of \"true\", submitted, run, results durable and readable, {slots} slots")
        count = bench.amount(2500, 25)
        with bench.node(slots) as measured:
            measured.run_job("true")
            turns = bench.rate_turns(
                lambda: bench.program("bench-jobs", port=measured.port, batch=count, slots=slots),
                lambda: bench.program("bench-spawn", count=count, concurrency=slots),
            )
            check_count(measured, "JOB_COMPLETED", 1 + count * SLICES * bench.rounds)
        ratio(bench, turns, 0.90, "spawn loop")


def submissions(bench):
    bench.title("b", "durable submissions, no job runs")
    limit = os.path.join(bench.directory, "limit.db")
    with bench.node(slots=0) as measured:
        measured.submit("true")
        database = measured.database
        count = bench.amount(5000, 200)
        single = bench.rate_turns(
            lambda: bench.program("bench-submit", port=measured.port, count=count, connections=64),
            lambda: bench.program("bench-commit", template=database, database=limit, count=count, submitters=64),
        )
        batch = bench.amount(10000, 100)
        batches = bench.turns(
            lambda: bench.program("bench-jobs", port=measured.port, batch=batch, slots=0),
            lambda: bench.program("bench-commit", template=database, database=limit, count=batch),
        )
        check_count(measured, "JOB_PENDING", 1 + (count * SLICES + batch) * bench.rounds)
    print("    One job a request, 64 connections; 64 submitters of one SQLite writer:")
    ratio(bench, single, 0.40, "group commit")
    print(f"    {batch} jobs in one request; as many inserts in one transaction:")
    ratio(bench, batches, 0.60, "bare inserts")


def latency(bench):
    bench.title("c", "POST ?wait=30s of \"true\", one at a time")
    count = bench.amount(1000, 20)
    with bench.node(slots=len(os.sched_getaffinity(0))) as measured:
        measured.run_job("true")
        turns = bench.turns(
            lambda: bench.program("bench-latency", port=measured.port, count=count, body='{"command":"true"}'),
            lambda: bench.program("bench-spawn", count=count),
        )
    added = [(ours["p50_usec"] - theirs["p50_usec"]) / 1000 for ours, theirs in turns]
    bench.goal("added over a bare spawn", added, " ms", below=0.6)
    for name in ("p50_usec", "p95_usec", "p99_usec"):
        bench.remark(f"node {name[:3]}", [ours[name] / 1000 for ours, _ in turns], " ms")
        bench.remark(f"bare spawn {name[:3]}", [theirs[name] / 1000 for _, theirs in turns], " ms")


def idle(bench):
    bench.title("d", f"idle after work, with {IDLE_NODES} peers: daemon and executor together")
    window = bench.amount(6.0, 0.5)
    interval = bench.amount(5000, 500)
    seconds = int(bench.rounds * window + 2 * interval / 1000 + 10)
    slots = len(os.sched_getaffinity(0))
    with bench.node(slots) as measured:
        bench.program("bench-jobs", port=measured.port, batch=bench.amount(10000, 50), slots=slots)
        command = [node.program(bench.build, "tests", "bench", "bench-peers")]
        command += [f"--port={measured.discovery_port}", f"--count={IDLE_NODES}", f"--interval={interval}"]
        command += [f"--key-file={measured.key_file}"]
        with subprocess.Popen([*command, f"--seconds={seconds}"], stdout=subprocess.PIPE) as peers:
            try:
                _idle_windows(bench, measured, window, interval)
            finally:
                peers.kill()


def _idle_windows(bench, measured, window, interval):
    deadline = time.monotonic() + 2 * interval / 1000 + 5
    while measured.get("/api/v1/status")["peer_count"] < IDLE_NODES:
        if time.monotonic() > deadline:
            raise Failure(f"the node does not see {IDLE_NODES} peers.")
        time.sleep(0.1)
    pids = measured.pids()
    if len(pids) != 2:
        raise Failure(f"{len(pids)} processes belong to the node instead of two.")
    memory, processor, wakeups = [], [], []
    for _ in range(bench.rounds):
        seconds_before, wakeups_before = node.processor_seconds(pids), node.wakeups(pids)
        begin = time.monotonic()
        time.sleep(window)
        elapsed = time.monotonic() - begin
        processor.append((node.processor_seconds(pids) - seconds_before) / elapsed * 100)
        wakeups.append((node.wakeups(pids) - wakeups_before) / elapsed)
        memory.append(node.memory(pids))
    bench.goal("anonymous memory", [kinds["Pss_Anon"] / 1024 for kinds in memory], " MB", below=3)
    bench.goal("of one processor", processor, " %", below=0.2)
    bench.remark("Pss", [kinds["Pss"] / 1024 for kinds in memory], " MB")
    bench.remark("Rss", [kinds["Rss"] / 1024 for kinds in memory], " MB")
    for pid in pids:
        bench.remark(f"Pss_Anon of {node.name_of(pid)}", [node.memory([pid])["Pss_Anon"] / 1024], " MB")
    bench.remark("wake-ups", wakeups, "/s")


def lists(bench):
    count = bench.amount(1_000_000, 2000)
    bench.title("e", f"GET /jobs?limit=50 with {count} finished jobs")
    with bench.node(slots=1) as measured:
        measured.run_job("true")
        state, database = measured.directory, measured.database
    history.fill(database, count)
    with bench.node(slots=1, state_directory=state) as measured:
        check_count(measured, history.RARE_STATUS, history.RARE_COUNT)
        requests = bench.amount(200, 5)
        for name, query in (
            ("newest", ""),
            ("of a common state", "&status=JOB_COMPLETED"),
            ("of a rare, old state", f"&status={history.RARE_STATUS}"),
            ("deep in the history", f"&cursor={_deep_cursor(measured, count // 2)}"),
        ):
            turns = bench.turns(
                lambda path=f"/api/v1/jobs?limit=50{query}": bench.program(
                    "bench-latency", port=measured.port, count=requests, path=path
                ),
                lambda: bench.program("bench-latency", port=measured.port, count=requests, path="/api/v1/health"),
            )
            bench.goal(name, [ours["p50_usec"] / 1000 for ours, _ in turns], " ms", below=2)
            bench.remark("p99", [ours["p99_usec"] / 1000 for ours, _ in turns], " ms")
            bench.remark("GET /health beside it", [theirs["p50_usec"] / 1000 for _, theirs in turns], " ms")


def _deep_cursor(measured, depth):
    """Page after page, as a client would get there."""
    cursor, seen = None, 0
    while seen < depth:
        page = measured.get(f"/api/v1/jobs?limit=1000{'&cursor=' + cursor if cursor else ''}")
        seen += page["count"]
        cursor = page["next_cursor"]
    return cursor
