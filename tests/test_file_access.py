"""Which files are noticed when they are opened, and which are not."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot.file_access import read_at_import, refuse_other_files, watch_files


def _map() -> object:
    with open("w.bin", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped[0]


def _torch() -> object:
    torch = pytest.importorskip("torch")
    return torch.load("w.pt")


WAYS: dict[str, tuple[str, Callable[[], Any]]] = {
    "open": ("w.bin", lambda: open("w.bin", "rb").close()),
    "io.open": ("w.bin", lambda: io.open("w.bin", "rb").close()),  # noqa: UP020 - the other name is what is tried
    "os.open": ("w.bin", lambda: os.close(os.open(b"w.bin", os.O_RDONLY))),
    "update": ("w.bin", lambda: open("w.bin", "r+b").close()),
    "pathlib": ("w.bin", lambda: Path("w.bin").read_bytes()),
    "mmap": ("w.bin", _map),
    "numpy.load": ("w.npz", lambda: np.load("w.npz")["a"]),
    "numpy.memmap": ("w.bin", lambda: np.memmap("w.bin", mode="r")),
    "numpy.fromfile": ("w.bin", lambda: np.fromfile("w.bin")),
    "pandas": ("w.csv", lambda: pd.read_csv("w.csv")),
    "pickle": ("w.pkl", lambda: pickle.loads(Path("w.pkl").read_bytes())),
    "sqlite": ("w.db", lambda: sqlite3.connect("w.db").close()),
    "sqlite by URI": ("w.db", lambda: sqlite3.connect("file:w.db?mode=ro", uri=True).close()),
    "torch": ("w.pt", _torch),
}


@pytest.fixture
def files() -> None:
    Path("w.bin").write_bytes(b"12345678")
    Path("w.csv").write_text("a\n1\n")
    Path("w.pkl").write_bytes(pickle.dumps(1))
    np.savez("w.npz", a=np.ones(2))
    sqlite3.connect("w.db").executescript("create table t (a)").close()
    if "torch" in sys.modules:
        sys.modules["torch"].save({}, "w.pt")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_read_is_noticed(files: None, way: str) -> None:
    name, read = WAYS[way]
    if way == "torch":
        pytest.importorskip("torch").save({}, name)
    with watch_files() as seen:
        read()
    assert seen.paths == (Path.cwd() / name,)
    with refuse_other_files([str(Path.cwd() / name)]):
        read()
    with refuse_other_files([]), pytest.raises(PermissionError, match=rf"{name} is opened during play and is no part of the run"):
        read()
    read()  # and nothing holds it back afterwards


def test_what_is_none_of_the_users_is_passed_over(files: None) -> None:
    with watch_files() as seen, refuse_other_files([]):
        (resources.files("gridpilot.conf") / "agent" / "mpc.yaml").read_text()
        Path(str(pd.__file__)).read_bytes()
        Path(os.__file__).read_bytes()
        Path("/etc/hostname").exists()
        for system in ("/dev/null", "/proc/self/status"):
            if Path(system).exists():
                Path(system).read_bytes()
        for cache in ("kernel.nbi", "kernel.nbc"):
            Path(cache).write_bytes(b"")
        assert not Path("absent").exists()
    assert seen.paths == ()


def test_what_is_written_first_is_no_input(files: None) -> None:
    with watch_files() as seen, refuse_other_files([]):
        with open("w.csv", "w") as file:
            file.write("new")
        Path("w.csv").read_text()
        with pytest.raises(FileNotFoundError):
            Path("cache").read_text()
        Path("cache").write_text("made here")
        Path("cache").read_text()
        with open("log", "a") as file:
            file.write("line")
        with tempfile.TemporaryFile() as scratch, tempfile.NamedTemporaryFile() as named:
            scratch.write(b"x")
            Path(named.name).read_bytes()
    assert seen.paths == ()


def test_what_was_read_first_stays_an_input(files: None) -> None:
    with watch_files() as seen:
        Path("w.csv").read_text()
        Path("w.csv").write_text("new")
        Path("w.bin").read_bytes()
        Path("w.bin").unlink()
    assert seen.paths == (Path.cwd() / "w.csv",)  # what is gone cannot be kept


def test_contexts_nest_and_end(files: None) -> None:
    with watch_files() as outer:
        with watch_files() as inner:
            Path("w.csv").read_text()
        Path("w.bin").read_text()
    Path("w.pkl").read_bytes()
    assert [path.name for path in inner.paths] == ["w.csv"]
    assert [path.name for path in outer.paths] == ["w.bin", "w.csv"]


def test_what_is_read_while_code_is_imported_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    Path("table.txt").write_text("1")
    Path("access_helper.py").write_text("from pathlib import Path\nTABLE = Path(__file__).with_name('table.txt').read_text()\n")
    Path("access_one.py").write_text("import access_helper\n")
    Path("access_two.py").write_text("import access_helper\n")
    with watch_files() as first:
        import access_one  # noqa: F401
    with watch_files() as second:
        import access_two  # noqa: F401
    table = Path.cwd() / "table.txt"
    assert table in first.paths
    assert table not in second.paths  # the helper had been imported
    assert table in read_at_import([Path.cwd() / "access_helper.py"])
    assert Path.cwd() / "access_helper.py" in first.paths  # as source, or as bytecode
    assert read_at_import([Path.cwd() / "access_two.py"]) <= {Path.cwd() / "access_two.py"}
