# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many hosts at once."""

import os

import pytest
from hosts import in_parallel, wait_for
from service import answers, share_key

HOSTS = 20

pytestmark = pytest.mark.skipif(os.environ.get("SLOW_TESTS") != "true", reason="takes long; -Dslow-tests=true")


def test_all_see_each_other(lab):
    hosts = lab.up(HOSTS, deadline=120)
    in_parallel([host.activate for host in hosts])
    share_key(hosts)
    in_parallel([lambda host=host: host.run("systemctl start worker-mesh") for host in hosts])
    for host in hosts:
        wait_for(lambda: answers(host) and host.get("/peers")["count"] == HOSTS - 1, 60, f"{host} sees all others")
    hosts[0].run("systemctl stop worker-mesh")
    for host in hosts[1:]:
        wait_for(lambda: host.get("/peers")["count"] == HOSTS - 2, 10, f"{host} was told")
