"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gridpilot import files
from gridpilot.errors import PriceError
from gridpilot.files import replacing, write_atomically


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
