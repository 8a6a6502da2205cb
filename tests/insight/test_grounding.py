"""No figure without a fact: random texts, lies, and what operations make."""

from __future__ import annotations

import random
import unicodedata
from typing import Any

import pytest

from gridpilot.insight.grounding import FORBIDDEN, Answer, Refused, compose
from gridpilot.insight.units import SUFFIXES, form, must_say, unit_of

FACTS: dict[str, Any] = {
    "c1": {
        "seat_number": 3,
        "agent": "mpc",
        "won_kw": 480.3,
        "asked_kw": 500.0,
        "paid_dollars": 12.5,
        "clearing_price_dollars_per_kwh": 0.0585,
        "energy_price_dollars_per_kwh": 0.0585000001,
        "storage_value_dollars_per_kwh": 0.061,
        "stored_kwh": None,
        "scarce": True,
        "loose": 7.0,
        "prices_dollars_per_kwh": [0.03, 0.01, 0.02],
        "seats": [{"seat_number": 0, "won_kw": 0.0}, {"seat_number": 1, "won_kw": 99.0}],
    }
}


def statement(text: str, **places: Any) -> dict[str, Any]:
    values = []
    for name, place in places.items():
        operation, *paths = ("value", place) if isinstance(place, str) else place
        values.append({"name": name, "op": operation, "of": paths})
    return {"text": text, "values": values}


def told(text: str, **places: Any) -> str:
    answer = compose([statement(text, **places)], FACTS)
    assert isinstance(answer, Answer), answer
    return answer.text


def test_an_answer_is_its_facts_with_a_note_each() -> None:
    answer = compose(
        [
            statement("Seat {s} won {w} of the {q} it asked for.", s="c1/seat_number", w="c1/won_kw", q="c1/asked_kw"),
            statement("It won {w}.", w="c1/won_kw"),
        ],
        FACTS,
    )
    assert isinstance(answer, Answer)
    assert answer.text == "Seat 3 won 480.3 kW of the 500.0 kW it asked for. It won 480.3 kW."
    assert [answer.text[span.start : span.end] for span in answer.spans] == ["3", "480.3 kW", "500.0 kW", "480.3 kW"]
    assert [note.facts for note in answer.notes] == [("c1/seat_number",), ("c1/won_kw",), ("c1/asked_kw",)]
    assert answer.marked().endswith("It won 480.3 kW[2].")


@pytest.mark.parametrize(
    ("operation", "paths", "text"),
    [
        ("value", ["c1/agent"], "mpc"),
        ("value", ["c1/scarce"], "yes"),
        ("signed", ["c1/paid_dollars"], "+12.50 $"),
        ("difference", ["c1/won_kw", "c1/asked_kw"], "-19.7 kW"),
        ("ratio", ["c1/asked_kw", "c1/won_kw"], "1.04 times"),
        ("percent", ["c1/won_kw", "c1/asked_kw"], "96.1 %"),
        ("range", ["c1/prices_dollars_per_kwh"], "10.00 $/MWh to 30.00 $/MWh"),
        ("count", ["c1/seats"], "2"),
        ("compare", ["c1/storage_value_dollars_per_kwh", "c1/clearing_price_dollars_per_kwh"], "above"),
        ("compare", ["c1/clearing_price_dollars_per_kwh", "c1/storage_value_dollars_per_kwh"], "below"),
        ("compare", ["c1/clearing_price_dollars_per_kwh", "c1/energy_price_dollars_per_kwh"], "about equal to"),
    ],
)
def test_operations(operation: str, paths: list[str], text: str) -> None:
    every = "It won, asked for, bid, paid a price, value, storage, energy: {x}"
    found = told(every, x=(operation, *paths)).removeprefix("It won, asked for, bid, paid a price, value, storage, energy: ")
    assert found == text


