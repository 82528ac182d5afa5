# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several hosts on one machine, for tests: each a systemd as PID 1 in namespaces of its own, over an overlay of a root
file system, with its own bus, journal, disk and network interface. See README.md.

    with Lab(build="/path/of/a/build") as lab:
        one, two = lab.up(2)
        one.run("systemctl start worker-mesh")

A lab belongs to the process that made it, and goes with it (guardian.py)."""

import collections
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import time

import guardian
from cgroups import remove_cgroup
from machine import CGROUP_PREFIX, STATE, cgroup_root, why_unavailable

HERE = os.path.dirname(os.path.abspath(__file__))
NUMBERS = itertools.count(1)
HOSTS_MAX = 100
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}

# Nothing of the machine's own configuration is started on a host: its folders of units are hidden, and of what the
# packages start by themselves these are not wanted, either because they are about devices or the kernel, which belong
# to the machine, or because they take time and nobody logs in.
HIDDEN_FOLDERS = (
    "etc/systemd",
    "etc/worker-mesh",
    "etc/cron.d",
    "var/lib/worker-mesh",
    "var/lib/systemd",
    "var/log/journal",
    "var/tmp",
)
MASKED_UNITS = (
    "getty.target console-getty.service systemd-logind.service systemd-ask-password-wall.path "
    "systemd-ask-password-console.path dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount "
    "sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount "
    "proc-sys-fs-binfmt_misc.mount systemd-binfmt.service systemd-modules-load.service systemd-sysctl.service "
    "kmod-static-nodes.service systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket "
    "systemd-udevd-kernel.socket systemd-random-seed.service systemd-hwdb-update.service systemd-pstore.service "
    "systemd-boot-system-token.service systemd-machine-id-commit.service systemd-firstboot.service "
    "systemd-journald-audit.socket systemd-update-done.service systemd-update-utmp.service "
    "systemd-update-utmp-runlevel.service systemd-tmpfiles-clean.timer ldconfig.service modprobe@.service "
    "systemd-pcrphase.service systemd-pcrphase-initrd.service systemd-pcrphase-sysinit.service "
    "systemd-networkd.service systemd-networkd.socket systemd-resolved.service systemd-timesyncd.service"
).split()


# What no process of a host can do: set the clock, load modules, reach devices of the machine.
LOST_CAPABILITIES = "-sys_time,-sys_module,-sys_rawio,-mknod,-syslog,-audit_control,-audit_read,-mac_admin"


class Unavailable(Exception):
    """There can be no lab here; the text says why."""


def wait_for(condition, deadline=10.0, what=None, interval=0.05):
    """The first true value of condition(); a failure that names the condition when the deadline has passed."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}; last value {value!r}")
        time.sleep(interval)


