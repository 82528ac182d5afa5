# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself: hosts are what they claim to be, do no harm, and go."""

import os
import signal
import subprocess
import sys

import guardian
import hosts
import machine
import pytest
from evidence import Evidence
from hosts import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def three(bare_lab):
    return bare_lab.up(3)


def answer_on(host, port=7777):
    """A service that sends back what it gets."""
    host.run(f"systemd-run --quiet systemd-socket-activate --accept --listen={port} --inetd cat")
    wait_for(lambda: f":{port} " in host.run("ss -ltn").stdout, 5, "the service listens")


def reaches(host, other, port=7777):
    line = f"exec 3<>/dev/tcp/{other.address}/{port} && echo hello >&3 && read -r -t 1 answer <&3 && [ $answer = hello ]"
    return host.run("timeout", "2", "bash", "-c", line, check=False).status == 0


def test_hosts_have_what_a_host_has(three):
    for host in three:
        assert host.run("systemctl is-system-running").stdout == "running\n"
        assert host.run("hostname").stdout.strip() == host.name
        assert host.run("busctl call org.freedesktop.systemd1 / org.freedesktop.DBus.Peer GetMachineId").stdout
        assert host.run("ps -o comm= -p 1").stdout == "systemd\n"
        assert host.address in host.run("ip -4 address show eth0").stdout
    for what in ("cat /etc/machine-id", "cat /proc/sys/kernel/random/boot_id"):
        assert len({host.run(what).stdout for host in three}) == 3


def test_commands(three):
    host = three[0]
    assert host.run("echo out; echo err >&2; exit 3", check=False).__dict__.items() >= {
        "status": 3,
        "stdout": "out\n",
        "stderr": "err\n",
    }.items()
    with pytest.raises(AssertionError, match="exit status 1"):
        host.run("false")
    with pytest.raises(subprocess.TimeoutExpired):
        host.run("sleep 3217", timeout=0.2)
    wait_for(lambda: not host.run("pgrep -f '^sleep 3217'", check=False).stdout, 5, "what timed out has ended")
    assert host.run("cat", stdin="text").stdout == "text"
    assert host.run("id -un; echo $COLOUR", user="nobody", environment={"COLOUR": "blue"}).stdout == "nobody\nblue\n"
    assert host.run("cat /proc/self/cgroup").stdout.splitlines()[-1].startswith("0::/lab/")
    host.write("/etc/one/two", "three", mode=0o600)
    assert host.run("stat -c %a /etc/one/two; cat /etc/one/two").stdout == "600\nthree"
    assert host.read("/etc/hostname") == host.name + "\n"


def test_journal(three):
    host = three[1]
    host.run("printf 'MESSAGE=two\\nlines\\nPRIORITY=4' | logger --journald", check=False)
    host.run("logger -t tester 'good news'")
    wait_for(lambda: host.journal("-t", "tester"), 5)
    entry = host.journal("-t", "tester")[-1]
    assert entry["MESSAGE"] == "good news"
    assert entry["_HOSTNAME"] == host.name


def test_evidence_shows_what_went_wrong(three):
    evidence = Evidence(three[0], "made-up")
    commands = [evidence.command(until="true") for _ in range(6)]
    for number in (0, 2, 2):
        three[0].run(commands[number])
    three[0].write(
        evidence.path,
        three[0].read(evidence.path) + "start made-up-4 \nstart made-up-5\nstart made-up-5\nend made-up-5\nend made-up-5\n"
        "start made-up-6\nend made-up-6\nstart somebody-else\n",
    )
    assert evidence.problems() == [
        "made-up-2 was lost",
        "made-up-3 began 2 times",
        "made-up-3 ended 2 times",
        "made-up-4 ended 0 times",
        "made-up-5 began 2 times, two at once",
        "made-up-5 ended 2 times",
        "unexpected: ('start', 'somebody-else')",
    ]


def test_cables(three):
    one, two, other = three
    answer_on(two)
    assert reaches(one, two)
    two.cut()
    assert not reaches(one, two)
    two.heal()
    wait_for(lambda: reaches(one, two), 10, "plugged in again")
    two.loss(100)
    assert not reaches(one, two)
    two.loss(0)
    wait_for(lambda: reaches(one, two), 10, "nothing is lost any more")
    answer_on(other)
    assert reaches(two, other)


