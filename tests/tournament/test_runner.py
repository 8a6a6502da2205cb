from __future__ import annotations

import dataclasses
import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from gridpilot.errors import TournamentError
from gridpilot.progress import Progress
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.rows import check_rows
from gridpilot.tournament.runner import Runner, read_rows
from gridpilot.tournament.schedule import Match, partition, schedule
from tests.tournament import synthetic

RUN = "0123456789abcdef"
ROOT = Path(__file__).parents[2]
AGENTS = ["truthful", "threshold", "zero_intelligence"]
MATCHES = schedule(AGENTS, synthetic.N_SEATS, range(4), ["mixed", "self"])


def quiet() -> tuple[Progress, io.StringIO]:
    said = io.StringIO()
    return Progress("tournament", Console(file=said, width=400)), said


class Cut(Runner):
    """A runner that cuts matches into chunks itself."""

    def __init__(self, *arguments: Any, chunk: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.chunk = chunk

    def play_all(self, matches: Sequence[Match]) -> pd.DataFrame:
        return self.run(partition(matches, self.chunk))


def runner(folder: Path, play: object = synthetic.play, **options: Any) -> Cut:
    spec = options.pop("spec", synthetic.spec())
    return Cut(play, spec, folder, **({"run": RUN, "chunk": 5, "progress": quiet()[0]} | options))


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return check_rows(synthetic.play(synthetic.spec(), MATCHES), MATCHES, where="test")


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_rows_do_not_depend_on_chunks(tmp_path: Path, expected: pd.DataFrame, chunk: int) -> None:
    rows = runner(tmp_path, chunk=chunk).play_all(MATCHES)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    pd.testing.assert_frame_equal(read_rows(tmp_path, RUN), expected, check_exact=True)


def test_processes_give_the_rows_of_one_process(tmp_path: Path, expected: pd.DataFrame) -> None:
    rows = runner(tmp_path, backend="processes", workers=2, chunk=7).play_all(MATCHES)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    pd.testing.assert_frame_equal(read_rows(tmp_path, RUN), expected, check_exact=True)
    assert multiprocessing.active_children() == []


def test_finished_parts_are_kept_and_skipped(tmp_path: Path, expected: pd.DataFrame) -> None:
    played: list[Match] = []

    def break_off(spec: TournamentSpec, matches: tuple[Match, ...]) -> pd.DataFrame:
        if len(played) >= 10:
            raise KeyboardInterrupt
        played.extend(matches)
        return synthetic.play(spec, matches)

    first = runner(tmp_path, break_off)
    with pytest.raises(KeyboardInterrupt):
        first.play_all(MATCHES)
    assert first.finished == 10
    assert len(read_rows(tmp_path, RUN)) == 10 * synthetic.N_SEATS
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}

    def record(spec: TournamentSpec, matches: tuple[Match, ...]) -> pd.DataFrame:
        played.extend(matches)
        return synthetic.play(spec, matches)

    second = runner(tmp_path, record)
    pd.testing.assert_frame_equal(second.play_all(MATCHES), expected, check_exact=True)
    assert played == MATCHES
    assert second.resumed == 10
    assert {path: path.stat().st_mtime_ns for path in times} == times
    third = runner(tmp_path, break_off)
    pd.testing.assert_frame_equal(third.play_all(MATCHES), expected, check_exact=True)
    assert third.resumed == len(MATCHES)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "other rows", "not parquet"])
