"""One engine a journal, by whatever name it is reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gridpilot.errors import LiveError
from gridpilot.live.journal import Journal
from gridpilot.live.lock import is_run_on, lock_path, sole_engine

HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from gridpilot.live.journal import Journal
from gridpilot.live.lock import sole_engine
with sole_engine(Path(sys.argv[1])), Journal(Path(sys.argv[1])) as journal:
    journal.append([("halt", {"why": "first"})], at=datetime.now(UTC))
    print("held", flush=True)
    sys.stdin.read()
    journal.append([("resume", {})], at=datetime.now(UTC))
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A journal on which an engine of another process runs."""
    journal = tmp_path / "j.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(journal)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield journal
        other.communicate()
        assert other.returncode == 0


@pytest.mark.parametrize("how", ["same", "spelling", "symbolic", "folder", "hard", "unlocked", "made anew"])
def test_a_second_engine_is_refused(held: Path, how: str) -> None:
    folder, name = held.parent, held
    if how == "spelling":
        name = folder / ".." / folder.name / "j.db"
    elif how == "symbolic":
        name = folder / "soft.db"
        name.symlink_to("j.db")
    elif how == "folder":
        (folder / "there").symlink_to(".")
        name = folder / "there" / "j.db"
    elif how == "hard":
        name = folder / "hard.db"
        os.link(held, name)
    elif how == "unlocked":
        lock_path(held).unlink()
    elif how == "made anew":
        held.unlink()
        held.write_bytes(b"")
    assert is_run_on(name)
    with pytest.raises(LiveError, match="another engine runs on"), sole_engine(name):
        pytest.fail("two engines on one journal")


def test_the_journal_is_let_go_of(held: Path, tmp_path: Path) -> None:
    assert is_run_on(held)
    other = tmp_path / "other.db"
    assert not is_run_on(other)
    for _ in range(2):
        with sole_engine(other), Journal(other) as journal:
            journal.append([("halt", {"why": "x"})], at=datetime.now(UTC))
            assert lock_path(other).exists()
    assert not is_run_on(other)


def test_an_engine_that_never_began_leaves_no_journal(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sole_engine(tmp_path / "deep" / "j.db"):
        raise RuntimeError
    assert not (tmp_path / "deep" / "j.db").exists()


def test_what_cannot_be_a_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(LiveError, match=r"cannot use .*folder as a journal: folder: Is a directory"),
        sole_engine(tmp_path / "folder"),
    ):
        pytest.fail("a folder is no journal")
