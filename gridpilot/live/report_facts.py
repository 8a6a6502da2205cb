"""A day or a week of live operation in figures, from its journal alone: plain JSON, a unit in the suffix of every key.

Profit is what the journal has booked and ``gridpilot live export`` writes. What was left on the table is, tick by tick, the profit of the
best choice in hindsight minus that, and is put down to one cause a tick: causes add up to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from gridpilot.live.alarms import Alarm
from gridpilot.live.api import TICK, format_time
from gridpilot.live.audit import find_breaches
from gridpilot.live.day_book import Book, Halt, Tick, read_book
from gridpilot.live.journal import Journal
from gridpilot.live.noted_head import read_note

__all__ = ["Period", "day_of", "read_facts", "week_of"]


@dataclass(frozen=True)
class Period:
    """A day or a week, ``start <= at < end``, UTC; its parts are hours or days."""

    name: str  # "day" or "week"
    start: datetime
    end: datetime
    part: timedelta

    @property
    def label(self) -> str:
        """As it stands in the name of a file.

        >>> week_of(date(2025, 6, 21)).label, day_of(date(2025, 6, 21)).label
        ('week-2025-06-16', 'day-2025-06-21')
        """
        return f"{self.name}-{self.start:%Y-%m-%d}"

    @property
    def before(self) -> Period:
        """The one before."""
        return Period(self.name, self.start - (self.end - self.start), self.start, self.part)

    def holds(self, at: datetime) -> bool:
        """Whether a moment is in it."""
        return self.start <= at < self.end

    def parts(self) -> list[datetime]:
        """When each part begins."""
        return [self.start + i * self.part for i in range(round((self.end - self.start) / self.part))]


def day_of(day: date) -> Period:
    """A UTC day, by hours."""
    start = datetime.combine(day, time(), UTC)
    return Period("day", start, start + timedelta(days=1), timedelta(hours=1))


def week_of(day: date) -> Period:
    """The week that holds a day, Monday to Sunday, UTC, by days."""
    start = datetime.combine(day - timedelta(days=day.weekday()), time(), UTC)
    return Period("week", start, start + timedelta(days=7), timedelta(days=1))


def read_facts(journal: Journal, period: Period | None = None) -> dict[str, Any]:
    """Everything that a report says of ``period``, by default of the week that holds the last decision.

    Without any decision in it the figures are 0 and ``None``; the chain is verified in any case. Raises
    :class:`~gridpilot.errors.JournalError` for a journal that cannot be read.
    """
    verification = _verification(journal)
    book = read_book(journal)
    if period is None:
        period = week_of((book.last or datetime.now(UTC)).date())
    ticks = [tick for tick in book.ticks.values() if period.holds(tick.at)]
    before = [tick for tick in book.ticks.values() if period.before.holds(tick.at)]
    session = _session(book, period)
    modes = {tick.mode for tick in ticks} - {""}
    return {
        "period": {
            "name": period.name,
            "start": format_time(period.start),
            "end": format_time(period.end),
            "first_tick": format_time(ticks[0].at) if ticks else None,
            "last_tick": format_time(ticks[-1].at) if ticks else None,
        },
        "session": session,
        "mode": None if not modes else modes.pop() if len(modes) == 1 else "mixed",
        "summary": _summary(ticks),
        "before": _summary(before) if before else None,
        "baselines": _baselines(ticks),
        "parts": [
            {"start": format_time(start), **_summary([tick for tick in ticks if start <= tick.at < start + period.part])}
            for start in period.parts()
        ],
        "forgone": _forgone(ticks),
        "decided_by": _decided_by(ticks),
        "said": _said(ticks),
        "causes": dict(Counter(cause for tick in ticks for _, causes in tick.decided for cause in causes).most_common()),
        "alarms": [_alarm(alarm) for alarm in book.alarms if _overlaps(alarm.since, alarm.until, period)],
        "halts": [_halt(halt) for halt in book.halts if _overlaps(halt.since, halt.until, period)],
        "verification": verification,
    }


def _summary(ticks: Sequence[Tick]) -> dict[str, Any]:
    """The figures that periods are compared by."""
    profit = sum(tick.profit for tick in ticks)
    best = sum(tick.alternatives["best"] for tick in ticks if tick.alternatives is not None)
    decisions = [reason for tick in ticks for reason, _ in tick.decided]
    fresh, n = sum(tick.fresh for tick in ticks), len(ticks)
    return {
        "profit_api_dollars": profit,
        "revenue_api_dollars": sum(tick.revenue for tick in ticks),
        "cost_api_dollars": sum(tick.cost for tick in ticks),
        "live_profit_api_dollars": sum(tick.profit for tick in ticks if tick.mode == "live"),
        "shadow_profit_api_dollars": sum(tick.profit for tick in ticks if tick.mode == "shadow"),
        "best_api_dollars": best,
        "forgone_api_dollars": best - profit,
        "captured_share": profit / best if best > 0.0 else None,
        "profit_a_day_api_dollars": profit * (timedelta(days=1) / TICK) / n if n else None,
        "ticks_count": n,
        "fresh_ticks_count": fresh,
        "ticks_without_row_count": sum(tick.alternatives is None for tick in ticks),
        "availability_share": fresh / n if n else None,
        "decisions_count": len(decisions),
        "agent_share": decisions.count("agent") / len(decisions) if decisions else None,
    }


def _baselines(ticks: Sequence[Tick]) -> list[dict[str, Any]]:
    """What other choices would have earned on all rows that are known, whether the engine was there or not."""
    sums: dict[str, float] = {}
    rows: Counter[str] = Counter()
    for tick in ticks:
        for name, profit in (tick.alternatives or {}).items():
            sums[name] = sums.get(name, 0.0) + profit
            rows[name] += 1
    applied = sum(tick.profit for tick in ticks)
    return [
        {"name": name, "profit_api_dollars": profit, "against_api_dollars": applied - profit, "rows_count": rows[name]}
        for name, profit in sums.items()
    ]


def _forgone(ticks: Iterable[Tick]) -> list[dict[str, Any]]:
    """By cause, the dearest first; ticks whose prices nobody knows count, with nothing that could have been earned."""
    money: dict[str, float] = {}
    count: Counter[str] = Counter()
    for tick in ticks:
        money[tick.why] = money.get(tick.why, 0.0) + tick.forgone
        count[tick.why] += 1
    return [
        {"cause": cause, "forgone_api_dollars": money[cause], "ticks_count": count[cause]}
        for cause in sorted(money, key=lambda cause: -money[cause])
    ]


def _decided_by(ticks: Iterable[Tick]) -> list[dict[str, Any]]:
    """By link of the fallback chain; a tick's profit belongs to its last decision."""
    decisions: Counter[str] = Counter()
    money: dict[str, float] = {}
    last: Counter[str] = Counter()
    for tick in ticks:
        decisions.update(reason for reason, _ in tick.decided)
        if tick.decided:
            money[tick.reason] = money.get(tick.reason, 0.0) + tick.profit
            last[tick.reason] += 1
    return [
        {"reason": reason, "decisions_count": n, "ticks_count": last[reason], "profit_api_dollars": money.get(reason, 0.0)}
        for reason, n in decisions.most_common()
    ]


