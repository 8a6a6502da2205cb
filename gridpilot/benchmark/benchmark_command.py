"""``gridpilot benchmark [suite ...] [overrides]``: the parts that must be fast, on this machine; CPU time of one thread, mostly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool

from gridpilot import configuration
from gridpilot.errors import ConfigError
from gridpilot.memory import check_memory

__all__ = ["SUITES", "main"]

SUITES: Final = ("clearing", "simulation", "environments", "planner", "training", "live")


class BenchmarkConfig(BaseModel):
    """``conf/benchmark.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: list[str]
    repeats: PositiveInt
    markets: PositiveInt
    as_json: Annotated[StrictBool, Field(alias="json")]
    market: dict[str, Any]
    prices: dict[str, Any]


def main(argv: list[str]) -> int:
    """Run the command; bare words name suites. Raises :class:`~gridpilot.errors.ConfigError` for an unknown one."""
    named = [word for word in argv if "=" not in word and not word.startswith("-")]
    overrides = [word for word in argv if word not in named]
    return configuration.run("benchmark", [*overrides, f"suites=[{','.join(named)}]"] if named else overrides, _run)


def _run(config: dict[str, Any]) -> int:
    settings = configuration.validate(BenchmarkConfig, config, "benchmark")
    for suite in settings.suites:
        if suite not in SUITES:
            raise ConfigError(f"benchmark: there is no suite {suite!r}, expected some of {', '.join(SUITES)}")
    check_memory(settings.markets * 8 * 5 * 8 * 4, f"benchmark: markets={settings.markets:,}", ConfigError)  # 8 sites of 5 blocks
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        rows = []
        for measurement in _measure(settings):
            rows.append(dataclasses.asdict(measurement))
            if not settings.as_json:
                _print(measurement, first=len(rows) == 1)
    finally:
        numba.set_num_threads(before)
    if settings.as_json:
        print(json.dumps(rows, indent=2))
    return 0


def _measure(settings: BenchmarkConfig) -> Iterator[Any]:
    from gridpilot.setup import load_setup

    if "clearing" in settings.suites:
        from gridpilot.benchmark.auctions import measure_auctions

        yield from measure_auctions(settings.repeats, settings.markets)
    setup = load_setup(settings.market, settings.prices)
    if "simulation" in settings.suites:
        from gridpilot.benchmark.simulation import measure_simulation

        yield from measure_simulation(settings.repeats, settings.markets, setup)
    if "environments" in settings.suites:
        from gridpilot.benchmark.environments import measure_environments

        yield from measure_environments(settings.repeats, settings.markets, setup)
    if "planner" in settings.suites:
        from gridpilot.benchmark.planner import measure_planner

        yield from measure_planner(settings.repeats, setup)
    if "training" in settings.suites:
        from gridpilot.benchmark.training import measure_training

        yield from measure_training(settings.repeats, setup)
    if "live" in settings.suites:
        from gridpilot.benchmark.live import measure_live

        yield from measure_live()


def _print(measurement: Any, *, first: bool) -> None:
    if first:
        print("CPU time of one thread a call, or what the line says: median (least) of the repeats\n")
    show = _mebibytes if measurement.measure == "mib" else _microseconds
    line = f"{show(measurement.median):>10} ({show(measurement.best)})  {measurement.name}"
    if measurement.rate is not None:
        line += f"; {_count(measurement.rate)} {measurement.unit} a second"
    if measurement.ratio is not None:
        line += f"; {measurement.ratio:.3g} x {measurement.against}"
    print(line, flush=True)


def _microseconds(us: float) -> str:
    for limit, scale, unit in ((1e3, 1.0, "us"), (1e6, 1e3, "ms")):
        if us < limit:
            return f"{us / scale:.3g} {unit}"
    return f"{us / 1e6:.3g} s"


def _mebibytes(mib: float) -> str:
    return f"{mib:.3g} MiB"


def _count(rate: float) -> str:
    for limit, scale, unit in ((1e4, 1.0, ""), (1e6, 1e3, " thousand")):
        if rate < limit:
            return f"{rate / scale:.3g}{unit}"
    return f"{rate / 1e6:.3g} million"
