"""The client stays light: no TensorFlow, a quick import, little memory."""

import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, sys, time
start = time.process_time()
import grpc, grpc.aio, numpy, google.protobuf.descriptor_pb2, google.protobuf.text_format
libraries = time.process_time() - start
import crossrec.serving.client
import crossrec.serving.experiments.analysis
import crossrec.serving.contract.prediction_logs
import crossrec.serving.local_server
import crossrec.pipeline.cli.experiment, crossrec.pipeline.cli.query, crossrec.pipeline.cli.serve
# ru_maxrss would count the parent process too, which is as large as the tests that ran before.
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({
    "times_the_libraries": (time.process_time() - start) / libraries,
    "megabytes": peak / 1024,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "ours": sorted(name for name in sys.modules if name.startswith("crossrec.")),
}))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
HEAVY = {
    "tensorflow",
    "tensorflow_serving",
    "tfx",
    "apache_beam",
    "opentelemetry",
    "pydantic",
    "pandas",
    "pyarrow",
    "rich",
    "yaml",
    "keras",
}


def probe():
    # An installed package is compiled; the first probe compiles where that is not so yet.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=240, check=True, env=environment
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def probes():
    # The best of three, since the machine has other work.
    return [probe() for _ in range(3)]


def test_import_brings_in_nothing_heavy(probes):
    assert not HEAVY & set(probes[0]["modules"])


def test_import_brings_in_nothing_from_above(probes):
    allowed = ("crossrec.serving.", "crossrec.pipeline.cli")
    assert all(
        name.startswith(allowed) or name in ("crossrec.serving", "crossrec.pipeline") for name in probes[0]["ours"]
    )


def test_import_takes_less_than_three_times_the_import_of_grpc_and_numpy(probes):
    assert min(one["times_the_libraries"] for one in probes) < 3


def test_import_takes_less_than_eighty_megabytes(probes):
    assert min(one["megabytes"] for one in probes) < 80
