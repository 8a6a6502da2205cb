"""A run's matches again, as they were played or with one change, and what of them is not as recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.reasons import plain
from gridpilot.agents.seating import Seating
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import Clearing, Mechanism, check_mechanism, clear_batch
from gridpilot.market.physics import PAYMENT
from gridpilot.market.units import DT
from gridpilot.tournament.config import TournamentSpec, agent_specs
from gridpilot.tournament.inspection import inspect_spec
from gridpilot.tournament.replay import PlayedRun, Trace, differences, trace_matches
from gridpilot.tournament.schedule import Match

__all__ = ["Change", "Played", "find_match", "parse_bid", "play", "reclear"]

FloatArray = npt.NDArray[np.float64]
Reasons = dict[tuple[int, int, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """What is to be otherwise than it was: the mechanism, who sits in ``seat``, or what ``seat`` bids in ``tick``.

    ``agent``   a label of the run, a name of ``conf/agent``, a dotted path, or a mapping with either as ``name``
    ``blocks``  kW and $/kWh of the bid in place of the agent's; none at all is no bid
    """

    mechanism: Mechanism | None = None
    seat: int | None = None
    agent: str | Mapping[str, Any] | None = None
    tick: int | None = None
    blocks: tuple[tuple[float, float], ...] | None = None

    def __bool__(self) -> bool:
        return self != Change()


@dataclass(frozen=True)
class Played:
    """B matches of a run, played again; arrays of ``trace`` as :class:`~gridpilot.tournament.replay.Trace` says."""

    run: PlayedRun
    trace: Trace
    change: Change
    differs: tuple[
        str, ...
    ]  # what is not as it was recorded; empty: bit for bit. Of a match that was changed only what the run says
    reasons: Reasons = field(default_factory=dict)  # (b, t, n): what the agent itself says of its bid, where it was asked
    fans: dict[int, FloatArray] = field(default_factory=dict)  # forecasts of the first match by tick, kept as they are dear

    @property
    def exact(self) -> bool:
        """Whether this is, bit for bit, what was played."""
        return not self.differs and not self.change

    @property
    def ticks(self) -> int:
        """Ticks of a match T."""
        return len(self.trace.price)

    def prices(self) -> FloatArray:
        """``(T, B, 3)``: energy $/kWh, hash $ per PH/s h, token $ per million, of each tick."""
        scenario = self.trace.arena.scenario
        prices: FloatArray = scenario.prices[scenario.history :]
        return prices

    def capacity_kw(self) -> FloatArray:
        """``(T, B)`` kW that could be sold in each tick."""
        scenario, arena = self.trace.arena.scenario, self.trace.arena
        capacity: FloatArray = arena.rules.capacity_kw * scenario.capacity[scenario.history :]
        return capacity

    def supply(self) -> FloatArray:
        """``(T, B, S, 2)``: kW and $/kWh of the supply steps of each tick, as the auctioneer has them."""
        ladder = np.array(self.trace.arena.rules.supply).reshape(-1, 2)
        steps = np.empty((*self.capacity_kw().shape, len(ladder), 2))
        steps[..., 0] = ladder[:, 0] * self.capacity_kw()[..., None]
        steps[..., 1] = self.prices()[..., :1] + ladder[:, 1]
        return steps


def find_match(run: PlayedRun, episode: int, lineup: str = "mixed", rotation: int = 0) -> Match:
    """The match of a run. Raises :class:`~gridpilot.errors.TournamentError` that says what there is."""
    matches = run.matches()
    for match in matches:
        if (match.episode, match.lineup, match.rotation) == (episode, lineup, rotation):
            return match
    episodes = sorted({match.episode for match in matches})
    if episode not in episodes:
        raise TournamentError(f"{run.folder}: episode {episode} was not played, expected one of {episodes[0]} to {episodes[-1]}")
    lineups = list(dict.fromkeys(match.lineup for match in matches))
    if lineup not in lineups:
        raise TournamentError(f"{run.folder}: no line-up {lineup!r} was played, expected one of {', '.join(lineups)}")
    most = max(match.rotation for match in matches if (match.episode, match.lineup) == (episode, lineup))
    raise TournamentError(f"{run.folder}: {lineup} has no rotation {rotation} in episode {episode}, expected 0 to {most}")


def parse_bid(text: str) -> tuple[tuple[float, float], ...]:
    """Blocks from a text such as ``300@0.05,100@0.02`` (kW at $/kWh); ``none`` is no bid.

    Raises :class:`~gridpilot.errors.ConfigError` for another form.
    """
    if text.strip().lower() == "none":
        return ()
    blocks = []
    for part in text.split(","):
        kw, _, price = part.partition("@")
        try:
            blocks.append((float(kw), float(price)))
        except ValueError as error:
            raise ConfigError(f"replay: a bid has {part!r:.40}, expected KW@PRICE such as 300@0.05, or none") from error
    return tuple(blocks)


def play(run: PlayedRun, matches: Sequence[Match], change: Change | None = None, *, reasons: bool = False) -> Played:
    """Play ``matches`` again, all with ``change``; with ``reasons`` every agent is asked in every tick for its own.

    Raises :class:`~gridpilot.errors.TournamentError` for a seat or tick that there is not, and what building a changed agent raises.
    """
    change = change or Change()
    _check(change, len(matches[0].seats) if matches else 0, run.spec.ticks)
    spec = run.spec
    if change.mechanism is not None:
        spec = dataclasses.replace(spec, market={**spec.market, "mechanism": change.mechanism})
    if change.agent is not None:
        spec, label = _with_agent(spec, change.agent)
        matches = [_seated(match, change.seat, label) for match in matches]
    found: Reasons = {}

    def in_every_tick(seating: Seating) -> None:
        tick = seating.arena.tick
        if change.blocks is not None and change.seat is not None and tick == change.tick:
            for b in range(seating.arena.n_markets):
                seating.arena.place(b, change.seat, Bid(list(change.blocks)) if change.blocks else None)
        if reasons:
            for b in range(seating.arena.n_markets):
                for n in range(seating.arena.n_sites):
                    found[b, tick, n] = {str(key): plain(value) for key, value in seating.rationale(b, n).items()}

    trace = trace_matches(spec, matches, in_every_tick)
    differs = run.changed if change else (*run.changed, *differences(trace.rows, run.stored(matches)))
    return Played(run, trace, change, differs, found)


def reclear(played: Played, mechanism: Mechanism) -> FloatArray:
    """What every seat pays for the same bids under another mechanism, ``(T, B, N)`` $ of the tick; what it wins is the same.

    What giving power back at a negative price costs stays as it was. Under the mechanism that was played this is what was paid, up to
    the rounding of a difference.
    """
    then, now = (_cleared(played, name).payment for name in (played.trace.arena.rules.mechanism, mechanism))
    paid: FloatArray = played.trace.outcome[..., PAYMENT] + DT * (now - then).reshape(played.trace.outcome.shape[:3])
    return paid


def _cleared(played: Played, mechanism: Mechanism) -> Clearing:
    """All ticks of all matches cleared from the bids that were made; markets ``T B``."""
    bids = played.trace.bids
    blocks = bids.reshape(-1, *bids.shape[2:]).copy()
    for k in range(1, blocks.shape[2]):  # what fills a bid up must not rise
        empty = blocks[:, :, k, 0] == 0.0
        blocks[:, :, k, 1] = np.where(empty, blocks[:, :, k - 1, 1], blocks[:, :, k, 1])
    reserve = played.trace.arena.rules.reserve
    supply = played.supply()
    return clear_batch(
        blocks,
        supply.reshape(-1, *supply.shape[2:]),
        played.capacity_kw().ravel(),
        reserve=-np.inf if reserve is None else reserve,
        mechanism=mechanism,
    )


def _check(change: Change, seats: int, ticks: int) -> None:
    if change.mechanism is not None:
        check_mechanism(change.mechanism)
    for name, value, end in (("seat", change.seat, seats), ("tick", change.tick, ticks)):
        if value is not None and not 0 <= value < end:
            raise TournamentError(f"what-if: {name} is {value}, expected 0 to {end - 1}")
    if (change.agent is not None or change.blocks is not None) and change.seat is None:
        raise TournamentError("what-if: another agent or bid is given and no seat, expected the seat whose it is")
    if (change.blocks is None) != (change.tick is None):
        raise TournamentError("what-if: a bid and the tick it is for belong together, expected both or neither")


def _with_agent(spec: TournamentSpec, agent: str | Mapping[str, Any]) -> tuple[TournamentSpec, str]:
    """The specification with the agent among its own, and its label."""
    if isinstance(agent, str) and agent in spec.agents:
        return spec, agent
    (label, entry), *_ = agent_specs([agent]).items()
    if spec.agents.get(label, entry) != entry:
        label = f"{label}-instead"
    changed = dataclasses.replace(spec, agents={**spec.agents, label: entry}, files=None, roles=None)
    found = inspect_spec(changed)
    return dataclasses.replace(changed, files=found.readable, roles=found.roles if spec.memory_gib is not None else None), label


def _seated(match: Match, seat: int | None, label: str) -> Match:
    seats = tuple(label if n == seat else agent for n, agent in enumerate(match.seats))
    return dataclasses.replace(match, seats=seats)