LIES = [
    ("It won 480.2 kW: {w}.", {"w": "c1/won_kw"}, "'4'"),
    ("It won fivehundred of {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won f i v e of {w}.", {"w": "c1/won_kw"}, "spelled"),
    ("It won XII of {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won half of {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won ½ of {w}.", {"w": "c1/won_kw"}, "½"),
    ("It won ⑤ and {w}.", {"w": "c1/won_kw"}, "⑤"),
    ("It won ٣ and {w}.", {"w": "c1/won_kw"}, "expected letters"),
    ("It won 三 and {w}.", {"w": "c1/won_kw"}, "三"),
    ("It won Ⅳ and {w}.", {"w": "c1/won_kw"}, "Ⅳ"),
    ("It won twice {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won seven times {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won SEVEN times {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won forty-two and {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won a million, {w}.", {"w": "c1/won_kw"}, "a number"),
    ("It won more than {w}.", {"w": "c1/won_kw"}, "a comparison"),
    ("It beats the other by what it won, {w}.", {"w": "c1/won_kw"}, "a comparison"),
    ("It is the best, it won {w}.", {"w": "c1/won_kw"}, "a comparison"),
    ("It won {w} kW.", {"w": "c1/won_kw"}, "a unit"),
    ("It paid {w} dollars.", {"w": "c1/paid_dollars"}, "a unit"),
    ("It won {w}, see [here](http://x.y).", {"w": "c1/won_kw"}, "expected letters"),
    ("It *won* {w}.", {"w": "c1/won_kw"}, "'*'"),
    ("It won {w}.", {"w": "c2/won_kw"}, "is no call"),
    ("It won {w}.", {"w": "c1/wins_kw"}, "leads nowhere"),
    ("It won {w}.", {"w": "c1/seats/9/won_kw"}, "leads nowhere"),
    ("It won {w}.", {"w": "c1/seats/-1/won_kw"}, "leads nowhere"),
    ("It won {w}.", {"w": "c1"}, "names no fact"),
    ("It won {w}.", {"w": "c1/loose"}, "no unit"),
    ("Its battery stored {w}.", {"w": "c1/stored_kwh"}, "cannot be told"),
    ("It paid {w}.", {"w": "c1/won_kw"}, "nobody speaks of won"),
    ("It won {w} and {v}.", {"w": "c1/won_kw"}, "expected the same"),
    ("It won {w}.", {"w": "c1/won_kw", "v": "c1/agent"}, "expected the same"),
    ("It won.", {}, "cites no fact"),
    ("It won and paid {w}.", {"w": ("difference", "c1/won_kw", "c1/paid_dollars")}, "unlike units"),
    ("It won {w}.", {"w": ("percent", "c1/won_kw", "c1/seats/0/won_kw")}, "says nothing"),
    ("It won {w}.", {"w": ("total", "c1/won_kw")}, "is not known"),
    ("It won {w}.", {"w": ("value", "c1/seats")}, "is not known"),
    ("It won {W} {w}.", {"w": "c1/won_kw"}, "expected letters"),
]


@pytest.mark.parametrize(("text", "places", "why"), LIES)
def test_lies_are_refused(text: str, places: dict[str, Any], why: str) -> None:
    refused = compose([statement("It won {w}.", w="c1/won_kw"), statement(text, **places)], FACTS)
    assert isinstance(refused, Refused)
    assert any(why in problem for problem in refused.problems), refused.problems


@pytest.mark.parametrize(
    "statements",
    [[], "It won {w}", [1], [{"text": "x"}], [{"text": "x", "values": [{"name": "x"}]}], [{"text": 1, "values": []}],
     [{"text": "x {w}", "values": [{"name": "w", "op": "value", "of": "c1/won_kw"}]}], [{"text": "It.", "values": {}}]],
)  # fmt: skip
def test_what_is_no_statement_is_refused(statements: Any) -> None:
    assert isinstance(compose(statements, FACTS), Refused)


def test_all_problems_are_told_at_once() -> None:
    refused = compose([statement("It won 5 more {w}.", w="c1/wins_kw"), statement("None.")], FACTS)
    assert isinstance(refused, Refused)
    assert len(refused.problems) == 4


def test_no_numeral_of_three_thousand_random_texts_comes_out() -> None:
    rng = random.Random(7)
    signs = [chr(i) for i in range(32, 0x3100) if unicodedata.category(chr(i))[0] != "C"]
    numerals = [sign for sign in signs if sign.isnumeric()] + ["三", "𝟙", "½", "9"]
    words = ["It", "the", "site", "won", "paid", "for", "power", "price", "at night", *list(FORBIDDEN)[:60]]
    places = ["{w}", "{p}", "{a}", "{x}", "{", "}", "{w1}", "{{w}}"]
    shown = 0
    for _ in range(3000):
        parts = [rng.choice((rng.choice(words), rng.choice(words), rng.choice(places), rng.choice(signs), rng.choice(numerals)))
                 for _ in range(rng.randint(1, 7))]  # fmt: skip
        text = rng.choice((" ", "", "won paid price ")).join(parts)
        values = statement("", w="c1/won_kw", p="c1/paid_dollars", a="c1/agent")["values"]
        kept = [value for value in values if (f"{{{value['name']}}}" in text) != (rng.random() < 0.05)]
        answer = compose([{"text": text, "values": kept}], FACTS)
        if isinstance(answer, Answer):
            shown += 1
            inside = {i for span in answer.spans for i in range(span.start, span.end)}
            loose = [sign for i, sign in enumerate(answer.text) if i not in inside and (sign.isnumeric() or sign.isdigit())]
            assert loose == []
            own = "".join(" " if i in inside else sign for i, sign in enumerate(answer.text))
            assert not set(own.lower().split()) & set(FORBIDDEN)
    assert shown >= 10  # some of them are told, or nothing was tested


@pytest.mark.parametrize("word", FORBIDDEN)
def test_every_word_of_the_lexicon_is_refused(word: str) -> None:
    assert isinstance(compose([statement(f"It won {word.title()} {{w}}.", w="c1/won_kw")], FACTS), Refused)
    assert isinstance(compose([statement(f"It won x{word}x {{w}}.", w="c1/won_kw")], FACTS), Answer)


def test_units_are_by_the_longest_suffix() -> None:
    assert unit_of("day_profit_api_dollars") == SUFFIXES["api_dollars"]
    assert unit_of("lead_dollars_per_day") == SUFFIXES["dollars_per_day"]
    assert unit_of("agent") is None
    assert form("p_value", 0.0) == "0.0000"
    assert form("won_kw", -1e-12) == "0.0 kW"
    assert must_say("won_kw")[0][0] == "won"
    with pytest.raises(ValueError, match="cannot be told"):
        form("won_kw", float("nan"))
