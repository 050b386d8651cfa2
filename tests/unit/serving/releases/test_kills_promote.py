"""A kill at every step of a promotion or a pin: no request fails, and `reconcile` finishes or undoes it."""

import pytest

from tests.unit.serving.releases.kill_scenes import AFTER, ALONE, PINNED, TRIAL, kill_at_every_step

# Command, where it starts, where it ends, and whether it goes on after a kill before its commit.
SCENES = {
    "promote the canary": (["promote", 2], TRIAL, AFTER, False),
    "promote a cold version": (["promote", 2], ALONE, AFTER, False),
    "pin": (["pin", 2], ALONE, PINNED, False),
    "unpin": (["unpin", 2], PINNED, ALONE, True),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_kill_at_every_step(name, running, killer):
    kill_at_every_step(SCENES[name], running, killer)
