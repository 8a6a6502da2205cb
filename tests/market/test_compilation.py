"""Kernels are compiled once, say so once, and are compiled again when the code they call has changed; leaf kernels make no arrays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import caching

from gridpilot.envs import _kernels
from gridpilot.market import compilation, encoding, step
from gridpilot.planning import dynamic_kernels
from gridpilot.prices import kernels as prices
from gridpilot.prices import weather_and_capacity

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


def test_without_a_folder_for_the_cache_kernels_are_compiled_each_time_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path.cwd() / "gridpilot_nowhere", 2.0)
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "")  # which a deployment that was loaded before has set
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])  # as where no folder can be written
    for said in (compilation._announcement, "said"), (compilation._announcement, "kept"):
        monkeypatch.setattr(*said, said[1] == "kept")
    from gridpilot_nowhere.outer import outer  # type: ignore[import-not-found]

    assert (outer(3.0), outer(3)) == (7.0, 7.0)
    err = capsys.readouterr().err
    assert err.count(MESSAGE) == err.count("NUMBA_CACHE_DIR=FOLDER") == err.count("\n") == 1
    assert not list(Path.cwd().rglob("*.nb[ci]"))


def test_a_cache_that_can_no_longer_be_written_is_told_once_and_the_kernel_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path.cwd() / "full_disk", 2.0)
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setattr(compilation, "_announcement", compilation._Announcement())
    from full_disk.outer import outer  # type: ignore[import-not-found]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outer._cache._cache_file, "save", full)
    assert (outer(3.0), outer(3)) == (7.0, 7.0)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "NUMBA_CACHE_DIR=FOLDER names one that can (No space left on device)" in err


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


LEAVES = """
import numpy as np
from gridpilot.market.compilation import kernel, leaf_kernel

@leaf_kernel
def last(row):
    return row[-1]

@leaf_kernel
def makes(rows):
    return np.empty(3)[0] + rows[0, 0]

@leaf_kernel
def copies(rows):
    rows[0] = rows[1]

@kernel
def calls(rows):
    return makes(rows)

@leaf_kernel
def hands_down(rows):
    return allocates(rows) + last(rows[0])

@kernel
def allocates(rows):
    return np.ones(3).sum() + rows[0, 0]
"""


def run_leaves(code: str, cache: Path) -> str:
    Path("leaves.py").write_text(LEAVES)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{ROOT}"}
    code = f"import numpy as np\nimport leaves\nrows = np.ones((2, 3))\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout


def test_the_hot_loops_are_leaf_kernels() -> None:
    hot = [
        step._step, encoding._encode, encoding.update_levels, prices._simulate,
        weather_and_capacity._weather, weather_and_capacity._capacity,
        _kernels.decode_range, _kernels.settle, dynamic_kernels._plan_seats, dynamic_kernels._tabulate, dynamic_kernels._follow,
    ]  # fmt: skip
    assert [one.py_func.__name__ for one in hot if one.targetoptions["_nrt"]] == []


@pytest.mark.parametrize(("called", "named"), [("makes", "makes"), ("copies", "copies"), ("calls", "makes")])
def test_a_leaf_kernel_that_makes_an_array_is_named(called: str, named: str, tmp_path: Path) -> None:
    code = f"try:\n    leaves.{called}(rows)\nexcept TypeError as error:\n    print(error)"
    assert run_leaves(code, tmp_path) == (
        f"leaves.{named}: a leaf kernel makes an array, expected one that only uses those it is given; make it in the kernel that "
        "calls it\n"
    )


def test_a_leaf_kernel_may_call_one_that_makes_arrays(tmp_path: Path) -> None:
    assert run_leaves("print(leaves.hands_down(rows), leaves.allocates(rows))", tmp_path) == "5.0 4.0\n"
