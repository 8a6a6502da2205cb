"""A plant and an engine in simulated time, and schedules of what may happen to them: faults, clocks that jump, stops, kills, floods, halts.

``Plant`` is the truth: what runs, what time it is, which rows there are. An engine sees it through ``PlantVenue`` and is started again
whenever it ends, as a service is. What must never be is noted in ``wrong`` at the moment at which it is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.truthful import Truthful
from gridpilot.errors import JournalError, LiveError, RefusedError, UnavailableError, UnknownOutcomeError
from gridpilot.live.accepted_rows import AHEAD
from gridpilot.live.api import TICK, Counts, PriceRow
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import Timing
from gridpilot.live.engine import Engine
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal
from gridpilot.live.venue import Venue
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from tests.live.loops import Seen
from tests.live.worlds import START, config, facility, walk

TICK_S = TICK.total_seconds()
TICKS = 16  # that a schedule is long
CAP_W = 1_000_000
TIMING = Timing(
    tick=TICK_S, timeout=20.0, attempts=3, backoff=5.0, longest_wait=60.0, breaker_failures=8, breaker_rest=30.0, deadline=10.0,
    poll=10.0, poll_early=60.0, start=120.0,
)  # fmt: skip
RESTART_S = 30.0  # after which a service is started again
PRICES = ("ok", "ok", "down", "refused", "stands", "flood", "junk", "empty", "ahead")
READINGS = ("ok", "ok", "down", "refused")
PUTS = ("ok", "ok", "down", "refused", "lost", "eaten", "late", "half")
ROWS = walk(TICKS + 12, 1)


class Killed(BaseException):
    """The process is gone: nothing of it is carried out any more."""


@dataclass
class Event:
    """Something happens at a time, s from the start."""

    at: float
    happens: Callable[[Plant], None]
    what: str


class PlantClock(ManualClock):
    """The engine's clock, which may be wrong; waiting takes the plant along."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(START)
        self._plant = plant

    def now(self) -> datetime:
        return START + timedelta(seconds=self._plant.at + self._plant.clock_off)

    def monotonic(self) -> float:
        return self._plant.at

    def advance(self, seconds: float) -> None:
        self._plant.advance(seconds)


class Plant:
    """What is there, whoever looks."""

    def __init__(self, seed: int, path: Path, sites: int) -> None:
        self.chance, self.path, self.seed = random.Random(seed), path, seed
        self.facility: Facility = facility("documented", *[CAP_W] * sites, cap_w=CAP_W)
        self.running: list[Counts] = list(self.facility.off)
        self.at = 0.0
        self.clock_off = 0.0
        self.modes = {"prices": "ok", "open": "ok", "machines": "ok", "put": "ok"}
        self.stood_at = math.inf  # when the feed stood still
        self.events: list[Event] = []
        self.alive = self.ended = False
        self.loop: Engine | None = None
        self.journal: Journal | None = None
        self.halted = False
        self.since = math.inf  # since when a halt is in force, an engine runs, and PUT works
        self.shown: dict[datetime, float] = {}  # when the engine that runs was first shown a row
        self.freeze = 0.0  # s for which the process is stopped at its next call of the agent
        self.jumped = -math.inf
        self.wrong: list[str] = []
        self.told: list[str] = []
        self.sent = 0

    def power_w(self) -> int:
        return self.facility.total_w(tuple(self.running))

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that happens meanwhile."""
        until = self.at + max(0.0, seconds)
        while self.events and self.events[0].at <= until:
            event = self.events.pop(0)
            self._pass(max(self.at, event.at))
            self.told.append(f"{self.at:7.1f} {event.what}")
            event.happens(self)
            self.changed()
        self._pass(until)

    def _pass(self, until: float) -> None:
        if self.power_w() and self.since + 2.0 * TICK_S < until:
            self.wrong.append(
                f"at {until:.0f}: a halt could be carried out since {self.since:.0f}, and {self.power_w()} W are drawn"
            )
            self.since = math.inf
        self.at = until

    def changed(self) -> None:
        """See whether a halt can be carried out, and since when."""
        can = self.halted and self.alive and self.modes["put"] == "ok" and not self.freeze
        self.since = min(self.since, self.at) if can else math.inf

    def at_time(self, at: float, what: str, happens: Callable[[Plant], None]) -> None:
        self.events.append(Event(at, happens, what))
        self.events.sort(key=lambda event: event.at)

    def apply(self, site: int, counts: Counts, *, late: bool = False) -> None:
        """Machines are set."""
        self.running[site] = counts
        if late:
            self.since = math.inf  # what arrives now could be known to nobody
            self.changed()
        if self.power_w() > CAP_W:
            self.wrong.append(f"at {self.at:.0f}: {self.power_w()} W are drawn")

    def write(self, kind: str) -> None:
        """An operator's order, from another process."""
        with Journal(self.path) as other:
            if other.halt.halted != (kind == "halt"):
                other.append([(kind, {"why": "by hand"})], at=datetime.now(UTC))
        self.halted = kind == "halt"


