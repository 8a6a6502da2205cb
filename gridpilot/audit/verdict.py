"""What checks have found, in plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["LAWS", "VERSION", "Audit", "Verdict"]

VERSION: Final = 1
"""Of the checks. A later one may refuse what an earlier one let pass."""

LAWS: Final = {
    "builds": "can be imported and built",
    "valid": "answers with valid bids, for what its connection carries",
    "inputs": "copes with extreme prices, odd plants and no history",
    "future": "bids the same, whatever comes after the tick",
    "rivals": "bids the same, whatever its rivals own, hold and bid",
    "arrays": "bids the same seat by seat and on arrays, to the bit",
    "seeds": "bids the same again at equal seeds",
    "elsewhere": "and in another process, at another hour and hash seed",
    "reset": "forgets everything in a reset",
    "batch": "bids the same, however many markets are played at once",
    "pickle": "goes on as before when pickled or copied",
    "random": "leaves the global random numbers alone",
    "outside": "changes nothing but its orders",
    "files": "writes no files, uses no network, starts no programs",
    "barrier": "searches neither frames nor memory",
    "deadline": "decides in time",
    "resources": "stays alive, within its memory, and leaves no threads",
}
"""The checks in their order, and what each holds an agent to."""

Outcome = Literal["passed", "failed", "not judged", "does not apply"]


@dataclass(frozen=True)
class Verdict:
    """Of one check. ``tick``, ``market``, ``seat`` and ``field`` are the first place where two plays differ, if that is what failed."""

    check: str  # of LAWS
    outcome: Outcome
    found: str = ""
    tick: int | None = None
    market: int | None = None
    seat: int | None = None
    field: str | None = None


@dataclass(frozen=True)
class Audit:
    """Of one agent. ``target`` is its registered name or dotted path."""

    target: str
    params: dict[str, Any]
    short: bool
    clairvoyant: bool
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def failed(self) -> list[str]:
        """The checks that it failed."""
        return [verdict.check for verdict in self.verdicts if verdict.outcome == "failed"]

    @property
    def passed(self) -> bool:
        """Whether it failed none."""
        return not self.failed

    def summary(self) -> dict[str, Any]:
        """What a tournament keeps: ``passed``, ``failed`` (check -> what was found), ``version`` and ``short``."""
        failed = {verdict.check: verdict.found for verdict in self.verdicts if verdict.outcome == "failed"}
        return {"version": VERSION, "short": self.short, "passed": self.passed, "failed": failed}

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain lists, dicts and scalars."""
        verdicts = [{**dataclasses.asdict(verdict), "law": LAWS[verdict.check]} for verdict in self.verdicts]
        return {
            "agent": self.target,
            "params": self.params,
            "clairvoyant": self.clairvoyant,
            **self.summary(),
            "seconds": self.seconds,
            "checks": verdicts,
        }
