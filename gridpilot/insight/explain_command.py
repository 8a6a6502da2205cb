"""``gridpilot explain RUN|JOURNAL``: why, in words, every figure with its source."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gridpilot.columns import console_for
from gridpilot.errors import ConfigError
from gridpilot.insight.claude import DEFAULT_MODEL, ask
from gridpilot.insight.grounding import Answer, compose
from gridpilot.insight.opened import OpenedJournal, OpenedRun, open_path
from gridpilot.insight.run_facts import find_matches
from gridpilot.insight.statements import Question
from gridpilot.insight.templates import statements_of
from gridpilot.insight.tools import Toolbox
from gridpilot.market.auction import MECHANISMS
from gridpilot.redaction import redacted
from gridpilot.stdout import printable, results_only

__all__ = ["by_template", "main", "question_of"]

MODEL_VARIABLE: Final = "GRIDPILOT_MODEL"
KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
LONGEST: Final = 2000  # characters of a question

IN_WORDS: Final = {
    "lead": "Why is the agent ahead of the other?",
    "bid": "Why did the agent in this seat bid what it bid in this tick, and what came of it?",
    "lost": "Why did this seat do as it did, against the other agent in the same seat?",
    "mechanism": "What would the other mechanism have changed?",
    "run_wrong": "Is anything wrong with this run?",
    "wrong": "Is anything wrong now?",
    "decision": "Why was this decision made, and what came of it?",
    "day": "What did this day come to, and what was left on the table?",
    "alternatives": "What else could have been decided here, and what would it have earned?",
    "expected": "What was expected of the prices here, and what came?",
    "again": "Would this decision come out the same if it were made again?",
}
"""How a question is put where the user has put none."""

# What of a question tells its kind, looked for in this order.
_WORDS: Final = (
    ("mechanism", ("uniform", "pay-as-bid", "pay as bid", "vcg", "mechanism", "what if")),
    ("wrong", ("wrong", "alarm", "problem", "healthy", "in order", "trouble", "ok")),
    ("again", ("again", "redecide", "reproduc", "same decision")),
    ("alternatives", ("else", "alternative", "other choice", "instead")),
    ("expected", ("expect", "forecast", "foresee")),
    ("lead", ("beat", "ahead", "better", "outperform", "best", "win the", "lead")),
    ("lost", ("lose", "lost", "losing", "behind", "worse", "poor", "less than")),
    ("bid", ("bid", "why this", "offer")),
    ("day", ("today", "the day", "left on the table", "yesterday")),
    ("decision", ("decision", "decide", "running", "machines")),
)


OF_A_DECISION: Final = ("again", "alternatives", "expected")
"""What else is asked of a decision than why."""


def main(argv: list[str]) -> int:
    """Run the command.

    Raises :class:`~gridpilot.errors.ConfigError` for options that do not go together, and what is wrong with a run or journal.
    """
    arguments = _parser().parse_args(argv)
    if arguments.ask is not None and not 0 < len(arguments.ask.strip()) <= LONGEST:
        raise ConfigError(f"explain: --ask has {len(arguments.ask):,} characters, expected 1 to {LONGEST:,}")
    opened = open_path(arguments.path)
    question = question_of(opened, arguments)
    with results_only() as stdout:
        answer, box, written = _answer(opened, question, arguments)
        if arguments.json:
            print(json.dumps(_as_dict(answer, box, question, written), indent=2), file=stdout)
        else:
            _print(answer, box, written, stdout)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gridpilot explain",
        description="Answer why, in words: a bid, a loss, a lead, another mechanism, whether anything is wrong now. Every figure has a "
        "footnote that says where it is from. Without a key the answer is made from templates; with ANTHROPIC_API_KEY and "
        "gridpilot[insight] a model words it, and types no figure either.",
    )
    parser.add_argument("path", metavar="RUN|JOURNAL", type=Path, help="folder of a tournament, or journal of gridpilot live")
    parser.add_argument("--match", metavar="EPISODE/LINEUP/ROTATION", help="the match; by default a typical one of the agent")
    parser.add_argument("--tick", metavar="N", type=int, help="the tick of the match, or of the journal's session")
    parser.add_argument("--seat", metavar="S", type=int, help="the seat")
    parser.add_argument("--agent", metavar="NAME", action="append", help="the agent; twice: the lead of one over the other")
    parser.add_argument("--at", metavar="TIME", help="the decision of this time in UTC, or the day of this date")
    parser.add_argument("--ask", metavar="TEXT", help="a question in words")
    parser.add_argument("--json", action="store_true", help="print JSON: the text, its spans, notes and the results of all calls")
    parser.add_argument("--offline", action="store_true", help="ask no model")
    parser.add_argument(
        "--model", metavar="NAME", help=f"the model to ask; by default {MODEL_VARIABLE}, or the one that is built in"
    )
    return parser


def question_of(opened: OpenedRun | OpenedJournal, arguments: argparse.Namespace) -> Question:
    """What is asked, from the options and the words of ``--ask``, with all that is left out filled in.

    Raises :class:`~gridpilot.errors.ConfigError` for what cannot be asked of a run or of a journal.
    """
    text = arguments.ask or ""
    if isinstance(opened, OpenedJournal):
        return _of_journal(opened, text, arguments)
    if arguments.at is not None:
        raise ConfigError(f"explain: --at {arguments.at} is for a journal, expected --tick for a run")
    return _of_run(opened, text, arguments)


def _of_journal(opened: OpenedJournal, text: str, arguments: argparse.Namespace) -> Question:
    for name in ("match", "seat", "agent"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"explain: --{name} is for a run, and {opened.path} is a journal")
    kind, at = _kind(text, (*OF_A_DECISION, "wrong", "day", "decision", "bid")), arguments.at
    if arguments.tick is not None:
        if at is not None:
            raise ConfigError("explain: --tick and --at both name a decision, expected one of them")
        at = _at_of_tick(opened, arguments.tick)
    if at is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", at):
        return Question("day", at=at)
    if kind in OF_A_DECISION:
        return Question(str(kind), at=at)
    if at is not None:
        return Question("decision", at=at)
    return Question({"bid": "decision", None: "wrong"}.get(kind, kind or "wrong"))


def _at_of_tick(opened: OpenedJournal, tick: int) -> str:
    with opened.look() as journal:
        found = [record.body["at"] for record in journal.records(kinds={"decision"}) if record.body["tick"] == tick]
    if not found:
        raise ConfigError(f"explain: {opened.path} has no decision of tick {tick}")
    return str(found[-1]).removesuffix("Z")


def _of_run(opened: OpenedRun, text: str, arguments: argparse.Namespace) -> Question:
    names = list(arguments.agent or [])
    labels = [agent.agent for agent in opened.board.agents]
    words = re.findall(r"[\w.+-]+", text)
    names += [label for label in sorted(labels, key=lambda label: _place(label, words)) if label in words and label not in names]
    for name in names:
        if name not in {agent for match in opened.matches for agent in match.seats}:
            raise ConfigError(f"explain: no agent {name!r} played in this run, expected one of {', '.join(labels)}")
    if len(names) > 2:
        names = names[:2]
    kind = _kind(text, ("mechanism", "wrong", "lead", "lost", "bid"))
    if kind is None:
        if arguments.tick is not None:
            kind = "bid" if arguments.seat is not None or names else "mechanism"
        elif arguments.seat is not None or (arguments.match is not None and names):
            kind = "lost"
        else:
            kind = "mechanism" if arguments.match is not None else "lead"
    if kind == "wrong":
        return Question("run_wrong")
    if kind == "lead" and arguments.match is None:
        agent, other = _two(labels, names)
        return Question("lead", agent=agent, other=other)
    question = Question(
        "lost" if kind == "lead" else kind, arguments.match, arguments.tick, arguments.seat, mechanism=_mechanism(opened, text)
    )
    return _completed(opened, question, names)


def _place(label: str, words: list[str]) -> int:
    return words.index(label) if label in words else len(words)


def _two(labels: list[str], names: list[str]) -> tuple[str, str]:
    if len(names) == 2:
        return names[0], names[1]
    if names:
        return names[0], next(label for label in labels if label != names[0])
    return labels[0], labels[1]


def _completed(opened: OpenedRun, question: Question, names: list[str]) -> Question:
    """The question with a match, a seat, a tick and a rival, where it needs them."""
    agent = names[0] if names else None
    if question.match is None:
        who = agent or opened.board.agents[0].agent
        if question.kind == "mechanism":
            typical = find_matches(opened, who, "typical", n=1)["matches"][0]
        else:
            order: Any = "worst" if question.kind == "lost" else "typical"
            typical = find_matches(opened, who, order, n=1)["matches"][0]
        question = replace(question, match=typical["match"])
        if question.seat is None and question.kind != "mechanism":
            question = replace(question, seat=typical["seat_number"])
    match = opened.match(question.match or "")
    if question.seat is not None and not 0 <= question.seat < len(match.seats):
        raise ConfigError(f"explain: --seat is {question.seat}, expected 0 to {len(match.seats) - 1}")
    if question.seat is None and question.kind != "mechanism":
        question = replace(question, seat=match.seats.index(agent) if agent in match.seats else 0)
    if question.kind == "bid" and question.tick is None:
        question = replace(question, tick=int(np.argmax(opened.played(match).trace.price[:, 0])))
    if question.kind == "lost" and question.tick is None:
        question = replace(question, other=names[1] if len(names) == 2 else _best_rival(opened, question))
    return question


def _best_rival(opened: OpenedRun, question: Question) -> str:
    """The other agent that earned most in that seat on that day."""
    match = opened.match(question.match or "")
    rows = opened.run.rows
    here = rows[(rows["episode"] == match.episode) & (rows["lineup"] == match.lineup) & (rows["seat"] == question.seat)]
    own = match.seats[question.seat or 0]
    others = here[here["agent"] != own].sort_values("profit", ascending=False, kind="stable")
    if others.empty:
        raise ConfigError(f"explain: no other agent sat in seat {question.seat} of {question.match}, expected a mixed match")
    return str(others["agent"].iloc[0])


def _mechanism(opened: OpenedRun, text: str) -> str:
    played = str(opened.run.manifest["config"]["market"].get("mechanism", "vcg"))
    said = text.lower().replace("-", "_").replace(" ", "_")
    named = [name for name in MECHANISMS if name in said and name != played]
    return named[0] if named else "uniform" if played != "uniform" else "vcg"


def _kind(text: str, allowed: tuple[str, ...]) -> str | None:
    said = f" {text.lower()} "
    for kind, words in _WORDS:
        if kind in allowed and any(re.search(rf"\b{re.escape(word)}", said) for word in words):
            return kind
    return None


def by_template(question: Question, box: Toolbox) -> Answer:
    """The answer of the templates."""
    answer = compose(statements_of(question, box), box.results)
    if not isinstance(answer, Answer):  # a defect of a template, which the tests would have found
        raise ConfigError(f"explain: the template {question.kind!r} was refused: {'; '.join(answer.problems)}")
    return answer


def _answer(
    opened: OpenedRun | OpenedJournal, question: Question, arguments: argparse.Namespace
) -> tuple[Answer, Toolbox, Mapping[str, Any]]:
    """The answer, the calls behind it, and who wrote it."""
    box = Toolbox(opened)
    written: dict[str, Any] = {"by": "template", "why": "asked to stay offline"}
    if not arguments.offline:
        model = arguments.model or os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
        asked = ask(_in_words(question, arguments.ask), box, key=os.environ.get(KEY_VARIABLE, ""), model=model, say=_say)
        usage = {
            "model": model,
            "tokens_in_count": asked.usage.tokens_in,
            "tokens_cached_count": asked.usage.tokens_cached,
            "tokens_out_count": asked.usage.tokens_out,
            "refusals_count": asked.usage.refusals,
        }
        if asked.usage.messages:
            _say(f"{model}: {asked.usage}")
        if asked.answer is not None:
            return asked.answer, box, {"by": model, "why": "", **usage}
        written = {"by": "template", "why": asked.why, **(usage if asked.usage.messages else {})}
        box = Toolbox(opened)
    return by_template(question, box), box, written


def _in_words(question: Question, asked: str | None) -> str:
    """What the model is asked: the user's words, or those for the kind of question, and what it is about."""
    about = {key: value for key, value in vars(question).items() if value is not None and key != "kind"}
    what = "; ".join(f"{key} {value}" for key, value in about.items())
    return f"{asked or IN_WORDS[question.kind]}\n\nWhat is looked at, unless the question says otherwise: {what or 'all that is open'}."


