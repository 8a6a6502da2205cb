from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.errors import TournamentError
from gridpilot.tournament.schedule import BASELINES, LINEUPS, partition, schedule


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 6), st.integers(1, 12), st.integers(1, 3))
def test_mixed_is_a_latin_square(more: int, n_seats: int, episodes: int) -> None:
    agents = [*BASELINES, *(f"agent{i}" for i in range(more))]
    matches = schedule(agents, n_seats, range(episodes), ["mixed"])
    played = Counter((m.episode, agent, seat) for m in matches for seat, agent in enumerate(m.seats))
    assert played == {(e, agent, seat): 1 for e in range(episodes) for agent in agents for seat in range(n_seats)}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 4), st.integers(2, 6), st.sets(st.sampled_from(LINEUPS), min_size=1))
def test_matches_are_distinct_and_identified(more: int, n_seats: int, lineups: set[str]) -> None:
    agents = [*BASELINES, *(f"agent{i}" for i in range(more))]
    matches = schedule(agents, n_seats, [5, 9], sorted(lineups))
    keys = [(m.episode, m.lineup, m.rotation) for m in matches]
    assert len(set(keys)) == len(keys)
    count = len(agents)
    per_lineup = {"mixed": count, "self": count, "alone": n_seats * (count - 1), "pairs": count * (count - 1)}
    compared = 0 if "self" in lineups else count if "pairs" in lineups else 1 if "alone" in lineups else 0
    expected = sum(per_lineup[lineup] for lineup in lineups) + compared
    assert len(matches) == 2 * expected


def test_rivals_do_not_depend_on_who_sits_there() -> None:
    agents, n_seats, episodes = ["truthful", "x", "zero_intelligence"], 10, 400
    rivals = np.zeros((3, n_seats))  # mean number of zero_intelligence among the others, by the agent at a seat
    for match in schedule(agents, n_seats, range(episodes), ["mixed"]):
        for seat, agent in enumerate(match.seats):
            others = match.seats[:seat] + match.seats[seat + 1 :]
            rivals[agents.index(agent), seat] += others.count("zero_intelligence") / episodes
    np.testing.assert_allclose(rivals[0], rivals[1], atol=0.15)  # a fixed square has differences of 1 at most seats
    np.testing.assert_allclose(rivals[:2], 10 / 3, atol=0.15)


def test_an_episode_has_the_same_seats_in_every_tournament() -> None:
    alone = schedule(list(BASELINES), 5, [3], ["mixed"])
    assert [m for m in schedule(list(BASELINES), 5, range(8)) if (m.episode, m.lineup) == (3, "mixed")] == alone
    assert alone[0].seats != schedule(list(BASELINES), 5, [4], ["mixed"])[0].seats


def test_alone_shares_its_reference_with_self_play() -> None:
    matches = schedule(["truthful", "x", "zero_intelligence"], 3, [0], ["self", "alone"])
    assert [m.seats for m in matches].count(("truthful",) * 3) == 1
    alone = [m for m in matches if m.lineup == "alone"]
    assert alone[1].seats == ("truthful", "x", "truthful")
    assert (alone[1].rotation, alone[4].rotation) == (1, 4)
    assert alone[4].seats == ("truthful", "zero_intelligence", "truthful")


@pytest.mark.parametrize(
    ("agents", "n_seats", "episodes", "lineups", "message"),
    [
        (["truthful", "truthful", "zero_intelligence"], 2, [0], ["mixed"], "'truthful' appears more than once"),
        (["truthful"], 2, [0], ["mixed"], "lacks the baseline 'zero_intelligence'"),
        (list(BASELINES), 0, [0], ["mixed"], "0 seats"),
        (list(BASELINES), 2, [], ["mixed"], "episodes: none"),
        (list(BASELINES), 2, [1, 1], ["mixed"], "1 appears more than once"),
        (list(BASELINES), 2, [0], ["duel"], r"\['duel'\]"),
        (list(BASELINES), 2, [0], [], "expected at least one of"),
    ],
)
def test_refusals(agents: list[str], n_seats: int, episodes: list[int], lineups: list[str], message: str) -> None:
    with pytest.raises(TournamentError, match=message):
        schedule(agents, n_seats, episodes, lineups)


def test_partition_keeps_order() -> None:
    matches = schedule(list(BASELINES), 3, range(3))
    chunks = partition(matches, 4)
    assert [m for chunk in chunks for m in chunk] == matches
    assert {len(chunk) for chunk in chunks[:-1]} == {4}
    with pytest.raises(TournamentError, match="chunk is 0"):
        partition(matches, 0)


def test_the_yardstick_plays_alone_only_and_changes_nothing_for_others() -> None:
    without = schedule(["truthful", "x", "zero_intelligence"], 3, [0, 5])
    having = schedule(["truthful", "x", "zero_intelligence", "foresight"], 3, [0, 5], clairvoyant=["foresight"])
    own = [match for match in having if "foresight" in match.seats]
    assert {match.lineup for match in own} == {"alone"}
    assert len(own) == 2 * 3
    assert [match for match in having if match not in own] == without
