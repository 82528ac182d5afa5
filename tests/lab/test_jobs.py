# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a job under the service can do to the node it runs on: nothing. Each probe is a job; what it printed counts."""

import pytest
from hosts import wait_for
from service import ended, is_ready, main_pid

DATABASE = "/var/lib/worker-mesh/worker_*.db"
KEY = "/var/lib/worker-mesh/mesh.key"


@pytest.fixture(scope="module")
def host(lab):
    host = lab.up(1)[0]
    host.activate()
    host.write("/etc/worker-mesh/worker-mesh.conf.d/lab.conf", "[Mesh]\nKillGrace=300ms\n")
    host.run("systemctl start worker-mesh")
    wait_for(lambda: is_ready(host), 10)
    return host


def run(host, command, **fields):
    """The job, ended."""
    return ended(host, host.submit(command, **fields))


def output(host, command, **fields):
    job = run(host, command, **fields)
    return job["stdout"] + job["stderr"]


def test_who_a_job_is(host):
    account = host.account("worker-mesh-job")
    assert output(host, "id -u; id -g; id -G") == f"{account.uid}\n{account.gid}\n{account.gid}\n"
    assert account.uid not in (0, host.account("worker-mesh").uid, host.account("worker-mesh-executor").uid)
    lines = output(host, "grep -E '^(Uid|Gid|Cap|NoNewPrivs)' /proc/self/status").splitlines()
    status = dict(line.split(":\t") for line in lines)
    assert status["Uid"].split() == [str(account.uid)] * 4
    assert status["Gid"].split() == [str(account.gid)] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status)
    assert status["NoNewPrivs"] == "1"


def test_what_a_job_inherits(host):
    """Its three streams, its own group of control groups, and nothing of the executor's."""
    assert output(host, "ls /proc/self/fd").split() == ["0", "1", "2", "3"]
    group = output(host, "grep ^0:: /proc/self/cgroup").strip()
    assert "/worker-mesh-executor.service/" in group and not group.endswith("worker-mesh-executor.service")
    names = output(host, "env | cut -d= -f1").split()
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_PID", "INVOCATION_ID"} & set(names)


@pytest.mark.parametrize("path", [DATABASE, KEY, "/var/lib/worker-mesh/", "/run/worker-mesh-executor/"])
def test_a_job_cannot_read_what_the_node_keeps(host, path):
    host.write(KEY, "secret", mode=0o600)
    host.run(f"chown worker-mesh: {KEY}")
    assert host.run(f"cat {path}/* 2>/dev/null; cat {path} 2>/dev/null; ls {path}").stdout or "executor" in path
    text = output(host, f"cat {path}; ls {path}; cp {path} /tmp/x; echo x >>{path}")
    assert "secret" not in text and "SQLite" not in text
    # A pattern that matches nothing that it may see stays as it is.
    assert "Permission denied" in text or "No such file" in text, text


def connect(path, kind):
    """Of a job: connects to a unix socket, and says how that went."""
    return (
        f"perl -MSocket -e 'socket(my $s, AF_UNIX, {kind}, 0) or die;"
        f' print connect($s, pack_sockaddr_un("{path}")) ? "connected" : $!\''
    )


@pytest.mark.parametrize(
    "path, kind", [("/run/worker-mesh/api.sock", "SOCK_STREAM"), ("/run/worker-mesh/executor.sock", "SOCK_SEQPACKET")]
)
def test_a_job_cannot_connect(host, path, kind):
    # As a stranger root can connect: the probe itself works.
    assert host.run(connect(path, kind)).stdout == "connected"
    assert output(host, connect(path, kind)) == "Permission denied"
    assert "ermission denied" in output(host, f"rm -f {path}; mv {path} {path}.old; : >/run/worker-mesh/mine")


def test_a_job_is_refused_by_rest(host):
    status = "curl -s -o /dev/null -w '%{http_code}\\n'"
    url = "http://127.0.0.1:3000/api/v1"
    post = "-H 'Content-Type: application/json' -d '{\"command\":\"true\"}'"
    probe = "; ".join(
        f"{status} {rest}"
        for rest in (f"{post} {url}/jobs", f"{url}/jobs", f"{url}/jobs/$JOB_ID", f"-X POST {url}/jobs/$JOB_ID/cancel")
    )
    text = host.run(f"JOB_ID={host.submit('true')}; {probe}").stdout.split()
    assert text == ["201", "200", "200", "200"]
    assert output(host, probe).split() == ["403"] * 4


def test_a_job_is_refused_by_the_bus(host):
    manager = "org.workermesh.Mesh1 /org/workermesh/Mesh1 org.workermesh.Mesh1.Manager"
    for call in ("SubmitJob 'sa{sv}' true 0", "ListJobs 'a{sv}' 0"):
        job = run(host, f"busctl call {manager} {call}")
        assert job["exit_code"] == 1 and "denied" in (job["stdout"] + job["stderr"]).lower(), job


@pytest.mark.parametrize("unit", ["worker-mesh", "worker-mesh-executor"])
def test_a_job_cannot_touch_the_daemons(host, unit):
    pid = main_pid(host, unit)
    text = output(host, f"for s in KILL TERM STOP HUP; do kill -$s {pid}; done; cat /proc/{pid}/environ /proc/{pid}/maps")
    assert text.count("Operation not permitted") == 4, text
    assert text.count("Permission denied") == 2, text
    assert main_pid(host, unit) == pid


