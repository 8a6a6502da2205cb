"""The compiler's memory is given back, and the kernels run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gridpilot.live.memory import _clean

SMAPS = """\
7f0000000000-7f0000001000 r--p 00000000 fe:00 1 /x/libllvmlite.so
Rss:                   4 kB
Anonymous:             0 kB
7f0000001000-7f0000005000 r-xp 00001000 fe:00 1 /x/libllvmlite.so
Anonymous:             0 kB
7f0000005000-7f0000006000 r--p 00005000 fe:00 1 /x/libllvmlite.so
Anonymous:             4 kB
7f0000006000-7f0000007000 rw-p 00006000 fe:00 1 /x/libllvmlite.so
Anonymous:             0 kB
7f0000007000-7f0000008000 r-xp 00000000 fe:00 2 /x/libc.so.6
Anonymous:             0 kB
"""


def test_only_what_is_as_the_file_has_it_is_given_back() -> None:
    assert list(_clean(SMAPS)) == [(0x7F0000000000, 0x7F0000001000), (0x7F0000001000, 0x7F0000005000)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no Linux")
def test_kernels_run_and_compile_after_it() -> None:
    program = """
import re
import numba
from gridpilot.live.memory import release_compiler

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024.0

square = numba.njit(lambda x: x * x)
assert square(3.0) == 9.0
before = resident()
assert release_compiler() > 0
assert resident() < before - 20.0
assert square(4.0) == 16.0
assert numba.njit(lambda x: x + 1)(1) == 2  # read from the file again
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
