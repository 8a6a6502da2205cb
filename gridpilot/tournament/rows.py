"""The rows of a tournament: one per match and seat, the only input of ranking and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from gridpilot.errors import TournamentError
from gridpilot.tournament.schedule import BASELINES, CLAIRVOYANT_ROLES, REFERENCE, ROLES, Match

__all__ = ["MATCH_KEY", "ROW_COLUMNS", "bases_of", "check_rows", "roles_of"]

MATCH_KEY: Final = ["episode", "lineup", "rotation"]

ROW_COLUMNS: Final[dict[str, str]] = {  # column: int | float | str
    "episode": "int",
    "lineup": "str",
    "rotation": "int",
    "seat": "int",
    "site": "str",
    "agent": "str",  # its label
    "role": "str",  # one of schedule.ROLES
    "base": "str",  # label of the agent with the same storage rule that bids the truth; "" where there is none (see storage_bases.py)
    "profit": "float",  # $ of the match: revenue - payment - wear + stored
    "revenue": "float",  # $
    "payment": "float",  # $ to the auctioneer
    "wear": "float",  # $ of battery wear
    "stored": "float",  # $, energy in the battery at the end beyond that at the start, at what it would displace (see play.py)
    "regret": "float",  # $, what best responses to the others' bids would have got more, tick by tick (gridpilot.market.best_response)
    "won_kwh": "float",  # allocated by the auction
    "drawn_kwh": "float",  # taken from the grid
    "machine_kwh": "float",
    "charged_kwh": "float",
    "discharged_kwh": "float",
    "ticks": "int",
    "timeouts": "int",  # decisions
    "exceptions": "int",
    "invalid_bids": "int",
    "first_error": "str",  # message of the first failure, "" where there is none
    "market_welfare": "float",  # $ of the match: all sites' revenue and wear minus the supply cost; as all that follows, on each seat's row
    "market_revenue": "float",  # $ paid by all sites
    "market_supply_cost": "float",  # $
    "market_volume_kwh": "float",
    "market_mean_price": "float",  # $/kWh, weighted by volume; NaN where nothing was sold
    "scarce_ticks": "int",  # ticks whose price exceeds the dearest supply step
}

_KINDS = {"int": "iu", "float": "f"}


def check_rows(rows: pd.DataFrame, matches: Sequence[Match] | None = None, *, where: str) -> pd.DataFrame:
    """Return ``rows`` with exactly the columns of ``ROW_COLUMNS``, in their order, or refuse them.

    With ``matches``, the rows must be those of these matches in order, seat by seat. Raises
    :class:`~gridpilot.errors.TournamentError`, its message starting with ``where``.
    """
    if "base" not in rows.columns:  # as earlier versions wrote them
        rows = rows.assign(base="")
    for name, kind in ROW_COLUMNS.items():
        if name not in rows.columns:
            raise TournamentError(f"{where}: the column {name!r} is missing among {list(rows.columns)}")
        column = rows[name]
        if kind == "str":
            if not all(isinstance(value, str) for value in column.unique()):
                raise TournamentError(f"{where}: column {name!r} holds {column.dtype} values, expected strings")
        elif column.dtype.kind not in _KINDS[kind]:
            raise TournamentError(f"{where}: column {name!r} has dtype {column.dtype}, expected {kind}")
        elif kind == "float" and name != "market_mean_price" and not np.isfinite(column.to_numpy()).all():
            bad = int(np.flatnonzero(~np.isfinite(column.to_numpy()))[0])
            raise TournamentError(f"{where}: column {name!r} is {column.iloc[bad]} in row {bad}, expected a finite number")
    _check_roles(rows, where)
    rows = rows[list(ROW_COLUMNS)].reset_index(drop=True)
    key = [*MATCH_KEY, "seat", "agent"]
    if matches is None:
        if rows.duplicated(key[:-1]).any():
            raise TournamentError(f"{where}: a match and seat appears twice, expected one row for each")
    else:
        expected = [(m.episode, m.lineup, m.rotation, seat, agent) for m in matches for seat, agent in enumerate(m.seats)]
        if list(rows[key].itertuples(index=False, name=None)) != expected:
            raise TournamentError(f"{where}: {len(rows)} rows that are not the {len(expected)} of its matches in order")
    return rows


def roles_of(rows: pd.DataFrame) -> dict[str, str]:
    """The role of each agent by its label.

    Raises :class:`~gridpilot.errors.TournamentError` for rows without roles, as earlier versions wrote them, and for an agent of two roles.
    """
    if "role" not in rows.columns:
        raise TournamentError("the rows do not say which role an agent has (column 'role'): play the tournament again")
    pairs = rows[["agent", "role"]].drop_duplicates()
    twice = pairs[pairs["agent"].duplicated()]
    if len(twice):
        label = twice["agent"].iloc[0]
        found = sorted(pairs.loc[pairs["agent"] == label, "role"])
        raise TournamentError(f"the agent {label!r} has the roles {' and '.join(found)}, expected one")
    return dict(zip(pairs["agent"].tolist(), pairs["role"].tolist(), strict=True))


def bases_of(rows: pd.DataFrame) -> dict[str, str]:
    """The label of its base for every agent that has one among the agents of the rows."""
    if "base" not in rows.columns:
        return {}
    pairs = rows[["agent", "base"]].drop_duplicates()
    known = set(pairs["agent"])
    return {agent: base for agent, base in pairs.itertuples(index=False, name=None) if base in known and base != agent}


def _check_roles(rows: pd.DataFrame, where: str) -> None:
    try:
        roles = roles_of(rows)
    except TournamentError as error:
        raise TournamentError(f"{where}: {error}") from error
    for label, role in roles.items():
        fixed = "reference" if label == REFERENCE else "baseline" if label in BASELINES else None
        if role not in ROLES or (fixed or role) != role or (role in ("reference", "baseline") and not fixed):
            raise TournamentError(f"{where}: the agent {label!r} has the role {role!r}, which it cannot have")
    for role in ("reference", "yardstick"):
        if list(roles.values()).count(role) > 1:
            raise TournamentError(f"{where}: there is more than one {role}: {[label for label in roles if roles[label] == role]}")
    ranked = rows.loc[(rows["lineup"] != "alone") & rows["role"].isin(CLAIRVOYANT_ROLES), "agent"]
    if len(ranked):
        raise TournamentError(f"{where}: {ranked.iloc[0]!r} is clairvoyant and plays among the ranked, expected it alone only")
