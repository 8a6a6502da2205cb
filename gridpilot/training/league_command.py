"""``gridpilot league``: policies that learn to beat the equilibrium of those so far."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridpilot import configuration
from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted, printed
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.intervals import Estimate
from gridpilot.training.league import league_configured
from gridpilot.training.league_play import mixture_in_words
from gridpilot.training.league_result import League, document_of

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises what is wrong with its configuration, and :class:`~gridpilot.errors.MissingExtraError` without the extra."""
    said = [word for word in argv if not word.startswith(("-", "json=", "out=", "iterations="))]
    return configuration.run("league", list(argv), lambda config: _league(config, shlex.join(["gridpilot", "league", *said])))


def _league(config: dict[str, Any], command: str) -> Found:
    with results_only() as stdout:
        league = league_configured(config, SafeConsole(stderr=True), command)
        if config["json"]:
            print(json.dumps(document_of(league), indent=2, allow_nan=False), file=stdout)
        else:
            console = console_for(stdout, otherwise=80)
            printed(console, _steps(league, console.width))
            printed(console, _population(league, console.width))
            last = [agent for agent in league.agents if agent["name"] == "learned"][-1]
            console.print(
                f"result   {league.folder / 'result.json'}\npicture  {league.folder / 'exploitability.png'}\n"
                f"next     gridpilot tournament 'agents=[mpc,{{name: learned, label: {last['label']}, policy: {last['policy']}}}]'",
                markup=False,
                soft_wrap=True,
            )
    answered = [step for step in league.steps if step.response is not None]
    return Found({"mixture": mixture_in_words(league.weights), "last gain, $": _told(answered[-1].gain)})


def _steps(league: League, width: int) -> RenderableType:
    steps = league.steps
    mixtures = [mixture_in_words(step.weights) for step in steps]
    columns = [
        Column("iteration", (Form("after", [str(step.number) for step in steps]),), stays=True),
        Column("mixture", tuple(Form("equilibrium", mixtures, most) for most in (60, 40, 26)), left=True, stays=True),
        Column("value", (Form("it earns\n$", [_plain(step.value) for step in steps]),)),
        Column("gain", (Form("the response\ngains, $", [_told(step.gain) for step in steps]),), stays=True),
        Column("percent", (Form("the response\ngains, %", [_told(step.percent, 2) for step in steps]),)),
        Column("best", (Form("the best\ngains, $", [_told(step.best_gain) for step in steps]),)),
        Column("seconds", (Form("CPU s", [f"{step.seconds:,.0f}" for step in steps]),), stays=True),
    ]
    title = f"PSRO: {league.episodes[1]} episodes of evaluation, $ per site and day"
    return fitted(title, columns, ("percent", "best", "mixture", "value", "mixture"), width)


def _population(league: League, width: int) -> RenderableType:
    labels = list(league.ratings)
    columns = [
        Column("strategy", tuple(Form("strategy", labels, most) for most in (40, 16)), left=True, stays=True),
        Column(
            "weight", (Form("weight in the\nlast equilibrium", [f"{league.weights[label]:.3f}" for label in labels]),), stays=True
        ),
        Column("rating", (Form("deviation\nrating, $", [f"{league.ratings[label]:.1f}" for label in labels]),), stays=True),
        Column("alone", (Form("all alike\nearn, $", [_plain(league.payoff[s][s]) for s in range(len(labels))]),)),
    ]
    return Group(Text(), fitted("the population", columns, ("strategy", "alone"), width))


def _plain(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:,.0f}"


def _told(estimate: Estimate, digits: int = 1) -> str:
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.{digits}f}"
    return f"{estimate.value:+.{digits}f} [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]"
