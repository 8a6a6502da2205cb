"""``gridpilot tune``: the settings of a training, searched for by Optuna, and what the best of them is worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import RenderableType

from gridpilot import configuration
from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted, printed
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.intervals import in_words
from gridpilot.training.study import TABLE, Study, Trial, tune_configured
from gridpilot.training.train_command import rendered

__all__ = ["main"]

_NOT_OF_THE_TRAINING: Final = ("-", "json=", "space=", "space.", "study.")
_SHOWN: Final = 10  # trials


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises what is wrong with its configuration, and :class:`~gridpilot.errors.MissingExtraError` without Optuna."""
    words = [word for word in argv if not word.lstrip("+~").startswith(_NOT_OF_THE_TRAINING)]
    return configuration.run("tune", list(argv), lambda config: _tune(config, words))


def _tune(config: dict[str, Any], words: Sequence[str]) -> Found:
    with results_only() as stdout:
        study = tune_configured(config, SafeConsole(stderr=True), words)
        trained = study.training
        if config["json"]:
            document = {
                "folder": str(study.folder),
                "trials": [asdict(trial) for trial in study.trials],
                "best": study.best.number,
                "command": study.command,
                "comparisons": json.loads(trained.figures.to_json(orient="records")),
            }
            print(json.dumps(document, indent=2, allow_nan=False), file=stdout)
        else:
            console = console_for(stdout, otherwise=80)
            printed(console, _trials(study, console.width))
            if trained.comparisons:
                printed(console, rendered(trained, console.width))
            console.print(
                f"chosen  trial {study.best.number}, of {len(study.trials)} ({study.folder / TABLE})\n"
                f"policy  {trained.folder}  of that setting, trained with another seed\n"
                f"again   {study.command}",
                markup=False,
                soft_wrap=True,
            )
    last = {one.other: one for one in trained.comparisons if one.where == trained.comparisons[0].where}
    return Found({f"gain over {other}, %": in_words(one.percent, 2) for other, one in reversed(last.items())})


def _trials(study: Study, width: int) -> RenderableType:
    """The best of the trials that came to their end, and that with the settings as they were."""
    ranked = sorted((trial for trial in study.trials if trial.value is not None), key=lambda trial: -(trial.value or 0.0))
    shown = [trial for i, trial in enumerate(ranked) if i < _SHOWN or trial.number == 0]
    keys = list(study.best.values)
    labels = list(study.best.gains)
    columns = [
        Column("trial", (Form("trial", [f"{trial.number}{'*' if trial is study.best else ''}" for trial in shown]),), stays=True),
        Column("gain", (Form(f"over {labels[-1]}\n$ [95 %]", [_gain(trial, labels[-1]) for trial in shown]),), stays=True),
        *(Column(key, (Form(key.replace(".", "\n"), [_setting(trial.values[key]) for trial in shown]),)) for key in keys),
        Column("seconds", (Form("CPU s", [f"{trial.seconds:.0f}" for trial in shown]),)),
    ]
    title = (
        f"{len(study.trials)} trials on the episodes of tuning, {len(study.trials) - len(ranked)} ended early, $ per site and day"
    )
    return fitted(title, columns, ("seconds", *reversed(keys)), width)


def _gain(trial: Trial, label: str) -> str:
    value, low, high = trial.gains.get(label, (None, None, None))
    if value is None:
        return "–"
    return f"{value:+.1f}" if low is None or high is None else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value)
