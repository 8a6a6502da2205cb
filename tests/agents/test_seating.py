"""Agents that raise, hang or answer nonsense are scored, and touch nobody else."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.registry import build_agent, find_agent, registered
from gridpilot.agents.seating import PATIENCE, AgentSpec, Seating
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.physics import PROFIT, WON
from gridpilot.market.site import Site

from .arenas import SITES, Local, day_of_prices, episode, seated

TICKS, BAD = 12, 1  # length of the episodes, the seat of the bad agent
TIMEOUTS, EXCEPTIONS, INVALID = range(3)


class Silent(Agent):
    """Asks for nothing."""

    def bid(self, observation: Observation) -> Bid:
        return Bid([])


class Raises(Agent):
    def bid(self, observation: Observation) -> Bid:
        raise ValueError("out of ideas")


class Exits(Agent):
    def bid(self, observation: Observation) -> Bid:
        sys.exit("enough")


class RaisesInReset(Silent):
    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        raise KeyError("site")


class RaisesInLearn(Silent):
    def learn(self, outcome: Outcome) -> None:
        raise ZeroDivisionError("learning")


class Garbage(Agent):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def bid(self, observation: Observation) -> Bid:
        return self.answer  # type: ignore[no-any-return]


def broken(**change: Any) -> Bid:
    """A bid made wrong behind the back of its own checks."""
    bid = Bid([(10.0, 0.1)])
    for key, value in change.items():
        object.__setattr__(bid, key, value)
    return bid


class Makes(Agent):
    """Builds a bid that cannot be built."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def bid(self, observation: Observation) -> Bid:
        return Bid(*self.arguments)


class Sleeps(Agent):
    def bid(self, observation: Observation) -> Bid:
        time.sleep(30.0)
        return Bid([])


class Spins(Agent):
    """Loops forever and swallows every exception."""

    def bid(self, observation: Observation) -> Bid:
        while True:
            try:
                while True:
                    math.sqrt(2.0)
            except Exception:
                continue


class SpinsInReset(Silent):
    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        while True:
            pass


class Vandal(Agent):
    """Overwrites everything it is shown."""

    def bid(self, observation: Observation) -> Bid:
        observation.history[:] = math.nan
        observation.state.machine_kw[:] = 1e9
        observation.cleared[:] = -1.0
        return Bid([])


def play(bad: AgentSpec, time_limit: float = math.inf, markets: int = 2) -> tuple[dict[str, np.ndarray], Seating]:
    labels = [["threshold", "bad", "truthful", "zero_intelligence", "threshold"]] * markets
    agents = {name: AgentSpec(name, {}) for name in registered()} | {"bad": bad}
    arena, seating = seated(labels, agents, time_limit=time_limit)
    return episode(arena, seating, day_of_prices(markets, TICKS)), seating


def assert_isolated(results: dict[str, np.ndarray]) -> None:
    """Bitwise what comes out when the bad seat bids nothing."""
    expected, seating = play(Local(Silent))
    assert seating.first_error == {}
    for name, array in expected.items():
        assert array.tobytes() == results[name].tobytes(), name


