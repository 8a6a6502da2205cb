"""A tournament's matches again, tick by tick: what was bid, cleared and stored, and whether it is what the run recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import Seating
from gridpilot.errors import TournamentError
from gridpilot.market.arena import Arena
from gridpilot.provenance import code_hash
from gridpilot.tournament.config import TournamentSpec, validate_tournament
from gridpilot.tournament.inspection import inspect_spec
from gridpilot.tournament.manifest import Manifest, build_manifest
from gridpilot.tournament.manifest import differences as differing_keys
from gridpilot.tournament.play import playing, roles_of, seated
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.runner import read_run
from gridpilot.tournament.schedule import Match
from gridpilot.tournament.storage_bases import storage_bases
from gridpilot.tournament.tally import Tally, stored_value

__all__ = ["PlayedRun", "Trace", "differences", "read_played_run", "trace_matches"]

FloatArray = npt.NDArray[np.float64]

_LIKE = ["site", "agent", "role", "first_error"]


@dataclass(frozen=True)
class PlayedRun:
    """A run folder, ready for its matches to be played again."""

    folder: Path
    manifest: Manifest
    rows: pd.DataFrame
    spec: TournamentSpec
    changed: tuple[str, ...]  # what is not as it was when the run was played; empty: the matches come out bit for bit

    def matches(self, lineup: str | None = None) -> list[Match]:
        """The matches of the run, or of one of its line-ups, in the order of the rows."""
        rows = self.rows if lineup is None else self.rows[self.rows["lineup"] == lineup]
        grouped = rows.groupby(MATCH_KEY, sort=False)["agent"].agg(tuple)
        return [Match(int(episode), str(name), int(rotation), seats) for (episode, name, rotation), seats in grouped.items()]

    def stored(self, matches: Sequence[Match]) -> pd.DataFrame:
        """The recorded rows of ``matches``, in their order."""
        keys = pd.MultiIndex.from_tuples([(m.episode, m.lineup, m.rotation) for m in matches], names=MATCH_KEY)
        return self.rows.set_index(MATCH_KEY).loc[keys].reset_index()


def read_played_run(folder: Path) -> PlayedRun:
    """Open a run folder and build what played in it.

    Raises :class:`~gridpilot.errors.TournamentError` for what is no run, and what building its market, prices and agents raises.
    """
    manifest, rows = read_run(folder)
    config = validate_tournament(manifest["config"])
    spec = config.spec()
    found = inspect_spec(spec)
    spec = dataclasses.replace(spec, files=found.readable, roles=found.roles if spec.memory_gib is not None else None)
    changed = []
    if manifest["code"] != code_hash():
        changed.append("the library's source has changed since")
    again = {**build_manifest(config, found, manifest["matches"]), "code": manifest["code"]}
    told = differing_keys(manifest, again)  # roles of agents, and hashes of their files and of the market's
    if told:
        changed.append(f"what it was played with has changed since: {told}")
    return PlayedRun(folder, manifest, rows, spec, tuple(changed))


@dataclass(frozen=True)
class Trace:
    """What happened in B matches of T ticks and N seats. Arrays of states hold what was before the tick; W blocks a bid.

    ``bids``          ``(T, B, N, W, 2)`` kW and $/kWh as cleared: shaded, cut, nothing where it was refused
    ``kind``          ``(T, B, N)`` how the seat bid, see :mod:`gridpilot.market.step`
    ``storage_value`` ``(T, B, N)`` $/kWh that the seat put on stored energy; nan: battery idle
    ``commitment``    ``(T, B, N, C)`` $/kWh that it put on running machines; nan: the default
    ``refused``       ``(T, B, N)`` whether the order could not be carried out
    ``outcome``       ``(T, B, N, N_OUTCOME)``, columns of :mod:`gridpilot.market.physics`
    ``totals``        ``(T, B, N_TOTALS)``, columns of :mod:`gridpilot.market.auction`
    ``gain``          ``(T, B, N)`` $/h, what a best response would have got more
    ``price``         ``(T, B)`` $/kWh, public price of the tick; ``before (T, B)`` that of the tick before
    ``storage``       ``(T + 1, B, N, 2)`` soc kWh, hall degC
    ``machine_kw``    ``(T + 1, B, N, C)`` kW
    ``levels``        ``(T, B, N_LEVELS)`` running price levels
    ``stored``        ``(B, N)`` $, worth of the change of charge
    ``rows``          as a tournament records them
    """

    matches: tuple[Match, ...]
    arena: Arena  # as it is after the last tick
    bids: FloatArray
    kind: npt.NDArray[np.int8]
    storage_value: FloatArray
    commitment: FloatArray
    refused: npt.NDArray[np.bool_]
    outcome: FloatArray
    totals: FloatArray
    gain: FloatArray
    price: FloatArray
    before: FloatArray
    storage: FloatArray
    machine_kw: FloatArray
    levels: FloatArray
    stored: FloatArray
    rows: pd.DataFrame


def trace_matches(spec: TournamentSpec, matches: Sequence[Match], change: Callable[[Seating], None] | None = None) -> Trace:
    """Play ``matches`` side by side and write down every tick.

    ``change`` is called in every tick when all have bid, and may change their orders (``seating.arena.orders``, ``arena.place``).
    Nobody is timed: a limit of time depends on the machine's load, and would make two plays of the same match differ.
    """
    if not matches:
        raise TournamentError("no match to be played again, expected at least one")
    with seated(spec, matches, time_limit=math.inf) as seating:
        arena, tally = seating.arena, Tally(seating.arena)
        arena.keep_bids(1)
        orders: list[tuple[npt.NDArray[np.int8], FloatArray, FloatArray]] = []
        after: list[tuple[npt.NDArray[Any], ...]] = []
        before: list[tuple[FloatArray, ...]] = []
        for cleared in playing(seating):
            if not cleared:
                if change is not None:
                    change(seating)
                made = arena.orders
                orders.append((made.kind.copy(), made.storage_value.copy(), made.commitment.copy()))
                before.append(tuple(a.copy() for a in (arena.last_price, arena.levels, arena.storage, arena.machine_kw)))
                continue
            bids = arena.bids_of(arena.tick - 1)
            assert bids is not None
            tally.add(arena)
            after.append(tuple(a.copy() for a in (bids, arena.refused, arena.outcome, arena.totals, arena.gain, arena.last_price)))
        return _traced(
            tuple(matches), arena, orders, before, after, tally.rows(matches, roles_of(spec), storage_bases(spec.agents), seating)
        )


def differences(rows: pd.DataFrame, recorded: pd.DataFrame) -> list[str]:
    """Where rows of a replay are not, bit for bit, those of the run: one line a column, naming the first seat and both values."""
    found = []
    for name in recorded.columns:
        here, there = rows[name].to_numpy(), recorded[name].to_numpy()
        same = here == there if name in _LIKE else (here == there) | (pd.isna(here) & pd.isna(there))
        if not same.all():
            first = int(np.flatnonzero(~same)[0])
            at = rows.iloc[first]
            place = f"episode {at['episode']}, {at['lineup']} {at['rotation']}, seat {at['seat']}"
            values = f"{there[first]!r} is recorded, {here[first]!r} is played"
            found.append(f"{name} differs in {int((~same).sum())} of {len(rows)} rows, first {place}: {values}")
    return found


def _traced(
    matches: tuple[Match, ...],
    arena: Arena,
    orders: list[tuple[npt.NDArray[np.int8], FloatArray, FloatArray]],
    before: list[tuple[FloatArray, ...]],
    after: list[tuple[npt.NDArray[Any], ...]],
    rows: pd.DataFrame,
) -> Trace:
    width = max(bids.shape[2] for bids, *_ in after)
    bids = np.zeros((len(after), arena.n_markets, arena.n_sites, width, 2))
    for t, (made, *_) in enumerate(after):
        bids[t, :, :, : made.shape[2]] = made
    _, refused, outcome, totals, gain, price = zip(*after, strict=True)
    last, levels, storage, machine_kw = zip(*before, strict=True)
    kind, storage_value, commitment = zip(*orders, strict=True)
    return Trace(
        matches, arena, bids, np.stack(kind), np.stack(storage_value), np.stack(commitment), np.stack(refused).astype(np.bool_),
        np.stack(outcome), np.stack(totals), np.stack(gain), np.stack(price), np.stack(last), np.stack([*storage, arena.storage]),
        np.stack([*machine_kw, arena.machine_kw]), np.stack(levels), stored_value(arena), rows,
    )  # fmt: skip
