# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import subprocess

import hosts
import machine
import pytest

SKIPPED = 77
BUILD = os.environ.get("MESON_BUILD_ROOT")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the hosts said belongs to a failure."""
    report = (yield).get_result()
    lab = item.funcargs.get("lab") if hasattr(item, "funcargs") else None
    if report.failed and lab:
        for host in lab.hosts.values():
            report.sections.append((f"journal of {host}", last_words(host)))


def last_words(host):
    """Of a host that may be off, or about to be."""
    try:
        text = host.run("journalctl --no-pager --boot=all -n 150", check=False).stdout if host.is_up() else "(off)"
        return text[-20000:]
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


def pytest_sessionfinish(session, exitstatus):
    """A file of which nothing could run counts as skipped."""
    stats = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if stats.get("skipped") and not any(stats.get(kind) for kind in ("passed", "failed", "error")):
        session.exitstatus = SKIPPED


def pytest_collection_modifyitems(items):
    """One line a file, with the reason, where there can be no lab."""
    reason = machine.why_unavailable(os.environ.get("LAB_ROOT", "/"))
    if reason:
        for item in items:
            if getattr(item.module, "NEEDS_LAB", True):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def bare_lab():
    """Without Worker Mesh."""
    with hosts.Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def lab():
    """Whose hosts have what the build installs."""
    if not BUILD:
        pytest.exit("set MESON_BUILD_ROOT, or run: meson test -C build --suite lab", 2)
    with hosts.Lab(build=BUILD) as lab:
        yield lab
