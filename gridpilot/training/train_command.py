"""``gridpilot train``: from nothing to a policy that bids, with what it is worth."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from gridpilot import configuration
from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted, printed
from gridpilot.errors import ConfigError
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.intervals import in_words
from gridpilot.training.run import Training, train_configured

__all__ = ["main", "rendered"]


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises what is wrong with its configuration, and :class:`~gridpilot.errors.MissingExtraError` without torch."""
    said = [word for word in argv if not word.startswith("-")]
    return configuration.run("train", list(argv), lambda config: _train(config, said))


def _train(config: dict[str, Any], said: Sequence[str]) -> Found:
    if config.get("out") is None:
        raise ConfigError("train: out is null, expected the folder that the policy is written to: out=FOLDER")
    command = shlex.join(["gridpilot", "train", *(word for word in said if not word.startswith(("json=", "evaluation.")))])
    with results_only() as stdout:
        trained = train_configured(config, SafeConsole(stderr=True), command)
        if config["json"]:
            figures = json.loads(trained.figures.to_json(orient="records"))
            print(
                json.dumps({"folder": str(trained.folder), "cpu_seconds": trained.seconds, "comparisons": figures}, indent=2),
                file=stdout,
            )
        else:
            console = console_for(stdout, otherwise=80)
            if trained.comparisons:
                printed(console, rendered(trained, console.width))
            curve = f"curve   {trained.folder}/curve.png and curve.json: what each update reached\n" if trained.curves else ""
            console.print(
                f"{curve}policy  {trained.folder}  CARD.md says how it was trained, whom it beats, and where it fails\n"
                f"next    gridpilot tournament 'agents=[mpc,{{name: learned, policy: {trained.folder}}}]'",
                markup=False,
                soft_wrap=True,
            )
    last = {one.other: one for one in trained.comparisons if one.where == trained.comparisons[0].where}
    return Found({f"gain over {other}, %": in_words(one.percent, 2) for other, one in reversed(last.items())})


def rendered(trained: Training, width: int) -> RenderableType:
    """The table of what a training earned over others."""
    found = trained.comparisons
    columns = [
        Column("where", (Form("where", [one.where for one in found], 30),), left=True, stays=True),
        Column("against", (Form("against", [one.other for one in found], 20),), left=True, stays=True),
        Column("episodes", (Form("episodes", [f"{one.episodes:,}" for one in found]),)),
        Column("percent", (Form("gain\n%", [in_words(one.percent, 2) for one in found]),), stays=True),
        Column("gain", (Form("gain\n$ per site and day", [in_words(one.gain) for one in found]),)),
    ]
    return fitted(f"trained in {trained.seconds:.0f} s of CPU time", columns, ("gain", "episodes"), width)
