"""Faults on purpose: which call meets which, scripted by rules or drawn at random.

A file of rules is YAML or JSON, a list such as

    - when: {endpoint: PUT /machines, calls: [3, 5]}   # the fourth and fifth PUT
      fault: lost_answer
    - when: {endpoint: GET /prices, from_row: 20, until_row: 30}
      fault: stale
    - when: {every: 7, after: 60}                       # each seventh call, once the server is a minute old
      fault: {status: 429, retry_after: 2}
    - when: {probability: 0.05}
      fault: [drop, junk_html, {slow_first_byte: 0.5}]  # one of them, at random

The first rule that matches a call decides it. Conditions that are not given hold.

    endpoint            one of the six, or any (the default)
    calls: [n, m]       from the n-th call of the endpoint, counted from 0, to before the m-th
    every: k            each k-th call of the endpoint
    probability: p      at random, the same with the same seed
    from_row, until_row while the newest row's number, 0 for the opening one, is in [from_row, until_row)
    after, until        wall seconds since the server began

    status: 400 to 599  an error; nothing is applied but with applied: true. retry_after: s adds the header, as_date: true as a date
    lost_answer         the request is applied, and the connection ends without an answer
    drop                the connection ends before anything is applied
    slow_first_byte: s  the request is applied, and its answer comes s wall seconds later
    late: s             the request waits s wall seconds and is applied then
    slow_body: s        the body dribbles for s wall seconds
    truncated_json      half the body; the request is applied, as in the next
    junk_html           status 200 and a page of HTML
    nan_row, null_row, negative_row, jump_row: factor   what is wrong with the newest row's prices
    repeat_rows         every row twice
    reorder_rows        rows in a random order
    stale               no row after the one that was the newest when the rule began to match
    clock_skew: s       the Date header is off by s
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from gridpilot.documents import read_yaml
from gridpilot.errors import ConfigError

__all__ = ["ENDPOINTS", "LONGEST_FAULT", "Fault", "Faults", "Rule", "When", "load_faults", "random_rule"]

Endpoint = Literal["any", "POST /sites", "GET /sites", "GET /prices", "GET /inventory", "PUT /machines", "GET /machines"]
ENDPOINTS: Final[frozenset[str]] = frozenset(Endpoint.__args__) - {"any"}  # type: ignore[attr-defined]

Kind = Literal[
    "status", "lost_answer", "drop", "slow_first_byte", "late", "slow_body", "truncated_json", "junk_html",
    "nan_row", "null_row", "negative_row", "jump_row", "repeat_rows", "reorder_rows", "stale", "clock_skew",
]  # fmt: skip
KINDS: Final[tuple[str, ...]] = Kind.__args__  # type: ignore[attr-defined]
LONGEST_FAULT: Final = 3600.0  # s
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "status": (400.0, 599.0),
    "slow_first_byte": (0.0, LONGEST_FAULT),
    "late": (0.0, LONGEST_FAULT),
    "slow_body": (0.0, LONGEST_FAULT),
    "jump_row": (0.0, 1e12),
    "clock_skew": (-1e9, 1e9),
}
"""Of the amount, for the kinds that have one."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Fault(_Model):
    """What happens to a call. Written as its kind, or as ``{kind: amount}``."""

    kind: Kind
    amount: float | None = None  # status, s or factor
    retry_after: NonNegativeFloat | None = None  # s
    as_date: bool = False
    applied: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"kind": data}
        if isinstance(data, Mapping) and "kind" not in data:
            named = [name for name in data if name in KINDS]
            if len(named) != 1:
                raise ValueError(f"expected one of {', '.join(KINDS)}")
            return {
                "kind": named[0],
                "amount": data[named[0]],
                **{name: value for name, value in data.items() if name not in KINDS},
            }
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in BOUNDS:
            low, high = BOUNDS[self.kind]
            if self.amount is None or not low <= self.amount <= high or (self.kind == "status" and self.amount % 1.0):
                raise ValueError(f"{self.kind} is {self.amount}, expected a number from {low:g} to {high:g}")
        elif self.amount is not None:
            raise ValueError(f"{self.kind} is {self.amount}, expected the name alone")
        if self.kind != "status" and (self.retry_after is not None or self.as_date or self.applied):
            raise ValueError(f"{self.kind} takes no retry_after, as_date or applied, which belong to status")
        return self


