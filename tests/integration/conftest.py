# SPDX-License-Identifier: LGPL-2.1-or-later
import atexit
import itertools
import os
import shutil
import tempfile

import bus
import harness
import pytest

SKIPPED = 77


def pytest_sessionstart(session):
    if not harness.PROGRAM or not harness.EXECUTOR:
        pytest.exit("set WORKER_MESH and WORKER_MESH_EXECUTOR, or run: meson test -C build --suite integration", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the nodes said belongs to a failure."""
    report = (yield).get_result()
    if report.failed:
        for node in getattr(item, "mesh_nodes", []):
            report.sections.append((f"node on port {node.api_port}", node.all_logs()[-20000:]))


def remove_folder(config):
    if not getattr(config, "mesh_failed", False):
        shutil.rmtree(config.mesh_folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """A folder of our own for what tests leave: pytest closes the one that it shares with others of the same user to
    everybody else, whenever another one begins, and some tests let other users in. Short, for the sake of sockets."""
    config.mesh_folder = tempfile.mkdtemp(prefix="wm")
    os.chmod(config.mesh_folder, 0o755)
    if not config.option.basetemp:
        config.option.basetemp = os.path.join(config.mesh_folder, "t")
    atexit.register(remove_folder, config)  # after pytest's own cleaning


def pytest_sessionfinish(session, exitstatus):
    """A file of which nothing could run counts as skipped. What a failed one left is kept."""
    session.config.mesh_failed = exitstatus not in (0, 5)
    stats = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if stats.get("skipped") and not any(stats.get(kind) for kind in ("passed", "failed", "error")):
        session.exitstatus = SKIPPED


@pytest.fixture
def make_node(request, tmp_path):
    """A function that makes a node (see harness.Node) in a folder of its own, not started yet."""
    request.node.mesh_nodes = nodes = []
    numbers = itertools.count(1)

    def make(options=(), environment=None, **settings):
        directory = tmp_path / f"node{next(numbers)}"
        directory.mkdir()
        if settings.get("user") is not None:
            harness.open_to_others(str(directory))
            os.chown(directory, settings["user"], settings["user"])
        node = harness.Node(directory, options, environment, **settings)
        nodes.append(node)
        return node

    yield make
    problems = [f"port {node.api_port}: {problem}" for node in nodes for problem in [node.end()] if problem]
    assert not problems, problems


@pytest.fixture
def mesh_node(make_node):
    """One node that answers."""
    return make_node().start()


@pytest.fixture
def make_mesh(make_node):
    """A function that starts n nodes which share a discovery port, and returns when each sees all others."""

    def make(n, **settings):
        port = harness.free_port()
        nodes = [make_node(discovery_port=port, **settings).launch() for _ in range(n)]
        for node in nodes:
            harness.wait_for(node.answers, 20, "the node answers")
        for node in nodes:
            others = [other for other in nodes if other is not node]
            harness.wait_for(lambda: node.sees(*others), 20, f"port {node.api_port} sees all")
        return nodes

    return make


@pytest.fixture
def private_bus(tmp_path):
    """A session bus that only this test uses."""
    if not shutil.which("dbus-daemon"):
        pytest.skip("dbus-daemon is not installed")
    harness.open_to_others(str(tmp_path))
    own = bus.Bus(str(tmp_path)).start()
    yield own
    own.end()


@pytest.fixture
def make_bus_node(make_node, private_bus):
    """A function that makes a node on the private bus, not started yet."""

    def make(options=(), environment=None, **settings):
        environment = {"DBUS_SESSION_BUS_ADDRESS": private_bus.address, **(environment or {})}
        return make_node(options, environment, **settings)

    return make


@pytest.fixture
def bus_node(make_bus_node, private_bus):
    """A node that has its names on the private bus, and a client of it."""
    node = make_bus_node().start()
    client = private_bus.connect()
    harness.wait_for(lambda: client.has_owner(bus.NAME), what="the node has its name")
    yield node, client
    client.close()