def test_a_job_cannot_use_the_service_manager(host):
    before = main_pid(host)
    for verb in ("stop", "restart", "kill"):
        assert run(host, f"systemctl --no-ask-password {verb} worker-mesh")["exit_code"] != 0
    assert run(host, "systemd-run --no-ask-password --wait true")["exit_code"] != 0
    assert main_pid(host) == before


def test_a_job_cannot_have_a_service_manager_of_its_own(host):
    """Which would run for it what outlives it. The bus refuses before it looks whether there is a logind."""
    ask = (
        "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
        " SetUserLinger ubb $(id -u) true false 2>&1"
    )
    assert "denied" in output(host, f"{ask}; true").lower()
    assert "denied" not in host.run(ask, check=False, user="nobody").stdout.lower()


def test_a_job_cannot_become_root(host):
    account = host.account("worker-mesh-job")
    become = 'perl -e \'use POSIX; print POSIX::setuid(0) ? "root" : $!; print " "; print POSIX::setgid(0) ? "root" : $!\''
    assert output(host, become) == "Operation not permitted Operation not permitted"
    host.run("cp /usr/bin/id /usr/local/bin/id-of-root && chmod 4755 /usr/local/bin/id-of-root")
    # For anybody else the file does what it is for.
    assert host.run("id-of-root -u", user="nobody").stdout == "0\n"
    assert output(host, "id-of-root -u") == f"{account.uid}\n"
    assert output(host, "su -c 'echo become' </dev/null 2>/dev/null") == ""


def test_root_of_its_own_namespace_is_no_root(host):
    """Which a job may become where the kernel lets everybody."""
    pid = main_pid(host)
    text = output(host, f"unshare --user --map-root-user sh -c 'id -u; kill -KILL {pid}; cat {DATABASE} {KEY}'")
    assert "SQLite" not in text and "secret" not in text, text
    assert "ermitted" in text or "denied" in text, text
    assert main_pid(host) == pid


def test_a_job_cannot_leave_its_group(host):
    """Of control groups: neither upwards, nor into another job's."""
    own = "/sys/fs/cgroup$(grep ^0:: /proc/self/cgroup | cut -d: -f3)"
    places = f"{own}/../supervisor {own}/.. /sys/fs/cgroup /sys/fs/cgroup/system.slice $(ls -d {own}/../*/)"
    text = output(host, f"for group in {places}; do sh -c \"echo $$ >$group/cgroup.procs\" && echo moved; done")
    assert "moved" not in text and "denied" in text, text
    assert "denied" in output(host, f"mkdir {own}/below")


@pytest.mark.parametrize(
    "how",
    [
        "sleep 4711 &",
        "nohup sleep 4711 >/dev/null 2>&1 &",
        "setsid sleep 4711 >/dev/null 2>&1 </dev/null &",
        "setsid setsid sh -c 'trap \"\" TERM HUP; sleep 4711 & sleep 4711' >/dev/null 2>&1 </dev/null &",
        "perl -MPOSIX -e 'fork and exit; POSIX::setsid(); fork and exit; %ENV = (); close STDOUT; close STDERR;"
        ' $0 = "sleep 4711"; sleep 4711\'',
    ],
    ids=["background", "nohup", "setsid", "stubborn", "double-fork"],
)
def test_nothing_outlives_a_job(host, how):
    # It has begun before the job ends.
    job = run(host, f"{how}\nwhile ! pgrep -f '^sleep 4711' >&2; do sleep 0.05; done; echo done", timeout_seconds=10)
    assert job["status"] == "JOB_COMPLETED" and job["stdout"] == "done\n" and job["stderr"], job
    assert host.run("pgrep -u worker-mesh-job", check=False).stdout == ""


def test_nothing_outlives_a_job_that_is_ended(host):
    trap = "trap '' TERM; setsid sleep 4711 >/dev/null 2>&1 & echo begun; while :; do sleep 0.1; done"
    late = run(host, trap, timeout_seconds=1)
    assert late["status"] == "JOB_TIMEOUT", late
    assert host.run("pgrep -u worker-mesh-job", check=False).stdout == ""
    job = host.submit(trap)
    wait_for(lambda: host.run("pgrep -u worker-mesh-job", check=False).stdout, 5)
    host.request("POST", f"/jobs/{job}/cancel")
    assert ended(host, job)["status"] == "JOB_CANCELLED"
    assert host.run("pgrep -u worker-mesh-job", check=False).stdout == ""


def test_an_executor_removes_what_executors_left_and_nothing_else(host):
    """Of control groups beside its own: here of a node that root starts from a terminal."""
    left = "worker-mesh-6b7a8a0e-5f0c-4a3e-9d52-0f4f1a5b7c11"
    other = "worker-mesh-of-somebody-else"
    group = "/sys/fs/cgroup$(grep ^0:: /proc/self/cgroup | cut -d: -f3)"
    node = "worker-mesh --api-port 3007 --discovery-port 8707 --interface lo --state-dir /tmp/by-hand"

    def groups():
        return set(host.run("find /sys/fs/cgroup/lab -name 'worker-mesh-*' -printf '%f\\n'").stdout.split())

    with host.background(f"mkdir {group}/{left} {group}/{other} && exec {node}"):
        wait_for(lambda: other in groups(), 5)
        # Its own has come, and the abandoned one has gone.
        wait_for(lambda: len(groups()) == 2 and left not in groups(), 10, "the executor has looked")
        assert other in groups()
