"""Files that are whole or not there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gridpilot import files
from gridpilot.errors import PriceError
from gridpilot.files import beside, check_output, making_folder, replacing, run_folder, write_atomically


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "file", b"one", PriceError)
    write_atomically(tmp_path / "a" / "file", b"two", PriceError)
    assert [path.read_bytes() for path in (tmp_path / "a").iterdir()] == [b"two"]
    with pytest.raises(PriceError, match=r"cannot write .*below: File exists"):
        write_atomically(tmp_path / "a" / "file" / "below", b"three", PriceError)
    (tmp_path / "a" / "taken").mkdir()
    with pytest.raises(PriceError, match=r"cannot write .*taken: Is a directory"):
        write_atomically(tmp_path / "a" / "taken", b"four", PriceError)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["file", "taken"]


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (ValueError("of the block"), ValueError, "of the block"),
        (OSError(28, "No space left on device"), PriceError, r"cannot write .*file: No space left"),
    ],
)
def test_a_block_that_raises_leaves_what_was_there(
    tmp_path: Path, raised: Exception, expected: type[Exception], words: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path, PriceError) as temporary:
            temporary.write_text("half")
            raise raised

    with pytest.raises(expected, match=words):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_content_is_on_the_disk_before_the_rename_and_the_folder_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", list[tuple[bool, bool]]()

    def fsync(descriptor: int) -> None:
        seen.append((os.path.isdir(descriptor), path.exists()))

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_atomically(path, b"content", PriceError)
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "it is a folder"),
        ("folder", "it is a folder"),
        ("/dev/null", "it is a device or a pipe"),
        ("/dev/full", "it is a device or a pipe"),
        ("pipe", "it is a device or a pipe"),
        ("nowhere/file.csv", "there is no folder '.*nowhere'"),
        ("taken/file.csv", "'.*taken' is a file"),
        ("/proc/file.csv", "No such file|Permission denied|Read-only"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_file_that_could_not_be_written_is_refused_beforehand(given: str, reason: str) -> None:
    surroundings()
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(PriceError, match=rf"^cannot write {re.escape(str(Path(given)))}: .*({reason})"):
        check_output(Path(given), PriceError)
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("taken", "it is a file"),
        ("taken/below/it", "taken' is a file"),
        ("/dev/null", "it is a file"),
        ("/dev/null/below", "'/dev/null' is a file"),
        ("/proc/nowhere/run", "No such file|Permission denied|Read-only"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_folder_that_could_not_be_written_is_refused_beforehand(given: str, reason: str) -> None:
    surroundings()
    with pytest.raises(PriceError, match=rf"^cannot write {re.escape(given)}: .*({reason})"):
        check_output(Path(given), PriceError, folder=True)


def test_what_can_be_written_passes_and_is_left_alone() -> None:
    surroundings()
    before = sorted(Path.cwd().rglob("*"))
    for given in ("taken", "new.csv", "folder/new.csv", "link"):
        check_output(Path(given), PriceError)
    check_output(Path("new/below/it.csv"), PriceError, new_folders=True)
    for given in ("folder", "new", "new/below/it", "."):
        check_output(Path(given), PriceError, folder=True)
    assert sorted(Path.cwd().rglob("*")) == before
    assert Path("taken").read_text() == "as it was"


def surroundings() -> None:
    Path("taken").write_text("as it was")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("link").symlink_to("taken")


def test_a_run_is_found_by_its_identity_whatever_it_was_called() -> None:
    assert run_folder("quick-ercot: 5 % (a/b)", "0123456789") == Path("runs/quick-ercot-5-a-b-0123456789")
    assert len(run_folder("x" * 500, "0123456789").name) == 91
    Path("runs/tournament-0123456789").mkdir(parents=True)
    Path("runs/a file-9999999999").touch()
    assert run_folder("quick", "0123456789") == Path("runs/tournament-0123456789")
    assert run_folder("quick", "9999999999") == Path("runs/quick-9999999999")


def test_no_link_that_somebody_planted_is_written_through(tmp_path: Path) -> None:
    # The folder of somebody else's run may hold links under names that a temporary file could have.
    precious = tmp_path / "precious"
    precious.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in (".file", ".gridpilot"):
        for pid in range(os.getpid() - 50, os.getpid() + 50):
            (run / f"{name}.{pid}").symlink_to(precious)
    (run / "file").symlink_to(precious)
    check_output(run / "file", PriceError)
    check_output(run, PriceError, folder=True)
    write_atomically(run / "file", b"new", PriceError)
    assert precious.read_text() == "mine"
    assert (run / "file").read_text() == "new"
    assert not (run / "file").is_symlink()
    names = {beside(run / "file").name for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith(".file.") for name in names)
    assert len(beside(run / ("x" * 255)).name) < 200


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder"
    with making_folder(place, PriceError) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("whole")
        assert not place.exists()
    assert (place / "inner" / "file").read_text() == "whole"

    def fails() -> None:
        with making_folder(tmp_path / "other", PriceError) as folder:
            (folder / "file").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    with pytest.raises(PriceError, match=r"cannot write .*folder: .*not empty"), making_folder(place, PriceError) as folder:
        (folder / "file").write_text("too late")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in place.parent.iterdir()] == ["folder"]
