"""The configuration of live operation: what ``conf/live`` files hold, and the wall times that follow from the speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from gridpilot.live.alerts_config import AlertsConfig
from gridpilot.live.api import TICK

__all__ = ["FINGERPRINT", "LiveConfig", "RiskLimits", "Timing", "check_journal"]

FINGERPRINT: Final = "deployment.fingerprint"
"""The key that demands a deployment's fingerprint, as it is written on a command line."""


def check_journal(value: Any) -> Any:
    """The name of a journal, as it is. Raises ``ValueError`` for one that can be no file's, such as what an unset variable leaves."""
    if isinstance(value, (str, Path)) and Path(value).name in ("", ".."):
        raise ValueError(f"expected the name of a file, got {str(value)!r}")
    return value


class PriceBand(BaseModel):
    """What a price of one channel may be, in the API's units. ``None`` switches a check off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float | None
    high: float | None
    jump: Annotated[float, Field(gt=1.0)] | None  # greatest factor, up or down, from one row to the next

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low} and high {self.high}, expected low < high")
        return self


class RiskLimits(BaseModel):
    """What the risk gate holds every command to, and what is accepted as a price."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_change_kw: PositiveFloat | None  # of a site's power from one command to the next; switching off is always allowed
    max_loss_per_day: PositiveFloat | None  # $ of the API; beyond it everything stays off until the next UTC day
    energy: PriceBand
    hash: PriceBand
    token: PriceBand
    fallback_after: PositiveInt  # ticks of age of the newest row beyond which the agent is not asked
    off_after: PositiveInt  # ticks of age of the newest row beyond which everything is switched off

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fallback_after > self.off_after:
            raise ValueError(f"fallback_after is {self.fallback_after}, expected at most off_after, {self.off_after}")
        return self


class LiveConfig(BaseModel):
    """A ``conf/live`` file; every key is explained in ``conf/live/base.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    venue: str | dict[str, Any]  # as every part is named, see gridpilot.presets
    mode: Literal["shadow", "live"]
    url: str
    speed: PositiveFloat | None
    journal: Annotated[Path, BeforeValidator(check_journal)]
    rows: PositiveInt | None
    power_kw: PositiveFloat | None
    sites: PositiveInt
    inventory: Literal["documented", "live"]
    file: Path | None
    feed: str | dict[str, Any]
    history: PositiveInt
    deadline: PositiveFloat | None
    timeout: PositiveFloat | None
    patience: PositiveFloat
    requests_per_tick: Annotated[int, Field(ge=10)]
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None
    table: bool | None
    twin: bool
    seed: NonNegativeInt
    risk: RiskLimits
    alerts: AlertsConfig


@dataclass(frozen=True)
class Timing:
    """Wall seconds. By default nothing waits longer than a fifth of a tick's wall length."""

    tick: float  # wall length of a tick
    timeout: float  # of one call, from connecting to the last byte
    attempts: int  # of one reading
    backoff: float  # first wait between them; doubled each time, with jitter
    longest_wait: float  # of backoff and of Retry-After
    breaker_failures: int  # in a row, after which the venue is left alone
    breaker_rest: float  # for so long
    deadline: float  # of the agent's decision
    poll: float  # between two looks for a new row that is due
    poll_early: float  # between two looks while none is due
    start: float | None = None  # that the first answers may take; None: a tick

    @property
    def patience(self) -> float:
        """Wall seconds that the first answers may take."""
        return self.tick if self.start is None else self.start

    @classmethod
    def of(cls, speed: float, *, timeout: float | None = None, deadline: float | None = None, start: float | None = None) -> Timing:
        """The defaults at ``speed`` engine seconds a wall second; ``timeout``, ``deadline`` and ``start`` replace them where given."""
        tick = TICK.total_seconds() / speed
        fifth = tick / 5.0
        return cls(
            tick=tick,
            timeout=timeout if timeout is not None else min(20.0, fifth),
            attempts=3,
            backoff=min(0.5, fifth / 20.0),
            longest_wait=fifth,
            breaker_failures=8,
            breaker_rest=min(30.0, fifth),
            deadline=deadline if deadline is not None else min(10.0, fifth),
            poll=max(0.005, min(2.0, tick / 60.0)),
            poll_early=max(0.005, min(15.0, tick / 15.0)),
            start=start,
        )