def test_damaged_parts_are_played_again(tmp_path: Path, expected: pd.DataFrame, damage: str) -> None:
    runner(tmp_path).play_all(MATCHES)
    part = tmp_path / "parts" / "000001.parquet"
    content = bytearray(part.read_bytes())
    if damage == "flip":
        content[200] ^= 0xFF
    new = {"truncate": content[: len(content) // 2], "flip": content, "empty": b"", "not parquet": b"x" * 5000}
    part.write_bytes(new.get(damage, (tmp_path / "parts" / "000002.parquet").read_bytes()))
    if damage != "flip":
        message = "is not what part 000001 of run 0123456789 was written as" if damage == "other rows" else "is damaged"
        with pytest.raises(TournamentError, match=rf"000001.parquet {message}"):
            read_rows(tmp_path, RUN)
    progress, said = quiet()
    again = runner(tmp_path, progress=progress)
    pd.testing.assert_frame_equal(again.play_all(MATCHES), expected, check_exact=True)
    assert again.resumed == len(MATCHES) - 5
    assert "000001.parquet is damaged and is played again" in said.getvalue()
    pd.testing.assert_frame_equal(read_rows(tmp_path, RUN), expected, check_exact=True)


def test_a_worker_that_dies_once_is_replaced(tmp_path: Path, expected: pd.DataFrame) -> None:
    spec = synthetic.spec(market={"mark": str(tmp_path / "mark"), "deadly": 2, "once": True})
    progress, said = quiet()
    rows = runner(
        tmp_path / "run", synthetic.play_and_die_once, spec=spec, backend="processes", workers=2, progress=progress
    ).play_all(MATCHES)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    assert "a worker process died; playing chunks" in said.getvalue()


def test_a_chunk_that_kills_twice_ends_the_run(tmp_path: Path) -> None:
    spec = synthetic.spec(market={"mark": str(tmp_path / "mark"), "deadly": 2, "once": False})
    with pytest.raises(TournamentError, match=r"died 2 times while chunks \[.*finished parts are kept in"):
        runner(tmp_path, synthetic.play_and_die_once, spec=spec, backend="processes", workers=1, chunk=3).play_all(MATCHES)
    assert set(read_rows(tmp_path, RUN)["episode"]) == {0, 1}
    assert multiprocessing.active_children() == []


def test_an_error_of_a_worker_comes_out(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="deadly"):
        runner(tmp_path, synthetic.play_and_die_once, spec=synthetic.spec(market={"mark": "m"}), backend="processes").play_all(
            MATCHES
        )
    assert multiprocessing.active_children() == []


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path, expected: pd.DataFrame) -> None:
    runner(tmp_path / "whole").play_all(MATCHES)
    sizes = [path.stat().st_size for path in (tmp_path / "whole" / "parts").iterdir()]
    script = f"""
        import resource
        from pathlib import Path
        from gridpilot.errors import TournamentError
        from tests.tournament.test_runner import MATCHES, runner, synthetic
        folder = Path({str(tmp_path / "run")!r})
        def play(spec, matches):
            if matches[0] == MATCHES[10]:
                resource.setrlimit(resource.RLIMIT_FSIZE, ({min(sizes) // 2}, {min(sizes) // 2}))
            return synthetic.play(spec, matches)
        try:
            runner(folder, play).play_all(MATCHES)
        except TournamentError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert "000002.parquet: File too large" in done.stdout
    assert sorted(path.name for path in (tmp_path / "run" / "parts").iterdir()) == ["000000.parquet", "000001.parquet"]
    pd.testing.assert_frame_equal(runner(tmp_path / "run").play_all(MATCHES), expected, check_exact=True)


def test_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    script = f"""
        import multiprocessing, os, signal, threading, time
        from pathlib import Path
        from tests.tournament.test_runner import MATCHES, runner, synthetic
        def kill():
            while not list(Path({str(tmp_path)!r}).glob("parts/0*")):
                time.sleep(0.05)
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if __name__ == "__main__":
            threading.Thread(target=kill, daemon=True).start()
            runner(Path({str(tmp_path)!r}), synthetic.play_slowly, backend="processes", workers=2, chunk=1).play_all(MATCHES)
    """
    file = tmp_path / "killed.py"
    file.write_text(textwrap.dedent(script))
    # The output ends when the last process that holds it is gone.
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2
    assert all(not Path(f"/proc/{pid}").exists() or _is_dead(pid) for pid in done.stdout.split())


def _is_dead(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="wear"), "column 'wear' is missing"),
        (lambda rows: rows.assign(profit=float("nan")), "column 'profit' is nan in row 0, expected a finite number"),
        (lambda rows: rows.assign(ticks=288.0), "column 'ticks' has dtype float64, expected int"),
        (lambda rows: rows.assign(site=1), "column 'site' holds int64 values, expected strings"),
        (lambda rows: rows.iloc[::-1], "not the 20 of its matches in order"),
        (lambda rows: rows.iloc[:-1], "19 rows that are not the 20"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, change: object, message: str) -> None:
    with pytest.raises(TournamentError, match=message):
        runner(tmp_path, lambda spec, matches: change(synthetic.play(spec, matches))).play_all(MATCHES)  # type: ignore[operator]


def test_rows_twice_are_refused(expected: pd.DataFrame) -> None:
    with pytest.raises(TournamentError, match="a match and seat appears twice"):
        check_rows(pd.concat([expected, expected]), where="test")


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(TournamentError, match="holds no rows, expected Parquet files"):
        read_rows(tmp_path, RUN)


def test_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        synthetic.spec().seed = 4  # type: ignore[misc]


def test_where_processes_cannot_share_work_one_plays_and_says_so(
    tmp_path: Path, expected: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: object, *_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing.context.SpawnContext, "Lock", refused)
    progress, said = quiet()
    rows = runner(tmp_path, backend="processes", workers=2, progress=progress).play_all(MATCHES)
    pd.testing.assert_frame_equal(rows, expected)
    assert said.getvalue().count("(/dev/shm): Read-only file system; playing in one process, as with backend=serial") == 1
