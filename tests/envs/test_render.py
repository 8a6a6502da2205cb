"""Pictures: what they show, and that the figure is made once."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.envs import MarketEnv, MarketVectorEnv, parallel_env
from gridpilot.setup import MarketSetup


def test_the_text_shows_what_happened(setup: MarketSetup) -> None:
    env = MarketEnv(setup, render_mode="ansi")
    env.reset(seed=0)
    before = env.render()
    assert "asic_hydro" in before
    assert "tick 0 of 24" in before
    info = env.step(np.zeros(11, dtype=np.float32))[4]
    text = env.render()
    assert "tick 1 of 24" in text
    assert f"{info['won_kw']:.0f} kW" in text
    assert f"{info['clearing_price']:.4f} $/kWh" in text
    assert f"{info['profit']:.2f} $" in text
    assert f"{info['soc']:.0f} of" in text


def test_the_plot_is_drawn_on_one_figure_and_changes_with_the_market(setup: MarketSetup) -> None:
    env = MarketEnv(setup, render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    figure = env._renderer._plot
    for _ in range(setup.ticks):
        env.step(np.zeros(11, dtype=np.float32))
    frames.append(env.render())
    assert env._renderer._plot is figure
    for frame in frames:
        assert frame.shape == (360, 640, 3)
        assert frame.dtype == np.uint8
    assert (frames[0] != frames[1]).any(axis=2).mean() > 0.02
    env.reset()
    env.reset(seed=0)
    assert np.array_equal(env.render(), frames[0])
    env.close()


def test_no_render_mode_no_picture(setup: MarketSetup) -> None:
    env = MarketEnv(setup)
    env.reset(seed=0)
    assert env.render() is None
    assert MarketVectorEnv(2, setup).render() is None
    assert parallel_env(setup=setup).render() is None


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_batched_and_multi_agent_environments_draw_too(setup: MarketSetup, mode: str) -> None:
    envs = MarketVectorEnv(2, setup, render_mode=mode, seat="rotate")
    envs.reset(seed=0)
    envs.step(np.zeros((2, 11), dtype=np.float32))
    frames = envs.render()
    assert frames is not None
    assert len(frames) == 2
    assert np.any(np.asarray(frames[0]) != np.asarray(frames[1]))
    envs.close()
    env = parallel_env(setup=setup, render_mode=mode)
    env.reset(seed=0)
    env.step({agent: np.zeros(11, dtype=np.float32) for agent in env.agents})
    assert "10 sites" in env.render() if mode == "ansi" else env.render().shape == (360, 640, 3)
    env.close()
