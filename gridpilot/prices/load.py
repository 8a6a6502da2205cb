"""From a ``conf/prices`` mapping to a price model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from gridpilot.errors import ConfigError
from gridpilot.prices.base import PriceModel
from gridpilot.prices.garch import GarchConfig, GarchPrices
from gridpilot.prices.mara_event import MaraEventConfig, MaraEventPrices
from gridpilot.prices.replay import ReplayConfig, ReplayPrices

__all__ = ["PriceConfig", "load_prices", "parse_prices"]

PriceConfig = Annotated[GarchConfig | MaraEventConfig | ReplayConfig, Field(discriminator="model")]
_ADAPTER: TypeAdapter[GarchConfig | MaraEventConfig | ReplayConfig] = TypeAdapter(PriceConfig)


def parse_prices(config: Mapping[str, Any]) -> GarchConfig | MaraEventConfig | ReplayConfig:
    """Validate a ``prices`` configuration. Raises :class:`~gridpilot.errors.ConfigError` naming every wrong key."""
    try:
        return _ADAPTER.validate_python(dict(config))
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            key = ".".join(str(part) for part in ("prices", *problem["loc"][1:]))
            value = problem["input"]
            shown = "" if isinstance(value, (Mapping, list)) else f" (got {value!r})"
            problems.append(f"{key}: {problem['msg']}{shown}")
        raise ConfigError("; ".join(problems)) from None


def load_prices(config: Mapping[str, Any], *, folder: Path | None = None) -> PriceModel:
    """The price model of a ``prices`` configuration; ``model`` says which.

    ``folder`` is where a replay's relative path starts, the current directory by default. Raises
    :class:`~gridpilot.errors.ConfigError` for an unknown key, a wrong type or a value out of range, and
    :class:`~gridpilot.errors.PriceError` for a replay file that cannot be used.
    """
    parsed = parse_prices(config)
    if isinstance(parsed, GarchConfig):
        return GarchPrices(parsed)
    if isinstance(parsed, MaraEventConfig):
        return MaraEventPrices(parsed)
    return ReplayPrices(parsed, folder=folder or Path())
