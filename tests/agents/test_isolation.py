"""Agents in processes of their own: the same results to the digit, and whatever they do harms them alone."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.isolation import Facts, Limits, end_idle, facts_of, wire
from gridpilot.agents.isolation.process import AgentProcess, Ended
from gridpilot.agents.players import TIMEOUTS
from gridpilot.agents.registry import is_own
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid

from .arenas import Local, day_of_prices, episode, seated
from .test_seating import Silent

TICKS, BAD = 12, 1
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="held by the kernel there only")


@pytest.fixture(autouse=True)
def _agents_are_found_and_none_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    before = descendants()
    yield
    end_idle()
    assert descendants() <= before


def descendants() -> set[int]:
    """Every process below this one, and every one that was and has been left to another."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"gridpilot.agents.isolation.host" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def play(
    target: str, params: dict[str, Any], limits: Limits | None, time_limit: float = math.inf, episodes: int = 1
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray], list[dict[tuple[int, int], str]]]:
    """Results, failures and first errors of each episode, with the agent at two seats of each of two markets among others."""
    labels = [["threshold", "bad", "truthful", "bad", "zero_intelligence"], ["bad", "bad", "truthful", "threshold", "threshold"]]
    agents = {name: AgentSpec(name, {}) for name in ("threshold", "truthful", "zero_intelligence")}
    arena, seating = seated(labels, agents | {"bad": AgentSpec(target, params, limits)}, time_limit=time_limit)
    results, failures, errors = [], [], []
    for number in range(episodes):
        results.append(episode(arena, seating, day_of_prices(2, TICKS, seed=number), root=number))
        failures.append(seating.failures.copy())
        errors.append(dict(seating.first_error))
    seating.close()
    return results, failures, errors


def hostile(params: dict[str, Any], time_limit: float = math.inf, episodes: int = 1, arrays: bool = False) -> Any:
    """One bad seat; its market's results must be those of a silent one from the first failure on."""
    target = "isolated_agents.FaultyArrays" if arrays else "isolated_agents.Faulty"
    labels = [["threshold", "bad", "truthful", "zero_intelligence", "threshold"]]
    agents = {name: AgentSpec(name, {}) for name in ("threshold", "truthful", "zero_intelligence")}
    results = []
    for bad in (AgentSpec(target, params, Limits(0.5)), Local(Silent)):
        arena, seating = seated(labels, agents | {"bad": bad}, time_limit=time_limit)
        for _ in range(episodes):
            results.append(episode(arena, seating, day_of_prices(1, TICKS)))
        if len(results) == episodes:
            failures, error = seating.failures[0].copy(), dict(seating.first_error)
        seating.close()
    assert failures.sum() == failures[BAD].sum()
    assert_equal(results[0], results[-1])
    return failures[BAD].tolist(), error.get((0, BAD), "")


def assert_equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    for name, array in a.items():
        assert array.tobytes() == b[name].tobytes(), name


# --- the same, to the digit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "params", "fails"),
    [
        ("isolated_agents.Learner", {}, False),
        ("isolated_agents.ArrayLearner", {}, True),
        ("isolated_agents.Sparse", {}, False),
        ("mpc", {"horizon": 12}, False),
        ("zero_intelligence", {}, False),
        ("foresight", {}, False),
        ("oracle_response", {}, False),
        (
            "isolated_agents.Faulty",
            {
                "answers": [
                    "fine",
                    "raise",
                    "exit",
                    "unreadable",
                    "none",
                    "nan",
                    "text",
                    "storage",
                    "commitments",
                    "blocks",
                    "rising",
                ]
            },
            True,
        ),
        ("isolated_agents.Faulty", {"answers": ["fine"], "reset": "raise"}, True),
        ("isolated_agents.Faulty", {"answers": ["fine"], "learn": "raise"}, True),
        ("isolated_agents.FaultyArrays", {"fault": "raise", "tick": -1}, True),
        ("isolated_agents.FaultyArrays", {"fault": "raise", "tick": 3}, True),
    ],
)
def test_results_and_failures_are_the_same_to_the_digit(target: str, params: dict[str, Any], fails: bool) -> None:
    here, there = (play(target, params, limits, episodes=2) for limits in (None, Limits()))
    for (results, failures, errors), (expected, expected_failures, expected_errors) in zip(
        zip(*there, strict=True), zip(*here, strict=True), strict=True
    ):
        assert_equal(results, expected)
        np.testing.assert_array_equal(failures, expected_failures)
        assert errors == expected_errors
        assert bool(failures.sum()) == fails


