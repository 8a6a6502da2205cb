"""Whether what planning agents take for usual is usual in the market that they are about to play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import Agent
from gridpilot.forecasting.climatology import Climatology, recognise
from gridpilot.market.units import TICKS_PER_WEEK
from gridpilot.setup import MarketSetup

__all__ = ["climatologies_of", "outlook_notes"]

FloatArray = npt.NDArray[np.float64]

_EPISODES: Final = 16  # tuning episodes that are looked at
_OFF: Final = 0.5  # of the larger premium: a day of the very market differs by .2 from the 2000 that were learned from
_SMALL: Final = 0.05  # of the mean energy price: a premium, or an error in one, that does not matter


def climatologies_of(agent: Agent) -> Sequence[Climatology]:
    """What a planning agent chooses its outlook from; nothing for one that does not plan by climatologies."""
    found: Sequence[Climatology] = getattr(getattr(agent, "storage", None), "climatologies", ())
    return found


def outlook_notes(agents: Mapping[str, Sequence[Climatology]], setup: MarketSetup, seed: int) -> tuple[str, ...]:
    """What to tell before a tournament: a line for all agents, by label, whose climatologies do not fit the market.

    Some tuning episodes are played in which every site bids its true curve. A climatology fits by its energy prices, as agents judge it
    (:func:`~gridpilot.forecasting.climatology.recognise`), and by the mean premium of the clearing price over the energy price.
    """
    planning = {label: tuple(of) for label, of in agents.items() if of}
    if not planning:
        return ()
    week_tick, history, energy, premium = _played(setup, seed)
    labels: dict[str, list[str]] = {}
    for label, of in planning.items():
        wrong = _what_is_wrong(of, setup.history, week_tick, history, energy, premium)
        if wrong:
            labels.setdefault(wrong, []).append(label)
    return tuple(
        f"{', '.join(named)}: {wrong}; gridpilot climatology with this market's settings and out=mine.yaml learns what is usual here, "
        "climatologies=[mine.yaml] uses it"
        for wrong, named in labels.items()
    )


def _played(setup: MarketSetup, seed: int) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
    """Ticks of the week ``(B,)`` at the start, energy prices before it ``(h, B)`` and from it on ``(T, B)``, and the premium there."""
    episodes = np.arange(_EPISODES)
    arena, scenario = setup.arena(_EPISODES), setup.scenario(seed, episodes)
    arena.start(scenario)
    while not arena.done:
        arena.orders.clear()
        arena.step()
    before = scenario.history + 1  # the price of the first tick is known when it is bid for
    energy = scenario.prices[scenario.history :, :, 0]
    return scenario.start, scenario.prices[:before, :, 0], energy, arena.cleared[:, :, 0] - energy


def _what_is_wrong(
    climatologies: Sequence[Climatology],
    history: int,
    week_tick: npt.NDArray[np.int64],
    past: FloatArray,
    energy: FloatArray,
    premium: FloatArray,
) -> str:
    names = ", ".join(one.name for one in climatologies)
    kind = recognise(climatologies, past, (week_tick + np.arange(-history, 1)[:, None]) % TICKS_PER_WEEK)
    strange = int((kind < 0).sum())
    if 2 * strange > len(kind):
        return f"none of its climatologies ({names}) fits the energy prices of {strange} of {len(kind)} days"
    fits = kind >= 0
    ticks = (week_tick + np.arange(len(energy))[:, None]) % TICKS_PER_WEEK
    expected = np.mean([climatologies[kind[b]].expected(ticks[:, b])[1].mean() for b in np.flatnonzero(fits)])
    found = premium[:, fits].mean()
    size = max(abs(expected), abs(found))
    if abs(expected - found) > max(_OFF * size, _SMALL * abs(energy[:, fits].mean())):
        return (
            f"its climatologies ({names}) expect power to clear {1000 * expected:.1f} $/MWh above the energy price on average, "
            f"and it clears {1000 * found:.1f} above it here"
        )
    return ""