@pytest.mark.parametrize(
    ("build", "why", "message"),
    [
        pytest.param(Raises, EXCEPTIONS, "ValueError: out of ideas", id="raises"),
        pytest.param(Exits, EXCEPTIONS, "SystemExit: enough", id="exits"),
        pytest.param(lambda: Garbage(None), INVALID, "bid() returned NoneType, expected a Bid", id="none"),
        pytest.param(lambda: Garbage([(1.0, 1.0)]), INVALID, "bid() returned list", id="a list"),
        pytest.param(lambda: Garbage(Bid), INVALID, "bid() returned type", id="the class"),
        pytest.param(lambda: Garbage(broken(blocks=np.array([[math.nan, 1.0]]))), INVALID, "block 0 has quantity nan", id="nan quantity"),
        pytest.param(lambda: Garbage(broken(blocks="all of it")), INVALID, "blocks must be a list", id="text"),
        pytest.param(lambda: Garbage(broken(storage_value=math.inf)), INVALID, "storage_value is inf", id="infinite storage value"),
        pytest.param(lambda: Garbage(broken(commitment_value=-1.0)), INVALID, "commitment_value is -1.0", id="commitment below zero"),
        pytest.param(lambda: Makes([(1.0, 1.0), (1.0, 2.0)]), INVALID, "block 1 has price 2.0", id="rising prices"),
        pytest.param(lambda: Makes([(1.0, math.nan)]), INVALID, "block 0 has price nan", id="nan price"),
        pytest.param(lambda: Makes([(-1.0, 1.0)]), INVALID, "quantity -1.0", id="negative quantity"),
        pytest.param(lambda: Makes([(1.0, 1.0)], "high"), INVALID, "storage_value is 'high'", id="storage value of text"),
        pytest.param(lambda: Makes([(1.0, 1.0)], 0.1, [0.0] * 9), INVALID, "has 9 entries, expected 2", id="too many commitments"),
        pytest.param(lambda: Makes([(1.0, 1.0)] * 99), INVALID, "99 blocks, expected at most 32", id="too many blocks"),
    ],
)  # fmt: skip
def test_bad_answers_are_scored_and_isolated(build: Any, why: int, message: str) -> None:
    results, seating = play(Local(build))
    assert_isolated(results)
    expected = np.zeros((2, 5, 3), dtype=np.int64)
    expected[:, BAD, why] = TICKS
    np.testing.assert_array_equal(seating.failures, expected)
    assert set(seating.first_error) == {(0, BAD), (1, BAD)}
    assert seating.first_error[0, BAD].startswith("tick 0: ")
    assert message in seating.first_error[0, BAD]


@pytest.mark.parametrize(("build", "message"), [(RaisesInReset, "KeyError: 'site'"), (RaisesInLearn, "learn: ZeroDivisionError")])
def test_faults_outside_of_bidding_leave_the_seat_out(build: Any, message: str) -> None:
    results, seating = play(Local(build))
    assert_isolated(results)
    assert (seating.failures[:, BAD, EXCEPTIONS] >= TICKS - 1).all()
    assert seating.failures.sum() == seating.failures[:, BAD, EXCEPTIONS].sum()
    assert message in seating.first_error[1, BAD]


@pytest.mark.parametrize("build", [Sleeps, Spins])
def test_late_agents_are_interrupted_and_after_a_while_left_out(build: Any) -> None:
    before = time.monotonic()
    results, seating = play(Local(build), time_limit=0.05)
    assert time.monotonic() - before < 20.0
    assert_isolated(results)
    np.testing.assert_array_equal(seating.failures[:, BAD], [[TICKS, 0, 0]] * 2)
    assert "no answer within 0.05 s" in seating.first_error[0, BAD]


def test_an_agent_that_hangs_in_reset_is_left_out() -> None:
    results, seating = play(Local(SpinsInReset), time_limit=0.02)
    assert_isolated(results)
    assert (seating.failures[:, BAD].sum(axis=1) == TICKS + 1).all()


def test_patience_is_counted_in_timeouts() -> None:
    class LateTwice(Agent):
        """Late in its first ticks, one fewer than are forgiven."""

        def __init__(self) -> None:
            self.tick = 0

        def bid(self, observation: Observation) -> Bid:
            self.tick += 1
            if self.tick < PATIENCE:
                time.sleep(5.0)
            return observation.truthful_bid()

    results, seating = play(Local(LateTwice), time_limit=0.3)
    np.testing.assert_array_equal(seating.failures[:, BAD], [[PATIENCE - 1, 0, 0]] * 2)
    assert results["outcome"][-1, :, BAD, WON].min() > 0.0


def test_a_vandal_has_only_copies() -> None:
    results, seating = play(Local(Vandal))
    assert_isolated(results)
    assert seating.failures.sum() == 0


