"""The course of an evolution as it is kept while it runs, so that one that was interrupted goes on to the same result."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ConfigError
from gridpilot.files import write_atomically

__all__ = ["Course", "KeptCourse"]

EVERY: Final = 5.0  # s between two files, the last generations being played again after a crash


class Course(NamedTuple):
    """What has been played of ``R`` populations, and where their random numbers are."""

    counts: npt.NDArray[np.int64]  # (g + 1, R, S)
    payoffs: npt.NDArray[np.float64]  # (g, R, S)
    state: dict[str, Any]  # of numpy's generator, in JSON's types


class KeptCourse:
    """A file that holds a :class:`Course`.

    ``identity`` is of all that the course depends on but its length. ``clock`` gives seconds.
    """

    def __init__(self, path: Path, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self.identity, self._clock, self._last = path, identity, clock, clock()

    def load(self) -> Course | None:
        """The course so far; ``None`` where there is none.

        Raises :class:`~gridpilot.errors.ConfigError` for a file that cannot be read, or is of another course.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as held:
                identity, state = str(held["identity"]), json.loads(str(held["state"]))
                course = Course(held["counts"], held["payoffs"], state)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{self.path} is no course that can be gone on with, delete it to begin anew: {error}") from error
        if identity != self.identity:
            raise ConfigError(f"{self.path} is the course of other settings, agents or code: expected another folder, or none")
        return course

    def save(self, course: Course, *, at_once: bool = False) -> None:
        """Write it where the last file is some seconds old, or ``at_once``. Raises :class:`~gridpilot.errors.ConfigError`."""
        if not at_once and self._clock() - self._last < EVERY:
            return
        content = io.BytesIO()
        np.savez(content, identity=self.identity, counts=course.counts, payoffs=course.payoffs, state=json.dumps(course.state))
        write_atomically(self.path, content.getvalue(), ConfigError)
        self._last = self._clock()