def _say(text: str) -> None:
    print(f"explain: {printable(redacted(text))}", file=sys.stderr, flush=True)


def _as_dict(answer: Answer, box: Toolbox, question: Question, written: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": answer.text,
        "spans": [{"start": span.start, "end": span.end, "note": span.note} for span in answer.spans],
        "notes": [
            {"note": note.number, "text": note.text, "operation": note.operation, "facts": list(note.facts)}
            for note in answer.notes
        ],
        "calls": [{"id": call, "asked": asked, "result": box.results[call]} for call, asked in box.calls.items()],
        "question": {key: value for key, value in vars(question).items() if value is not None},
        "written": dict(written),
    }


def _print(answer: Answer, box: Toolbox, written: Mapping[str, Any], out: Any) -> None:
    width = min(console_for(out).width, 100)
    print("\n".join(textwrap.wrap(printable(redacted(answer.marked())), width)), file=out)
    print(file=out)
    wide = len(str(len(answer.notes)))
    for note in answer.notes:
        where = ", ".join(note.facts)
        made = "" if note.operation == "value" else f"{note.operation} of "
        line = f"[{note.number}]".rjust(wide + 2) + f" {note.text}: {made}{where}"
        print(printable(redacted(line)), file=out)
    print(file=out)
    for call, asked in box.calls.items():
        print(printable(redacted(f"{call} = {asked}")), file=out)
    reason = f" ({written['why']})" if written.get("why") else ""
    _say(f"worded by {written['by']}{reason}")
