"""Statements, whose figures are places, and facts, which fill them: an answer in which every figure is traced to a fact, or a refusal.

A statement is what a template or a model writes::

    {"text": "Seat {s} won {w} of the {q} that it asked for.",
     "values": [{"name": "s", "op": "value", "of": ["c1/seat_number"]}, ...]}

``c1`` is the id that code gave to a call of a tool, what follows is the path to a fact in its result. A writer types no digit: outside
places a text has ASCII letters and ``,.;:'"()?!-`` alone, and no word for a number, a comparison or a unit. Comparisons are made from
the facts as well, by the operation ``compare``. What is not proven is what words such as "because" and "all" claim.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gridpilot.insight.units import form, must_say, unit_of

__all__ = ["OPERATIONS", "Answer", "Note", "Refused", "Span", "compose", "find_fact"]

Statement = Mapping[str, Any]
Source = tuple[str, tuple[str, ...]]
"""An operation and the paths of its facts."""

OPERATIONS: Final[dict[str, str]] = {
    "value": "one fact as it is: a figure with its unit, a name or a time",
    "signed": "one figure with its sign",
    "size": "one figure without its sign",
    "difference": "the first less the second, with its sign",
    "ratio": "how many times the second the first is",
    "percent": "the first as a percentage of the second",
    "range": "from the smaller to the larger of two figures, or of one list of figures",
    "count": "how many entries a list has",
    "compare": "the word for how the first stands to the second: above, below or about equal to",
}
"""What can be made of facts, and what it is."""

PLACE: Final = re.compile(r"\{([a-z]+)\}")
PLAIN: Final = re.compile(r"[A-Za-z ,.;:'\"()?!-]*")
MOST: Final = 40  # statements
LONGEST: Final = 600  # characters of one

_NUMBERS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million millions billion trillion dozen "
    "dozens score couple pair half halves third thirds quarter quarters fifth tenth tenths twice thrice double doubled doubles doubling "
    "triple tripled quadruple single couple second seconds first fourth sixth seventh eighth ninth nought nil myriad fold"
)
_COMPARISONS: Final = (
    "more less fewer greater larger smaller higher lower bigger lesser better worse cheaper dearer costlier longer shorter faster slower "
    "most least fewest greatest largest smallest highest lowest biggest best worst cheapest dearest above below exceed exceeds exceeded "
    "exceeding beat beats beaten outperform outperforms outperformed surpass surpasses surpassed equal equals equalled same identical "
    "increase increased increases decrease decreased decreases rose fell doubled halved top bottom maximum minimum max min"
)
_UNITS: Final = (
    "dollar dollars cent cents usd eur percent percentage per kw kwh mw mwh gw gwh watt watts kilowatt kilowatts megawatt megawatts "
    "kilowatthour degree degrees celsius minute minutes"
)
FORBIDDEN: Final[dict[str, str]] = {
    **dict.fromkeys(_NUMBERS.split(), "a number"),
    **dict.fromkeys(_COMPARISONS.split(), "a comparison"),
    **dict.fromkeys(_UNITS.split(), "a unit"),
}
"""Words that only code may write, and what they stand for."""

JOINED: Final = re.compile(f"(?:{'|'.join(_NUMBERS.split())})+")
ROMAN: Final = re.compile(r"\b[IVXLCDM]{2,}\b")
SPELLED: Final = re.compile(r"\b(?:[A-Za-z][ .-]+){2,}[A-Za-z]\b")


@dataclass(frozen=True)
class Note:
    """Where a figure is from."""

    number: int
    text: str
    operation: str
    facts: tuple[str, ...]  # paths


@dataclass(frozen=True)
class Span:
    """A part of an answer that code has written."""

    start: int
    end: int
    note: int  # number of the note


@dataclass(frozen=True)
class Answer:
    """A text in which every figure is one of the spans."""

    text: str
    spans: tuple[Span, ...]
    notes: tuple[Note, ...]

    def marked(self) -> str:
        """The text with the number of its note behind each span."""
        parts, at = [], 0
        for span in self.spans:
            parts += [self.text[at : span.end], f"[{span.note}]"]
            at = span.end
        return "".join([*parts, self.text[at:]])


@dataclass(frozen=True)
class Refused:
    """What is wrong with statements, all of it."""

    problems: tuple[str, ...]


def compose(statements: Sequence[Statement], results: Mapping[str, Any]) -> Answer | Refused:
    """The answer that statements make of the results of calls, by their ids; or why not. Nothing of a refused text is kept."""
    if not isinstance(statements, list | tuple) or not statements:
        return Refused(("there are no statements, expected a list of them",))
    if len(statements) > MOST:
        return Refused((f"there are {len(statements)} statements, expected at most {MOST}",))
    problems: list[str] = []
    text, spans, notes = "", list[Span](), dict[Source, Note]()
    for i, statement in enumerate(statements):
        where = f"statement {i}"
        found = _filled(statement, results)
        if isinstance(found, Refused):
            problems += [f"{where}: {problem}" for problem in found.problems]
            continue
        text += " " if text and not text.endswith("\n") else ""
        for piece, source in found:
            if source is not None:
                note = notes.setdefault(source, Note(len(notes) + 1, piece, *source))
                spans.append(Span(len(text), len(text) + len(piece), note.number))
            text += piece
    if problems:
        return Refused(tuple(problems))
    loose = _loose_numerals(text, spans)
    if loose:
        return Refused((f"the text has numerals of its own: {loose!r:.60}",))
    return Answer(text, tuple(spans), tuple(notes.values()))


def find_fact(path: str, results: Mapping[str, Any]) -> tuple[str, Any]:
    """The key and value at a path such as ``c1/seats/3/won_kw``. Raises ``KeyError`` that says where it ends."""
    call, *steps = path.split("/")
    if call not in results:
        raise KeyError(f"{call!r:.40} is no call, expected one of {', '.join(results) or 'those that were made, and none was'}")
    value, key = results[call], ""
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value, key = value[step], step
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(f"{path!r:.120} leads nowhere: there is no {step!r:.40}")
    if not key:
        raise KeyError(f"{path!r:.120} names no fact of the call")
    return key, value


def _filled(statement: Any, results: Mapping[str, Any]) -> list[tuple[str, Source | None]] | Refused:
    """The statement in pieces, those of code with their source; or its problems."""
    if not isinstance(statement, Mapping) or set(statement) != {"text", "values"} or not isinstance(statement["text"], str):
        return Refused(("is not of the form {text, values}",))
    text, values = statement["text"], statement["values"]
    if not isinstance(values, Sequence) or not all(_is_value(value) for value in values):
        return Refused(("values is not a list of {name, op, of}",))
    problems = _wording(text)
    names = [value["name"] for value in values]
    places = PLACE.findall(text)
    if sorted(set(names)) != sorted(set(places)) or len(set(names)) < len(names):
        problems.append(f"its places are {sorted(set(places))} and its values {sorted(names)}, expected the same")
    if not values:
        problems.append("it cites no fact")
    made: dict[str, tuple[str, Source]] = {}
    for value in values:
        try:
            piece, keys = _made(value["op"], value["of"], results)
        except (KeyError, ValueError) as error:
            problems.append(f"value {value['name']!r}: {error.args[0]}")
            continue
        made[value["name"]] = piece, (value["op"], tuple(value["of"]))
        said = text.lower()
        for key in keys:
            for words in must_say(key):
                if not any(word in said for word in words):
                    problems.append(f"value {value['name']!r}: {key} is told where nobody speaks of {' or '.join(words[:3])}")
    if problems:
        return Refused(tuple(problems))
    pieces: list[tuple[str, Source | None]] = []
    for i, part in enumerate(PLACE.split(text)):
        if i % 2 or part:
            pieces.append(made[part] if i % 2 else (part, None))
    return pieces


def _is_value(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {"name", "op", "of"}
        and isinstance(value["name"], str)
        and isinstance(value["op"], str)
        and isinstance(value["of"], Sequence)
        and not isinstance(value["of"], str)
        and all(isinstance(path, str) for path in value["of"])
    )


def _wording(text: str) -> list[str]:
    """What of a text only code may write."""
    bare = PLACE.sub(" ", text)
    problems = []
    if len(text) > LONGEST:
        problems.append(f"it has {len(text)} characters, expected at most {LONGEST}")
    if not PLAIN.fullmatch(bare):
        odd = sorted({sign for sign in bare if not PLAIN.fullmatch(sign)})
        problems.append(f"it holds {' '.join(map(repr, odd[:8]))}, expected letters and , . ; : ' \" ( ) ? ! - outside places")
    words = dict.fromkeys(re.findall(r"[a-z]+", bare.lower()))
    problems += [f"{word!r} is {FORBIDDEN[word]}, expected a place" for word in words if word in FORBIDDEN]
    joined = [word for word in words if word not in FORBIDDEN and JOINED.fullmatch(word)]
    problems += [f"{word!r} is a number, expected a place" for word in [*joined, *ROMAN.findall(bare)]]
    if SPELLED.search(bare):
        problems.append("it has words that are spelled letter by letter")
    return problems


def _made(operation: str, paths: Sequence[str], results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The piece of text that an operation makes of facts, and their keys. Raises ``KeyError`` and ``ValueError``."""
    facts = [find_fact(path, results) for path in paths]
    keys = [key for key, _ in facts]
    match operation, facts:
        case "value", [(key, value)] if not isinstance(value, Mapping | list):
            return form(key, value), keys
        case "signed", [(key, value)]:
            return form(key, _number(key, value), signed=True), keys
        case "size", [(key, value)]:
            return form(key, abs(_number(key, value))), keys
        case "count", [(key, list() as entries)]:
            return form("count", len(entries)), keys
        case "range", [(key, list() as entries)] if entries:
            numbers = [_number(key, value) for value in entries]
            return _range(key, numbers), keys
        case (("difference" | "ratio" | "percent" | "range" | "compare"), [(key, first), (other, second)]):
            a, b = _number(key, first), _number(other, second)
            if unit_of(key) != unit_of(other):
                raise ValueError(f"{key} and {other} have unlike units")
            return _of_two(operation, key, a, b), keys
    raise ValueError(f"{operation!r:.40} of {len(facts)} facts is not known, expected one of {', '.join(OPERATIONS)}")


def _of_two(operation: str, key: str, a: float, b: float) -> str:
    if operation == "difference":
        return form(key, a - b, signed=True)
    if operation == "range":
        return _range(key, [a, b])
    if operation == "compare":
        return "about equal to" if form(key, a) == form(key, b) else "above" if a > b else "below"
    if not b > 0.0:
        raise ValueError(f"a share of {form(key, b)} says nothing")
    return form("percent", 100.0 * a / b) if operation == "percent" else f"{a / b:,.2f} times"


def _range(key: str, numbers: Sequence[float]) -> str:
    low, high = form(key, min(numbers)), form(key, max(numbers))
    return low if low == high else f"{low} to {high}"


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r:.40}, expected a figure")
    return float(value)


def _loose_numerals(text: str, spans: Sequence[Span]) -> str:
    """Numerals of any script outside the spans: a second look, which trusts nothing of the first."""
    inside = {i for span in spans for i in range(span.start, span.end)}
    return "".join(sign for i, sign in enumerate(text) if i not in inside and (sign.isnumeric() or sign.isdigit()))
