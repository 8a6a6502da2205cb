"""One market, a learner in every seat: the PettingZoo environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gridpilot.envs._kernels import RESULTS
from gridpilot.envs._market import (
    DEFAULT_OPPONENTS,
    OPTIONS,
    Opponents,
    SeatedMarkets,
    action_space,
    as_actions,
    find_setup,
    observation_space,
)
from gridpilot.envs._render import RENDER_MODES, Renderer, Trace, check_render_mode
from gridpilot.envs._task import TaskOptions, task_of
from gridpilot.envs.market_vector_env import seat_numbers
from gridpilot.errors import BidError
from gridpilot.market.clearing import Mechanism
from gridpilot.setup import MarketSetup
from gridpilot.suggestions import did_you_mean

__all__ = ["MarketParallelEnv", "parallel_env"]

Action = npt.NDArray[np.floating[Any]]
Observation = npt.NDArray[np.float32]


class MarketParallelEnv(ParallelEnv[str, Observation, Action]):  # type: ignore[misc]
    """All sites of a market bid at once, as agents ``site_0``, ``site_1``, ...

    Spaces, rewards, ``info`` and episodes are those of :class:`~gridpilot.envs.market_env.MarketEnv`, for every agent. All agents are
    truncated together at the horizon, after which ``agents`` is empty until ``reset``.

    ``seats``  whose plants the learners run, all by default; ``opponents`` are cycled over the others.
    Other arguments are those of :class:`~gridpilot.envs.market_env.MarketEnv`.

    ``step`` raises :class:`~gridpilot.errors.BidError` for a missing or unknown agent and an action of a wrong shape.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as PettingZoo declares it
        "name": "gridpilot_market_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": 12,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        setup: MarketSetup | None = None,
        *,
        market: str | Mapping[str, Any] | None = None,
        prices: str | Mapping[str, Any] | None = None,
        ticks: int | None = None,
        history: int | None = None,
        mechanism: Mechanism | None = None,
        seats: Sequence[int] | None = None,
        opponents: Opponents = DEFAULT_OPPONENTS,
        time_limit: float = math.inf,
        render_mode: str | None = None,
        **task: Unpack[TaskOptions],
    ) -> None:
        setup = find_setup(setup, market=market, prices=prices, ticks=ticks, history=history, mechanism=mechanism)
        self.render_mode = check_render_mode(render_mode)
        n_sites = len(setup.sites)
        own = list(range(n_sites)) if seats is None else seat_numbers(seats, n_sites)
        self.markets = SeatedMarkets(setup, np.array([own]), opponents, time_limit, task_of(task))
        self.possible_agents = [f"site_{seat}" for seat in own]
        self.agents: list[str] = []
        arena = self.markets.arena
        self.observation_spaces = {agent: observation_space(arena, self.markets.task) for agent in self.possible_agents}
        self.action_spaces = {agent: action_space(arena, self.markets.task) for agent in self.possible_agents}
        self.state_space = spaces.Box(-10.0, 10.0, (len(own) * observation_space(arena, self.markets.task).shape[0],), np.float32)
        self._np_random: np.random.Generator | None = None
        self._renderer = Renderer()
        self._trace = Trace(arena, 0, own) if render_mode else None

    def observation_space(self, agent: str) -> spaces.Box:
        """The same object for the same agent."""
        space: spaces.Box = self.observation_spaces[agent]
        return space

    def action_space(self, agent: str) -> spaces.Box:
        """The same object for the same agent."""
        space: spaces.Box = self.action_spaces[agent]
        return space

    @property
    def np_random(self) -> np.random.Generator:
        """What a root seed is drawn from when ``reset`` is given none."""
        if self._np_random is None:
            self._np_random, _ = seeding.np_random()
        return self._np_random

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Begin the next episode, or episode 0 of a new root seed, or the one in ``options``."""
        markets = self.markets
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        # PettingZoo's own checks give options that mean nothing here; what may be a slip of the pen is refused.
        meant = {key: value for key, value in (options or {}).items() if key in OPTIONS or did_you_mean(key, OPTIONS)}
        markets.reset(seed, meant, lambda: self.np_random)
        self.agents = list(self.possible_agents)
        if self._trace is not None:
            self._trace.start()
        info = {
            "episode_number": int(markets.episodes[0]),
            "root": markets.root,
            "week_tick": int(markets.arena.scenario.start[0]),
        }
        return self._observations(), {agent: dict(info) for agent in self.agents}

    def step(
        self, actions: Mapping[str, Action]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Play one tick with an action from every agent."""
        markets, agents = self.markets, self.agents
        if agents and actions.keys() != set(agents):
            wrong = sorted(set(agents) ^ set(actions))
            raise BidError(f"actions: {', '.join(map(str, wrong))} missing or unknown, expected one of each of {', '.join(agents)}")
        for s, agent in enumerate(agents):
            as_actions(actions[agent], self.action_spaces[agent].shape, markets.actions[0, s], f"action of {agent}")
        markets.play([] if self._trace is None else [self._trace])
        rewards, infos = {}, {}
        for agent, row, refused in zip(agents, markets.results[:, 0].T.tolist(), markets.refused[0].tolist(), strict=True):
            info = dict(zip(RESULTS, row, strict=True))
            rewards[agent] = info.pop("reward")
            infos[agent] = {**info, "refused": refused}
        observations, over = self._observations(), markets.done
        if over:
            self.agents = []
        return observations, rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, over), infos

    def _observations(self) -> dict[str, Observation]:
        return dict(zip(self.possible_agents, self.markets.observe()[0], strict=True))

    def state(self) -> npt.NDArray[np.float32]:
        """All agents' observations one after the other, for centralised critics."""
        return self.markets.observe().ravel()

    def render(self) -> Any:
        """The market as it stands: a string ("ansi"), a picture ("rgb_array"), or None without a ``render_mode``."""
        if self._trace is None or self.render_mode is None:
            return None
        return self._renderer.frame(self._trace, self.render_mode)

    def close(self) -> None:
        """Release the figure."""
        self._renderer.close()


def parallel_env(**arguments: Any) -> MarketParallelEnv:
    """A :class:`MarketParallelEnv`, by PettingZoo's customary name."""
    return MarketParallelEnv(**arguments)
