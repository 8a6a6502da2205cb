"""Kernels are compiled once, say so once, and are compiled again when the code they call has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MESSAGE = "gridpilot: compiling the kernels"

OUTER = """
from {package}.inner import double
from gridpilot.market.compilation import kernel

@kernel
def outer(x: float) -> float:
    return double(x) + 1.0
"""
INNER = """
from gridpilot.market.compilation import {decorator}

@{decorator}
def double(x: float) -> float:
    return {factor} * x
"""


def write(package: Path, factor: float, decorator: str = "kernel") -> None:
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(OUTER.format(package=package.name))
    (package / "inner.py").write_text(INNER.format(decorator=decorator, factor=factor))


def run(package: str, cache: Path, argument: str = "3.0") -> subprocess.CompletedProcess[str]:
    """Call the kernel of the package, which lies in the working directory, in a process of its own."""
    code = f"from {package}.outer import outer; print(outer({argument})); print(sum(outer.stats.cache_hits.values()))"
    # The cache of the real kernels stays where it is: only these are compiled here.
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


def test_a_message_once_when_cold_and_none_when_warm(tmp_path: Path) -> None:
    write(Path.cwd() / "gridpilot_example", 2.0)  # its name is what the message looks for
    cold = run("gridpilot_example", tmp_path / "cache")
    assert cold.stdout.split() == ["7.0", "0"]
    assert cold.stderr.count(MESSAGE) == 1
    assert cold.stderr.count("\n") == 1
    warm = run("gridpilot_example", tmp_path / "cache")
    assert warm.stdout.split() == ["7.0", "1"]
    assert warm.stderr == ""
    other_types = run("gridpilot_example", tmp_path / "cache", "3")
    assert other_types.stderr.count(MESSAGE) == 1


def test_nothing_is_said_of_kernels_that_are_not_ours(tmp_path: Path) -> None:
    write(Path.cwd() / "somebody_elses", 2.0)
    assert run("somebody_elses", tmp_path / "cache").stderr == ""


@pytest.mark.parametrize("decorator", ["kernel", "inline_kernel"])
def test_a_change_of_a_called_kernel_is_noticed(decorator: str, tmp_path: Path) -> None:
    package, cache = Path.cwd() / "example", tmp_path / "cache"
    write(package, 2.0, decorator)
    assert run("example", cache).stdout.split() == ["7.0", "0"]
    assert run("example", cache).stdout.split() == ["7.0", "1"]
    stamps = {path: path.stat().st_mtime_ns for path in package.glob("*.py")}
    write(package, 4.0, decorator)  # the file of ``outer`` keeps its text
    for path, stamp in stamps.items():
        os.utime(path, ns=(stamp, stamp))  # the change shows in the text alone
    assert run("example", cache).stdout.split() == ["13.0", "0"]
    assert run("example", cache).stdout.split() == ["13.0", "1"]


def test_files_without_kernels_do_not_matter(tmp_path: Path) -> None:
    package, cache = Path.cwd() / "example", tmp_path / "cache"
    write(package, 2.0)
    run("example", cache)
    (package / "notes.py").write_text("about = 1\n")
    assert run("example", cache).stdout.split() == ["7.0", "1"]


def test_without_blas_kernels_run_and_linear_algebra_still_compiles() -> None:
    program = """
import sys
from gridpilot.market.compilation import start_without_blas
start_without_blas()
from gridpilot.market.clearing import clear
print(clear([[(1, 10)], [(1, 8)]], supply=[(1, 0)]).payment.tolist(), "scipy.linalg" in sys.modules)
import numba, numpy as np
solve = numba.njit(lambda a, b: np.linalg.solve(a, b) @ a)
print(solve(np.eye(2), np.ones(2)).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[8.0, 0.0] False", "[1.0, 1.0]"]
