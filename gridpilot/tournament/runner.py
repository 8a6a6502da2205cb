"""Plays the matches of a tournament in chunks, in this process or in several, and keeps what is finished.

Each finished chunk is one Parquet part, written through a rename; a run that is continued skips the parts that are whole. Rows do
not depend on the backend, the number of workers or the size of the chunks, as ``play`` is a pure function of its arguments.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridpilot.errors import TournamentError
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.manifest import write_atomically
from gridpilot.tournament.progress import Progress
from gridpilot.tournament.rows import check_rows
from gridpilot.tournament.schedule import Match, partition

__all__ = ["Play", "Runner", "read_rows"]

Play = Callable[[TournamentSpec, Sequence[Match]], pd.DataFrame]
Chunk = tuple[Match, ...]

_ATTEMPTS = 2  # of a chunk whose worker process died


class Runner:
    """Plays matches with ``play`` and stores their rows under ``folder/parts``.

    ``play``     ``(spec, matches) -> rows``: one row per match and seat, in order; importable by name for the process backend.
    ``backend``  "serial", or "processes": ``workers`` processes of one thread each, started afresh (spawn).
    ``chunk``    matches a part; must be the same each time a folder is continued.
    """

    def __init__(
        self,
        play: Play,
        spec: TournamentSpec,
        folder: Path,
        *,
        backend: Literal["serial", "processes"] = "serial",
        workers: int = 1,
        chunk: int = 32,
        progress: Progress | None = None,
    ) -> None:
        self.play, self.spec, self.folder = play, spec, folder
        self.backend, self.workers, self.chunk = backend, workers, chunk
        self.progress = progress or Progress()
        self.resumed = 0  # matches that the last run found finished
        self.finished = 0  # matches whose rows are stored, those included

    def run(self, matches: Sequence[Match]) -> pd.DataFrame:
        """Play what is not yet finished; return the rows of all ``matches``, in order.

        Raises :class:`~gridpilot.errors.TournamentError` when a part cannot be written or a worker process died twice over the same
        chunk, and whatever ``play`` raises; finished parts are kept in every case.
        """
        chunks = partition(matches, self.chunk)
        parts: dict[int, pd.DataFrame] = {}
        for i, chunk in enumerate(chunks):
            rows = self._stored(i, chunk)
            if rows is not None:
                parts[i] = rows
        pending = [i for i in range(len(chunks)) if i not in parts]
        self.resumed = self.finished = sum(len(chunks[i]) for i in parts)
        one_process = self.backend == "serial" or len(pending) == 0
        played = self._in_this_process(chunks, pending) if one_process else self._in_processes(chunks, pending)
        with self.progress.of(len(matches), done=self.resumed) as advance, contextlib.closing(played):
            for i, rows in played:
                parts[i] = check_rows(rows, chunks[i], where=f"chunk {i}")
                write_atomically(self._path(i), _to_parquet(parts[i]))
                self.finished += len(chunks[i])
                advance(len(chunks[i]))
        return pd.concat([parts[i] for i in range(len(chunks))], ignore_index=True)

    def _path(self, i: int) -> Path:
        return _part(self.folder, i)

    def _stored(self, i: int, chunk: Chunk) -> pd.DataFrame | None:
        if not self._path(i).exists():
            return None
        try:
            return check_rows(_from_parquet(self._path(i)), chunk, where=str(self._path(i)))
        except (OSError, ValueError, pa.ArrowException, TournamentError) as error:
            self.progress.note(f"part {self._path(i)} is damaged and is played again: {str(error).splitlines()[0]:.200}")
            return None

    def _in_this_process(self, chunks: Sequence[Chunk], pending: Sequence[int]) -> Generator[tuple[int, pd.DataFrame], None, None]:
        for i in pending:
            yield i, self.play(self.spec, chunks[i])

    def _in_processes(self, chunks: Sequence[Chunk], pending: Sequence[int]) -> Generator[tuple[int, pd.DataFrame], None, None]:
        waiting, deaths = deque(pending), Counter[int]()
        while waiting:
            running: dict[Future[pd.DataFrame], int] = {}
            try:
                with _pool(self.play, self.spec, min(self.workers, len(waiting))) as pool:
                    while waiting or running:
                        # No more in flight than there are workers, so that few chunks are suspect when a worker dies.
                        while waiting and len(running) < self.workers:
                            running[pool.submit(_play_here, chunks[waiting[0]])] = waiting[0]
                            waiting.popleft()
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            rows = future.result()
                            yield running.pop(future), rows
            except BrokenProcessPool as error:
                lost = sorted(running.values())
                deaths.update(lost)
                if not lost or max(deaths[i] for i in lost) >= _ATTEMPTS:
                    raise TournamentError(
                        f"a worker process died {_ATTEMPTS} times while chunks {lost or list(waiting)[:1]} were played, "
                        f"as when memory runs out or an agent crashes the interpreter; finished parts are kept in {self.folder}; "
                        f"fewer workers (now {self.workers}) need less memory"
                    ) from error
                self.progress.note(f"a worker process died; playing chunks {lost} again")
                waiting.extendleft(reversed(lost))


def read_rows(folder: Path) -> pd.DataFrame:
    """The rows of all whole parts of a run folder, in order.

    Raises :class:`~gridpilot.errors.TournamentError` when there is none, or when a part is damaged.
    """
    paths = sorted((folder / "parts").glob("[0-9]*.parquet"))
    if not paths:
        raise TournamentError(f"{folder} holds no rows, expected Parquet files in {folder / 'parts'}: was the tournament run?")
    parts = []
    for path in paths:
        try:
            parts.append(_from_parquet(path))
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise TournamentError(f"{path} is damaged; run the tournament again to replace it: {reason:.200}") from error
    return check_rows(pd.concat(parts, ignore_index=True), where=str(folder))


def _part(folder: Path, i: int) -> Path:
    return folder / "parts" / f"{i:06d}.parquet"


def _to_parquet(rows: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), buffer, write_page_checksum=True)
    return buffer.getvalue()


def _from_parquet(path: Path) -> pd.DataFrame:
    rows: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    return rows


@contextlib.contextmanager
def _pool(play: Play, spec: TournamentSpec, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that know ``play`` and ``spec``, and are gone when the block is left by an exception."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise, initargs=(play, spec))
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


_given: dict[str, Any] = {}  # a worker process's play and spec, set once by _initialise


def _initialise(play: Play, spec: TournamentSpec) -> None:
    import numba

    numba.set_num_threads(1)  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the parent ends its workers itself
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _given.update(play=play, spec=spec)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _play_here(chunk: Chunk) -> pd.DataFrame:
    rows: pd.DataFrame = _given["play"](_given["spec"], chunk)
    return rows
