"""``gridpilot league``: policies that learn to beat the equilibrium of those so far."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from gridpilot import configuration
from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted, printed
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.intervals import Estimate, in_words
from gridpilot.training.league import league_configured
from gridpilot.training.league_play import mixture_in_words
from gridpilot.training.league_result import League, document_of

__all__ = ["main", "tables"]

_TITLES: Final = {"psro": "PSRO", "self_play": "Self-play"}
_SETTLED: Final = {"psro": "equilibrium", "self_play": "all play"}


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
            last = max((one for one in league.agents if one["name"] == "learned"), key=lambda one: league.weights[one["label"]])
            for table in tables(league, console.width):
                printed(console, table)
            console.print(
                f"result   {league.folder / 'result.json'}\npicture  {league.folder / 'exploitability.png'}\n"
                f"next     gridpilot tournament 'agents=[mpc,{{name: learned, label: {last['label']}, policy: {last['policy']}}}]'",
                markup=False,
                soft_wrap=True,
            )
    answered = [step for step in league.steps if step.response is not None]
    found = {"mixture": mixture_in_words(league.weights)}
    return Found(found | ({"last gain, $": in_words(answered[-1].gain)} if answered else {}))


def tables(league: League, width: int) -> list[RenderableType]:
    """What is printed: the steps, what all sites come to together, and the population."""
    return [_steps(league, width), _together(league, width), _population(league, width)]


def _steps(league: League, width: int) -> RenderableType:
    steps = league.steps
    mixtures = [mixture_in_words(step.weights) for step in steps]
    columns = [
        Column("iteration", (Form("after", [str(step.number) for step in steps]),), stays=True),
        Column("mixture", tuple(Form(_SETTLED[league.method], mixtures, most) for most in (60, 40, 26)), left=True, stays=True),
        Column("value", (Form("it earns\n$", [_plain(step.value) for step in steps]),)),
        Column("gain", (Form("the response\ngains, $", [in_words(step.gain) for step in steps]),), stays=True),
        Column("percent", (Form("the response\ngains, %", [in_words(step.percent, 2) for step in steps]),)),
        Column("best", (Form("the best\ngains, $", [in_words(step.best_gain) for step in steps]),)),
        Column("seconds", (Form("CPU s", [f"{step.seconds:,.0f}" for step in steps]),), stays=True),
    ]
    title = f"{_TITLES[league.method]}: {league.episodes[1]} episodes of evaluation, $ per site and day"
    return fitted(title, columns, ("percent", "best", "mixture", "value", "mixture"), width)


def _together(league: League, width: int) -> RenderableType:
    rows = [*league.initially, *(step.together for step in league.steps)]
    names = [one.label for one in league.initially]
    whole = [*names, *(f"after {step.number}: {step.together.label}" for step in league.steps)]
    brief = [*names, *(f"after {step.number}" for step in league.steps)]
    columns = [
        Column("play", (*(Form("all play", whole, most) for most in (60, 40)), Form("all play", brief, 20)), left=True, stays=True),
        Column("profit", (Form("and earn\n$", [_plain(one.profit) for one in rows]),), stays=True),
    ]
    for label in league.initially[0].over:
        for kind, head in (("over", "$"), ("percent", "%")):
            cells: list[Estimate] = [getattr(one, kind)[label] for one in rows]
            own = [one.label == label for one in rows]
            if kind == "percent" and all(cell.value is None for cell in cells):
                continue
            digits = 1 if kind == "percent" else 0
            wide = ["" if same else in_words(cell, digits) for same, cell in zip(own, cells, strict=True)]
            short = ["" if same else in_words(Estimate(cell.value), digits) for same, cell in zip(own, cells, strict=True)]
            columns.append(Column(f"{kind} {label}", tuple(Form(f"over all\n{label}, {head}", form) for form in (wide, short))))
    columns += [
        Column("revenue", (Form("revenue\n$", [_plain(one.revenue) for one in rows]),), stays=True),
        Column("welfare", (Form("welfare\n$", [_plain(one.welfare) for one in rows]),), stays=True),
    ]
    title = "all seats alike: $ per site and day, revenue and welfare $ a day"
    over = [column.name for column in reversed(columns) if column.name.startswith(("over", "percent"))]
    percents, dollars = ([name for name in over if name.startswith(kind)] for kind in ("percent", "over"))
    return Group(Text(), fitted(title, columns, (*percents, "play", "play", *percents, *dollars), width))


def _population(league: League, width: int) -> RenderableType:
    labels = list(league.ratings)
    weight, shares = ("weight in the\nlast equilibrium", league.weights)
    if league.method == "self_play":
        weight, shares = ("drawn in the\nlast iteration", league.steps[-1].drawn)
    columns = [
        Column("strategy", tuple(Form("strategy", labels, most) for most in (40, 16)), left=True, stays=True),
        Column("weight", (Form(weight, [f"{shares[label]:.3f}" if label in shares else "–" for label in labels]),), stays=True),
        Column("rating", (Form("deviation\nrating, $", [f"{league.ratings[label]:,.1f}" for label in labels]),), stays=True),
        Column("alone", (Form("all alike\nearn, $", [_plain(league.payoff[s][s]) for s in range(len(labels))]),)),
    ]
    return Group(Text(), fitted("the population", columns, ("strategy", "alone"), width))


def _plain(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:,.0f}"