def test_power_loss(three):
    host = three[2]
    boot = host.read("/proc/sys/kernel/random/boot_id")
    machine = host.read("/etc/machine-id")
    host.write("/var/lib/kept", "kept")
    host.write("/run/lost", "lost")
    host.run("logger -t tester 'before the power loss' && journalctl --sync")
    with host.background("sleep 1000") as sleeper:
        host.crash()
        assert not host.is_up()
        assert sleeper.wait(5) != 0
    host.boot()
    assert host.read("/var/lib/kept") == "kept"
    assert not os.path.exists(host.path("/run/lost"))
    assert host.read("/etc/machine-id") == machine
    assert host.read("/proc/sys/kernel/random/boot_id") != boot
    assert [entry["MESSAGE"] for entry in host.journal("-t", "tester")] == ["before the power loss"]
    answer_on(host)
    assert reaches(three[0], host)


def test_hosts_do_no_harm(three):
    host = three[0]
    assert "Network is unreachable" in host.run("bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/80", check=False).stderr
    assert host.run("ip -o link | wc -l").stdout == "2\n"
    for what in (
        "date --set=@0",
        "echo 1 >/proc/sys/vm/swappiness",
        "echo x >/proc/sys/kernel/hostname",
        "mknod /run/sda b 8 0",
        "echo 1 >/sys/kernel/mm/ksm/run",
        "mount -o remount,rw /sys/kernel/none",
    ):
        assert host.run(what, check=False).status != 0, what
    host.write("/etc/only-there", "")
    assert not os.path.exists("/etc/only-there")


# A lab in another process: it says which, and stays until it is told.
OTHER = """
import signal, sys
sys.path.insert(0, sys.argv[1])
import hosts
with hosts.Lab() as lab:
    host = lab.up(1)[0]
    print(lab.name, lab.init, host.pid, lab.guardian.pid, flush=True)
    signal.pause()
"""


class OtherLab:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, HERE], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        self.name, *pids = self.process.stdout.readline().split()
        self.init, self.host, self.guardian = (int(pid) for pid in pids)

    def has_processes(self):
        return any(guardian.start_time(pid) is not None for pid in (self.init, self.host))

    def folders(self):
        both = f"{machine.STATE}/{self.name}", f"{machine.cgroup_root()}/{machine.CGROUP_PREFIX}{self.name}"
        return [path for path in both if os.path.exists(path)]

    def is_gone(self):
        return not self.has_processes() and not self.folders()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_lab_whose_test_was_ended(number):
    lab = OtherLab()
    assert lab.has_processes() and len(lab.folders()) == 2
    lab.process.send_signal(number)
    lab.process.wait(20)
    wait_for(lab.is_gone, 20, f"all is removed after {number.name}")


def test_the_next_lab_removes_what_a_killed_guardian_left():
    lab = OtherLab()
    os.kill(lab.guardian, signal.SIGKILL)
    wait_for(lambda: not lab.has_processes(), 20, "the hosts went with the guardian")
    assert lab.folders()
    lab.process.kill()
    lab.process.wait()
    with hosts.Lab():
        assert lab.is_gone()


def test_labs_do_not_disturb_each_other(three):
    lab = OtherLab()
    assert all(host.is_up() for host in three)
    lab.process.terminate()
    lab.process.wait()
    wait_for(lab.is_gone, 20)
    assert [host.run("systemctl is-system-running").stdout for host in three] == ["running\n"] * 3


def test_the_command():
    environment = {**os.environ, "LAB": f"test{os.getpid()}"}

    def lab(*words, status=0):
        done = subprocess.run(
            [f"{HERE}/lab", *words], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == status, (words, done)
        return done.stdout + done.stderr

    assert "begin with" in lab("sh", "1", "true", status=1)
    assert lab("up", "2") == "h1: 198.18.0.1\nh2: 198.18.0.2\n"
    try:
        assert lab("sh", "2", "hostname") == "h2\n"
        assert "no host h7" in lab("sh", "7", "true", status=1)
        lab("sh", "1", "exit 5", status=5)
        for words in (("cut", "1"), ("heal", "1"), ("loss", "1", "50"), ("loss", "1", "0"), ("crash", "2")):
            lab(*words)
        assert "h2: 198.18.0.2, off" in lab("list")
        lab("boot", "2")
        assert lab("up", "1") == "h3: 198.18.0.3\n"
        assert os.path.exists(lab("path", "3").strip() + "etc/hostname")
    finally:
        lab("down")
    assert not os.path.exists(f"{machine.STATE}/{environment['LAB']}")
    assert "try lab --help" in lab("nonsense", status=1)
    assert "lab up N" in lab("--help")
