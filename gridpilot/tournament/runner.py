"""Plays the matches of a tournament in chunks, in this process or in several, and keeps what is finished.

Each finished chunk is one Parquet part, written through a rename; a run that is continued skips the parts that are whole. A part states
the run and the number it belongs to, and a hash of its rows: one of another run, or that was rewritten, is no part. Rows do not depend on
the backend, the number of workers or the size of the chunks, as ``play`` is a pure function of its arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridpilot.errors import TournamentError
from gridpilot.files import write_atomically
from gridpilot.progress import Progress
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.manifest import Manifest, identity_of, read_manifest
from gridpilot.tournament.rows import ROW_COLUMNS, check_rows
from gridpilot.tournament.schedule import Match
from gridpilot.workers import no_workers

__all__ = ["Play", "Runner", "read_rows", "read_run", "store_rows"]

Play = Callable[[TournamentSpec, Sequence[Match]], pd.DataFrame]
Chunk = tuple[Match, ...]

_ATTEMPTS = 2  # of a chunk whose worker process died
_STATED: Final = b"gridpilot"  # key of a part's metadata


class Runner:
    """Plays matches with ``play`` and stores their rows under ``folder/parts``.

    ``play``     ``(spec, matches) -> rows``: one row per match and seat, in order; importable by name for the process backend.
    ``run``      names the run that the parts belong to: the identity of its manifest.
    ``backend``  "serial", or "processes": ``workers`` processes of one thread each, started afresh (spawn).
    """

    def __init__(
        self,
        play: Play,
        spec: TournamentSpec,
        folder: Path,
        *,
        run: str,
        backend: Literal["serial", "processes"] = "serial",
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.play, self.spec, self.folder, self._run = play, spec, folder, run
        self.backend, self.workers = backend, workers
        self.progress = progress or Progress("tournament")
        self.resumed = 0  # matches that the last run found finished
        self._chunks: Sequence[Chunk] = ()

    @property
    def finished(self) -> int:
        """Matches whose rows are stored, those that were found finished included.

        Counted by the files, as an interruption can fall between the last moment of a write and any note of it.
        """
        return sum(len(chunk) for i, chunk in enumerate(self._chunks) if self._path(i).exists())

    def run(self, chunks: Sequence[Chunk]) -> pd.DataFrame:
        """Play the ``chunks`` that are not yet finished; return the rows of all of them, in order.

        Part ``i`` holds chunk ``i``, so the chunks must begin with the same ones each time a folder is continued.

        Raises :class:`~gridpilot.errors.TournamentError` when a part cannot be written or a worker process died twice over the same
        chunk, and whatever ``play`` raises; finished parts are kept in every case.
        """
        parts: dict[int, pd.DataFrame] = {}
        self._chunks = chunks
        for i, chunk in enumerate(chunks):
            rows = self._stored(i, chunk)
            if rows is not None:
                parts[i] = rows
        pending = [i for i in range(len(chunks)) if i not in parts]
        self.resumed = sum(len(chunks[i]) for i in parts)
        one_process = self.backend == "serial" or len(pending) == 0
        if not one_process and (missing := no_workers()):
            self.progress.note(f"{missing}; playing in one process, as with backend=serial")
            one_process = True
        played = self._in_this_process(chunks, pending) if one_process else self._in_processes(chunks, pending)
        with self.progress.of(sum(map(len, chunks)), done=self.resumed, what="matches") as advance, contextlib.closing(played):
            for i, rows in played:
                parts[i] = check_rows(rows, chunks[i], where=f"chunk {i}")
                store_rows(self._path(i), parts[i], self._run)
                advance(len(chunks[i]))
        return pd.concat([parts[i] for i in range(len(chunks))], ignore_index=True)

    def _path(self, i: int) -> Path:
        return _part(self.folder, i)

    def _stored(self, i: int, chunk: Chunk) -> pd.DataFrame | None:
        if not self._path(i).exists():
            return None
        try:
            return check_rows(_from_parquet(self._path(i), self._run), chunk, where=str(self._path(i)))
        except (OSError, ValueError, pa.ArrowException, TournamentError) as error:
            self.progress.note(f"part {self._path(i)} is damaged and is played again: {str(error).splitlines()[0]:.200}")
            with contextlib.suppress(OSError):  # what cannot be taken away is replaced when it is written
                self._path(i).unlink()
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


def read_run(folder: Path) -> tuple[Manifest, pd.DataFrame]:
    """The manifest and the rows of a run folder.

    Raises :class:`~gridpilot.errors.TournamentError` when there are none, when a part is damaged, and when manifest or rows are not as they
    were written for one another.
    """
    manifest = read_manifest(folder)
    return manifest, read_rows(folder, identity_of(manifest))


def read_rows(folder: Path, run: str) -> pd.DataFrame:
    """The rows of all parts of a run folder, in order; ``run`` as :class:`Runner` was given it.

    Raises :class:`~gridpilot.errors.TournamentError` when there is none, or when a part is damaged or no part of this run.
    """
    paths = sorted((folder / "parts").glob("[0-9]*.parquet"))
    if not paths:
        raise TournamentError(f"{folder} holds no rows, expected Parquet files in {folder / 'parts'}: was the tournament run?")
    parts = []
    for path in paths:
        try:
            parts.append(_from_parquet(path, run))
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise TournamentError(f"{path} is damaged; run the tournament again to replace it: {reason:.200}") from error
    return check_rows(pd.concat(parts, ignore_index=True), where=str(folder))


def store_rows(path: Path, rows: pd.DataFrame, run: str) -> None:
    """Write the rows of the part ``path`` of a run. Raises :class:`~gridpilot.errors.TournamentError` when it cannot be written."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _STATED: json.dumps(_stated(path, rows, run))})
    # A buffer of Arrow's own: an interrupt that falls into the writing to one of Python's can get lost on its way through Arrow.
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, write_page_checksum=True)
    write_atomically(path, buffer.getvalue().to_pybytes(), TournamentError)


def _part(folder: Path, i: int) -> Path:
    return folder / "parts" / f"{i:06d}.parquet"


def _from_parquet(path: Path, run: str) -> pd.DataFrame:
    table = pq.read_table(path, page_checksum_verification=True)
    rows: pd.DataFrame = table.to_pandas()
    stated = json.loads((table.schema.metadata or {}).get(_STATED, b"null"))
    if stated != _stated(path, rows, run):
        found = (
            f"part {stated.get('part')} of run {str(stated.get('run'))[:10]}" if isinstance(stated, dict) else "no part of a run"
        )
        raise TournamentError(
            f"{path} is not what part {path.stem} of run {run[:10]} was written as: it is {found}, or its rows have been changed; "
            "running the tournament again replaces it"
        )
    return rows


def _stated(path: Path, rows: pd.DataFrame, run: str) -> dict[str, str]:
    """What a part says of itself."""
    digest = hashlib.sha256()
    for name, kind in ROW_COLUMNS.items():
        if name in rows.columns:
            column = rows[name]
            whole = (
                "\0".join(map(str, column)).encode()
                if kind == "str"
                else column.to_numpy(np.int64 if kind == "int" else float).tobytes()
            )
            digest.update(name.encode() + b"\0" + whole)
    return {"run": run, "part": path.stem, "rows": digest.hexdigest()}


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
