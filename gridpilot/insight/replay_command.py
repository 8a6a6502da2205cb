"""``gridpilot replay RUN --episode N``: matches of a tournament played again, tick by tick, as they were or with one change."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.columns import Column, Form, console_for, fitted, printed
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.files import check_output, write_atomically
from gridpilot.insight.day_picture import day_picture
from gridpilot.insight.decomposition import PARTS, agent_lead, seat_lead
from gridpilot.insight.match_facts import told
from gridpilot.insight.replay import Change, Played, find_match, parse_bid, play, reclear
from gridpilot.insight.tick_table import write_tick_table
from gridpilot.market.auction import MECHANISMS
from gridpilot.market.physics import PAYMENT
from gridpilot.stdout import results_only
from gridpilot.tournament.replay import PlayedRun, read_played_run
from gridpilot.tournament.schedule import LINEUPS, Match

__all__ = ["main"]

FloatArray = npt.NDArray[np.float64]

SPARE = ("wear", "stored", "payment", "revenue")


def main(argv: list[str]) -> int:
    """Run the command; exit code 1 where what is played is not, bit for bit, what was recorded.

    Raises :class:`~gridpilot.errors.TournamentError` for what is no run or match, and :class:`~gridpilot.errors.ConfigError` for
    options that do not go together.
    """
    arguments = _parser().parse_args(argv)
    change = _change(arguments)
    if arguments.out is not None:
        check_output(arguments.out, TournamentError, folder=True)
    run = read_played_run(arguments.run)
    matches = _matches(run, arguments)
    with results_only() as stdout:
        played = play(run, matches, reasons=not change)
        changed = play(run, matches, change) if change else None
        pair = _pair(run, matches, arguments.lead) if changed is None else None
        lead = None if pair is None else _Lead(*pair, _lead(played, pair))
        files = [] if arguments.out is None else _write(changed or played, arguments.out)
        if arguments.json:
            print(json.dumps(_as_dict(played, changed, lead, files), indent=2, allow_nan=False), file=stdout)
        else:
            _print(played, changed, lead, files, stdout)
    return 0 if not played.differs else 1


class _Lead(NamedTuple):
    agent: str
    other: str
    hours: FloatArray  # (H, 4) $


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gridpilot replay",
        description="Play matches of a tournament again and say whether they come out bit for bit as recorded (exit code 1 where not); or "
        "with one change, and say what that changes.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a tournament, as printed at its end")
    parser.add_argument(
        "--episode", metavar="N", type=int, required=True, help="episode, as numbered in the rows (from 1000000 on)"
    )
    parser.add_argument("--lineup", choices=LINEUPS, default="mixed", help="line-up (default: mixed)")
    parser.add_argument("--rotation", metavar="R", type=int, help="one match of the line-up; by default all of them")
    parser.add_argument(
        "--lead",
        metavar="AGENT",
        nargs=2,
        help="take apart the lead of one agent over another, or of one seat; by default of the best two",
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write ticks.parquet, and day-R.png of every match, into it")
    parser.add_argument("--mechanism", choices=list(MECHANISMS), help="what if the market had been this one")
    parser.add_argument("--seat", metavar="S", type=int, help="the seat of --as or --bid")
    parser.add_argument(
        "--as", dest="agent", metavar="AGENT", help="what if this agent had sat in --seat: a label, name or dotted path"
    )
    parser.add_argument("--tick", metavar="T", type=int, help="the tick of --bid")
    parser.add_argument(
        "--bid", metavar="KW@PRICE,...", help="what if --seat had bid these kW at these $/kWh in --tick; none is no bid"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _change(arguments: argparse.Namespace) -> Change:
    blocks = None if arguments.bid is None else parse_bid(arguments.bid)
    for name, given, needs in (
        ("--as", arguments.agent, "seat"),
        ("--bid", arguments.bid, "seat"),
        ("--bid", arguments.bid, "tick"),
    ):
        if given is not None and getattr(arguments, needs) is None:
            raise ConfigError(f"replay: {name} {given} is given without --{needs}, expected both")
    if arguments.agent is None and arguments.bid is None and (arguments.seat is not None or arguments.tick is not None):
        raise ConfigError("replay: --seat and --tick say what --as and --bid are about, expected one of these with them")
    return Change(arguments.mechanism, arguments.seat, arguments.agent, arguments.tick, blocks)


def _matches(run: PlayedRun, arguments: argparse.Namespace) -> list[Match]:
    first = find_match(run, arguments.episode, arguments.lineup, arguments.rotation or 0)
    if arguments.rotation is not None:
        return [first]
    return [match for match in run.matches(arguments.lineup) if match.episode == first.episode]


def _pair(run: PlayedRun, matches: list[Match], asked: list[str] | None) -> tuple[str, str] | None:
    """The agents whose difference is taken apart: those asked for, or the two that earned most in these matches."""
    if asked is not None:
        return asked[0], asked[1]
    if len(matches) == 1:  # agents sit at different sites there
        return None
    means = run.stored(matches).groupby("agent")["profit"].mean().sort_values(ascending=False)
    return (str(means.index[0]), str(means.index[1])) if len(means) > 1 else None


def _write(played: Played, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "ticks.parquet"]
    write_tick_table(played, files[0])
    for b, match in enumerate(played.trace.matches):
        files.append(out / f"day-{match.rotation}.png")
        write_atomically(files[-1], day_picture(played, b), TournamentError)
    return files


def _lead(played: Played, pair: tuple[str, str]) -> FloatArray:
    """Of agents, or of seats of one match, given by their numbers."""
    if not all(name.isdecimal() for name in pair):
        return agent_lead(played, *pair)
    seats, n = (int(pair[0]), int(pair[1])), played.trace.kind.shape[2]
    if len(played.trace.matches) > 1 or not all(seat < n for seat in seats):
        raise ConfigError(
            f"replay: --lead {pair[0]} {pair[1]} names seats, expected 0 to {n - 1} of one match, which --rotation names"
        )
    return seat_lead(played, *seats)


def _as_dict(played: Played, changed: Played | None, lead: _Lead | None, files: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "exact": played.exact,
        "differs": list(played.differs),
        "matches": [f"{m.episode}/{m.lineup}/{m.rotation}" for m in played.trace.matches],
        "files": [str(path) for path in files],
    }
    if lead is not None:
        hours = lead.hours
        parts = {f"lead_by_{name}_dollars": float(value) for name, value in zip(PARTS, hours.sum(axis=0), strict=True)}
        by_hour = [
            {f"lead_by_{name}_dollars": float(value) for name, value in zip(PARTS, row, strict=True)} | {"hour_number": h}
            for h, row in enumerate(hours)
        ]
        found["lead"] = {"agent": lead.agent, "other": lead.other, "lead_dollars": float(hours.sum()), **parts, "hours": by_hour}
    if changed is not None:
        found["what_if"] = {"change": told(changed.change), "same_bids": False, "seats": _seats(played, changed)}
        if changed.change == Change(mechanism=changed.change.mechanism) and changed.change.mechanism is not None:
            paid = reclear(played, changed.change.mechanism).sum(axis=0)
            found["same_bids"] = [
                {"match_number": b, "seat_number": n, "paid_dollars": float(then), "otherwise_paid_dollars": float(paid[b, n])}
                for (b, n), then in np.ndenumerate(played.trace.outcome[..., PAYMENT].sum(axis=0))
            ]
    return found


def _seats(played: Played, changed: Played) -> list[dict[str, Any]]:
    before, after = played.trace.rows, changed.trace.rows
    return [
        {
            "rotation_number": int(row["rotation"]),
            "seat_number": int(row["seat"]),
            "site": row["site"],
            "agent": row["agent"],
            "other": after["agent"].iloc[i],
            "profit_dollars": float(row["profit"]),
            "otherwise_profit_dollars": float(after["profit"].iloc[i]),
        }
        for i, row in before.iterrows()
    ]


def _print(played: Played, changed: Played | None, lead: _Lead | None, files: list[Path], out: Any) -> None:
    console = console_for(out)
    matches = played.trace.matches
    what = f"episode {matches[0].episode}, {matches[0].lineup}"
    what += f" {matches[0].rotation}" if len(matches) == 1 else f", {len(matches)} matches"
    if played.exact:
        print(f"{what}: bit for bit as recorded", file=out)
    for problem in played.differs:
        print(f"{what}: {problem}", file=out)
    if lead is not None:
        printed(console, _lead_table(lead, console.width))
    if changed is not None:
        printed(console, _what_if_table(played, changed, console.width))
    for path in files:
        print(f"wrote   {path}", file=out)


def _lead_table(lead: _Lead, width: int) -> Any:
    hours = lead.hours
    rows = [*hours, hours.sum(axis=0)]
    names = [*(f"{h}" for h in range(len(hours))), "all"]
    heads = {"revenue": "revenue", "payment": "payment", "wear": "wear", "stored": "stored"}
    columns = [
        Column("hour", (Form("hour", names),), stays=True),
        Column("lead", (Form("lead\n$", [_signed(row.sum()) for row in rows]),), stays=True),
        *(Column(name, (Form(f"{head}\n$", [_signed(row[i]) for row in rows]),)) for i, (name, head) in enumerate(heads.items())),
    ]
    styles = ["" for _ in hours] + ["bold"]
    return fitted(f"Lead of {lead.agent} over {lead.other}, a seat", columns, SPARE, width, styles)


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+,.2f}"  # no minus before zero


def _what_if_table(played: Played, changed: Played, width: int) -> Any:
    seats = pd.DataFrame(_seats(played, changed))
    gain = seats["otherwise_profit_dollars"] - seats["profit_dollars"]
    total = [seats["profit_dollars"].sum(), seats["otherwise_profit_dollars"].sum(), gain.sum()]
    agents = [a if a == b else f"{a} -> {b}" for a, b in zip(seats["agent"], seats["other"], strict=True)]
    columns = [
        Column("seat", (Form("seat", [*(f"{r}/{s}" for r, s in zip(seats["rotation_number"], seats["seat_number"], strict=True)), "all"]),),
               stays=True),
        Column("agent", (Form("agent", [*agents, ""], 30),), left=True, stays=True),
        Column("site", (Form("site", [*seats["site"], ""], 16),), left=True),
        Column("was", (Form("profit\n$", [f"{v:,.2f}" for v in [*seats["profit_dollars"], total[0]]]),), stays=True),
        Column("would", (Form("what if\n$", [f"{v:,.2f}" for v in [*seats["otherwise_profit_dollars"], total[1]]]),), stays=True),
        Column("change", (Form("change\n$", [_signed(v) for v in [*gain, total[2]]]),), stays=True),
    ]  # fmt: skip
    same = changed.change == Change(mechanism=changed.change.mechanism) and changed.change.mechanism is not None
    if same and changed.change.mechanism is not None:
        saved = (played.trace.outcome[..., PAYMENT] - reclear(played, changed.change.mechanism)).sum(axis=0)
        cells = [_signed(v) for v in [*saved.ravel(), saved.sum()]]
        columns.append(Column("same", (Form("same bids,\nchange, $", cells),)))
    styles = ["" for _ in range(len(seats))] + ["bold"]
    return fitted(f"What if: {told(changed.change)} (agents respond)", columns, ("site", "same"), width, styles)
