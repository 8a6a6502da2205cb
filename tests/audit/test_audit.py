"""The parts of an audit: veils, forks, the comparison of plays, and the command."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gridpilot.agents.seating import AgentSpec
from gridpilot.audit.check_command import main, parse_agents, render
from gridpilot.audit.checks import first_difference
from gridpilot.audit.fork import ForkError, forked
from gridpilot.audit.play import Play, Size, Trace, perform
from gridpilot.audit.veil import Veil, Veiled
from gridpilot.audit.verdict import LAWS, Audit, Verdict
from gridpilot.audit.worlds import SITES, made_up_day
from gridpilot.cli import main as gridpilot
from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena, MarketRules

SIZE = Size(2, 6)


def everything(arena: Arena) -> dict[str, bytes]:
    arrays = {name: value for name, value in vars(arena).items() if isinstance(value, np.ndarray)}
    for group in (arena.orders, arena.arrays, arena.scenario):
        arrays |= {f"{type(group).__name__}.{name}": np.asarray(array) for name, array in group._asdict().items()}
    return {name: array.tobytes() for name, array in arrays.items()}


def started() -> Arena:
    arena = Arena(SITES, MarketRules(capacity_kw=3000.0), 2)
    arena.start(made_up_day())
    for _ in range(3):
        arena.step()
    return arena


@pytest.mark.parametrize("what", ["", "future", "rivals"])
def test_what_is_veiled_is_another_meanwhile_and_the_truth_afterwards(what: Veiled) -> None:
    arena = started()
    before, sites, known = everything(arena), arena.sites, arena.scenario.history + arena.tick + 1
    with Veil(arena, [0, 1, 4], what).drawn(known):
        meanwhile = {name for name, content in everything(arena).items() if content != before[name]}
    assert everything(arena) == before
    assert arena.sites is sites
    expected = {
        "": set(),
        "future": {"Scenario.prices", "Scenario.ambient", "Scenario.capacity"},
        "rivals": {
            "storage", "machine_kw", "outcome", "totals", "Orders.kind", "Orders.storage_value", "Orders.commitment", "Orders.shade",
            "SiteArrays.plant", "SiteArrays.class_kw", "SiteArrays.output",
        },
    }  # fmt: skip
    assert meanwhile == expected[what]


def test_a_veil_hides_the_future_and_nothing_before_it() -> None:
    arena = started()
    known = arena.scenario.history + arena.tick + 1
    prices = arena.scenario.prices.copy()
    with Veil(arena, [0], "future").drawn(known):
        np.testing.assert_array_equal(arena.scenario.prices[:known], prices[:known])
        assert (arena.scenario.prices[known:] != prices[known:]).all()


def test_a_veil_hides_rivals_and_nothing_of_ones_own() -> None:
    arena = started()
    own = {name: getattr(arena, name)[:, [0, 4]].copy() for name in ("storage", "machine_kw", "outcome")}
    public = arena.last_price.copy(), arena.cleared.copy(), arena.levels.copy()
    with Veil(arena, [0, 4], "rivals").drawn(30):
        assert arena.sites[0] is SITES[0]
        assert arena.sites[1] != SITES[1]
        assert all((getattr(arena, name)[:, [0, 4]] == array).all() for name, array in own.items())
        assert all((a == b).all() for a, b in zip(public, (arena.last_price, arena.cleared, arena.levels), strict=True))
        assert (arena.storage[:, 1:4] != 0.0).all()


def test_a_fork_returns_and_touches_nothing_here() -> None:
    here: list[int] = []
    assert forked(lambda: here.append(1) or {"a": [1.5, b"x"]}, 20.0) == {"a": [1.5, b"x"]}  # type: ignore[func-returns-value]
    assert here == []


@pytest.mark.parametrize(
    ("function", "why", "message"),
    [
        (lambda: time.sleep(60.0), "late", "no answer within 0.5 s"),
        (lambda: os._exit(3), "died", "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGUSR1), "died", "SIGUSR1"),
        (lambda: 1 / 0, "raised", "ZeroDivisionError"),
        (lambda: object(), "raised", "ValueError"),
        (lambda: np.zeros(1 << 29), "raised", "MemoryError"),
    ],
)
def test_whatever_a_fork_does_is_told(function: Any, why: str, message: str) -> None:
    seconds = 0.5 if why == "late" else 20.0
    with pytest.raises(ForkError, match=message) as caught:
        forked(function, seconds)
    assert caught.value.why == why


def test_a_child_that_holds_the_pipe_open_is_not_waited_for() -> None:
    def leaves_one_behind() -> int:
        if os.fork() == 0:
            time.sleep(60.0)
        os._exit(7)

    before = time.monotonic()
    with pytest.raises(ForkError, match="exit code 7"):
        forked(leaves_one_behind, 30.0)
    assert time.monotonic() - before < 20.0


def test_the_first_difference_is_the_earliest() -> None:
    def trace(tick: int, seat: int, value: float) -> Trace:
        orders = {"orders.kind": np.zeros((5, 2, 3), dtype=np.int8), "orders.shade": np.zeros((5, 2, 3, 4))}
        orders["orders.shade"][tick, 1, seat, 2] = value
        return Trace(orders=orders, results={"last_price": np.zeros((5, 2))}, seats=[0, 2, 4])

    assert first_difference(trace(1, 1, 0.5), trace(1, 1, 0.5)) is None
    assert first_difference(trace(1, 1, np.nan), trace(1, 1, np.nan)) is None
    verdict = first_difference(trace(1, 1, 0.5), trace(3, 0, 0.25))
    assert verdict is not None
    assert (verdict.tick, verdict.market, verdict.seat, verdict.field) == (1, 1, 2, "shade")
    assert verdict.found == "tick 1, market 1, seat 2: shade is 0.5 and 0"
    assert first_difference(trace(1, 1, 0.0), trace(1, 1, -0.0)) is not None


def test_veils_change_no_bid_of_an_honest_agent() -> None:
    spec = AgentSpec("threshold", {})
    for alone in (False, True):
        plain = perform(spec, Play(alone=alone), SIZE, 60.0)
        assert plain.errors == []
        for veil in ("future", "rivals"):
            veiled = perform(spec, Play(alone=alone, veil=veil), SIZE, 60.0)  # type: ignore[arg-type]
            assert first_difference(plain, veiled) is None
            assert first_difference(plain, veiled, results=True) is None


MINE = """
from gridpilot import Agent

