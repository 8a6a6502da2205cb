"""The scripts people and continuous integration run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_structure import ROOT

BASH = shutil.which("bash") or "bash"
SCRIPTS = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env ")
    if "bash" in path.read_text(encoding="utf-8").splitlines()[0]:
        subprocess.run([BASH, "-n", str(path)], check=True)
        assert "\nset -euo pipefail\n" in path.read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What bootstrap reads, in a folder whose name has a blank, and nothing on PATH but the tools it needs."""
    root = tmp_path / "a project"
    (root / "scripts").mkdir(parents=True)
    (root / "tools").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/bootstrap"):
        shutil.copy(ROOT / name, root / name)
    for tool in ("bash", "cat", "dirname", "env"):
        (root / "tools" / tool).symlink_to(str(shutil.which(tool)))
    return root


def bootstrap(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "scripts" / "bootstrap")],
        env={"PATH": str(root / "tools")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_bootstrap_without_a_recent_python_says_so(project: Path) -> None:
    executable(project / "tools" / "python3", '#!/usr/bin/env bash\n[[ "$1" == --version ]] && echo "Python 3.9.2"\n')
    done = bootstrap(project)
    assert done.returncode == 1
    assert done.stderr == (
        "gridpilot: error: no Python 3.11 or newer on PATH (found: Python 3.9.2); install one, for example python3.11\n"
    )
    assert not (project / ".venv").exists()


def test_bootstrap_does_nothing_when_nothing_changed_and_something_when_it_did(project: Path) -> None:
    for name in ("python", "gridpilot"):
        executable(project / ".venv" / "bin" / name, "#!/usr/bin/env bash\nexit 1\n")
    files = (project / "pyproject.toml").read_text() + (project / "constraints.txt").read_text()
    (project / ".venv" / "bootstrap-stamp").write_text(f"{project}\n{files}")
    unchanged = bootstrap(project)
    assert (unchanged.returncode, unchanged.stdout, unchanged.stderr) == (0, "", "")
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("another==1.0\n")
    changed = bootstrap(project)
    assert changed.returncode == 1
    assert "no Python 3.11" in changed.stderr


def test_check_refuses_an_argument_it_does_not_know() -> None:
    done = subprocess.run([str(ROOT / "scripts" / "check"), "--fxi"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert done.stderr == "scripts/check: unknown argument '--fxi', expected --fix or none\n"
