"""What the dashboard shows: runs and journals by their paths, opened when a page asks, and read again when they have changed.

Several sessions look at the same things in threads of their own, so all reading and computing happens under one lock: SQLite's locks of a
process do not know threads, and kernels of two threads at once end in an abort of numba's workqueue layer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gridpilot.errors import ConfigError, GridPilotError, TournamentError
from gridpilot.insight.dashboard.followed import Followed
from gridpilot.insight.opened import OpenedRun
from gridpilot.tournament.manifest import MANIFEST_NAME

__all__ = ["Sources", "serve_sources", "served_sources"]

KEPT: Final = 4  # runs that stay open

Stamp = tuple[tuple[str, int, int], ...]


class Sources:
    """Runs and journals. ``coming`` says of a path that is not there yet why it will be."""

    def __init__(self, runs: Sequence[Path] = (), journals: Sequence[Path] = (), *, coming: str = "") -> None:
        self.runs, self.journals, self.coming = list(runs), list(journals), coming
        self._lock = threading.RLock()
        self._opened: OrderedDict[Path, tuple[Stamp, OpenedRun]] = OrderedDict()
        self._followed: dict[Path, Followed] = {}

    @contextmanager
    def run(self, path: Path) -> Iterator[OpenedRun]:
        """A run, for as long as the block takes; opened again where its files are others than they were.

        Raises :class:`~gridpilot.errors.GridPilotError` that says what is wrong with it.
        """
        with self._lock, _told(path):
            self._check_there(path)
            stamp = _stamp(path)
            known = self._opened.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, OpenedRun(path))
                self._opened[path] = known
                while len(self._opened) > KEPT:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(path)
            yield known[1]

    @contextmanager
    def journal(self, path: Path) -> Iterator[Followed]:
        """A journal with all that has been added to it, for as long as the block takes.

        Raises :class:`~gridpilot.errors.GridPilotError` that says what is wrong with it.
        """
        with self._lock, _told(path):
            self._check_there(path)
            followed = self._followed.setdefault(path, Followed(path))
            followed.read()
            yield followed

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute something for as long as the block takes, and nobody else meanwhile."""
        with self._lock:
            yield

    def _check_there(self, path: Path) -> None:
        if not path.exists():
            raise ConfigError(f"{path} is not there{f' yet: {self.coming}' if self.coming else ', expected a run or a journal'}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What is damaged may fail in any way; a page says it in one line that names the path."""
    try:
        yield
    except GridPilotError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise TournamentError(f"{path} cannot be read: {type(error).__name__}: {error!s:.200}") from error


def _stamp(folder: Path) -> Stamp:
    """By which a change of a run is seen: names, times and sizes of its files."""
    if not (folder / MANIFEST_NAME).is_file():
        raise ConfigError(f"{folder} has no {MANIFEST_NAME}, expected the folder of a tournament")
    found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple((str(path.relative_to(folder)), about.st_mtime_ns, about.st_size) for path, about in found)


_SERVED: Final[list[Sources]] = []


def serve_sources(sources: Sources) -> None:
    """Make ``sources`` those of the page's script, which Streamlit runs anew for every look and gives no arguments."""
    _SERVED[:] = [sources]


def served_sources() -> Sources:
    """What :func:`serve_sources` was given."""
    return _SERVED[0] if _SERVED else Sources()
