# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs inside of the machine (see machine.py): limits of jobs on a stock kernel, under the real units."""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

SOCKET = "/run/worker-mesh/api.sock"
MIB = 1024 * 1024
CGROUP = pathlib.Path("/sys/fs/cgroup/system.slice/worker-mesh-executor.service")
SETTINGS = pathlib.Path("/etc/worker-mesh/worker-mesh.conf.d/limits.conf")

# The share of a processor that it gets for so many seconds from a time of the clock on.
BUSY = """import time
time.sleep(max(0, {1} - time.time()))
begun, end = time.process_time(), time.monotonic() + {0}
while time.monotonic() < end: pass
print((time.process_time() - begun) / {0})"""


class Connection(http.client.HTTPConnection):
    """Over the unix socket: this machine has not got the kernel module that tells whose a TCP connection is."""

    def __init__(self, path):
        super().__init__("localhost", timeout=150)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(path, body=None, api=SOCKET):
    """Status and answer."""
    connection = Connection(api)
    try:
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", "/api/v1" + path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


def begin(command, **options):
    status, job = call("/jobs", {"command": command, **options})
    assert status == 201, (status, job)
    return job["job_id"]


def end_of(job_id):
    status, job = call(f"/jobs/{job_id}?wait=120s")
    assert status == 200 and job["finished_at"], job
    return job


def run(command, **options):
    return end_of(begin(command, **options))


def python(program, *prefix):
    """A command for the shell; the program has no single quotes."""
    return " ".join([*prefix, f"python3 -c '{program}'"])


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def systemctl(*arguments):
    subprocess.run(["systemctl", *arguments], check=True)


def is_enforced(api=SOCKET):
    limits = call("/status", api=api)[1]["limits"]
    return all(limit["enforced"] for limit in limits.values())


def test_support():
    wait_for(is_enforced)
    assert (CGROUP / "supervisor/cgroup.procs").read_text().split(), "nobody is in the supervisor leaf"
    assert not (CGROUP / "cgroup.procs").read_text().split()
    assert set((CGROUP / "cgroup.subtree_control").read_text().split()) >= {"cpu", "memory", "pids"}


def test_memory():
    other = begin("sleep 10; echo other", tasks_max=10)
    hungry = python("x=bytearray(512*1024*1024);print(len(x))")
    job = run(hungry + "; echo after", memory_max=64 * MIB)
    assert (job["status"], job["oom_killed"], job["stdout"]) == ("JOB_FAILED", True, ""), job
    assert job["error_message"] == f"killed: out of memory (memory_max is {64 * MIB} bytes)", job
    assert job["memory_max"] == 64 * MIB

    # Neither the limit nor the blame stay with what comes next.
    for options in ({}, {"memory_max": 1024 * MIB}, {"cpu_weight": 50}):
        job = run(hungry, **options)
        assert (job["status"], job["oom_killed"]) == ("JOB_COMPLETED", False), job
    job = end_of(other)
    assert (job["status"], job["stdout"], job["oom_killed"]) == ("JOB_COMPLETED", "other\n", False), job


def test_memory_left_behind():
    """Files in memory are charged to the cgroup of the job that wrote them, beyond its end."""
    job = run("head -c 40000000 /dev/zero > /dev/shm/left-behind; chmod 666 /dev/shm/left-behind", memory_max=64 * MIB)
    assert job["status"] == "JOB_COMPLETED", job
    job = run(python("x=bytearray(40000000);print(len(x))"), memory_max=64 * MIB)
    assert (job["status"], job["oom_killed"]) == ("JOB_COMPLETED", False), job
    os.unlink("/dev/shm/left-behind")


def test_cpu_quota():
    shares = {}
    for quota in (None, 60, 20):
        job = run(python(BUSY.format(6, 0)), **({"cpu_quota": quota} if quota else {}))
        assert job["status"] == "JOB_COMPLETED", job
        shares[quota] = float(job["stdout"])
    print("    share of a processor without a quota, with 60 and with 20 percent:",
          ", ".join(f"{share:.3f}" for share in shares.values()))
    assert shares[None] > 0.8
    assert 0.5 < shares[60] < 0.66
    assert 0.15 < shares[20] < 0.24


def test_cpu_weight():
    busy = python(BUSY.format(10, time.time() + 5), "taskset -c 0")
    jobs = [begin(busy, cpu_weight=weight) for weight in (300, 100)]
    heavy, light = (float(end_of(job)["stdout"]) for job in jobs)
    print(f"    shares of one processor with weights of 300 and 100: {heavy:.3f}, {light:.3f}: ratio {heavy / light:.2f}")
    assert 2.2 < heavy / light < 4


def test_tasks():
    other = begin("sleep 6; echo other")
    job = run("bomb() { bomb | bomb & }; bomb; sleep 3; echo the end", tasks_max=30)
    assert "fork" in job["stderr"].lower(), job
    errors = job["stderr"].count("ork")
    job = run("for i in $(seq 40); do sleep 1 & done; wait", tasks_max=20)
    assert job["status"] == "JOB_FAILED" and "fork" in job["stderr"].lower(), job
    job = run("for i in $(seq 40); do sleep 0.1 & done; wait", tasks_max=100)
    assert job["status"] == "JOB_COMPLETED", job
    assert end_of(other)["stdout"] == "other\n"
    print(f"    a bomb in a job of 30 tasks: {errors} times it could not fork; others went on")


