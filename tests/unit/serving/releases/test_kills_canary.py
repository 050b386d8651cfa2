"""A kill at every step of a canary: no request fails, and `reconcile` finishes or undoes what was left."""

import pytest

from tests.unit.serving.releases.kill_scenes import ALONE, TRIAL, kill_at_every_step

# Command, where it starts, where it ends, and whether it goes on after a kill before its commit.
SCENES = {
    "begin": (["canary", 2, 5.0], ALONE, TRIAL, False),
    "take back": (["rollback"], TRIAL, ALONE, True),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_kill_at_every_step(name, running, killer):
    kill_at_every_step(SCENES[name], running, killer)


def test_a_kill_while_a_bad_canary_is_withdrawn(running, killer):
    kill_at_every_step((["canary", 9, 5.0], ALONE, ALONE, False), running, killer, error="WithdrawnError")
