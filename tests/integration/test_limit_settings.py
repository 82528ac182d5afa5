# SPDX-License-Identifier: LGPL-2.1-or-later
"""The settings of limits: defaults of jobs, their ceilings, and what is refused because of them. That limits hold is
for a machine with the controllers to show; here they are only told."""

import signal

import pytest
from harness import wait_for
from test_command_line import CONFIGURATION, call

# Setting, field, its default and its ceiling as a file has them, and as they are told.
LIMITS = [
    ("JobMemoryMax", "memory_max", "64M", "1G", 64 << 20, 1 << 30),
    ("JobCpuWeight", "cpu_weight", "50", "200", 50, 200),
    ("JobCpuQuota", "cpu_quota", "150%", "400%", 150, 400),
    ("JobTasksMax", "tasks_max", "32", "64", 32, 64),
]


def configuration(tmp_path, lines):
    path = tmp_path / "mesh.conf"
    path.write_text("[Mesh]\n" + "".join(line + "\n" for line in lines))
    return path


def told(node):
    """The limits of the status, once the executor has said what it can do."""
    return wait_for(lambda: node.status().get("limits"), what="the node tells its limits")


def test_defaults_and_ceilings_are_told(make_node, tmp_path):
    lines = [
        "JobMemoryMax=64M", "JobCpuWeight=50", "JobCpuQuota=150%", "JobTasksMax=32",
        "JobMemoryMaxCeiling=1G", "JobCpuWeightCeiling=200", "JobCpuQuotaCeiling=400%", "JobTasksMaxCeiling=64",
    ]  # fmt: skip
    node = make_node(["--config", configuration(tmp_path, lines)]).start()
    for _, field, _, _, default, ceiling in LIMITS:
        assert (told(node)[field]["default"], told(node)[field]["ceiling"]) == (default, ceiling), field


def test_without_settings_there_are_none(mesh_node):
    for _, field, *_ in LIMITS:
        assert (told(mesh_node)[field]["default"], told(mesh_node)[field]["ceiling"]) == (None, None), field


@pytest.mark.parametrize("key, field, default, ceiling, default_number, ceiling_number", LIMITS)
def test_more_than_a_ceiling_is_refused(make_node, tmp_path, key, field, default, ceiling, default_number, ceiling_number):
    node = make_node(["--config", configuration(tmp_path, [f"{key}Ceiling={ceiling}"])]).start()
    # Best effort is about what the machine can do, not about what the node allows.
    request = {"command": "true", field: ceiling_number + 1, "best_effort": True}
    answer = node.post("/jobs", request)
    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (400, "invalid", field)
    assert f"at most {ceiling_number}" in answer.json()["error"]
    request[field] = ceiling_number
    assert node.finish(node.submit(**request))[field] == ceiling_number


@pytest.mark.parametrize("key, field, default, ceiling, default_number, ceiling_number", LIMITS)
def test_a_default_above_its_ceiling(tmp_path, key, field, default, ceiling, default_number, ceiling_number):
    path = configuration(tmp_path, [f"{key}={ceiling}", f"{key}Ceiling={default}"])
    result = call("--config", path, tmp_path=tmp_path)
    assert result.returncode == CONFIGURATION
    assert f"{key}=" in result.stderr and f"{key}Ceiling=" in result.stderr


def test_a_reload_takes_them_up(make_node, tmp_path):
    path = configuration(tmp_path, ["JobTasksMaxCeiling=100"])
    node = make_node(["--config", path]).start()
    assert told(node)["tasks_max"]["ceiling"] == 100
    configuration(tmp_path, ["JobTasksMaxCeiling=200", "JobCpuQuota=70%"])
    node.send(signal.SIGHUP)
    wait_for(lambda: told(node)["tasks_max"]["ceiling"] == 200)
    assert told(node)["cpu_quota"]["default"] == 70