def test_defaults_and_ceilings():
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text("[Mesh]\nJobMemoryMax=100M\nJobTasksMaxCeiling=50\n")
    systemctl("reload", "worker-mesh")
    wait_for(lambda: call("/status")[1]["limits"]["memory_max"]["default"] == 100 * MIB)
    status, problem = call("/jobs", {"command": "true", "tasks_max": 51})
    assert (status, problem["code"], problem["field"]) == (400, "invalid", "tasks_max"), problem
    assert "at most 50" in problem["detail"], problem
    job = run(python("x=bytearray(300*1024*1024)"))
    assert job["oom_killed"] and "memory_max" not in job, job
    job = run(python("x=bytearray(300*1024*1024)"), memory_max=500 * MIB)
    assert job["status"] == "JOB_COMPLETED", job
    job = run("for i in $(seq 60); do sleep 1 & done; wait")
    assert job["status"] == "JOB_FAILED" and "fork" in job["stderr"].lower(), job
    SETTINGS.unlink()
    systemctl("reload", "worker-mesh")
    wait_for(lambda: call("/status")[1]["limits"]["memory_max"]["default"] is None)


def test_restart_of_the_daemon():
    job_id = begin("sleep 4; " + python("x=bytearray(512*1024*1024)"), memory_max=64 * MIB)
    systemctl("restart", "worker-mesh")
    wait_for(is_enforced)
    job = end_of(job_id)
    assert (job["oom_killed"], job["attempt"]) == (True, 1), job


def test_crash_of_the_executor():
    """The next one finds a cgroup that hands its controllers down already."""
    pid = subprocess.check_output(["systemctl", "show", "-P", "MainPID", "worker-mesh-executor"], text=True).strip()
    begin("sleep 100", memory_max=64 * MIB)
    os.kill(int(pid), 9)
    wait_for(lambda: subprocess.check_output(
        ["systemctl", "show", "-P", "MainPID", "worker-mesh-executor"], text=True).strip() not in ("0", pid))
    wait_for(lambda: call("/status")[1]["executor_connected"] and is_enforced())
    job = run(python("x=bytearray(512*1024*1024)"), memory_max=64 * MIB)
    assert job["oom_killed"], job


def from_terminal(port, *properties):
    """Status of a node in a scope, where daemon and executor are in one cgroup."""
    state = f"/tmp/terminal-{port}"
    command = ["systemd-run", "--quiet", "--scope", *properties, "worker-mesh", "--api-port", str(port),
               "--discovery-port", str(port + 1), "--interface", "lo", "--state-dir", state,
               "--api-socket", f"/run/terminal-{port}.sock"]
    api = f"/run/terminal-{port}.sock"
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            wait_for(lambda: call("/status", api=api)[1]["executor_connected"])
            status, problem = call("/jobs", {"command": "true", "memory_max": 64 * MIB}, api=api)
            accepted = call("/jobs?wait=30s", {"command": "true", "memory_max": 64 * MIB, "best_effort": True}, api=api)
            assert accepted[1]["status"] == "JOB_COMPLETED", accepted
            return status, problem
        finally:
            node.terminate()


def test_cgroups_of_others():
    status, problem = from_terminal(3100)
    print("    from a terminal:", problem["detail"])
    assert (status, problem["code"]) == (422, "limit_unavailable"), problem
    status, problem = from_terminal(3200, "-p", "Delegate=yes")
    print("    delegated, with the daemon in it:", problem["detail"])
    assert (status, problem["code"]) == (422, "limit_unavailable"), problem


def rate(n, **options):
    """No-op jobs per second, from the first start to the last end."""
    begun = time.monotonic()
    status, answer = call("/jobs", [{"command": ":", **options}] * n)
    assert status == 201, answer
    wait_for(lambda: call("/status")[1]["queued"] + call("/status")[1]["running"] == 0, 120)
    return n / (time.monotonic() - begun)


def test_rates():
    rate(20)
    kinds = {"no limits": {}, "tasks_max": {"tasks_max": 50}, "memory_max": {"memory_max": 64 * MIB}}
    rates = {name: [] for name in kinds}
    for _ in range(3):
        for name, options in kinds.items():
            rates[name].append(rate(60, **options))
    for name, values in rates.items():
        print(f"    jobs per second with {name}: {sorted(values)[1]:.0f}")


def main():
    print("kernel", os.uname().release)
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"], ["systemctl", "daemon-reload"]):
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    systemctl("start", "worker-mesh-api.socket", "worker-mesh")
    failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        begun = time.monotonic()
        try:
            test()
            outcome = "ok"
        except Exception as error:
            failed += 1
            outcome = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name}: {outcome} ({time.monotonic() - begun:.0f} s)")
    if failed:
        subprocess.run(["journalctl", "-b", "--no-pager", "-n", "60", "-u", "worker-mesh", "-u", "worker-mesh-executor"])
    sys.exit(1 if failed else 0)


main()