class BadBatch(BatchAgent):
    """Plays on arrays, and badly."""

    def __init__(self, where: str) -> None:
        self.where = where

    def bid(self, observation: Observation) -> Bid:
        raise AssertionError("is asked on arrays")

    def reset_batch(self, view: View) -> None:
        view.orders.kind[:] = 1
        if self.where == "reset":
            raise OSError("no file")

    def bid_batch(self, view: View) -> None:
        if self.where == "nan":
            view.orders.shade[:] = math.nan
        elif self.where == "half":
            view.orders.shade[0] = math.nan
            raise ValueError("half way")
        elif self.where == "reset":
            view.orders.shade[:] = 0.0


def test_an_array_agent_that_failed_once_stays_out_of_its_episode() -> None:
    # It set up its orders in the reset, so that it would otherwise bid nothing from then on, unnoticed.
    class FailsOnce(BadBatch):
        ticks = 0

        def bid_batch(self, view: View) -> None:
            self.ticks += 1
            view.orders.kind[:] = 0
            if self.ticks == 3:
                raise ValueError("once")

    results, seating = play(Local(lambda: FailsOnce("")))
    assert (seating.failures[:, BAD, EXCEPTIONS] == TICKS - 2).all()
    assert (results["outcome"][:2, :, BAD, WON].sum(axis=0) > 0.0).all()
    assert (results["outcome"][2:, :, BAD, WON] == 0.0).all()


@pytest.mark.parametrize(("where", "why"), [("nan", INVALID), ("half", EXCEPTIONS)])
def test_bad_agents_on_arrays_are_scored_and_isolated(where: str, why: int) -> None:
    results, seating = play(Local(lambda: BadBatch(where)))
    assert_isolated(results)
    assert (seating.failures[:, BAD, why] == TICKS).all()
    assert seating.failures.sum() == 2 * TICKS


def test_an_array_agent_that_fails_in_reset_is_left_out() -> None:
    results, seating = play(Local(lambda: BadBatch("reset")))
    assert_isolated(results)
    assert (seating.failures[:, BAD, EXCEPTIONS] >= TICKS).all()
    assert "OSError: no file" in seating.first_error[0, BAD]


