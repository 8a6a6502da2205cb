"""How far a long computation is, on stderr: a bar in a terminal, an occasional line elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]


class Progress:
    """Shows matches done and time left. ``every`` is the least number of seconds between plain lines; ``clock`` gives seconds."""

    def __init__(self, console: Console | None = None, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(stderr=True)
        self.every, self.clock = every, clock

    def note(self, text: str) -> None:
        """Say something that should stay on the screen."""
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def of(self, total: int, *, done: int = 0, what: str = "matches") -> Iterator[Callable[[int], None]]:
        """While ``total`` things are worked on, ``done`` of them finished before; yields a function that counts new ones."""
        if done >= total:
            yield lambda count: None
        elif self.console.is_terminal:
            columns = (
                TextColumn("[bold]tournament"),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TextColumn(what),
                TimeElapsedColumn(),
                TextColumn("[dim]left"),
                TimeRemainingColumn(),
            )
            with Bar(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(what, total=total, completed=done)
                yield lambda count: bar.advance(task, count)
        else:
            yield self._lines(total, done, what)

    def _lines(self, total: int, done: int, what: str) -> Callable[[int], None]:
        start = last = self.clock()
        played = 0

        def advance(count: int) -> None:
            nonlocal played, last
            played += count
            now = self.clock()
            if now - last >= self.every:
                last = now
                left = (now - start) / played * (total - done - played)
                text = f"tournament: {done + played} of {total} {what}, {now - start:.0f} s elapsed, about {left:.0f} s left"
                self.console.print(text, markup=False, highlight=False, soft_wrap=True)

        return advance