def test_late_answers_are_counted_as_they_are_in_this_process() -> None:
    for params in ({"answers": ["fine", "late"]}, {"answers": ["fine"], "learn": "late"}):
        here, there = (play("isolated_agents.Faulty", params, limits, time_limit=0.1)[1][0] for limits in (None, Limits()))
        np.testing.assert_array_equal(here, there)
        assert here.sum() >= 3


def test_a_process_is_used_again_by_the_same_agent_alone() -> None:
    spec = AgentSpec("isolated_agents.Learner", {}, Limits())
    pids = []
    for _ in range(2):
        _, seating = seated([["a", "a", "", "", ""]], {"a": spec})
        pids.append(descendants())
        seating.close()
    assert pids[0] == pids[1]
    assert len(pids[0]) == 1
    _, seating = seated([["a", "b", "", "", ""]], {"a": spec, "b": AgentSpec("isolated_agents.Nested", {}, Limits())})
    assert len(descendants()) == 2
    seating.close()


# --- harm ---------------------------------------------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize(
    ("fault", "failures", "message"),
    [
        ("_exit", [0, TICKS, 0], "its process ended with exit code 3"),
        ("interrupt", [0, TICKS, 0], "its process was ended by SIGINT"),
        ("segfault", [0, TICKS, 0], "its process was ended by SIGSEGV"),
        ("memory", [0, TICKS, 0], "MemoryError"),
        ("shared memory", [0, TICKS, 0], "its process used more than 0.5 GiB of memory"),
        ("fork", [0, TICKS, 0], "PermissionError"),
        ("garbage", [0, TICKS, 0], "its process sent what is no answer"),
        ("huge", [0, TICKS, 0], "its process sent what is no answer"),
        ("hang up", [0, TICKS, 0], "its process"),
        ("reach out", [0, TICKS, 0], "RuntimeError: reached: []"),
        ("two thousand blocks", [0, 0, TICKS], "bid: blocks has 2000 entries"),
        ("patch bids", [0, TICKS, 0], "AttributeError"),
        ("patch", [0, 0, 0], ""),
    ],
)
def test_an_attack_is_scored_and_harms_nobody_else(
    fault: str, failures: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MARA_API_KEY", "ANTHROPIC_API_KEY", "OTHER_TOKEN"):
        monkeypatch.setenv(name, "secret")
    counted, error = hostile({"answers": [fault]})
    assert counted == failures
    assert message in error


@LINUX
@pytest.mark.parametrize("fault", ["hang", "stop", "print"])
def test_an_agent_out_of_reach_is_ended_when_it_is_late(fault: str) -> None:
    before = time.monotonic()
    counted, error = hostile({"answers": [fault]}, time_limit=0.1)
    assert counted == [TICKS, 0, 0]
    assert "no answer within 0.1 s" in error
    assert time.monotonic() - before < 60.0


@LINUX
@pytest.mark.parametrize(("fault", "tick"), [("segfault", -1), ("segfault", 0), ("memory", 0)])
def test_agents_on_arrays_harm_themselves_alone_too(fault: str, tick: int) -> None:
    counted, error = hostile({"fault": fault, "tick": tick}, arrays=True)
    assert counted == [0, TICKS + (tick < 0), 0]
    assert ("SIGSEGV" if fault == "segfault" else "MemoryError") in error


def test_a_hanging_reset_costs_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, error = hostile({"answers": ["fine"], "reset": "hang"}, time_limit=0.02)
    assert counted == [0, TICKS + 1, 0]
    assert "no answer within 0.2 s" in error
    monkeypatch.setattr("gridpilot.agents.seating.FIRST_CALL", 0.1)
    counted, error = hostile({"fault": "hang", "tick": -1}, time_limit=0.02, arrays=True)
    assert counted == [TICKS + 1, 0, 0]


def test_a_new_episode_gets_a_new_process() -> None:
    (first, second), failures, errors = play("isolated_agents.Faulty", {"answers": ["fine", "_exit"]}, Limits(), episodes=2)
    assert failures[0].tolist() == failures[1].tolist()
    assert failures[0][0, BAD].tolist() == [0, TICKS - 1, 0]
    assert errors[1][0, BAD] == "tick 1: its process ended with exit code 3"
    assert not np.array_equal(first["outcome"], second["outcome"])


def test_an_agent_that_can_no_longer_be_built_fails_at_every_seat() -> None:
    _, failures, errors = play("isolated_agents.Impatient", {"times": 4}, Limits(), episodes=2)
    assert failures[0][0, BAD].tolist() == [0, TICKS, 0]
    assert failures[1][0, BAD].tolist() == [0, TICKS + 1, 0]
    assert "exit code 8" in errors[0][0, BAD]
    assert "exit code 7" in errors[1][0, BAD]
    _, failures, _ = play("isolated_agents.Impatient", {"times": 4}, Limits())
    assert failures[0][0, BAD].tolist() == [0, TICKS + 1, 0]


@LINUX
def test_between_questions_an_agent_stands_still() -> None:
    arena, seating = seated(
        [["", "bad", "", "", ""]], {"bad": AgentSpec("isolated_agents.Faulty", {"answers": ["burn"]}, Limits())}
    )
    (pid,) = descendants()
    arena.start(day_of_prices(1, TICKS))
    seating.reset(0, [0])
    seating.bid()
    used = cpu_time(pid)
    time.sleep(0.5)
    assert cpu_time(pid) - used < 0.1
    seating.close()


@LINUX
def test_threads_share_the_time_of_their_agent() -> None:
    process = AgentProcess(Limits())
    process.ask(
        wire.BUILD, pickled("isolated_agents.Faulty", {"answers": ["fine"]}, 1, None), 1.0, most=wire.most_bytes(wire.BUILD)
    )
    process._granted = 0.0
    process._watched = 0.0
    with pytest.raises(Ended, match="more CPU time than the"):
        process.ask(
            wire.BUILD, pickled("isolated_agents.Faulty", {"answers": ["fine"]}, 1, None), 0.0, most=wire.most_bytes(wire.BUILD)
        )
    assert process.ended is not None
    assert process.ended.why == TIMEOUTS


def test_what_an_agent_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    _, failures, _ = play("isolated_agents.Nested", {}, Limits())
    out, err = capfd.readouterr()
    assert failures[0].sum() == 0
    assert "from the agent" not in out + err


@LINUX
@pytest.mark.parametrize("fault", ["fine", "hang"])
def test_a_parent_that_is_killed_leaves_nothing(fault: str) -> None:
    program = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from arenas import day_of_prices, seated
from gridpilot.agents.isolation import Limits
from gridpilot.agents.registry import is_own
from gridpilot.agents.seating import AgentSpec
arena, seating = seated([["bad"] * 5], {{"bad": AgentSpec("isolated_agents.Faulty", {{"answers": [{fault!r}]}}, Limits())}})
arena.start(day_of_prices(1, 12))
seating.reset(0, [0])
print("ready", flush=True)
while True:
    seating.bid()
"""
    before = descendants()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (child,) = descendants() - before
        parent.kill()
    end = time.monotonic() + 10.0
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert descendants() <= before


# --- what is told and believed ------------------------------------------------------------------------------------------------


def test_facts_come_from_the_process_and_modules_stay_out_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_module_of_an_agent.py").write_text(
        "from gridpilot.agents.base import BatchAgent\n"
        "class Seer(BatchAgent):\n"
        "    clairvoyant, reads, writes, stated_blocks = True, ('levels',), ('kind',), 4\n"
        "    def bid(self, observation): ...\n"
        "    def reset_batch(self, view): ...\n"
        "    def bid_batch(self, view): ...\n"
    )
    assert facts_of("own_module_of_an_agent.Seer", {}, Limits()) == Facts(True, True, False, ["levels"], ["kind"], 4)
    assert "own_module_of_an_agent" not in sys.modules
    for target, params, message in (
        ("own_module_of_an_agent.Seer", {"greed": 1}, "takes no parameters"),
        ("isolated_agents.Impatient", {"times": 0}, "ended with exit code 7"),
    ):
        with pytest.raises(AgentError, match=message):
            facts_of(target, params, Limits())


@pytest.mark.parametrize(
    ("target", "params", "own"),
    [
        ("mpc", {}, True),
        ("gridpilot.agents.mpc.MPC", {"planner": "linear", "horizon": 12}, True),
        ("mpc", {"planner": {"name": "gridpilot.planning.linear.Linear"}}, True),
        ("my_file.Mine", {}, False),
        ("gridpilot_mine.Mine", {}, False),
        ("mpc", {"planner": "my_file.Planner"}, False),
        ("mpc", {"parts": [{"name": "my_file.Planner"}]}, False),
    ],
)
def test_an_agent_with_a_part_of_others_is_not_the_librarys(target: str, params: dict[str, Any], own: bool) -> None:
    assert is_own(target, params) == own


@pytest.mark.parametrize("memory", [0.1, math.nan, math.inf, -1.0])
def test_limits_are_checked(memory: float) -> None:
    with pytest.raises(AgentError, match="memory_gib is"):
        Limits(memory)


def test_a_process_that_cannot_be_started_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridpilot.agents.isolation.process._PROGRAM", "raise SystemExit(9)")
    with pytest.raises(AgentError, match="could not be started: its process ended with exit code 9"):
        AgentProcess(Limits())


@pytest.mark.parametrize("bid", [Bid([]), Bid([(2.0, 0.5), (1.0, -0.25)], -0.1, [0.0, 3.5]), Bid([(1.0, 1.0)], None, [])])
def test_bids_survive_the_wire(bid: Bid) -> None:
    back = wire.decode_bid(wire.encode_bid(bid))
    assert isinstance(back, Bid)
    assert back.blocks.tolist() == bid.blocks.tolist()
    assert back.storage_value == bid.storage_value
    assert (back.commitment_value is None) == (bid.commitment_value is None)
    if bid.commitment_value is not None and back.commitment_value is not None:
        assert back.commitment_value.tolist() == bid.commitment_value.tolist()


def test_answers_of_another_form_are_garbled() -> None:
    good = wire.encode_bid(Bid([(1.0, 1.0)], 0.5, [1.0]))
    rng = np.random.default_rng(0)
    for answer in (b"", b"\x07", good[:5], good[:-1], good + b"\0", *(rng.bytes(n) for n in range(1, 200))):
        for decode in (wire.decode_bid, wire.decode_refusal, wire.decode_facts, lambda a: wire.decode_orders(a, [np.zeros(3)])):
            try:
                assert decode(answer) is None or not isinstance(decode(answer), Bid)
            except wire.Garbled:
                continue
    assert wire.decode_refusal(wire.encode_refusal(None)) is None
    for change in ('"reads": ["prices_to_come"]', '"stated_blocks": 2000000000', '"stated_blocks": -1', '"learns": 1', '"more": 1'):
        fact = (
            f'{{"on_arrays": true, "clairvoyant": false, "learns": false, "reads": [], "writes": [], "stated_blocks": 0, {change}}}'
        )
        with pytest.raises(wire.Garbled):
            wire.decode_facts(fact.encode())
    with pytest.raises(wire.Garbled):
        wire.decode_facts(b"{" * 60_000)


def pickled(*content: Any) -> bytes:
    import pickle

    return pickle.dumps(content)


def cpu_time(pid: int) -> float:
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
