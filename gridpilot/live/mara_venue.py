"""The real API, and whatever else speaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Self

from pydantic import SecretStr

from gridpilot.errors import ConfigError, LiveError, UnavailableError
from gridpilot.live.api import CLASSES, Counts, Inventory, build_site
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import Clock, SystemClock
from gridpilot.live.config import LiveConfig, Timing
from gridpilot.live.facility import Facility
from gridpilot.live.http_connection import check_url, is_loopback
from gridpilot.live.patience import insist, never, say
from gridpilot.live.venue import Venue

__all__ = ["MaraVenue"]

DOCUMENTED_W: Final = 1_000_000  # power of a site, as the organisers documented it
PLAUSIBLE_W: Final = 10**12  # beyond what a whole country draws: a mistake of the API's, which must not become the limit
SKEW_S: Final = 60.0  # a server's clock that is off by more is worth a word


class MaraVenue(Venue):
    """``n_keys`` sites of one account behind a connection of ``power_w`` (None: as much as they have together).

    Without a key the site is taken to have ``power_w``, or what is documented; nothing can be sent then.
    """

    name: ClassVar[str] = "mara"
    remote: ClassVar[bool] = True

    def __init__(self, client: MaraClient, n_keys: int, *, clock: Clock, timing: Timing, power_w: int | None) -> None:
        self.client, self.clock, self.timing = client, clock, timing
        self._n_keys, self._power_w = n_keys, power_w
        self._opened: tuple[Inventory, tuple[int, ...]] | None = None
        self._unlike: list[str] = []

    @classmethod
    def configured(cls, live: LiveConfig, keys: Sequence[SecretStr]) -> Self:
        """The API at ``live.url``."""
        speed = _speed(live)
        patience = 60.0 * live.patience
        clock, timing = SystemClock(speed), Timing.of(speed, timeout=live.timeout, deadline=live.deadline, start=patience)
        # Until the first answers have come, calls may take as long as at speed 1: a server that starts knows no hurry.
        at_first = Timing.of(1.0, timeout=live.timeout, start=patience)
        client = MaraClient(live.url, keys, timing=at_first, clock=clock, requests_per_tick=live.requests_per_tick)
        limit = None if live.power_kw is None else round(live.power_kw * 1000.0)
        venue = cls(client, len(keys), clock=clock, timing=timing, power_w=limit)
        venue.address = live.url
        return venue

    def open(self) -> Facility:
        """Read the inventory and every site's power; the limit is the smaller of theirs and the configured one."""
        inventory, powers = self._opened = self._read()
        if self._power_w is None and sum(powers) > PLAUSIBLE_W:
            raise LiveError(
                f"mara: the sites' power is {sum(powers):.4g} W, expected at most {PLAUSIBLE_W:.0e}: set live.power_kw to the limit"
            )
        limit = sum(powers) if self._power_w is None else min(self._power_w, sum(powers))
        self.without_power = limit <= 0
        if self.without_power:
            raise UnavailableError(f"mara: the sites' power is {limit} W, expected more than 0")
        names = ("mara",) if len(powers) == 1 else tuple(f"mara {i + 1}" for i in range(len(powers)))
        return Facility(
            tuple(build_site(name, inventory, min(power, limit)) for name, power in zip(names, powers, strict=True)), limit
        )

    def prices(self) -> Sequence[Any]:
        """The whole history."""
        return self.client.prices()

    def machines(self, site: int) -> Counts:
        """What ``GET /machines`` reports; its power must be what the inventory says, or ``changed`` will say so."""
        report = self.client.machines(site)
        if self._opened is not None and report.power_w is not None:
            expected = sum(n * kind.power for n, kind in zip(report.counts, self._opened[0].types, strict=True))
            self._unlike = [] if report.power_w == expected else [f"draws {report.power_w} W where {expected} W were expected"]
        return report.counts

    def set_machines(self, site: int, counts: Counts) -> Counts:
        """``PUT /machines``, all five fields."""
        return self.client.set_machines(site, counts)

    def switch_off(self) -> None:
        """``PUT /machines`` with nothing, for each key."""
        self.all_off([(0,) * len(CLASSES)] * self._n_keys)

    def changed(self) -> bool:
        """Whether the inventory or a site's power is another than at ``open``."""
        return self._opened is not None and self._read() != self._opened

    @property
    def skew_s(self) -> float | None:
        """The server's clock minus this one's, s; None where it is not known, and against an accelerated one."""
        skew = self.client.skew
        return None if skew is None or self.clock.speed != 1.0 else skew.total_seconds()

    @property
    def notes(self) -> tuple[str, ...]:
        """No key, a clock that is off, a power that does not fit the inventory."""
        skew = self.skew_s
        no_key = () if self._n_keys else ("no key in MARA_API_KEY; the site is taken to have the power configured, or documented",)
        clock = () if skew is None or abs(skew) <= SKEW_S else (f"the server's clock is off by {skew:.0f} s",)
        return (*no_key, *clock, *self._unlike)

    def begun(self) -> None:
        """From now on calls keep to the tick."""
        self.client.timing = self.timing

    def observe_calls(self, observer: Callable[[str, str, float], None]) -> None:
        """Tell ``observer`` each call's endpoint, result and wall seconds."""
        self.client.observer = observer

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    def _read(self) -> tuple[Inventory, tuple[int, ...]]:
        inventory = self.client.inventory()
        if not self._n_keys:
            return inventory, (DOCUMENTED_W if self._power_w is None else self._power_w,)
        return inventory, tuple(self.client.site_power_w(i) for i in range(self._n_keys))


def _speed(live: LiveConfig) -> float:
    """The configured speed, or what a stand-in on this machine says its own is."""
    loopback = is_loopback(check_url(live.url))
    if live.speed is not None:
        if live.speed != 1.0 and not loopback:
            raise ConfigError(f"live.speed is {live.speed:g} for {live.url}, expected 1: only a stand-in on loopback is faster")
        return live.speed
    if not loopback:
        return 1.0
    clock = SystemClock()
    with MaraClient(live.url, timing=Timing.of(1.0, timeout=live.timeout), clock=clock) as client:
        try:
            insist(client.prices, f"live.url={live.url}", clock, 60.0 * live.patience, is_stopping=never, tell=say)
        except LiveError as error:
            raise LiveError(f"{error}; gridpilot serve-mara starts a stand-in there") from error
        return client.speed() or 1.0
