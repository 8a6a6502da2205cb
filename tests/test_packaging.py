"""What is installed: the wheel's contents, the version, and the dependencies that are declared and pinned."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gridpilot
from tests.test_structure import LINKED, MODULES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAME = re.compile(r"^[A-Za-z0-9._-]+")
NOT_SOURCE = ("__pycache__", "*.py[cod]", "*.nbi", "*.nbc")


def names(requirements: list[str]) -> set[str]:
    found = (NAME.match(requirement) for requirement in requirements)
    return {match.group().lower().replace("_", "-") for match in found if match}


CORE = names(PROJECT["project"]["dependencies"])
EXTRAS = {extra: names(requirements) - {"gridpilot"} for extra, requirements in PROJECT["project"]["optional-dependencies"].items()}


def test_the_version_is_one() -> None:
    assert gridpilot.__version__ == PROJECT["project"]["version"] == importlib.metadata.version("gridpilot")


def test_every_declared_dependency_is_pinned_and_pins_are_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    assert CORE.union(*EXTRAS.values()) <= names(lines)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    distributions = importlib.metadata.packages_distributions()
    imported: dict[str, str] = {}
    declared = CORE.union(*(EXTRAS[extra] for extra in ("rl", "forecast", "insight", "onnx", "tune")))
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            tops = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in tops} - set(sys.stdlib_module_names) - {"gridpilot"}:
                found = {name.lower().replace("_", "-") for name in distributions.get(top, [f"{top} (not installed)"])}
                # Some packages are shared by two distributions, one of which brings the other (cvxpy and cvxpy-base).
                imported |= dict.fromkeys(found & declared or found, module)
    undeclared = {name: module for name, module in imported.items() if name not in declared}
    assert undeclared == {}
    assert CORE - set(imported) == set(), "declared, and imported nowhere"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    for name in ("gridpilot", *LINKED):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(path).namelist())


def test_the_wheel_holds_exactly_the_tree(wheel: set[str]) -> None:
    tree = set()
    for folder in ("gridpilot", *LINKED):
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT)
            if path.is_file() and "__pycache__" not in inside.parts and not (folder == "gridpilot" and inside.parts[1] in LINKED):
                tree.add(str(inside if folder == "gridpilot" else Path("gridpilot") / inside))
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed - tree == set(), "in the wheel, not in the tree"
    assert tree - packed == set(), "in the tree, not in the wheel: see [tool.setuptools] in pyproject.toml"


def test_the_wheel_has_the_command_and_the_licence(wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
    assert any(name.endswith("/LICENSE") for name in wheel)
