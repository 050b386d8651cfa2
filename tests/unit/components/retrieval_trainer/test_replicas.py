"""One device and two give the same training where the whole batch is the same, negatives included."""

import json
import subprocess
import sys

import numpy as np
import pytest

# The models are traced for one device and for two.
pytestmark = pytest.mark.slow

CASES = ("in_batch", "in_batch_requests", "catalogue_requests", "memory", "graph", "ranking")


@pytest.fixture(scope="module")
def found():
    program = [sys.executable, "-m", "tests.unit.components.retrieval_trainer.replicas"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_two_devices_have_the_losses_of_one(found, case):
    one, two = found[case]["one"], found[case]["two"]
    assert len(one["losses"]) == 6 and np.ptp(one["losses"]) > 0.01, "the example has nothing to tell apart"
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=2e-4)
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-4)
