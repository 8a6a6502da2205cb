"""``gridpilot validate [result ...] [overrides]``: known results of auction theory, found again with this project's own auctioneer.

Exit code 0 where every figure is as expected, 1 where some is not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from gridpilot import configuration
from gridpilot.columns import console_for, printed
from gridpilot.progress import Progress
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.validation.row import Row
from gridpilot.validation.rows import WITH_TORCH, chosen
from gridpilot.validation.study import Study
from gridpilot.validation.table import render, to_json

__all__ = ["NOT_AS_EXPECTED", "ValidationConfig", "main"]

NOT_AS_EXPECTED = 1


class ValidationConfig(BaseModel):
    """``conf/validate.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: list[str]
    scale: Annotated[float, Field(gt=0.0, le=100.0, allow_inf_nan=False)]
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    json_: Annotated[bool, Field(alias="json")]


def main(argv: Sequence[str]) -> int:
    """Run the command; bare words name results. Raises :class:`~gridpilot.errors.ConfigError` for an unknown one."""
    named = [word for word in argv if "=" not in word and word.isidentifier()]
    overrides = [word for word in argv if word not in named]
    return configuration.run("validate", [*overrides, f"only=[{','.join(named)}]"] if named else overrides, _validate)


def _validate(config: dict[str, Any]) -> Found:
    settings = configuration.validate(ValidationConfig, config, "validate")
    with_torch = importlib.util.find_spec("stable_baselines3") is not None
    results, study = chosen(settings.only, with_torch=with_torch), Study(scale=settings.scale, seed=settings.seed)
    rows: list[Row] = []
    with results_only() as out:
        progress = Progress("validate")
        if not with_torch and not settings.only:
            progress.note(f"left out, as they need the extra [rl]: {', '.join(WITH_TORCH)}")
        with progress.of(len(results), what="results") as advance:
            for result in results:
                rows += result.rows(study)
                advance(1, result.name)
        if settings.json_:
            print(to_json(rows), file=out)
        else:
            console = console_for(out, otherwise=80)
            printed(console, render(rows, width=console.width))
    passed = sum(row.passed for row in rows)
    return Found({"as expected": f"{passed} of {len(rows)}"}, 0 if passed == len(rows) else NOT_AS_EXPECTED)
