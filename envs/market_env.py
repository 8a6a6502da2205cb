"""One market, one learner: the Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt

from gridpilot.envs._kernels import RESULTS
from gridpilot.envs._market import (
    DEFAULT_OPPONENTS,
    Opponents,
    SeatedMarkets,
    action_space,
    as_actions,
    find_setup,
    observation_space,
)
from gridpilot.envs._render import RENDER_MODES, Renderer, Trace, check_render_mode
from gridpilot.envs._task import TaskOptions, task_of
from gridpilot.envs.market_vector_env import seat_number
from gridpilot.market.clearing import Mechanism
from gridpilot.setup import MarketSetup

__all__ = ["MarketEnv"]

BoxArray = npt.NDArray[np.floating[Any] | np.integer[Any]]
Observation = npt.NDArray[np.float32]


class MarketEnv(gymnasium.Env[BoxArray, BoxArray]):
    """A site bids for power against configured opponents, every five minutes.

    **Action** ``Box(-1, 1, (2 + K,), float32)``, K = 2 C + 3 blocks for the largest fleet of C machine classes. Zero is the truthful bid
    with the default prices of time; finite values beyond the bounds are clipped.

    * ``a[0]``   storage value ``v = mean + 2 a[0] size`` $/kWh, of the running mean and mean size of the energy price
    * ``a[1]``   commitment value ``kappa_c = max(0, default_c + a[1] boot_loss r_c)`` $/kWh, r_c the revenue of class c per machine kWh
    * ``a[2:]``  block k of the site's own value curve at these values is bid at ``price + a[2 + k] |price|``; a block that would rise
      above its predecessor is held at it

    A NaN or infinite entry is no bid: the seat gets the zero bid, its battery stands idle, ``info["refused"]`` is True, and the episode
    goes on. An array of another shape raises :class:`~gridpilot.errors.BidError`.

    **Observation** ``Box(-10, 10, (D,), float32)``: the flat encoding of :mod:`gridpilot.market.encoding`, listed entry by entry in
    ``envs/README.md`` and by ``gridpilot.market.encoding.fields(C)``.

    **Reward** the tick's profit over the site's rated hourly value: what its whole fleet earns an hour at the price model's median
    product prices, a constant of the site (``MarketSetup.rated_values``). A site without machines is rewarded in $.

    **Episode** ends by truncation after ``ticks`` ticks, never by termination. ``reset(seed=s)`` plays episode 0 under root seed s, every
    further ``reset()`` the next one; ``reset(options={"episode": e})`` plays episode e. An episode of a root is the same world for every
    seat, line-up and environment class.

    **Info** of a step: ``profit``, ``revenue``, ``payment``, ``wear`` in $ of the tick, ``won_kw``, ``clearing_price`` in $/kWh, the price
    band ``price_lo`` (-inf where nobody lost) and ``price_hi`` (inf where nobody won), ``soc`` in kWh after the tick, ``refused``. Of a
    reset: ``episode_number``, ``root``, ``week_tick`` (five-minute ticks since Monday 00:00).

    ``setup``       the market to play, a :class:`gridpilot.setup.MarketSetup`; or instead of it
    ``market``, ``prices``, ``ticks``, ``history``, ``mechanism``   arguments of :func:`gridpilot.setup.load_setup`
    ``seat``        whose plant the learner runs, from 0
    ``opponents``   cycled over the other seats in their order: names of agents, classes, instances, AgentSpecs, mappings
                    ``{"name": ..., <parameters>}``, or Paths of policies' folders
    ``time_limit``  s, how long an opponent written in Python may think
    ``render_mode``  "ansi" (a block of text), "rgb_array" (a plot, (360, 640, 3) uint8) or None
    ``task``        ``action_version``, ``observation_version``, ``shading``, ``hold``, ``reward``, ``baseline``, ``lineup``: see
                    :class:`~gridpilot.envs._task.Task`. The defaults are what is described above.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 12}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        setup: MarketSetup | None = None,
        *,
        market: str | Mapping[str, Any] | None = None,
        prices: str | Mapping[str, Any] | None = None,
        ticks: int | None = None,
        history: int | None = None,
        mechanism: Mechanism | None = None,
        seat: int = 8,
        opponents: Opponents = DEFAULT_OPPONENTS,
        time_limit: float = math.inf,
        render_mode: str | None = None,
        **task: Unpack[TaskOptions],
    ) -> None:
        setup = find_setup(setup, market=market, prices=prices, ticks=ticks, history=history, mechanism=mechanism)
        self.render_mode = check_render_mode(render_mode)
        self.seat = seat_number(seat, len(setup.sites))
        self.markets = SeatedMarkets(setup, np.array([[self.seat]]), opponents, time_limit, task_of(task))
        self.action_space = action_space(self.markets.arena, self.markets.task)
        self.observation_space = observation_space(self.markets.arena, self.markets.task)
        self._shape = self.action_space.shape
        self._renderer = Renderer()
        self._trace = Trace(self.markets.arena, 0, [self.seat]) if render_mode else None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode, or episode 0 of a new root seed, or the one in ``options``."""
        super().reset(seed=seed)
        markets = self.markets
        markets.reset(seed, options, lambda: self.np_random)
        if self._trace is not None:
            self._trace.start()
        info = {
            "episode_number": int(markets.episodes[0]),
            "root": markets.root,
            "week_tick": int(markets.arena.scenario.start[0]),
        }
        return markets.observe()[0, 0], info

    def step(self, action: BoxArray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bid for and play one tick."""
        markets = self.markets
        as_actions(action, self._shape, markets.actions)
        markets.play([] if self._trace is None else [self._trace])
        row = markets.results[:, 0, 0].tolist()
        info = dict(zip(RESULTS, row, strict=True))
        reward = info.pop("reward")
        info["refused"] = bool(markets.refused[0, 0])
        return markets.observe()[0, 0], reward, False, markets.done, info

    def render(self) -> Any:
        """The market as it stands: a string ("ansi"), a picture ("rgb_array"), or None without a ``render_mode``."""
        if self._trace is None or self.render_mode is None:
            return None
        return self._renderer.frame(self._trace, self.render_mode)

    def close(self) -> None:
        """Release the figure."""
        self._renderer.close()
