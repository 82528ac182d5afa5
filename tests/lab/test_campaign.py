# SPDX-License-Identifier: LGPL-2.1-or-later
"""Things are done to hosts that share jobs, and nothing is lost: once each of a few short scenarios, and of all with
-Dslow-tests=true. "campaign" does it at length; CAMPAIGN_SEED= repeats one."""

import os
import random

import pytest
from conftest import BUILD
from repetition import Campaign
from scenarios import SCENARIOS

IS_SLOW = os.environ.get("SLOW_TESTS") == "true"
SHORT = ("power-cut-both", "cable-long")
SEED = int(os.environ.get("CAMPAIGN_SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.fixture(scope="module")
def campaign():
    if not BUILD:
        pytest.exit("set MESON_BUILD_ROOT, or run: meson test -C build --suite lab", 2)
    with Campaign(BUILD, SEED, loss_seconds=60) as made:
        yield made


@pytest.mark.parametrize("scenario", SCENARIOS if IS_SLOW else SHORT)
def test_nothing_is_lost(campaign, scenario):
    print(f"CAMPAIGN_SEED={SEED}")
    record, verdict = campaign.repeat(scenario, 1)
    print({name: n for name, n in verdict.figures.items() if n}, verdict.detections)
    for host, told in record.get("journals", {}).items():
        print(f"journal of {host}:", *told[-150:], sep="\n")
    assert verdict.problems == []
    assert verdict.figures["runs"] > 0
