"""``gridpilot climatology``: plays tuning episodes of a market and writes what its prices usually are at a time of day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from gridpilot import configuration
from gridpilot.errors import ConfigError
from gridpilot.files import check_output, write_atomically
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.memory import check_memory
from gridpilot.stdout import results_only
from gridpilot.sweep import Found

__all__ = ["learn_climatology", "main"]

FloatArray = npt.NDArray[np.float64]

CHUNK = 250  # episodes played side by side
_BYTES_A_TICK = 2 * 3 * 8  # two prices and the tick of the week, in parts and together


class ClimatologyConfig(BaseModel):
    """``conf/climatology.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: Annotated[list[Any], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)]
    episodes: PositiveInt
    ticks: PositiveInt
    history: Annotated[int, Field(ge=0)]
    slots: PositiveInt
    days: Annotated[int, Field(ge=0)]
    out: str | None
    market: dict[str, Any]
    prices: dict[str, Any]


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.ConfigError` for settings that cannot be used."""
    return configuration.run("climatology", list(argv), _learn)


def _learn(config: dict[str, Any]) -> Found:
    settings = configuration.validate(ClimatologyConfig, config, "climatology")
    if settings.out is not None:
        check_output(Path(settings.out), ConfigError)
    with results_only() as out:
        content = learn_climatology(settings)
        text = _as_yaml(content, settings)
        if settings.out is None:
            print(text, end="", file=out)
        else:
            write_atomically(Path(settings.out), text.encode(), ConfigError)
            print(f"wrote {settings.out}: {settings.episodes} episodes of {settings.ticks} ticks", file=out)
    means = {name: float(np.mean([content[name][day] for day in ("weekday", "weekend")])) for name in ("energy", "premium")}
    return Found({**{f"{name}, $/MWh": f"{1000.0 * mean:.2f}" for name, mean in means.items()}, "file": settings.out or "-"})


def learn_climatology(settings: ClimatologyConfig) -> dict[str, Any]:
    """Mean energy price and premium by slot, for weekdays and weekends, and typical days: the content of a ``conf/climatology`` file."""
    if TICKS_PER_DAY % settings.slots:
        raise ConfigError(f"climatology: slots is {settings.slots}, expected a divisor of {TICKS_PER_DAY}")
    if settings.ticks < TICKS_PER_DAY:
        raise ConfigError(
            f"climatology: ticks is {settings.ticks}, expected at least {TICKS_PER_DAY}, a whole day: every slot is to be seen"
        )
    check_memory(
        settings.episodes * settings.ticks * _BYTES_A_TICK,
        f"climatology: episodes={settings.episodes:,} of {settings.ticks:,} ticks",
        ConfigError,
    )
    energy, cleared, week_tick = _play(settings)  # (T, B)
    width = TICKS_PER_DAY // settings.slots
    slot = week_tick % TICKS_PER_DAY // width
    weekend = week_tick // TICKS_PER_DAY >= 5
    content: dict[str, Any] = {}
    for name, values in (("energy", energy), ("premium", cleared - energy)):
        overall = _means(values, slot, np.ones_like(weekend), settings.slots, np.zeros(settings.slots))
        content[name] = {
            day: _means(values, slot, chosen, settings.slots, overall).tolist()
            for day, chosen in (("weekday", ~weekend), ("weekend", weekend))
        }
    content["days"] = _typical_days(cleared, width, settings.days).tolist()
    return content


def _play(settings: ClimatologyConfig) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    from gridpilot.agents.seating import AgentSpec, Seating
    from gridpilot.setup import load_setup
    from gridpilot.tournament.config import agent_specs

    setup = load_setup(settings.market, settings.prices, ticks=settings.ticks, history=settings.history)
    labels = list(agent_specs(settings.agents))[: len(settings.agents)]
    agents = {label: AgentSpec(spec["target"], spec["params"]) for label, spec in agent_specs(settings.agents).items()}
    parts = []
    for first in range(0, settings.episodes, CHUNK):
        episodes = np.arange(first, min(first + CHUNK, settings.episodes))
        arena, scenario = setup.arena(len(episodes)), setup.scenario(settings.seed, episodes)
        arena.start(scenario)
        seats = [[labels[(seat + int(episode)) % len(labels)] for seat in range(arena.n_sites)] for episode in episodes]
        seating = Seating(arena, agents, seats)
        seating.reset(settings.seed, episodes)
        while not arena.done:
            seating.bid()
            arena.step()
            seating.learn()
        week_tick = (scenario.start[None, :] + np.arange(settings.ticks)[:, None]) % TICKS_PER_WEEK
        parts.append((scenario.prices[scenario.history :, :, 0], arena.cleared[:, :, 0], week_tick))
    return tuple(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))  # type: ignore[return-value]


def _means(values: FloatArray, slot: Any, chosen: Any, slots: int, otherwise: FloatArray) -> FloatArray:
    """Mean by slot of the ``chosen`` values, ``otherwise`` where there are none."""
    total = np.bincount(slot[chosen], values[chosen], slots)
    count = np.bincount(slot[chosen], minlength=slots)
    means: FloatArray = np.where(count > 0, total / np.maximum(count, 1), otherwise)
    return means


def _typical_days(cleared: FloatArray, width: int, days: int) -> FloatArray:
    """Days evenly spaced among all whole days in the order of their mean price, as means by slot, ``(D, S)``."""
    whole = len(cleared) // TICKS_PER_DAY
    table = cleared[: whole * TICKS_PER_DAY].reshape(whole, -1, width, cleared.shape[1]).mean(axis=2)  # (days, S, B)
    table = table.transpose(0, 2, 1).reshape(-1, TICKS_PER_DAY // width)
    order = np.argsort(table.mean(axis=1), kind="stable")
    if not len(order) or not days:
        return np.zeros((0, TICKS_PER_DAY // width))
    chosen: FloatArray = table[order[((np.arange(days) + 0.5) * len(order) / days).astype(int)]]
    return chosen


_EXPLAINED: Final = {
    "energy": "mean energy price, $/kWh",
    "premium": "mean of the clearing price above the energy price, $/kWh: what scarcity adds",
    "days": "clearing prices of typical days, $/kWh, for planners that look at risk",
}


def _as_yaml(content: dict[str, Any], settings: ClimatologyConfig) -> str:
    def row(values: Sequence[float], indent: str) -> str:
        words = [f"{value:.5g}" for value in values]
        lines = [", ".join(words[i : i + 12]) for i in range(0, len(words), 12)]
        return "[" + f",\n{indent} ".join(lines) + "]"

    agents = ", ".join(agent if isinstance(agent, str) else str(agent.get("label", agent.get("name"))) for agent in settings.agents)
    text = (
        f"# Usual prices by slot of the day, $/kWh, {settings.slots} slots from midnight: means over {settings.episodes} tuning\n"
        f"# episodes of {settings.ticks} ticks played by {agents} (seed {settings.seed}). Energy, the premium of the clearing\n"
        f"# price over it, and the clearing prices of {len(content['days'])} typical days. Written by `gridpilot climatology`.\n"
    )
    for name in ("energy", "premium"):
        text += f"{name}:  # {_EXPLAINED[name]}\n"
        text += "".join(f"  {day}:\n    {row(values, '    ')}\n" for day, values in content[name].items())
    return text + f"days:  # {_EXPLAINED['days']}\n" + "".join(f"  - {row(day, '    ')}\n" for day in content["days"])
