"""A kill at every step of a rollback: no request fails, and `reconcile` finishes or undoes what was left."""

import pytest

from tests.unit.serving.releases.kill_scenes import AFTER, ALONE, COLD, kill_at_every_step

# Command, where it starts, where it ends, and whether it goes on after a kill before its commit.
SCENES = {
    "to a loaded version": (["rollback"], AFTER, ALONE, True),
    "to a cold version": (["rollback"], COLD, ALONE, True),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_kill_at_every_step(name, running, killer):
    kill_at_every_step(SCENES[name], running, killer)
