"""Packages that nobody uses are not imported with the launcher, and can be imported afterwards."""

import subprocess
import sys

_PROGRAM = """
import sys
from crossrec.pipeline.optional_imports import without_unused

with without_unused():
    from crossrec.pipeline.local_runner import run_pipeline
print(*[name in sys.modules for name in ("kubernetes_validate", "jsonschema", "matplotlib", "tfx.components")])
import matplotlib

with without_unused():
    import matplotlib.figure
print(sys.modules["matplotlib"] is matplotlib)
"""


def test_the_launcher_does_without_them():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False False True", "True"]
