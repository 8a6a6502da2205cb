"""How far a long computation is, on stderr: a bar in a terminal, an occasional line elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gridpilot.columns import SafeConsole

__all__ = ["Advance", "Progress"]


class Advance(Protocol):
    """Counts ``count`` more things as done; ``whose`` they are is shown beside a bar."""

    def __call__(self, count: int, whose: str = "") -> None:
        """Count."""


class Progress:
    """Shows what is done and the time left of a computation called ``title``.

    ``every`` is the least number of seconds between plain lines; ``clock`` gives seconds.
    """

    def __init__(
        self, title: str, console: Console | None = None, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.console = title, console or SafeConsole(stderr=True)
        self.every, self.clock = every, clock

    def note(self, text: str) -> None:
        """Say something that should stay on the screen."""
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def of(self, total: int, *, done: int = 0, what: str) -> Iterator[Advance]:
        """While ``total`` things are worked on, ``done`` of them finished before; yields a function that counts new ones."""
        if done >= total:
            yield lambda count, whose="": None
        elif self.console.is_terminal:
            columns = (
                TextColumn(f"[bold]{self.title}"),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TextColumn(what),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                TextColumn("[dim]left"),
                TimeRemainingColumn(),
            )
            with Bar(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task("", total=total, completed=done)
                yield lambda count, whose="": bar.update(task, advance=count, description=whose)
        else:
            yield self._lines(total, done, what)

    def _lines(self, total: int, done: int, what: str) -> Advance:
        start = last = self.clock()
        new = 0

        def advance(count: int, whose: str = "") -> None:
            nonlocal new, last
            new += count
            now = self.clock()
            if new and now - last >= self.every:
                last = now
                left = (now - start) / new * (total - done - new)
                text = f"{self.title}: {done + new} of {total} {what}, {now - start:.0f} s elapsed, about {left:.0f} s left"
                self.console.print(text, markup=False, highlight=False, soft_wrap=True)

        return advance
