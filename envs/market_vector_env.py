"""Thousands of markets at once as one Gymnasium vector environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Unpack

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

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
from gridpilot.errors import ConfigError
from gridpilot.market.clearing import Mechanism
from gridpilot.memory import check_memory
from gridpilot.setup import MarketSetup

__all__ = ["MarketVectorEnv", "seat_number", "seat_numbers"]

Actions = npt.NDArray[np.floating[Any]]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_USUAL: Final = 8  # the learner's seat
Observations = npt.NDArray[np.float32]


def seat_number(seat: Any, n_sites: int) -> int:
    """``seat`` as a seat of the market. Raises :class:`~gridpilot.errors.ConfigError` where it is none."""
    if isinstance(seat, bool) or not isinstance(seat, int | np.integer) or not 0 <= seat < n_sites:
        raise ConfigError(f"env: seat is {seat!r}, expected a whole number from 0 to {n_sites - 1}: the market has {n_sites} sites")
    return int(seat)


def seat_numbers(seats: Any, n_sites: int) -> list[int]:
    """``seats`` as different seats of the market. Raises :class:`~gridpilot.errors.ConfigError` where they are not."""
    listed = list(seats) if isinstance(seats, Sequence | range | np.ndarray) and not isinstance(seats, str) else []
    numbers = [seat_number(seat, n_sites) for seat in listed]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ConfigError(f"env: seats is {seats!r:.60}, expected at least one seat and none twice")
    return numbers


class MarketVectorEnv(VectorEnv[Observations, Actions, npt.NDArray[Any]]):
    """``num_envs`` markets stepped by the batched core, one learner in each or several; opponents bid inside the batch.

    Actions ``(num_envs, 2 + K)``, observations ``(num_envs, D)``, rewards and ``info`` are those of
    :class:`~gridpilot.envs.market_env.MarketEnv`, whose every market is bitwise the same under the same root seed and episode number.

    ``seat``        the learner's seat in every market, or ``"rotate"``: market b's learner sits in seat b modulo N
    ``seats``       several learners in every market instead, each a row of its own: row ``b S + s`` is seat ``seats[s]`` of market b. The
                    argument ``num_envs`` then counts markets, the attribute rows; seeds and episodes are given by market
    ``autoreset``   ``"next_step"`` (default): all episodes end together, at the horizon; the step after that ignores its
                    actions, begins the next episodes and returns their first observations with reward 0. ``"same_step"``: the last step
                    itself returns the next episodes' first observations, and the old ones in ``info["final_obs"]`` and
                    ``info["final_info"]``. ``"disabled"``: the caller calls ``reset``.
    ``first_episode``  what episodes are counted from; gridpilot.training.make_vector_env trains from 1,000,000,000 on
    ``bootstrap``   whether the end of an episode is told as Gymnasium tells a time limit, by truncation, beyond which critics put the value
                    of what they see; ``False``: by termination, as the end that it is where what is stored is paid
    Other arguments are those of :class:`~gridpilot.envs.market_env.MarketEnv`.

    The n-th ``reset`` (automatic ones count) plays episode ``first_episode + n num_envs + b`` in market b. ``reset(seed=s)`` sets the root
    to s and n to 0; a list of seeds gives each market a root of its own, as environments one by one would have them, and its n-th reset
    plays episode ``first_episode + n``. ``options={"episode": e}`` picks the episodes, by that of market 0 or by an array ``(num_envs,)``.
    Markets move together, so that ``options={"reset_mask": mask}`` has to name all of them; a mask of some, and any other option, is
    refused.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as Gymnasium declares it
        "render_modes": list(RENDER_MODES),
        "render_fps": 12,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    _MODES: ClassVar = {
        "next_step": AutoresetMode.NEXT_STEP,
        "same_step": AutoresetMode.SAME_STEP,
        "disabled": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        num_envs: int = 1,
        setup: MarketSetup | None = None,
        *,
        market: str | Mapping[str, Any] | None = None,
        prices: str | Mapping[str, Any] | None = None,
        ticks: int | None = None,
        history: int | None = None,
        mechanism: Mechanism | None = None,
        seat: int | Literal["rotate"] = _USUAL,
        seats: Sequence[int] | None = None,
        opponents: Opponents = DEFAULT_OPPONENTS,
        time_limit: float = math.inf,
        autoreset: Literal["next_step", "same_step", "disabled"] = "next_step",
        render_mode: str | None = None,
        first_episode: int = 0,
        bootstrap: bool = True,
        **task: Unpack[TaskOptions],
    ) -> None:
        setup = find_setup(setup, market=market, prices=prices, ticks=ticks, history=history, mechanism=mechanism)
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ConfigError(f"env: num_envs is {num_envs!r}, expected a whole number >= 1")
        if autoreset not in self._MODES:
            raise ConfigError(f"env: autoreset is {autoreset!r}, expected one of {', '.join(self._MODES)}")
        self.render_mode = check_render_mode(render_mode)
        n_sites = len(setup.sites)
        check_memory(int(num_envs) * n_sites * 500, f"env: num_envs={num_envs:,}", ConfigError)
        if seats is not None:
            if seat != _USUAL:
                raise ConfigError(f"env: seat={seat!r:.20} and seats are both given, expected one of them")
            numbers = np.tile(seat_numbers(seats, n_sites), (int(num_envs), 1))
        else:
            one = np.arange(num_envs) % n_sites if seat == "rotate" else np.full(num_envs, seat_number(seat, n_sites))
            numbers = one[:, None]
        self.markets = SeatedMarkets(setup, numbers, opponents, time_limit, task_of(task), first_episode)
        self._ends_by_truncation = bootstrap
        self.num_envs = numbers.size
        self.autoreset_mode: AutoresetMode = self._MODES[autoreset]
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = action_space(self.markets.arena, self.markets.task)
        self.single_observation_space = observation_space(self.markets.arena, self.markets.task)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._over = False  # the next step begins new episodes
        self._renderer = Renderer()
        self._traces = (
            [Trace(self.markets.arena, b, [n]) for b, row in enumerate(numbers.tolist()) for n in row] if render_mode else []
        )

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin episodes in all markets."""
        super().reset(seed=int(seed) if isinstance(seed, int | np.integer) else None)
        rows = self.markets.seats.shape
        if rows[1] > 1 and isinstance(options, Mapping) and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            options = {**options, "reset_mask": mask.reshape(rows).all(axis=1) if mask.shape == (self.num_envs,) else mask}
        return self._begin(seed, options)

    def _begin(
        self, seed: int | Sequence[int | None] | None, options: Mapping[str, Any] | None
    ) -> tuple[Observations, dict[str, Any]]:
        markets = self.markets
        markets.reset(seed, options, lambda: self.np_random)
        self._over = False
        for trace in self._traces:
            trace.start()
        of_markets = {"episode_number": markets.episodes, "root": markets.roots, "week_tick": markets.arena.scenario.start}
        info = {name: np.repeat(values, markets.seats.shape[1]) for name, values in of_markets.items()}
        return self._observed(), self._with_masks(info)

    def _observed(self) -> Observations:
        return self.markets.observe().reshape(self.num_envs, -1)

    def step(self, actions: Actions) -> tuple[Observations, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Play a tick in all markets, or begin the next episodes after the last one. See the class for ``autoreset``."""
        markets, nobody = self.markets, np.zeros(self.num_envs, dtype=np.bool_)
        if self._over and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            observations, info = self._begin(None, None)
            return observations, np.zeros(self.num_envs), nobody, nobody.copy(), info
        as_actions(actions, self.action_space.shape, markets.actions, "actions")
        markets.play(self._traces)
        results = markets.results.reshape(len(RESULTS), -1).copy()  # the caller may keep them
        info = self._with_masks({name: results[i] for i, name in enumerate(RESULTS) if i} | {"refused": markets.refused.flatten()})
        observations = self._observed()
        self._over = over = markets.done
        if over and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = {"final_obs": observations, "final_info": info}
            observations, info = self._begin(None, None)
            info |= self._with_masks(final)
        ended = np.full(self.num_envs, over)
        return observations, results[0], *((nobody, ended) if self._ends_by_truncation else (ended, nobody)), info

    def _with_masks(self, info: dict[str, Any]) -> dict[str, Any]:
        """With Gymnasium's ``_name`` masks beside every entry: here every market always has it."""
        everybody = np.ones(self.num_envs, dtype=np.bool_)
        return info | {f"_{name}": everybody for name in info}

    def render(self) -> tuple[Any, ...] | None:
        """A frame of every market in the ``render_mode``, or None without one."""
        if self.render_mode is None:
            return None
        return tuple(self._renderer.frame(trace, self.render_mode) for trace in self._traces)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the figure."""
        self._renderer.close()