class PlantVenue(Venue):
    """The plant as an engine sees it."""

    name: ClassVar[str] = "mara"
    remote: ClassVar[bool] = True

    def __init__(self, plant: Plant) -> None:
        self.plant, self.clock, self.timing = plant, PlantClock(plant), TIMING
        self.dead = False

    def _call(self, what: str) -> str:
        """A call takes its time, and may not come back."""
        plant = self.plant
        plant.advance(plant.chance.choice((0.2, 0.2, 1.0, 19.0)))
        if self.dead or plant.ended:
            raise Killed
        mode = plant.modes[what]
        if mode == "down":
            raise UnavailableError(f"{what}: down")
        if mode == "refused":
            raise RefusedError(f"{what}: no", status=401)
        return mode

    def open(self) -> Facility:
        self._call("open")
        return self.plant.facility

    def prices(self) -> Sequence[Any]:
        mode, plant = self._call("prices"), self.plant
        rows: list[Any] = [
            row for row in ROWS if (row.at - START).total_seconds() + 2.0 <= min(plant.at, plant.stood_at) + 10 * TICK_S
        ]
        rows = [PriceRow(row.at - 10 * TICK, row.energy, row.hash, row.token) for row in rows]
        for row in rows:
            plant.shown.setdefault(row.at, plant.at)
        newest = rows[-1].at
        match mode:
            case "flood":
                return [*rows, *({"timestamp": str(i), "energy_price": -1.0} for i in range(300))]
            case "junk":
                return [
                    *rows[:-1],
                    {"timestamp": newest.isoformat(), "energy_price": math.nan, "hash_price": 1e9, "token_price": None},
                ]
            case "empty":
                return []
            case "ahead":
                ahead = PriceRow(newest + 40 * TICK, 3.0, 4.0, 2.0)
                if ahead.at <= self.clock.now() + AHEAD:  # with a clock that is as wrong, it is what a machine sees that was asleep
                    plant.shown.setdefault(ahead.at, plant.at)
                return [*rows, ahead]
        plant.chance.shuffle(rows)
        return rows

    def machines(self, site: int) -> Counts:
        self._call("machines")
        return self.plant.running[site]

    def set_machines(self, site: int, counts: Counts) -> Counts:
        plant = self.plant
        self._check_age(counts)
        plant.sent += 1
        mode = self._call("put")
        asked = [*plant.running[:site], counts, *plant.running[site + 1 :]]
        if plant.facility.power_w(site, counts) > CAP_W:
            plant.wrong.append(f"at {plant.at:.0f}: {asked} were asked for")
        match mode:
            case "eaten":
                raise UnknownOutcomeError("lost on its way")
            case "late":
                plant.at_time(plant.at + plant.chance.uniform(20.0, 0.9 * TICK_S), "a command arrives late",
                              lambda later: later.apply(site, counts, late=True))  # fmt: skip
                raise UnknownOutcomeError("no answer in time")
            case "half":
                counts = tuple(n // 2 for n in counts)
        plant.apply(site, counts)
        if mode == "lost":
            raise UnknownOutcomeError("the answer was lost")
        return counts

    def switch_off(self) -> None:
        self.all_off(self.plant.facility.off)

    def _check_age(self, counts: Counts) -> None:
        """Nothing is switched on for a row older than allowed: by when it was shown, and by a clock that has not just jumped."""
        plant = self.plant
        assert plant.journal is not None
        intent = plant.journal.last("intent")
        if not any(counts) or intent is None or not plant.shown:
            return
        limits = config().risk
        allowed = (limits.fallback_after if intent.body["command"].endswith(" row") else limits.off_after) + 1
        newest = max(plant.shown)
        ages = [(plant.at - plant.shown[newest]) / TICK_S]
        if plant.at - plant.jumped > TICK_S:
            ages.append((self.clock.now() - newest) / TICK)
        if max(ages) > allowed:
            plant.wrong.append(f"at {plant.at:.0f}: {intent.body['command']} is sent {max(ages):.1f} ticks after its row")


class Slow(Truthful):
    """Truthful, and now and then the process is stopped while it thinks."""

    plant: ClassVar[Plant | None] = None

    def bid(self, observation: Observation) -> Bid:
        plant = Slow.plant
        if plant is not None and plant.freeze:
            seconds, plant.freeze = plant.freeze, 0.0
            plant.alive = False
            plant.changed()
            plant.advance(seconds)
            plant.alive = True
            plant.changed()
        return super().bid(observation)


def plan(plant: Plant) -> None:
    """What is to happen, drawn by the plant's seed; all is well for the last two ticks and more."""
    chance, end = plant.chance, TICKS * TICK_S
    quiet = end - 3.0 * TICK_S

    def set_mode(what: str, mode: str) -> Callable[[Plant], None]:
        def happens(plant: Plant) -> None:
            plant.modes[what] = mode
            if what == "prices":
                plant.stood_at = plant.at if mode == "stands" else math.inf

        return happens

    def jump(seconds: float) -> Callable[[Plant], None]:
        def happens(plant: Plant) -> None:
            plant.clock_off, plant.jumped = plant.clock_off + seconds, plant.at

        return happens

    def stop(plant: Plant) -> None:
        if plant.loop is not None:
            plant.loop.stop("SIGTERM")

    def kill(plant: Plant) -> None:
        if plant.loop is not None and plant.alive:
            assert isinstance(plant.loop.venue, PlantVenue)
            plant.loop.venue.dead, plant.alive = True, False

    def freeze(plant: Plant) -> None:
        plant.freeze = chance.choice((400.0, 950.0))

    for what, modes in (("prices", PRICES), ("open", READINGS), ("machines", READINGS), ("put", PUTS)):
        for _ in range(chance.randint(0, 3)):
            at, mode = chance.uniform(0.0, quiet), chance.choice(modes)
            plant.at_time(at, f"{what}: {mode}", set_mode(what, mode))
            plant.at_time(min(quiet, at + chance.choice((40.0, 300.0, 900.0, 2400.0))), f"{what}: ok", set_mode(what, "ok"))
        plant.at_time(quiet, f"{what}: ok", set_mode(what, "ok"))
    for _ in range(chance.randint(0, 2)):
        hours = chance.choice((-3.0, -0.5, -0.1, 0.1, 0.5, 3.0))
        at = chance.uniform(0.0, quiet)
        plant.at_time(at, f"the clock jumps by {hours:g} h", jump(3600.0 * hours))
        if chance.random() < 0.5:
            plant.at_time(at + chance.uniform(30.0, 2000.0), "the clock is put right", jump(-3600.0 * hours))
    for what, happens in (("SIGTERM", stop), ("kill -9", kill), ("the process stops", freeze)):
        for _ in range(chance.choice((0, 0, 1, 2))):
            plant.at_time(chance.uniform(0.0, quiet), what, happens)
    for _ in range(chance.choice((0, 1, 1, 2))):
        at = chance.uniform(0.0, end - 2.5 * TICK_S)
        plant.at_time(at, "halt", lambda plant: plant.write("halt"))
        if chance.random() < 0.3:
            plant.at_time(at + chance.uniform(300.0, 2000.0), "resume", lambda plant: plant.write("resume"))


def played(seed: int, folder: Path) -> Plant:
    """Play the schedule of a seed to its end."""
    plant = Plant(seed, folder / f"{seed}.db", 1 + seed % 2)
    plan(plant)
    end = TICKS * TICK_S

    def ends(plant: Plant) -> None:
        plant.ended = True

    plant.at_time(end, "the end", ends)
    Slow.plant = plant
    with Journal(plant.path) as journal:
        journal.note_head()
    while not plant.ended:
        _live(plant)
        plant.loop, plant.shown = None, {}
        if not plant.ended:
            plant.advance(RESTART_S)
    Slow.plant = None
    return plant


def _live(plant: Plant) -> None:
    """A life of the engine's process."""
    venue = PlantVenue(plant)
    settings = config(mode="live", venue="mara", twin=False)
    with Journal(plant.path) as journal:
        journal._database.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        plant.journal = journal
        plant.loop = Engine(venue, [AgentSpec(f"{__name__}.Slow", {})], settings, journal, Seen(venue.clock.monotonic))
        plant.alive = True
        plant.changed()
        try:
            plant.loop.run()
        except Killed:
            plant.told.append(f"{plant.at:7.1f} killed")
        except LiveError as error:
            plant.told.append(f"{plant.at:7.1f} ended: {error}")
            if isinstance(error, JournalError):
                plant.wrong.append(str(error))
        else:
            plant.told.append(f"{plant.at:7.1f} stopped")
        plant.alive = False
        plant.changed()
