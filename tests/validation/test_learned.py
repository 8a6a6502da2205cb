"""Games that PPO learns: the auctions it plays, what it is left without torch, and (slowly) what it finds."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import MissingExtraError
from gridpilot.market.clearing import clear_batch
from gridpilot.training.games import Game, learned_shares
from gridpilot.validation import rows
from gridpilot.validation.rows import RESULTS, WITH_TORCH
from gridpilot.validation.study import Auctioneer, Study
from gridpilot.validation.validate_command import main

pytest.importorskip("stable_baselines3")


def test_a_step_is_an_auction_with_many_rivals() -> None:
    from gridpilot.training.game_env import MEETINGS, GameEnv

    env = GameEnv(Game("vcg", 2), clear_batch, 5, seed=3)
    seen = env.reset()
    truth = np.full((10, 1), 1.0 / 0.6 - 1.0)  # a share of 1
    values = (seen.astype(np.float64).reshape(5, 2) + 1.0) / 2.0
    env.step_async(truth)
    _, rewards, done, infos = env.step_wait()
    first = [np.mean([max(values[m, 0] - values[(m - k) % 5, 1], 0.0) for k in range(MEETINGS)]) for m in range(5)]
    second = [np.mean([max(values[m, 1] - values[(m + k) % 5, 0], 0.0) for k in range(MEETINGS)]) for m in range(5)]
    np.testing.assert_allclose(rewards.reshape(5, 2), np.stack([first, second], axis=1), atol=1e-6)
    assert done.all()
    assert infos == [{}] * 10


def test_units_are_worth_less_and_less_and_so_are_bids() -> None:
    from gridpilot.training.game_env import MEETINGS, GameEnv

    env = GameEnv(Game("uniform", 2, units=2), clear_batch, 1, seed=3)
    values = env.drawn(100)
    assert (values[:, 0] >= values[:, 1]).all()
    bids = env.bids_of(np.tile([-0.5, 9.0], (100, 1)), values)
    assert np.array_equal(bids[:, 0], 0.3 * values[:, 0])
    assert (bids[:, 1] == np.minimum(1.2 * values[:, 1], bids[:, 0])).all()
    env.reset()
    own = env._values.copy()
    env.step_async(np.tile([1.0, -1.0], (2, 1)))  # each gets one unit, for nothing
    np.testing.assert_allclose(env.step_wait()[1], own[:, 0], rtol=1e-6)
    assert MEETINGS > 1


def test_equal_seeds_learn_equal_shares_and_leave_random_states_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    game, tiny = Game("pay_as_bid", 2), {"rows": 8, "updates": 3}
    shares = [learned_shares(game, clear_batch, seed=seed, **tiny) for seed in (1, 1, 2)]
    assert np.array_equal(shares[0], shares[1])
    assert not np.array_equal(shares[0], shares[2])
    assert before == np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]


def test_without_torch_the_others_are_found_and_a_note_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r"training a policy by PPO needs an optional dependency: .*\[rl\]"):
        main(["first_price_by_ppo"])
    for name in [name for name in RESULTS if name != "second_price"]:
        monkeypatch.delitem(rows.RESULTS, name)
    assert main([]) == 0
    said = capsys.readouterr()
    assert "6 of 6 figures as expected" in said.out
    assert "left out, as they need the extra [rl]: first_price_by_ppo, second_price_by_ppo, demand_reduction_by_ppo" in said.err


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_TORCH)
def test_every_game_is_learned(name: str) -> None:
    assert [row for row in WITH_TORCH[name].rows(Study()) if not row.passed] == []


@pytest.mark.slow
def test_a_wrong_auctioneer_is_found_out() -> None:
    def wrong(bids: Any, supply: Any, **options: Any) -> Any:
        return clear_batch(bids, supply, **(options | {"mechanism": "vcg" if options["mechanism"] != "vcg" else "pay_as_bid"}))

    study = Study(auctioneer=dataclasses.replace(Auctioneer(), clear_batch=wrong))
    assert [row.what for result in WITH_TORCH.values() for row in result.rows(study) if row.passed] == []
