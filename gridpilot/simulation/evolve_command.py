"""``gridpilot evolve``: strategies spread through populations of sites by what they earn."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StrictBool
from rich.console import RenderableType

from gridpilot import configuration
from gridpilot.columns import Column, Form, console_for, fitted, printed
from gridpilot.errors import ConfigError
from gridpilot.files import check_output, write_atomically
from gridpilot.provenance import agent_files, code_hash, sha256, source_of, versions
from gridpilot.setup import load_setup
from gridpilot.simulation.evolution import Evolution, evolve
from gridpilot.simulation.evolution_picture import picture
from gridpilot.simulation.kept_course import KeptCourse
from gridpilot.spreadsheets import csv_text
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.config import AgentSpecs, agent_specs
from gridpilot.tournament.inspection import assign_roles
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES

__all__ = ["EvolveConfig", "main"]

COURSE: Final = ".course.npz"


class EvolveConfig(BaseModel):
    """``conf/evolve.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    agents: Annotated[list[Any], Field(min_length=2)]
    process: Literal["moran", "imitation", "replicator"]
    generations: Annotated[int, Field(ge=1, le=1_000_000)]
    populations: Annotated[int, Field(ge=1, le=10_000)]
    intensity: Annotated[float, Field(ge=0.0, le=1e6)]
    mutation: Annotated[float, Field(ge=0.0, le=1.0)]
    ticks: PositiveInt
    history: NonNegativeInt
    seed: NonNegativeInt
    out: str | None
    json_: Annotated[StrictBool, Field(alias="json")]
    market: dict[str, Any]
    prices: dict[str, Any]


def main(argv: list[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.ConfigError` for a configuration that cannot be played."""
    return configuration.run("evolve", argv, _evolve)


def _evolve(config: dict[str, Any]) -> Found:
    settings = configuration.validate(EvolveConfig, config, "evolve")
    strategies = _strategies(settings.agents)
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        check_output(out, ConfigError, folder=True)
    setup = load_setup(settings.market, settings.prices, ticks=settings.ticks, history=settings.history)
    kept = None if out is None else KeptCourse(out / COURSE, _identity(settings, strategies))
    with results_only() as stdout, _told_where_it_is(kept):
        course = evolve(
            setup,
            strategies,
            process=settings.process,
            generations=settings.generations,
            populations=settings.populations,
            intensity=settings.intensity,
            mutation=settings.mutation,
            seed=settings.seed,
            kept=kept,
        )
        if out is not None:
            _write(course, out, settings)
        table = course.fixation()
        if settings.json_:
            rows = [{str(key): None if value != value else value for key, value in row.items()} for row in table.to_dict("records")]
            print(
                json.dumps({"process": settings.process, "generations": settings.generations, "strategies": rows}, indent=2),
                file=stdout,
            )
        else:
            console = console_for(stdout, otherwise=80)
            printed(console, _render(table, settings, console.width))
            if out is not None:
                console.print(f"course   {out / 'course.parquet'}\npicture  {out / 'shares.png'}", markup=False, soft_wrap=True)
    best = table.sort_values("end", ascending=False).iloc[0]
    return Found({"most": str(best["strategy"]), "share at the end, %": f"{100.0 * best['end']:.0f}"})


def _strategies(agents: list[Any]) -> AgentSpecs:
    """The agents that are named, without the baselines that a tournament adds."""
    given = agent_specs(agents)
    strategies = {label: given[label] for label in list(given)[: len(agents)]}
    for label, role in assign_roles(strategies).items():
        if role in CLAIRVOYANT_ROLES:
            raise ConfigError(f"evolve: {label!r} is clairvoyant, which no strategy of a population is")
    return strategies


@contextlib.contextmanager
def _told_where_it_is(kept: KeptCourse | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if kept is not None and kept.path.exists():
            print(f"evolve: what was played is kept in {kept.path.parent}; the same command goes on from there", file=sys.stderr)
        raise


def _identity(settings: EvolveConfig, strategies: AgentSpecs) -> str:
    """What a course is known by: of equal ones the longer goes on where the other ended."""
    played = settings.model_dump(mode="json", exclude={"agents", "generations", "out", "json_"})
    files = {}
    for label, spec in strategies.items():
        found = agent_files(spec["target"], spec["params"], source_of(spec["target"]))
        files[label] = {name: sha256(path) for name, path in (found.code | found.data).items()}
    parts = [played, strategies, files, code_hash(), versions(["numpy", "numba"])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(course: Evolution, out: Path, settings: EvolveConfig) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "course.parquet", course.frame().to_parquet(), ConfigError)
    write_atomically(out / "fixation.csv", csv_text(course.fixation()).encode(), ConfigError)
    write_atomically(out / "shares.png", picture(course, settings.process), ConfigError)


def _render(table: pd.DataFrame, settings: EvolveConfig, width: int) -> RenderableType:
    n = settings.populations
    columns = [
        Column(
            "strategy", tuple(Form("strategy", list(table["strategy"]), at_most) for at_most in (30, 14)), left=True, stays=True
        ),
        Column("start", (Form("start\n% of sites", [f"{100.0 * x:.0f}" for x in table["start"]]),)),
        Column("end", (Form("end\n% of sites", [f"{100.0 * x:.0f}" for x in table["end"]]),), stays=True),
        Column("fixed", (Form(f"alone at the end\nof {n} populations", [f"{round(n * x)}" for x in table["fixed"]]),), stays=True),
        Column("generation", (Form("alone since\ngeneration", [_whole(x) for x in table["generation"]]),)),
    ]
    title = (
        f"{settings.process}: {settings.generations} generations, intensity {settings.intensity:g}, mutation {settings.mutation:g}"
    )
    return fitted(title, columns, ("start", "generation", "strategy"), width)


def _whole(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:.0f}"
