"""Freed memory that is used again."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from crossrec.components.memory import reuse_freed_memory

if sys.argv[1] == "reuse":
    reuse_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = bytearray(b"x") * 2**26
    del array
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_a_large_array_takes_the_memory_of_the_one_before():
    def faults(how):
        done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    pages = 0.9 * 2**26 / 4096
    assert min(faults("leave")) >= pages, "or this machine needs no such thing"
    first, *others = faults("reuse")
    assert first >= pages and max(others) < pages / 100