def remove_abandoned():
    """What labs left behind whose guardian was killed, too."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(STATE):
            folder = os.path.join(STATE, name)
            try:
                with open(os.path.join(folder, "guardian"), encoding="ascii") as file:
                    owner = file.read()
            except OSError:
                # One that is just being made, or not a lab.
                continue
            if owner and owner != guardian.identity(owner.split()[0]):
                guardian.remove(folder, os.path.join(cgroup_root(), CGROUP_PREFIX + name))


class Lab:
    """A switch, and the hosts that are plugged into it.

    name: of a lab that outlives this process and is found again by it; None: one that goes with this process.
    root: the root file system below all hosts. build: a build folder of meson, installed on all of them."""

    def __init__(self, build=None, root=None, name=None):
        self.name = name or f"{os.getpid()}-{next(NUMBERS)}"
        self.folder = os.path.join(STATE, self.name)
        self.root = root or os.environ.get("LAB_ROOT", "/")
        self.build = build
        self.cgroup = os.path.join(cgroup_root() or "", CGROUP_PREFIX + self.name)
        self.guardian = None
        self.init = None
        self.hosts = {}
        if name and os.path.exists(f"{self.folder}/init"):
            self._find()
        else:
            self._make(stay=name is not None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _make(self, stay):
        reason = why_unavailable(self.root)
        if reason:
            raise Unavailable(reason)
        remove_abandoned()
        os.makedirs(self.folder, mode=0o755)
        with open(f"{self.folder}/guardian.log", "wb") as log:
            self.guardian = subprocess.Popen(
                [sys.executable, f"{HERE}/guardian.py", self.folder, self.cgroup] + (["stay"] if stay else []),
                stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the test, which then closes the lab.
                start_new_session=True,
            )
        try:
            wait_for(self._is_made, 10, "the lab has its namespaces")
            self._find()
            if self.build:
                self._install()
        except BaseException:
            self.close()
            raise

    def _is_made(self):
        if self.guardian.poll() is not None:
            raise Unavailable("the guardian ended: " + _read(f"{self.folder}/guardian.log"))
        return os.path.exists(f"{self.folder}/init")

    def _find(self):
        self.init = int(_read(f"{self.folder}/init"))
        for name in os.listdir(self.inside(f"{self.folder}/disks")):
            if name != "layer":
                self.hosts[name] = Host(self, name)

    def inside(self, path):
        """A path as the lab's mount namespace has it, for this process."""
        return f"/proc/{self.init}/root{path}"

    def _install(self):
        """Once, into a layer that all hosts have below their own."""
        os.mkdir(self.inside(self.layer))
        subprocess.run(
            ["meson", "install", "--quiet", "--no-rebuild", "-C", self.build, "--destdir", self.inside(self.layer)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def layer(self):
        return f"{self.folder}/disks/layer"

    def is_installed(self):
        return os.path.isdir(self.inside(self.layer))

    def lower(self):
        """What lies below the disk of a host, first the topmost."""
        return f"{self.layer}:{self.root}" if self.is_installed() else self.root

    def up(self, n, **settings):
        """Makes and boots n more hosts, side by side; returns them when they have booted."""
        first = len(self.hosts) + 1
        if first + n - 1 > HOSTS_MAX:
            raise ValueError(f"at most {HOSTS_MAX} hosts")
        new = [Host(self, f"h{number}") for number in range(first, first + n)]
        self.hosts |= {host.name: host for host in new}
        for host in new:
            host.make_disk()
        in_parallel([lambda host=host: host.boot(**settings) for host in new])
        return new

    def close(self):
        """Ends all hosts and removes everything."""
        if self.guardian is None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                owner = _read(f"{self.folder}/guardian")
                if owner == guardian.identity(owner.split()[0]):
                    os.kill(int(owner.split()[0]), 15)
            wait_for(lambda: not os.path.exists(self.folder), 20, "the lab is gone")
            return
        if self.guardian.stdin:
            self.guardian.stdin.close()
        else:
            self.guardian.terminate()
        self.guardian.wait(30)
        for host in self.hosts.values():
            host.reap()


class Result:
    """What a command did on a host."""

    def __init__(self, command, status, stdout, stderr):
        self.command, self.status, self.stdout, self.stderr = command, status, stdout, stderr

    def __repr__(self):
        return f"{self.command!r}: exit status {self.status}\n{self.stdout}{self.stderr}"


Account = collections.namedtuple("Account", "uid gid")


class Host:
    """One host. Its disk outlives crash() and boot()."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.number = int(name[1:])
        self.address = f"198.18.{self.number // 250}.{self.number % 250}"
        self.cgroup = os.path.join(lab.cgroup, name)
        self.disk = f"{lab.folder}/disks/{name}"
        self.console = f"{lab.folder}/{name}.console"
        self.process = None

    def __repr__(self):
        return self.name

    # Its life.

    def make_disk(self):
        """What is written here is the host's own from the beginning, and hides what the root file system has."""
        for folder in ("upper", "work", "root"):
            os.makedirs(self.lab.inside(f"{self.disk}/{folder}"), mode=0o755)
        for path in HIDDEN_FOLDERS:
            self._hide(path)
        for path in ("etc/systemd/system", "etc/systemd/system-generators", "root"):
            os.makedirs(self._upper(path), mode=0o755, exist_ok=True)
        for unit in MASKED_UNITS:
            os.symlink("/dev/null", self._upper(f"etc/systemd/system/{unit}"))
        for generator in os.listdir(os.path.join(self.lab.root, "lib/systemd/system-generators")):
            os.symlink("/dev/null", self._upper(f"etc/systemd/system-generators/{generator}"))
        os.chmod(self._upper("var/tmp"), 0o1777)
        hosts = "".join(f"198.18.{n // 250}.{n % 250} h{n}\n" for n in range(1, HOSTS_MAX + 1))
        for path, text in (
            ("etc/machine-id", secrets.token_hex(16) + "\n"),
            ("etc/hostname", self.name + "\n"),
            ("etc/hosts", "127.0.0.1 localhost\n" + hosts),
            ("etc/fstab", ""),
            ("etc/resolv.conf", ""),
        ):
            with open(self._upper(path), "w", encoding="ascii") as file:
                file.write(text)

    def _upper(self, path):
        return self.lab.inside(f"{self.disk}/upper/{path}")

    def _hide(self, path):
        os.makedirs(self._upper(path), mode=0o755, exist_ok=True)
        os.setxattr(self._upper(path), "trusted.overlay.opaque", b"y")

    def boot(self, target="multi-user.target", deadline=60.0):
        """Switches it on; returns when systemd has started all that belongs to the target."""
        assert not self.is_up(), f"{self} is up"
        # Commands that come from outside run in the second.
        os.makedirs(f"{self.cgroup}/lab", exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
            "NAME": self.name,
            "NUMBER": str(self.number),
            "DISK": self.disk,
            "LOWER": self.lab.lower(),
            "CGROUP": self.cgroup,
            "INIT": str(self.lab.init),
            "TARGET": target,
            "LOST_CAPABILITIES": LOST_CAPABILITIES,
        }
        with open(self.console, "ab") as console:
            self.process = subprocess.Popen(
                ["nsenter", "--target", str(self.lab.init), "--mount", "--net", "--pid", "--"]
                + ["bash", f"{HERE}/boot-host"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_for(self._has_booted, deadline, f"{self} has booted")
        return self

    def _has_booted(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self} did not boot:\n{_read(self.console)[-4000:]}")
        if not self.pid or not os.path.exists(self.path("/run/dbus/system_bus_socket")):
            return False
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    @property
    def pid(self):
        """Of its systemd, as this machine sees it."""
        with contextlib.suppress(OSError, ValueError):
            return int(_read(self.lab.inside(f"{self.disk}/pid")))
        return None

    def is_up(self):
        return bool(self.pid) and guardian.start_time(self.pid) is not None

    def crash(self):
        """Power loss: nothing of it runs any more, at once. The cable is gone first, so that nobody hears its last
        words; the kernel would take it away too, but much later when it has other things to do."""
        self._in_switch("ip", "link", "delete", self.name, check=False)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        wait_for(lambda: not self.is_up(), 10, f"{self} is off")
        self.reap()
        remove_cgroup(self.cgroup)
        os.unlink(self.lab.inside(f"{self.disk}/pid"))

    def freeze(self):
        """Nothing of it runs any more until thaw(): its memory, its connections and its cable stay as they are."""
        self._set_frozen(True)

    def thaw(self):
        self._set_frozen(False)

    def _set_frozen(self, frozen):
        with open(f"{self.cgroup}/cgroup.freeze", "w", encoding="ascii") as file:
            file.write(str(int(frozen)))
        wanted = f"frozen {int(frozen)}\n"
        wait_for(lambda: wanted in _read(f"{self.cgroup}/cgroup.events"), 10, f"{self}: {wanted}")

    def activate(self):
        """What a package does after its files are there: users, folders, what is started at boot. Starts nothing."""
        self.run(
            "systemd-sysusers && systemd-tmpfiles --create --prefix=/run --prefix=/var/lib && journalctl --update-catalog"
            " && systemctl daemon-reload && systemctl preset worker-mesh.service && systemctl reload dbus.service"
        )

    def reap(self):
        if self.process:
            self.process.wait(10)
            self.process = None

    # Its cable.

    def cut(self):
        """Pulls the cable out of the switch."""
        self._in_switch("ip", "link", "set", self.name, "down")

    def heal(self):
        self._in_switch("ip", "link", "set", self.name, "up")

    def loss(self, percent):
        """Loses so many of the packets that are sent to it, at random; 0: none."""
        self._in_switch("nft", "delete", "table", "bridge", self.name, check=False)
        if percent:
            rules = (
                f"table bridge {self.name} {{ chain lose {{ type filter hook forward priority 0; "
                f'oifname "{self.name}" numgen random mod 100 <= {int(percent) - 1} drop; }}; }}'
            )
            self._in_switch("nft", rules)

    def _in_switch(self, *command, check=True):
        subprocess.run(
            ["nsenter", "--target", str(self.lab.init), "--net", *command], check=check, capture_output=not check
        )

    # Commands.

    def command(self, *words, user=None, environment=None, leaf="lab"):
        """What to execute on this machine so that words are executed on the host, in this control group of it."""
        enter = 'echo $$ >"$1/cgroup.procs"; pid=$2; shift 2; exec nsenter --target "$pid" --all -- "$@"'
        variables = [f"{name}={value}" for name, value in {**ENVIRONMENT, **(environment or {})}.items()]
        privileges = ["--bounding-set", LOST_CAPABILITIES]
        if user:
            privileges += ["--reuid", user, "--regid", str(self.account(user).gid), "--init-groups"]
        return (
            ["sh", "-c", enter, "lab", f"{self.cgroup}/{leaf}", str(self.pid)]
            + ["env", "-i", *variables, "setpriv", *privileges]
            + (["sh", "-c", words[0]] if len(words) == 1 else list(words))
        )

    @contextlib.contextmanager
    def _own_leaf(self):
        """A control group for one command: what it leaves behind ends with it."""
        leaf = f"lab/{next(NUMBERS)}"
        os.mkdir(f"{self.cgroup}/{leaf}")
        try:
            yield leaf
        finally:
            remove_cgroup(f"{self.cgroup}/{leaf}")

    def run(self, *words, check=True, timeout=60, stdin=None, **how):
        """Runs a command there as root and waits for it: one word is a line for the shell, several are a program and
        its arguments. how: user, environment. Nothing that it started in the background outlives it."""
        with self._own_leaf() as leaf:
            done = subprocess.run(
                self.command(*words, leaf=leaf, **how),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        result = Result(" ".join(words), done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"{self}: {result}"
        return result

    @contextlib.contextmanager
    def background(self, *words, **how):
        """Runs a command there for as long as the with block lasts. Gives the Popen, whose stdout is a text pipe."""
        with self._own_leaf() as leaf:
            process = subprocess.Popen(
                self.command(*words, leaf=leaf, **how),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            try:
                yield process
            finally:
                remove_cgroup(f"{self.cgroup}/{leaf}")
                process.communicate()

    def show(self, unit, *properties):
        """Properties of a unit: one as a text, several as a dictionary."""
        words = [f"--property={name}" for name in properties]
        lines = self.run("systemctl", "show", *words, unit).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        return values.get(properties[0], "") if len(properties) == 1 else values

    # Files.

    def path(self, path):
        """A path of the host, while it is up, for this process. Symbolic links with absolute targets lead astray."""
        return f"/proc/{self.pid}/root{path}"

    def kept(self, path):
        """What a file holds that the host has made or changed, be it on or off."""
        return _read(self._upper(path.lstrip("/")))

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(path), mode)

    def read(self, path):
        return _read(self.path(path))

    def account(self, name):
        """What /etc/passwd of the host says about a user."""
        for line in self.read("/etc/passwd").splitlines():
            user, _, uid, gid, *_ = line.split(":")
            if user == name:
                return Account(int(uid), int(gid))
        raise KeyError(f"{self} has no user {name}")

    # Its journal.

    def journal(self, *matches):
        """Entries, oldest first, as dictionaries. matches: options and matches of journalctl. Fields that are not
        text are bytes; of fields that occur more than once there is a list."""
        text = self.run("journalctl", "--output=json", "--no-pager", "--all", *matches, check=False).stdout
        entries = []
        for line in text.splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                entries.append({name: _field(value) for name, value in entry.items()})
        return entries

    # The daemon on it.

    def request(self, method, path, body=None, headers=None, timeout=60.0, socket_path="/run/worker-mesh/api.sock"):
        """Asks the daemon by its unix socket, as root. Returns the status and what the JSON says."""
        connection = _UnixConnection(self.path(socket_path), timeout)
        headers = {"Content-Type": "application/json"} if body is not None and headers is None else headers or {}
        try:
            if body is not None and not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            connection.request(method, "/api/v1" + path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def get(self, path, **how):
        status, answer = self.request("GET", path, **how)
        assert status == 200, (self, path, status, answer)
        return answer

    def submit(self, command, **fields):
        status, answer = self.request("POST", "/jobs", {"command": command, **fields})
        assert status == 201, (self, status, answer)
        return answer["job_id"]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


def _field(value):
    """As journalctl writes bytes: a list of numbers."""
    if isinstance(value, list):
        if value and all(isinstance(part, int) for part in value):
            return bytes(value)
        return [_field(part) for part in value]
    return value


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def in_parallel(functions):
    """Calls all of them side by side; returns what they returned, or raises what the first failed one raised."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(functions))) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]
