# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures that need a service manager: nodes as a service on hosts of tests/lab. See README.md."""

import time

import node
from figures import SLICES, ratio
from node import Failure
from service_host import API_SOCKET, Service, ServiceHost

PEERS = 2
OURS = {"daemon": "worker-mesh", "executor": "worker-mesh-executor"}
OTHERS = {"journald": "systemd-journald", "dbus-daemon": "dbus"}


def check(count, expected, what):
    if count != expected:
        raise Failure(f"{expected} {what} are expected, and there are {count}.")


def jobs(bench):
    bench.title("f", 'jobs of "true", by the service with its journal, and from a terminal')
    count = bench.amount(2500, 25)
    with ServiceHost(bench) as host, host.terminal() as terminal:
        service = Service(host)
        turns = bench.rate_turns(lambda: service.run_jobs(count), lambda: terminal.run_jobs(count))
        for side in (service, terminal):
            check(side.count_jobs("JOB_COMPLETED"), side.n_jobs, "completed jobs")
        check(service.count_lines(), service.n_jobs, "lines in the journal")
    ratio(bench, turns, 0.85, "terminal", name="service")
    bench.remark("journal behind by", [1000 * seconds for seconds in service.lags], " ms")
    theirs = terminal.usec_per_job()
    for name, usec in service.usec_per_job().items():
        beside = f"; from a terminal {theirs[name]:.0f}" if name in theirs else ""
        print(f"        {name + ':':<30} {usec:.0f} us of processor a job{beside}")


def calls(bench):
    bench.title("g", "durable submissions over the bus and over the unix socket, no job runs")
    with ServiceHost(bench, settings="Slots=0") as host:
        submitted = 0
        for clients, window in ((1, 1), (8, 1), (1, 64)):
            submitted += _calls(bench, host, clients, window)
        check(Service(host).count_jobs("JOB_PENDING"), submitted, "waiting jobs")


def _calls(bench, host, clients, window):
    """How many have been submitted."""
    count = bench.amount(2000, 50)
    options = {"count": count, "clients": clients, "window": window}
    ways = {
        "SubmitJob": Spending(host, lambda: host.program("bench-calls", **options)),
        "SubmitJob, with a subscriber": Spending(host, lambda: _with_subscriber(host, **options)),
        "POST": Spending(
            host,
            lambda: host.program("bench-submit", count=count, connections=clients * window, socket=API_SOCKET),
        ),
    }
    rates = dict(zip(ways, zip(*bench.rate_rounds(*ways.values()))))
    called, told, posted = rates.values()
    print(f"    {clients} client{'s' * (clients > 1)}, {window} call{'s' * (window > 1)} of each under way:")
    bench.remark("SubmitJob / POST", [a / b for a, b in zip(called, posted)])
    bench.remark("with a subscriber / without", [a / b for a, b in zip(told, called)])
    for name, way in ways.items():
        bench.remark(name, rates[name], "/s")
        print(f"        {'':<30} {way.usec_each(count)} of processor each")
    return len(ways) * count * SLICES * bench.rounds


def _with_subscriber(host, **options):
    figures = host.program("bench-calls", subscribed=True, **options)
    if figures["signals"] == 0:
        raise Failure("the subscriber was told nothing.")
    return figures


class Spending:
    """What daemon and bus spend while something is measured; called again and again."""

    def __init__(self, host, measure):
        self.measure = measure
        self.pids = {name: host.pids(unit) for name, unit in (("daemon", "worker-mesh"), ("dbus-daemon", "dbus"))}
        self.seconds = dict.fromkeys(self.pids, 0.0)
        self.n = 0

    def __call__(self):
        before = {name: node.processor_seconds(pids) for name, pids in self.pids.items()}
        figures = self.measure()
        for name, pids in self.pids.items():
            self.seconds[name] += node.processor_seconds(pids) - before[name]
        self.n += 1
        return figures

    def usec_each(self, count):
        return ", ".join(f"{name} {spent / self.n / count * 1e6:.0f} us" for name, spent in self.seconds.items())


def _wakeups(host, seconds):
    """A second, by who wakes up; what is not there does not."""
    pids = {name: host.pids(unit) for name, unit in {**OURS, **OTHERS}.items()}
    pids["PID 1"] = [host.host.pid]
    before = {name: node.wakeups(those) for name, those in pids.items()}
    begin = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    return {name: (node.wakeups(those) - before[name]) / elapsed for name, those in pids.items()}


def wakeups(bench):
    window = bench.rounds * bench.amount(12.0, 0.5)
    bench.title("h", f"wake-ups a second of an idle service, over {window:.0f} s")
    settle = bench.amount(15.0, 0.5)
    with ServiceHost(bench) as host:
        host.run_some(bench.amount(1000, 10))
        time.sleep(settle)
        alone = _wakeups(host, window)
        host.up(PEERS)
        time.sleep(settle)
        together = _wakeups(host, window)
        host.stop()
        time.sleep(settle)
        stopped = _wakeups(host, window)
    print(f"        {'':<16} {'alone':>10} {f'{PEERS} peers':>10} {'stopped':>10}")
    for name in (*OURS, *OTHERS, "PID 1"):
        rates = [f"{rates[name]:.2f}" for rates in (alone, together, stopped)]
        print(f"        {name + ':':<16} {rates[0]:>10} {rates[1]:>10} {rates[2]:>10}")
    others = [sum(rates[name] - stopped[name] for name in (*OTHERS, "PID 1")) for rates in (alone, together)]
    ours = [sum(rates[name] for name in OURS) for rates in (alone, together)]
    print(f"        {'ours':<16} {ours[0]:>10.2f} {ours[1]:>10.2f}")
    print(f"        {'because of us':<16} {others[0]:>10.2f} {others[1]:>10.2f}")


def memory(bench):
    bench.title("i", "memory of an idle service that has run jobs")
    with ServiceHost(bench) as host:
        host.run_some(bench.amount(10000, 50))
        time.sleep(bench.amount(6.0, 0.5))
        both = []
        for _ in range(bench.rounds):
            both.append({name: node.memory(host.pids(unit)) for name, unit in OURS.items()})
            time.sleep(bench.amount(1.0, 0.1))
    for kind in ("Pss_Anon", "Pss", "Rss"):
        for name in OURS:
            bench.remark(f"{kind} of the {name}", [memory[name][kind] / 1024 for memory in both], " MB")
    together = [sum(memory[name]["Pss_Anon"] for name in OURS) / 1024 for memory in both]
    bench.goal("anonymous memory together", together, " MB", below=3)