def _said(ticks: Iterable[Tick]) -> list[dict[str, Any]]:
    """By which rule and rung the agents say that they bid, and how often; "" where one says nothing of them."""
    found = Counter(
        (str(said.get("rule", "")), str(said.get("rung", "")), "failed" in said) for tick in ticks for said in tick.said
    )
    return [{"rule": rule, "rung": rung, "failed": failed, "bids_count": n} for (rule, rung, failed), n in found.most_common()]


def _session(book: Book, period: Period) -> dict[str, Any] | None:
    """The last session that had begun before the period ended."""
    bodies = [body for at, body in book.sessions if at < period.end] or [body for _, body in book.sessions[:1]]
    if not bodies:
        return None
    last = bodies[-1]
    return {
        "sites": [site["name"] for site in last["sites"]],
        "cap_w": last["cap_w"],
        "venue": last["venue"],
        "url": last["url"],
        "agent": last["agent"]["target"],
        "speed": last["speed"],
        "deployment": last["origin"].get("deployment"),
        "fingerprint": last["origin"].get("fingerprint"),
        "sessions_count": sum(period.holds(at) for at, _ in book.sessions),
    }


def _verification(journal: Journal) -> dict[str, Any]:
    found = journal.verify()
    note = read_note(journal.path)
    problems = [] if found.problem is None else [found.problem]
    if not problems:
        problems += [told for told in (journal.setback(),) if told is not None] + find_breaches(journal)
    return {"records_count": found.records, "head": found.head, "noted": note is not None, "problems": problems}


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "name": alarm.rule.name,
        "severity": alarm.rule.severity,
        "summary": alarm.rule.summary,
        "detail": alarm.detail,
        "since": format_time(alarm.since),
        "until": None if alarm.until is None else format_time(alarm.until),
    }


def _halt(halt: Halt) -> dict[str, Any]:
    return {
        "since": format_time(halt.since),
        "until": None if halt.until is None else format_time(halt.until),
        "why": halt.why,
        "resumed_why": halt.resumed_why,
    }


def _overlaps(since: datetime, until: datetime | None, period: Period) -> bool:
    return since < period.end and (until is None or until >= period.start)
