"""Waiting for first answers: a server that has just started, or sleeps until it is asked, knows nothing of the speed of its ticks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TypeVar

from gridpilot.errors import LiveError, UnavailableError, VenueError
from gridpilot.live.clock import Clock
from gridpilot.live.logs import printable

__all__ = ["insist", "never", "say"]

Answer = TypeVar("Answer")
SHORTEST_S: Final = 0.5  # between two questions, doubled each time
LONGEST: Final = 1.0 / 12.0  # of the patience: a server that is away is not asked without end


def insist(
    ask: Callable[[], Answer],
    what: str,
    clock: Clock,
    patience: float,
    *,
    is_stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> Answer:
    """Ask until there is an answer, for ``patience`` wall seconds at the most, or until the engine is to stop.

    ``what`` begins the error; ``tell`` is told once what is waited for. Raises :class:`~gridpilot.errors.LiveError` where no answer came,
    and at once where one is refused.
    """
    longest = patience * LONGEST
    until, wait, first = clock.monotonic() + patience, min(SHORTEST_S, longest), ""
    while True:
        try:
            return ask()
        except UnavailableError as error:
            if not first:
                tell(f"waiting up to {patience / 60.0:.3g} min (live.patience) for an answer: {error}")
            first = first or str(error)  # later ones may only say that the venue is left alone
            if is_stopping() or clock.monotonic() >= until:
                raise LiveError(f"{what}: {first}") from error
            clock.sleep(max(wait, min(error.retry_after or 0.0, longest)))
            wait = min(2.0 * wait, longest)
        except VenueError as error:
            raise LiveError(f"{what}: {error}") from error


def say(text: str) -> None:
    """Tell on stderr, before there is anybody else to tell."""
    print(f"gridpilot live: {printable(text)}", file=sys.stderr)


def never() -> bool:
    """Nobody can stop it but by a signal."""
    return False
