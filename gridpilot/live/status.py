"""What a person wants to know of a running engine at a glance, from its journal alone."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from gridpilot.columns import SafeConsole
from gridpilot.live.api import parse_time
from gridpilot.live.cycle_table import REASON_STYLES, money, short_name
from gridpilot.live.journal import Journal
from gridpilot.live.ledger import total_profit
from gridpilot.live.lock import is_locked, lock_path
from gridpilot.live.recovery import last_state
from gridpilot.live.trail import power_w

__all__ = ["power_of", "print_status", "read_status"]

DAY: Final = 288  # decisions that the counts by reason are over


def print_status(status: dict[str, Any], path: Path) -> None:
    """Print what :func:`read_status` found in the journal ``path``: a table on a terminal, a line each elsewhere."""
    lines = [(name, _printable(value)) for name, value in _describe(status, path)]
    if not sys.stdout.isatty():  # a line each, however long, for grep and the like
        print("\n".join(f"{name:<10}  {value.plain}" for name, value in lines))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, value)
    SafeConsole().print(table)


def read_status(journal: Journal) -> dict[str, Any]:
    """The session, what runs, the last decision and what came of it, and what happened lately."""

    def body(kind: str) -> dict[str, Any] | None:
        record = journal.last(kind)
        return None if record is None else record.body

    session, decided, told, read = (journal.last(kind) for kind in ("session", "decision", "outcome", "reconciliation"))
    stop, halt, head = journal.last("stop"), journal.halt, journal.head
    state = last_state(journal)
    last, decision, outcome = (None if record is None else record.body for record in (session, decided, told))
    runs = max((record for record in (told, read) if record is not None), key=lambda record: record.seq, default=None)
    counts = None if runs is None else runs.body["counts"]
    first = max(0, head[0] - 6 * DAY)
    decisions = [record.body for record in journal.records(kinds={"decision"}, after=first)][-DAY:]
    reasons = Counter(each["reason"] for each in decisions)
    causes = Counter(cause for each in decisions for cause in each["causes"])
    # The last rows may be late ones, older than what was known.
    rows = [record.body for record in journal.records(kinds={"rows"}, after=first)] or [body("rows") or {"rows": []}]
    return {
        "session": None if last is None else {key: last[key] for key in ("id", "mode", "venue", "url", "speed", "agent", "cap_w")},
        "running": session is not None and (stop is None or stop.seq < session.seq),
        "engine_here": is_locked(lock_path(journal.path)),
        "stopped": None if stop is None or (session is not None and stop.seq < session.seq) else stop.body["why"],
        "newest_row": max((row[0] for each in rows for row in each["rows"]), default=None),
        "decision": None if decision is None else {k: decision[k] for k in ("at", "kind", "reason", "causes", "counts", "power_w")},
        "pending": decided is not None and (told is None or told.seq < decided.seq),
        "outcome": None if outcome is None else {k: outcome[k] for k in ("at", "status", "counts", "message")},
        "counts": counts,
        "power_w": None if counts is None or last is None else power_w(last, counts),
        "read_back": runs is not None and runs is read,
        "classes": [] if last is None else [kind["name"] for kind in last["sites"][0]["fleet"]],
        "day": None if outcome is None or state is None else {"date": state["day"], "profit": state["day_profit"]},
        "profit": total_profit(journal),
        "reasons": dict(reasons),
        "causes": dict(causes),
        "halted": halt.halted,
        "halt_why": halt.why if halt.halted else None,
        "api": (body("api") or {"state": "up"})["state"],
        "records": head[0],
        "head": head[1],
    }


def power_of(journal: Journal) -> int | None:
    """W that run as far as a journal knows; None before anything was decided or read."""
    session, told, read = (journal.last(kind) for kind in ("session", "outcome", "reconciliation"))
    runs = max((record for record in (told, read) if record is not None), key=lambda record: record.seq, default=None)
    off = journal.last("off")
    if off is not None and off.body["confirmed"] and (runs is None or off.seq > runs.seq):
        return 0
    return None if session is None or runs is None else power_w(session.body, runs.body["counts"])


def _describe(status: dict[str, Any], path: Path) -> list[tuple[str, Text]]:
    session, decision, day = status["session"], status["decision"], status["day"]
    halted = Text(f"HALTED: {status['halt_why']}", style="bold red") if status["halted"] else Text("no")
    if session is None:
        return [("journal", Text(f"{path}: no session yet")), ("halted", halted)]
    mode = Text(session["mode"].upper(), style="bold green" if session["mode"] == "live" else "bold blue")
    state = f"stopped: {status['stopped']}"
    if status["running"]:
        state = "running" if status["engine_here"] else "as far as the journal tells running, but no engine runs on it here"
    lines = [
        ("agent", Text(f"{session['agent']['target'].rpartition('.')[2]} on {session['venue']} {session['url'] or ''}".rstrip())),
        ("mode", Text.assemble(mode, f", {state}")),
        ("halted", halted),
        ("newest row", Text(f"{_time(status['newest_row'])}{_age(status['newest_row'], session)}")),
    ]
    if decision is not None:
        reason = Text(decision["reason"], style=REASON_STYLES.get(decision["reason"], ""))
        causes = f" after {', '.join(decision['causes'])}" if decision["causes"] else ""
        pending = ", and what came of it is not known yet" if status["pending"] else ""
        lines.append(("decided", Text.assemble(f"{_time(decision['at'])} by ", reason, causes, pending)))
    lines += _describe_machines(status)
    if day is not None and day["date"] is not None:
        name = "would have" if session["mode"] == "shadow" else "profit"
        lines.append(
            (name, Text(f"{money(day['profit'])} API $ on {day['date']}, {money(status['profit'])} API $ in this journal"))
        )
    lines.append(("lately", Text(_by_count(status["reasons"]) or "no decision")))
    if status["causes"]:
        lines.append(("causes", Text(_by_count(status["causes"]), style="yellow")))
    return [
        *lines,
        ("API", Text("reachable") if status["api"] == "up" else Text("DOWN", style="bold red")),
        ("journal", Text(f"{path}, {status['records']:,} records, head {status['head'][:16]}")),
    ]


def _describe_machines(status: dict[str, Any]) -> list[tuple[str, Text]]:
    session, outcome = status["session"], status["outcome"]
    if status["counts"] is None:
        return []
    counts = [sum(site) for site in zip(*status["counts"], strict=True)]
    machines = ", ".join(f"{n:,} {short_name(name)}" for name, n in zip(status["classes"], counts, strict=False) if n)
    word = "as the venue reports" if status["read_back"] else outcome["status"]
    style = "bold yellow" if word in ("unknown", "refused", "abandoned") else ""
    power = f"{status['power_w'] / 1000:,.0f} of {session['cap_w'] / 1000:,.0f} kW"
    value = Text.assemble(f"{machines or 'nothing'}; {power}; ", (word, style))
    lines = [("would run" if session["mode"] == "shadow" else "runs", value)]
    if outcome is not None and outcome["message"]:
        lines.append(("", Text(outcome["message"], style="yellow")))
    return lines


def _by_count(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda pair: -pair[1]))


def _printable(text: Text) -> Text:
    """Without what could steer a terminal: messages may quote a server."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text.plain)
    return Text(plain, style=text.style, spans=text.spans)


def _time(text: str | None) -> str:
    return "none" if text is None else f"{parse_time(text):%Y-%m-%d %H:%M}"


def _age(text: str | None, session: dict[str, Any]) -> str:
    """How long ago, where rows and this machine tell the same time."""
    if text is None or session["speed"] != 1.0 or session["venue"] != "mara":
        return ""
    minutes = max(0.0, (datetime.now(UTC) - parse_time(text)).total_seconds() / 60.0)
    if minutes < 120.0:
        return f", {minutes:.0f} min ago"
    return f", {minutes / 60.0:.0f} h ago" if minutes < 48.0 * 60.0 else f", {minutes / 1440.0:,.0f} days ago"
