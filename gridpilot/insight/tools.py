"""The facts as tools: for templates, for pages and for a model alike, each call with an id under which its result is cited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from gridpilot.errors import ConfigError
from gridpilot.insight import alarms, forecast_facts, live_facts, market_facts, match_facts, redecide, run_facts
from gridpilot.insight.opened import OpenedJournal, OpenedRun
from gridpilot.insight.replay import Change, Played
from gridpilot.market.units import CHANNELS
from gridpilot.tournament.schedule import Match

__all__ = ["Tool", "Toolbox"]

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
PRICE: Final[Schema] = {"type": "number", "description": "a price in the API's units, in place of the recorded one"}
MATCH: Final[Schema] = {"type": "string", "description": "EPISODE/LINEUP/ROTATION, such as 1000000/mixed/0"}
MECHANISM: Final[Schema] = {"type": "string", "enum": ["vcg", "uniform", "pay_as_bid"]}
BLOCKS: Final[Schema] = {
    "type": "array",
    "description": "blocks of [kW, $/kWh], prices falling",
    "items": {"type": "array", "items": {"type": "number"}},
}


@dataclass(frozen=True)
class Tool:
    """A function of facts, and what it takes: a JSON schema an argument."""

    name: str
    description: str
    arguments: Mapping[str, Schema]
    run: Callable[..., dict[str, Any]]
    optional: tuple[str, ...] = ()

    @property
    def schema(self) -> Schema:
        """The JSON schema of its arguments, all of which have to be given; null stands for what may be left out."""
        properties = {
            name: {"anyOf": [schema, {"type": "null"}]} if name in self.optional else schema
            for name, schema in self.arguments.items()
        }
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


class Toolbox:
    """The tools of what is open, and the results of all calls so far by id: ``c1``, ``c2``, ..."""

    def __init__(self, opened: OpenedRun | OpenedJournal) -> None:
        self.opened = opened
        self.results: dict[str, Any] = {}
        self.calls: dict[str, str] = {}  # what was asked, in words
        self.tools = {tool.name: tool for tool in (_of_run(opened) if isinstance(opened, OpenedRun) else _of_journal(opened))}

    def call(self, name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """The id and the result of a call; arguments that are None count as left out.

        Raises :class:`~gridpilot.errors.ConfigError` for a tool or argument that is not known, and what the tool raises.
        """
        if name not in self.tools:
            raise ConfigError(f"tool {name!r:.40} is not known, expected one of {', '.join(self.tools)}")
        tool = self.tools[name]
        given = {key: value for key, value in arguments.items() if value is not None}
        for key in given:
            if key not in tool.arguments:
                raise ConfigError(f"{name}: {key!r:.40} is no argument, expected some of {', '.join(tool.arguments)}")
        for key in tool.arguments:
            if key not in given and key not in tool.optional:
                raise ConfigError(f"{name}: {key} is missing, expected all of {', '.join(tool.arguments)}")
        for key, value in given.items():
            _check_type(name, key, value, tool.arguments[key])
        result = tool.run(**given)
        number = f"c{len(self.results) + 1}"
        self.results[number] = result
        self.calls[number] = f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})"
        return number, result


def _check_type(tool: str, key: str, value: Any, schema: Schema) -> None:
    types: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "array": list | tuple, "object": Mapping}
    kind: Any = types[schema["type"]]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{tool}: {key} is {value!r:.60}, expected {schema['type']}")
    if "enum" in schema and value not in schema["enum"]:
        raise ConfigError(f"{tool}: {key} is {value!r:.60}, expected one of {', '.join(schema['enum'])}")


def _of_run(opened: OpenedRun) -> list[Tool]:
    def played(match: str) -> Played:
        return opened.played(opened.match(match))

    def compare(match: str, seat: int, other_agent: str | None = None, other_seat: int | None = None) -> dict[str, Any]:
        this = opened.match(match)
        if (other_agent is None) == (other_seat is None):
            raise ConfigError("compare: expected either other_agent, in the same seat in another rotation, or other_seat")
        if other_agent is None:
            return match_facts.compare(played(match), seat, played(match), other_seat if other_seat is not None else 0)
        return match_facts.compare(played(match), seat, opened.played(_rival(opened, this, seat, other_agent)), seat)

    def what_if(
        match: str,
        mechanism: Any = None,
        seat: int | None = None,
        agent: str | None = None,
        tick: int | None = None,
        blocks: Any = None,
    ) -> dict[str, Any]:
        bid = None if blocks is None else tuple((float(kw), float(price)) for kw, price in blocks)
        change = Change(mechanism, seat, agent, tick, bid)
        if not change:
            raise ConfigError(
                "what_if: nothing is changed, expected a mechanism, or a seat with an agent, or a seat with a tick and a bid"
            )
        return match_facts.what_if(played(match), opened.played(opened.match(match), change))

    seat = {"match": MATCH, "tick": WHOLE, "seat": WHOLE}
    return [
        Tool(
            "overview",
            "What was played, by whom, and whether it can be played again as it was.",
            {},
            lambda: run_facts.overview(opened),
        ),
        Tool("leaderboard", "Ranks and profits with intervals.", {}, lambda: run_facts.leaderboard(opened)),
        Tool(
            "pair",
            "How far an agent is ahead of another in the whole run, how sure that is, and the parts it comes from.",
            {"agent": TEXT, "other": TEXT},
            lambda agent, other: run_facts.pair(opened, agent, other),
        ),
        Tool(
            "find_matches",
            "The best, worst or most typical matches of an agent by its gain over the reference in the same seat.",
            {"agent": TEXT, "order": {"type": "string", "enum": ["best", "worst", "typical"]}, "lineup": TEXT, "n": WHOLE},
            lambda agent, order="best", lineup="mixed", n=3: run_facts.find_matches(opened, agent, order, lineup, n),
            ("order", "lineup", "n"),
        ),
        Tool(
            "tick",
            "The market in one tick of a match: prices, what was for sale and asked for, what each seat got.",
            {"match": MATCH, "tick": WHOLE},
            lambda match, tick: match_facts.tick(played(match), tick),
        ),
        Tool(
            "seat",
            "One seat in one tick: its blocks and what became of them, its battery and hall, what bound it, its agent's reasons.",
            seat,
            lambda match, tick, seat: match_facts.seat(played(match), tick, seat),
        ),
        Tool(
            "window",
            "A seat over some ticks, by hour: energy, money, price paid and charge.",
            {"match": MATCH, "seat": WHOLE, "first": WHOLE, "last": WHOLE},
            lambda match, seat, first=0, last=None: match_facts.window(played(match), seat, first, last),
            ("first", "last"),
        ),
        Tool(
            "compare",
            "A seat against another seat of the match, or against another agent in the same seat in another rotation; parts and hours.",
            {"match": MATCH, "seat": WHOLE, "other_agent": TEXT, "other_seat": WHOLE},
            compare,
            ("other_agent", "other_seat"),
        ),
        Tool(
            "expected",
            "What an agent said that it expected, what a forecaster expects of the energy price then (5 quantiles an hour), what came.",
            seat,
            lambda match, tick, seat: match_facts.expected(played(match), tick, seat),
        ),
        Tool(
            "recleared",
            "The same bids cleared under another mechanism, in one tick or the whole match: who pays what.",
            {"match": MATCH, "mechanism": MECHANISM, "tick": WHOLE},
            lambda match, mechanism, tick=None: match_facts.recleared(played(match), mechanism, tick),
            ("tick",),
        ),
        Tool(
            "what_if",
            "The match played with one change, agents responding: the mechanism, the agent of a seat, or the bid of a seat in a tick.",
            {"match": MATCH, "mechanism": MECHANISM, "seat": WHOLE, "agent": TEXT, "tick": WHOLE, "blocks": BLOCKS},
            what_if,
            ("mechanism", "seat", "agent", "tick", "blocks"),
        ),
        _clear(),
    ]


def _of_journal(opened: OpenedJournal) -> list[Tool]:
    def status() -> dict[str, Any]:
        with opened.look() as journal:
            return live_facts.status(journal)

    def raised() -> dict[str, Any]:
        with opened.look() as journal:
            return alarms.alarms(journal)

    def decision(at: str | None = None) -> dict[str, Any]:
        with opened.look() as journal:
            return live_facts.decision(journal, None if at is None else _time(at))

    def day(of: str | None = None) -> dict[str, Any]:
        with opened.look() as journal:
            return live_facts.day(journal, None if of is None else _date(of))

    def choices(at: str | None = None) -> dict[str, Any]:
        with opened.look() as journal:
            return live_facts.choices(live_facts.find_decision(journal, None if at is None else _time(at)))

    def expected(at: str | None = None) -> dict[str, Any]:
        with opened.look() as journal:
            one = live_facts.find_decision(journal, None if at is None else _time(at))
            said = live_facts.decision_of(one)["rationale"]
            return {"decided_at": f"{one.at:%Y-%m-%d %H:%M} UTC", "rationale": said} | forecast_facts.expected(
                journal, one.at, one.session
            )

    def again(
        at: str | None = None, energy: float | None = None, hash: float | None = None, token: float | None = None
    ) -> dict[str, Any]:
        prices = {"energy": energy, "hash": hash, "token": token}
        with opened.look() as journal:
            return redecide.redecide(
                journal,
                None if at is None else _time(at),
                {name: float(price) for name, price in prices.items() if price is not None},
            )

    return [
        Tool("status", "What runs, who decided last, what was earned, what went wrong lately.", {}, status),
        Tool("alarms", "Which alarms hold, and which cannot be told from a journal.", {}, raised),
        Tool(
            "decision",
            "One decision: prices, machines, reason, causes, what came of it, other choices. Times in UTC; null: the newest.",
            {"at": TEXT},
            decision,
            ("at",),
        ),
        Tool(
            "day",
            "A UTC day: profit, what was left on the table by cause, who decided. Null: the newest.",
            {"of": TEXT},
            day,
            ("of",),
        ),
        Tool(
            "alternatives",
            "What other choices would have earned in a whole row at a decision's prices: the best, everything off, each class alone.",
            {"at": TEXT},
            choices,
            ("at",),
        ),
        Tool(
            "expected",
            "What the agent said that it expected, what a forecaster expects of the energy price by the rows up to then, what came.",
            {"at": TEXT},
            expected,
            ("at",),
        ),
        Tool(
            "redecide",
            "The decision made again from the journal: whether it is the recorded one bit for bit, or with other prices of its row.",
            {"at": TEXT, **dict.fromkeys(CHANNELS, PRICE)},
            again,
            ("at", *CHANNELS),
        ),
        _clear(),
    ]


def _clear() -> Tool:
    schema = {"type": "string", "description": "JSON of the form of gridpilot clear: bids, supply, capacity, caps, reserve"}

    def clear_market(document: str) -> dict[str, Any]:
        from gridpilot.documents import read_json

        return market_facts.clear_market(read_json(document.encode(), "clear_market: document", ConfigError))

    return Tool(
        "clear_market", "Clear a market that is given in full, under all three mechanisms.", {"document": schema}, clear_market
    )


def _rival(opened: OpenedRun, match: Match, seat: int, agent: str) -> Match:
    for other in opened.matches:
        if (
            (other.episode, other.lineup) == (match.episode, match.lineup)
            and seat < len(other.seats)
            and other.seats[seat] == agent
        ):
            return other
    raise ConfigError(f"compare: {agent!r} is not in seat {seat} of episode {match.episode}, {match.lineup}, in any rotation")


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError as error:
        raise ConfigError(f"at: {text!r:.40}, expected a time in UTC such as 2025-06-21T14:25") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"of: {text!r:.40}, expected a date such as 2025-06-21") from error
