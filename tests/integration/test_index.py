# SPDX-License-Identifier: LGPL-2.1-or-later
"""The recent jobs of all nodes, from any of them: scope=mesh through both faces, with three real nodes."""

import bus
import harness
import pytest
from bus import BusError, integer, job_path, variant
from harness import wait_for


def listed(node, **query):
    """All pages, by job id."""
    found, cursor = [], None
    while True:
        arguments = {"scope": "mesh", "limit": 1000, **query, **({"cursor": cursor} if cursor else {})}
        page = node.get("/jobs?" + "&".join(f"{key}={value}" for key, value in arguments.items())).json()
        assert page["count"] == len(page["jobs"]) <= arguments["limit"]
        found += page["jobs"]
        cursor = page.get("next_cursor")
        if not cursor:
            ids = [job["job_id"] for job in found]
            assert len(set(ids)) == len(ids)
            assert [job["created_at"] for job in found] == sorted((job["created_at"] for job in found), reverse=True)
            return {job["job_id"]: job for job in found}


def all_ended(node, ids):
    jobs = listed(node)
    return all(job_id in jobs and jobs[job_id]["status"] in harness.FINAL for job_id in ids)


def test_every_node_lists_all(make_mesh):
    nodes = make_mesh(3, slots=2)
    ids = [job_id for node in nodes for job_id in node.submit_many(["true", "exit 3", "kill -9 $$"] * 10)]
    for node in nodes:
        wait_for(lambda node=node: all_ended(node, ids), 30, "every node knows how all ended")
    first, second, third = (listed(node) for node in nodes)
    assert first == second == third
    assert sorted(first) == sorted(ids)
    for job in first.values():
        assert set(job) == {
            "job_id", "status", "exit_code", "created_at", "started_at", "finished_at", "owner_node_id", "executor_node_id",
        }  # fmt: skip
        assert job["created_at"] <= job["finished_at"] and job["started_at"]
    # The same as their owners say.
    for number, node in enumerate(nodes):
        for own in node.jobs():
            told = first[own["job_id"]]
            assert told["owner_node_id"] == own["created_by_node"] == node.node_id
            assert ids.index(own["job_id"]) // 30 == number
            for key in ("status", "exit_code", "created_at", "started_at", "finished_at", "executor_node_id"):
                assert told[key] == own[key], key

    assert listed(nodes[0], limit=7) == first
    failed = {job_id: job for job_id, job in first.items() if job["exit_code"] == 3 or job["exit_code"] is None}
    assert len(failed) == 60 and listed(nodes[1], status="failed", limit=11) == failed
    for query in ("scope=all", "scope=", "scope=mesh&limit=0", "scope=mesh&cursor=c0000000000000001", "cursor=m0000000000000001"):
        assert nodes[0].get(f"/jobs?{query}").status == 400, query
    assert len(nodes[0].get("/jobs?scope=node&limit=1000").json()["jobs"]) == 30


def test_over_restarts(make_mesh):
    """An owner that was killed says the same again; a reader that was killed asks again; who leaves is not forgotten."""
    owner, reader, other = nodes = make_mesh(3, slots=2)
    ids = owner.submit_many(["true", "exit 3"] * 30)
    for node in nodes:
        wait_for(lambda node=node: all_ended(node, ids), 30)
    before = listed(reader)
    reader.kill()
    reader.launch()
    wait_for(reader.answers, 20)
    wait_for(lambda: listed(reader) == before, 30, "the reader knows all again")

    owner.kill()
    wait_for(lambda: owner.node_id not in other.peers(), 20, "the owner is off the list")
    assert listed(other) == before
    owner.launch()
    wait_for(owner.answers, 20)
    wait_for(lambda: listed(owner) == before, 20, "the owner has read what it knew")
    more = owner.submit("exit 5")
    for node in nodes:
        wait_for(lambda node=node: all_ended(node, [more]), 30, "it is heard again")
        wait_for(lambda node=node: {k: v for k, v in listed(node).items() if k != more} == before, 20, "and says the same")


def test_no_more_than_index_max(make_mesh):
    nodes = make_mesh(2, slots=2, environment={"INDEX_MAX": "20"})
    for _ in range(3):
        ids = nodes[0].submit_many(["true"] * 10)
        nodes[0].wait_until_all_ended()
    recent = [job["job_id"] for job in nodes[0].jobs()[:20]]
    for node in nodes:
        wait_for(lambda node=node: all_ended(node, recent), 20)
        assert len(listed(node)) == 20 and set(ids) <= set(listed(node))


def test_by_dbus(bus_node):
    node, client = bus_node
    ids = node.submit_many(["true", "exit 3"] * 5)
    node.wait_until_all_ended()
    wait_for(lambda: all_ended(node, ids), 10)
    found, cursor = [], 0
    while True:
        options = {"scope": variant("s", "mesh"), "limit": integer(3), **({"cursor": variant("t", cursor)} if cursor else {})}
        page, cursor = client.manager("ListJobs", "a{sv}", [options])
        assert len(page) <= 3
        found += page
        if cursor == 0:
            break
    told = listed(node)
    assert [path for path, _ in found] == [job_path(job_id) for job_id in told]
    for _, properties in found:
        job = told[properties["Id"]]
        assert set(properties) == {"Id", "Status", "ExitCode", "CreatedAt", "StartedAt", "FinishedAt", "OwnerNodeId", "ExecutorNodeId"}
        assert properties["Status"] == job["status"] and properties["ExitCode"] == job["exit_code"]
        assert properties["OwnerNodeId"] == properties["ExecutorNodeId"] == node.node_id
        assert 0 < properties["CreatedAt"] <= properties["StartedAt"] <= properties["FinishedAt"]
    only, _ = client.manager("ListJobs", "a{sv}", [{"scope": variant("s", "mesh"), "status": variant("s", "FAILED")}])
    assert len(only) == 5
    for wrong, name in ((variant("s", "all"), "BadParameter"), (integer(1), "Invalid")):
        with pytest.raises(BusError) as error:
            client.manager("ListJobs", "a{sv}", [{"scope": wrong}])
        assert error.value.name == bus.ERROR + name