class When(_Model):
    """Which calls a rule is for. All conditions that are given must hold."""

    endpoint: Endpoint = "any"
    calls: tuple[NonNegativeInt, NonNegativeInt] | None = None
    every: PositiveInt | None = None
    probability: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    from_row: NonNegativeInt | None = None
    until_row: NonNegativeInt | None = None
    after: NonNegativeFloat | None = None
    until: NonNegativeFloat | None = None


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class Rule(_Model):
    """Calls, and what happens to them: one fault, or one of several at random."""

    when: When = When()
    fault: Annotated[tuple[Fault, ...], BeforeValidator(_listed), Field(min_length=1)]


@dataclass
class _Progress:
    """How far a rule is."""

    rule: Rule
    chance: random.Random
    calls: int = 0  # of its endpoint
    held: int | None = None  # rows that a stale feed shows

    def meet(self, newest: int, elapsed: float) -> Fault | None:
        """Count a call of the endpoint; its fault, if all conditions hold."""
        when, call = self.rule.when, self.calls
        self.calls += 1
        # Drawn for each call, so that the other conditions do not change what chance decides.
        drawn, fault = self.chance.random(), self.chance.choice(self.rule.fault)
        holds = (
            (when.calls is None or when.calls[0] <= call < when.calls[1])
            and (when.every is None or (call + 1) % when.every == 0)
            and (when.probability is None or drawn < when.probability)
            and (when.from_row is None or newest >= when.from_row)
            and (when.until_row is None or newest < when.until_row)
            and (when.after is None or elapsed >= when.after)
            and (when.until is None or elapsed < when.until)
        )
        return fault if holds else None


class Faults:
    """Rules at work. Equal rules, seed and calls give equal faults."""

    def __init__(self, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        self.rules = tuple(rules)
        self.shuffle: Final = random.Random(f"{seed} order")
        self._progress = [_Progress(rule, random.Random(f"{seed} {number}")) for number, rule in enumerate(self.rules)]

    @classmethod
    def random(cls, rate: float = 0.05, seed: int = 0, *, slow_s: float = 1.0, retry_after: float = 1.0) -> Faults:
        """Any call fails with probability ``rate``, with one of eight faults of transport. Times in wall seconds."""
        return cls([random_rule(rate, slow_s=slow_s, retry_after=retry_after)], seed)

    def choose(self, endpoint: str, rows: int, elapsed: float) -> tuple[Fault | None, int]:
        """The fault of a call, and how many of ``rows`` it is shown. ``elapsed`` in wall seconds since the start."""
        chosen: Fault | None = None
        shown = rows
        for progress in self._progress:
            if progress.rule.when.endpoint not in ("any", endpoint):
                continue
            fault = progress.meet(rows - 1, elapsed)
            if fault is None:
                progress.held = None
            elif chosen is None:
                chosen = fault
                if fault.kind == "stale":
                    progress.held = shown = rows if progress.held is None else progress.held
        return chosen, shown


def random_rule(rate: float, *, slow_s: float = 1.0, retry_after: float = 1.0) -> Rule:
    """The rule of :meth:`Faults.random`."""
    faults = [
        {"status": 500},
        {"status": 503},
        {"status": 429, "retry_after": retry_after},
        "lost_answer",
        "drop",
        "truncated_json",
        "junk_html",
        {"slow_first_byte": slow_s},
    ]
    return Rule.model_validate({"when": {"probability": rate}, "fault": faults})


def load_faults(path: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises :class:`~gridpilot.errors.ConfigError` that names the file, the rule and the key."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = read_yaml(text, str(path), ConfigError)
    if not isinstance(found, list):
        raise ConfigError(f"{path}: expected a list of rules, each with when and fault")
    return tuple(_rule(f"{path}: rule {number}", entry) for number, entry in enumerate(found, 1))


def _rule(where: str, entry: Any) -> Rule:
    try:
        return Rule.model_validate(entry)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            key = ".".join(str(part) for part in problem["loc"])
            message = str(problem["msg"]).removeprefix("Value error, ")
            problems.append(f"{key}={problem['input']!r:.60}: {message[:1].lower()}{message[1:]}")
        raise ConfigError(f"{where}: {'; '.join(problems)}") from error
