"""Where an agent's decisions go: a simulation, a recording, or the API. One engine runs them all.

A venue gives prices and machine counts as they are reported and carries commands out. It decides nothing: what a row is worth is judged by
:mod:`gridpilot.live.accepted_rows`, and bids are cleared by :mod:`gridpilot.live.facility`, for every venue alike. The risk gate and the
journal stand between a bid and the machines, which is why a venue takes machine counts rather than a bid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from pydantic import SecretStr

from gridpilot.errors import ConfigError, UnknownOutcomeError, VenueError
from gridpilot.live.api import Counts
from gridpilot.live.clock import Clock
from gridpilot.live.config import LiveConfig, Timing
from gridpilot.live.facility import Facility

__all__ = ["Venue"]


class Venue(ABC):
    """N sites behind one connection.

    One of your own is named ``live.venue=my_file.MyVenue``, or ``live.venue={name: my_file.MyVenue, port: 502}`` where ``configured`` takes
    a port.
    """

    name: ClassVar[str]
    remote: ClassVar[bool] = (
        False  # a service that runs on without this program: sending needs a key, and a journal is gone on with
    )
    without_power: bool = False  # whether ``open`` found nothing that may be drawn; it can come back
    address: str = ""  # shown beside the name
    clock: Clock
    timing: Timing

    @classmethod
    def configured(cls, live: LiveConfig, keys: Sequence[SecretStr]) -> Self:
        """The venue that a configuration describes; ``keys`` are those of the sites, and further arguments come from ``live.venue``.

        Raises :class:`~gridpilot.errors.ConfigError` for a key of the configuration that does not fit, and where it can only be built
        in code.
        """
        raise ConfigError(f"live.venue: {cls.__name__} has no configured(live, keys), and can only be built in code")

    @abstractmethod
    def open(self) -> Facility:
        """Find out what there is to run. May be called again, when it may have changed. Raises :class:`~gridpilot.errors.VenueError`."""

    @abstractmethod
    def prices(self) -> Sequence[Any]:
        """Price rows as they are reported, in any order: mappings as ``GET /prices`` gives them, or ``PriceRow``."""

    @abstractmethod
    def machines(self, site: int) -> Counts:
        """The machines a site reports to be running."""

    @abstractmethod
    def set_machines(self, site: int, counts: Counts) -> Counts:
        """Set all machines of a site, once; return what the venue says it set.

        Raises :class:`~gridpilot.errors.UnavailableError` where it was not asked and :class:`~gridpilot.errors.RefusedError` where it
        said no: nothing was applied; and :class:`~gridpilot.errors.UnknownOutcomeError` where only a reading can tell.
        """

    def switch_off(self) -> None:
        """Set every site to nothing, without reading more than that takes.

        Every site is tried; raises :class:`~gridpilot.errors.VenueError` of one that has not confirmed.
        """
        self.all_off(self.open().off)

    def all_off(self, nothing: Sequence[Counts]) -> None:
        """Set site i to ``nothing[i]``, every site, whatever becomes of the others; raises as :meth:`switch_off`."""
        problem: VenueError | None = None
        for site, counts in enumerate(nothing):
            try:
                answer = self.set_machines(site, counts)
                if any(answer):
                    problem = UnknownOutcomeError(f"{self.name}: site {site} was to be off, and {answer} run")
            except VenueError as error:
                problem = error
        if problem is not None:
            raise problem

    def changed(self) -> bool:
        """Whether machines or limits are others than ``open`` said."""
        return False

    @property
    def exhausted(self) -> bool:
        """Whether no further row will come."""
        return False

    @property
    def skew_s(self) -> float | None:
        """The venue's clock minus this one's, s; None where it is not known or means nothing."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know about the connection, such as a clock that is off."""
        return ()

    def begun(self) -> None:  # noqa: B027 - most venues answer as quickly the first time
        """The first answers have come: from now on calls keep to the tick."""

    def observe_calls(self, observer: Callable[[str, str, float], None]) -> None:  # noqa: B027 - most venues make no calls
        """Tell ``observer`` each call's endpoint, result and wall seconds."""

    def close(self) -> None:  # noqa: B027 - most venues hold nothing open
        """Let go of connections."""