@pytest.mark.parametrize("where", ["reset_batch", "bid_batch"])
def test_an_array_agent_that_hangs_is_left_out(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(self: BatchAgent, *_: Any) -> None:
        while True:
            pass

    monkeypatch.setattr("gridpilot.agents.seating.FIRST_CALL", 0.1)
    monkeypatch.setattr(BadBatch, where, spin)
    results, seating = play(Local(lambda: BadBatch("")), time_limit=0.05)
    assert_isolated(results)
    assert (seating.failures[:, BAD, TIMEOUTS] >= TICKS).all()
    assert seating.failures.sum() == seating.failures[:, BAD, TIMEOUTS].sum()
    assert "no answer within 0.1 s" in seating.first_error[0, BAD]


def test_agents_are_told_why_their_bid_was_refused() -> None:
    told: list[str] = []

    class Tells(Agent):
        def bid(self, observation: Observation) -> Bid:
            if observation.last is not None:
                told.append(observation.last.refused)
            return Bid([(1.0, 1.0)] if observation.tick % 2 else [(1.0, 1.0), (1.0, 2.0)])

    play(Local(Tells), markets=1)
    assert told[0].startswith("bid: block 1 has price 2.0")
    assert told[1] == ""


def test_agents_learn_their_outcome() -> None:
    outcomes: list[Outcome] = []

    class Learns(Agent):
        def bid(self, observation: Observation) -> Bid:
            return observation.truthful_bid()

        def learn(self, outcome: Outcome) -> None:
            outcomes.append(outcome)

    results, _ = play(Local(Learns), markets=1)
    assert [outcome.tick for outcome in outcomes] == list(range(TICKS))
    assert [outcome.profit for outcome in outcomes] == results["outcome"][:, 0, BAD, PROFIT].tolist()


def test_a_new_episode_forgives() -> None:
    class FirstEpisodeOnly(Raises):
        episodes = 0

        def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
            self.episodes += 1

        def bid(self, observation: Observation) -> Bid:
            return super().bid(observation) if self.episodes == 1 else Bid([])

    arena, seating = seated([["bad", "", "", "", ""]], {"bad": Local(FirstEpisodeOnly)})
    episode(arena, seating, day_of_prices(1, TICKS))
    assert seating.failures.sum() == TICKS
    episode(arena, seating, day_of_prices(1, TICKS))
    assert seating.failures.sum() == 0
    assert seating.first_error == {}


def test_seats_left_to_the_caller_are_left_alone() -> None:
    arena, seating = seated([["", "truthful", "", "", ""]], {"truthful": AgentSpec("truthful", {})})
    arena.start(day_of_prices(1, TICKS))
    seating.reset(0, [0])
    arena.orders.kind[0, 0] = 3
    while not arena.done:
        seating.bid()
        assert arena.orders.kind[0, 0] == 3
        arena.step()
        seating.learn()


# --- finding agents -----------------------------------------------------------------------------------------------------------


def test_own_agents_are_found_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("own_agents_found.py").write_text(
        "from gridpilot.agents.base import Agent\n"
        "from gridpilot.market.bids import Bid\n"
        "class Mine(Agent):\n"
        "    def __init__(self, price=1.0): self.price = price\n"
        "    def bid(self, observation): return Bid([(1.0, self.price)])\n"
        "class NoAgent: pass\n"
        "number = 5\n"
    )
    Path("broken_agents_found.py").write_text("import a_module_that_is_nowhere\n")
    Path("syntax_agents_found.py").write_text("def\n")
    assert type(build_agent("own_agents_found.Mine", {"price": 2.0})).__name__ == "Mine"
    for target, params, message in (
        ("own_agents_found.Yours", {}, "has no 'Yours'"),
        ("own_agents_found.NoAgent", {}, "is not a subclass of"),
        ("own_agents_found.number", {}, "is not a subclass of"),
        ("own_agents_found.Mine", {"prize": 1.0}, "prize"),
        ("broken_agents_found.Mine", {}, "importing 'broken_agents_found' failed: No module named 'a_module_that_is_nowhere'"),
        ("syntax_agents_found.Mine", {}, "SyntaxError"),
    ):
        with pytest.raises(AgentError, match=message):
            build_agent(target, params)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("truthfull", r"agent 'truthfull': did you mean truthful\? expected one of .*truthful"),
        ("no_such_module_anywhere.Agent", "there is no module 'no_such_module_anywhere'"),
        ("gridpilot.agents.nothing.Agent", "there is no module 'gridpilot.agents.nothing'"),
        ("", "agent ''"),
        (".Agent", "agent '.Agent'"),
        ("..Agent", "agent '..Agent'"),
        ("gridpilot.agents.base.Agent.", "agent 'gridpilot.agents.base.Agent.'"),
    ],
)
def test_agents_that_do_not_exist_get_one_error(target: str, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        find_agent(target)


def test_agents_that_cannot_be_built_get_one_error() -> None:
    with pytest.raises(AgentError, match=r"agent 'truthful': .*'shade'.*takes no parameters"):
        build_agent("truthful", {"shade": 1})
    with pytest.raises(AgentError, match="abstract"):
        build_agent("gridpilot.agents.base.Agent")


def test_labels_are_checked() -> None:
    arena, _ = seated([[""] * 5], {})
    with pytest.raises(AgentError, match=r"labels have shape \(1, 2\), expected \(1, 5\)"):
        Seating(arena, {}, [["", ""]])
    with pytest.raises(AgentError, match="no agent is called 'ghost'"):
        Seating(arena, {"truthful": AgentSpec("truthful", {})}, [["ghost", "", "", "", ""]])
    assert len(SITES) == 5
