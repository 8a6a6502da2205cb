"""How far a backtest is: a bar on a terminal once it has taken two seconds, nothing elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["progress"]

PATIENCE: Final = 2.0  # s before the bar appears


@contextlib.contextmanager
def progress(
    total: int, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str, int], None]]:
    """While ``total`` units of work are done; yields a function that is told whose some more were, and how many."""
    screen = console or Console(stderr=True)
    if not screen.is_terminal:
        yield lambda who, count: None
        return
    bar = Progress(
        TextColumn("[bold]backtest"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
    )
    task = bar.add_task("", total=total)
    begun, shown = clock(), False

    def advance(who: str, count: int) -> None:
        nonlocal shown
        bar.update(task, advance=count, description=who)
        if not shown and clock() - begun >= PATIENCE:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        bar.stop()
