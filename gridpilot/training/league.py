"""Leagues: populations of policies that are trained here, by policy-space response oracles (PSRO) or by self-play.

PSRO: Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent Reinforcement Learning" (NeurIPS 2017). In turns the empirical game
of a population is solved, and a best response to its equilibrium is trained and joins the population. The game is symmetric: what one who
plays s earns among others who all play t. Its mixture is solved on episodes of the tuning range; what a response gains over it is measured
on episodes of the evaluation range, which neither training nor the mixture has seen. That gain is a lower bound of the mixture's
exploitability: a better response may be there that training did not find.

Self-play: :mod:`gridpilot.training.league_self_play`. Folders are described in :mod:`gridpilot.training.league_folder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import AgentSpec
from gridpilot.columns import SafeConsole
from gridpilot.configuration import composed_with, validate
from gridpilot.equilibrium.deviation_ratings import symmetric_deviation_ratings
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.files import check_output, write_atomically
from gridpilot.presets import described as preset
from gridpilot.prices.load import price_parameters
from gridpilot.progress import Progress
from gridpilot.setup import load_setup
from gridpilot.tournament.intervals import Estimate, mean
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.clone import build_teacher
from gridpilot.training.league_config import LeagueConfig, initial_agents
from gridpilot.training.league_folder import name_of, open_folder, seconds_of, write_document
from gridpilot.training.league_picture import picture
from gridpilot.training.league_play import Play, Psro, mixture_in_words
from gridpilot.training.league_result import League, Step, document_of
from gridpilot.training.league_self_play import SelfPlay
from gridpilot.training.markets import specs_of
from gridpilot.training.network import require_torch
from gridpilot.training.payoffs import gain_over
from gridpilot.training.run import entries_of
from gridpilot.training.together import compared

__all__ = ["league_configured", "psro", "self_play"]

FloatArray = npt.NDArray[np.float64]

_NOT_SETTINGS: Final = ("market", "prices", "out", "json", "method")
_METHODS: Final[dict[str, type[Play]]] = {"psro": Psro, "self_play": SelfPlay}


def psro(
    out: Path | str,
    *,
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    quiet: bool = False,
    **settings: Any,
) -> League:
    """Play a league into the folder ``out``, or go on with the one that is there: what ``gridpilot league`` does with the same settings.

    ``market``, ``prices``, ``quiet``  as for :func:`gridpilot.train`
    ``settings``  every other key of ``conf/league.yaml``, of nested ones those that change: ``clone={"rounds": 4}``; ``mechanism`` changes
                  the market's. ``agents`` may also be classes and instances of agents, and Paths of policies' folders

    Raises :class:`~gridpilot.errors.MissingExtraError` without stable-baselines3, and :class:`~gridpilot.errors.GridPilotError` with one
    line for whatever cannot be played, trained or written.
    """
    return _league("psro", out, market, prices, quiet, settings)


def self_play(
    out: Path | str,
    *,
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    quiet: bool = False,
    **settings: Any,
) -> League:
    """Let one policy learn in all seats at once: ``gridpilot league method=self_play``. Arguments and errors are those of :func:`psro`."""
    return _league("self_play", out, market, prices, quiet, settings)


def _league(method: str, out: Path | str, market: Any, prices: Any, quiet: bool, settings: dict[str, Any]) -> League:
    changed = {key: settings.pop(key) for key in ("mechanism",) if key in settings}
    config = composed_with("league", settings, closed=_NOT_SETTINGS)
    config |= {
        "method": method,
        "agents": entries_of(config["agents"]),
        "out": str(out),
        "market": preset("market", market) | changed,
        "prices": price_parameters(prices),
    }
    return league_configured(config, SafeConsole(stderr=True, quiet=quiet), f"gridpilot.training.{method}(...)")


def league_configured(config: Mapping[str, Any], console: SafeConsole, command: str) -> League:
    """Play a league as ``conf/league.yaml`` with overrides says; ``command`` is what was called, for the cards of its policies."""
    settings = validate(LeagueConfig, config, "league")
    if settings.out is None:
        raise ConfigError("league: out is null, expected the folder that the league is written to: out=FOLDER")
    out = Path(settings.out)
    check_output(out, TournamentError, folder=True)
    agents = initial_agents(settings.agents)
    for agent in agents.values():
        AgentSpec(agent["target"], agent["params"]).build()
    require_torch()
    ALGORITHMS["ppo"].model()
    build_teacher(settings.clone.teacher)
    setup = load_setup(settings.market, settings.prices, ticks=settings.ticks, history=settings.history)
    if len(setup.sites) < 2:
        raise ConfigError(f"league: the market has {len(setup.sites)} site, expected at least 2: a strategy is judged among others")
    if settings.method == "self_play":
        specs_of([settings.self_play.begin_among])
    play = _METHODS[settings.method](settings, setup, agents, out, command, Progress("league", console))
    open_folder(out, settings)
    for number in range(settings.iterations + 1):
        if not (out / name_of(number)).exists():
            play.iterate(number)
            if 0 < number < settings.iterations:  # for who looks meanwhile
                _write(_result(play, number))
    league = _result(play, settings.iterations)
    _write(league)
    return league


def _write(league: League) -> None:
    write_document(league.folder / "result.json", document_of(league))
    write_atomically(league.folder / "exploitability.png", picture(league), TournamentError)


def _result(play: Play, last: int) -> League:
    """What the folder holds of the first ``last`` iterations."""
    tuned, judged = play.payoff(last)
    population = list(play.agents(last))
    initially = play.initially()
    steps: list[Step] = []
    seconds = 0.0
    for number in range(last + 1):
        seconds += seconds_of(play.out, number)
        size, response = play.size(number), play.responder(number, last)
        weights = np.zeros(len(population))
        weights[:size] = play.mixture(number, tuned[:, :size, :size])
        known = int((tuned.mean(axis=0) @ weights).argmax())
        value, gain, percent = gain_over(judged, weights, known if response is None else population.index(response))
        label = mixture_in_words(dict(zip(population, weights.tolist(), strict=True)))
        steps.append(
            Step(
                number,
                dict(zip(population[:size], weights[:size].tolist(), strict=True)),
                seconds,
                value,
                response,
                Estimate(None) if response is None else gain,
                Estimate(None) if response is None else percent,
                population[known],
                gain_over(judged, weights, known)[1],
                compared(label, play.together(number), initially),
                play.drawn(number),
            )
        )
    ratings = symmetric_deviation_ratings(judged.mean(axis=0))
    entries = [{"name": one["target"], "label": label, **one["params"]} for label, one in play.agents(last).items()]
    return League(
        play.out, play.settings.method, play.setup.rules.mechanism, tuple(entries), tuple(steps),
        tuple(compared(label, found, initially) for label, found in initially.items()),
        dict(zip(population, ratings.tolist(), strict=True)),
        tuple(tuple(mean(judged[:, s, t]) for t in range(len(population))) for s in range(len(population))),
        (len(play.tuned), len(play.judged)), seconds,
    )  # fmt: skip