class Mine(Agent):
    def __init__(self, shade: float = 0.0) -> None:
        self.shade = shade

    def bid(self, observation):
        return observation.truthful_bid(shade=self.shade)

class Wrong(Agent):
    def bid(self, observation):
        return None
"""


@pytest.fixture
def _mine() -> None:
    Path("mine.py").write_text(MINE)


@pytest.mark.usefixtures("_mine")
def test_the_command_tells_each_agent_and_ends_with_1_if_one_failed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.Mine", "shade=-0.1", "mine.Wrong", "--short", "--json"]) == 1
    good, bad = json.loads(capfd.readouterr().out)
    assert (good["agent"], good["params"], good["passed"], good["failed"]) == ("mine.Mine", {"shade": -0.1}, True, {})
    assert list(bad["failed"]) == ["valid"]
    assert "bid() returned NoneType" in bad["failed"]["valid"]
    assert {check["outcome"] for check in good["checks"]} == {"passed", "does not apply"}


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    why = "seat 0 of market 0, tick 0: bid() returned NoneType, expected a Bid; and more than there is room for in a line"
    other = {"valid": Verdict("valid", "failed", why), "arrays": Verdict("arrays", "does not apply", "it plays seat by seat only")}
    verdicts = tuple(other.get(law, Verdict(law, "passed")) for law in LAWS)
    Console(width=80).print(render(Audit("mine.Wrong", {"greed": 0.25}, False, False, verdicts, 1.25)))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mine.Wrong greed=0.25: failed valid, in 1.2 s"
    assert max(map(len, lines)) <= 80
    assert len(lines) <= len(LAWS) + 8
    assert any(line.split()[:2] == ["valid", "failed"] for line in lines)
    assert any("bid() returned NoneType" in line for line in lines)


@pytest.mark.usefixtures("_mine")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.Absent"], "'mine' has no 'Absent'"),
        (["mine.Mine", "greed=1"], "takes shade"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gridpilot(["check", *words, "--short"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gridpilot check: error: ")
    assert message in error


@pytest.mark.parametrize("words", [["shade=1"], ["my agent"], ["mine.Mine", "a-b=1"], ["mine.Mine", "x=[1"]])
def test_what_is_no_agent_and_no_parameter_is_refused(words: list[str]) -> None:
    with pytest.raises(AgentError, match="expected"):
        parse_agents(words)
