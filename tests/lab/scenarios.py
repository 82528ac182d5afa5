# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done to hosts while jobs come in. Each function of SCENARIOS gets a stage (repetition.py): its hosts, its
chance, and what can be done to a host; what is done is written down by the stage."""

import collections

from hosts import in_parallel

Scenario = collections.namedtuple("Scenario", "play what hosts askers")

FROZEN_SECONDS = 20  # longer than any node waits for another one
LOSS_PERCENT = 20
LOOPS = (10, 20)  # of kills and restarts
KILL = "systemctl kill --kill-whom=main --signal=KILL worker-mesh"
RESTART = "systemctl restart worker-mesh"


def power_cut_executor(stage):
    """h1 and h2 own all jobs; h3 only runs them."""
    stage.cut_power(stage.hosts[-1], off=(0.0, 20.0))


def power_cut_owner(stage):
    """h1 owns all jobs."""
    stage.cut_power(stage.hosts[0], off=(0.0, 20.0), for_good=stage.owners_stay_off)


def power_cut_both(stage):
    stage.cut_power(stage.hosts[-1], off=(0.0, 15.0))
    stage.pause(0.0, 3.0)
    stage.cut_power(stage.hosts[0], off=(0.0, 15.0), for_good=stage.owners_stay_off)


def cable_short(stage):
    for _ in range(3):
        stage.pull_cable(stage.any_host(), out=(0.2, 2.0))
        stage.pause(1.0, 2.0)


def cable_long(stage):
    """Beyond the time after which the host is off the lists of the others."""
    stage.pull_cable(stage.any_host(), out=(stage.peer_timeout + 1.0, stage.peer_timeout + 6.0))


def stop_daemon(stage):
    stage.stop_daemon(stage.any_host(), FROZEN_SECONDS)


def freeze_host(stage):
    stage.freeze(stage.any_host(), FROZEN_SECONDS)


def packet_loss(stage):
    stage.lose_packets(LOSS_PERCENT, stage.loss_seconds)


def kill_daemons(stage):
    for _ in range(stage.chance.randint(*LOOPS)):
        stage.disturb(stage.any_host(), KILL)
        stage.pause(0.0, 1.5)


def restart_daemons(stage):
    for _ in range(stage.chance.randint(*LOOPS)):
        stage.disturb(stage.any_host(), RESTART)
        stage.pause(0.0, 1.5)


def rolling_upgrade(stage):
    hosts = list(stage.hosts)
    stage.chance.shuffle(hosts)
    with stage.next_version() as (version, programs):
        for host in hosts:
            stage.upgrade(host, version, programs)
            stage.pause(0.5, 3.0)


def shutdown(stage):
    """In order: what runs there ends there, and what waits there goes elsewhere or waits for the next boot."""
    stage.shut_down(stage.any_host(), off=(0.0, 15.0))


def storm(stage):
    """Two hosts at a time."""
    for _ in range(stage.chance.randint(2, 4)):
        todo = []
        for host in stage.chance.sample(stage.hosts, 2):
            seconds = stage.chance.uniform(0.2, 12.0)
            acts = (
                lambda host=host, seconds=seconds: stage.cut_power(host, off=(seconds, seconds)),
                lambda host=host, seconds=seconds: stage.pull_cable(host, out=(seconds, seconds)),
                lambda host=host, seconds=seconds: stage.stop_daemon(host, seconds),
                lambda host=host, seconds=seconds: stage.freeze(host, seconds),
                lambda host=host: stage.disturb(host, KILL),
                lambda host=host: stage.disturb(host, RESTART),
            )
            todo.append(stage.chance.choice(acts))
        in_parallel(todo)
        stage.pause(0.0, 4.0)


def calm(stage):
    """What the others are held against: nothing happens, and nothing runs twice."""
    stage.pause(5.0, 10.0)


SCENARIOS = {
    "calm": Scenario(calm, "nothing happens", 3, None),
    "power-cut-executor": Scenario(power_cut_executor, "power cut of a host that runs jobs of others", 3, (0, 1)),
    "power-cut-owner": Scenario(power_cut_owner, "power cut of the host that owns all jobs", 3, (0,)),
    "power-cut-both": Scenario(power_cut_both, "power cut of one that runs them, then of the owner", 4, (0,)),
    "cable-short": Scenario(cable_short, "cable pulled for less than it takes to be lost, three times", 3, None),
    "cable-long": Scenario(cable_long, "cable pulled for longer than PeerTimeout=", 3, None),
    "stop-daemon": Scenario(stop_daemon, "SIGSTOP of a daemon for 20 s", 3, None),
    "freeze-host": Scenario(freeze_host, "everything on a host stands still for 20 s", 3, None),
    "packet-loss": Scenario(packet_loss, "a fifth of all packets is lost, 10 minutes", 4, None),
    "kill-daemons": Scenario(kill_daemons, "kill -9 of daemons, in a loop", 3, None),
    "restart-daemons": Scenario(restart_daemons, "systemctl restart of daemons, in a loop", 3, None),
    "rolling-upgrade": Scenario(rolling_upgrade, "another version is installed, host by host", 4, None),
    "storm": Scenario(storm, "all of that at random, to two of four hosts at a time", 4, None),
    "shutdown": Scenario(shutdown, "poweroff of a host, which drains", 3, None),
}
