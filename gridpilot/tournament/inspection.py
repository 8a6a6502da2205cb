"""What is looked at before a tournament's first match: that its parts can be built, which role each agent has, and what it reads."""

from __future__ import annotations

import contextlib
import inspect
import math
import multiprocessing
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final, NamedTuple

from gridpilot.agents.foresight import Foresight
from gridpilot.agents.registry import build_agent, find_agent, registered
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.file_access import read_at_import, watch_files
from gridpilot.provenance import agent_files, source_of
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import AgentSpecs, Inspection, TournamentSpec
from gridpilot.tournament.schedule import BASELINES, REFERENCE

__all__ = ["assign_roles", "inspect_spec", "play_a_tick"]

LONGEST: Final = 120.0  # s that looking at an isolated agent may take


class _Seen(NamedTuple):
    """What is known of an agent that has been built, and has played a tick where it has files of its own."""

    opened: tuple[Path, ...] = ()  # files read meanwhile
    defaults: dict[str, str] = {}  # noqa: RUF012 - default arguments that name a file; never written to
    data: tuple[Path, ...] = ()  # files that its parameters name
    own: bool = True  # whether it has files of its own
    clairvoyant: bool = False


def inspect_spec(spec: TournamentSpec) -> Inspection:
    """Build everything once, and let every agent that has files of its own play the first tick of an episode.

    Agents that are isolated do so in a process that ends with it. Raises what is wrong with the market, the prices or an agent; a failure
    in that tick is none, as it will be scored.
    """
    with watch_files() as market:
        setup = load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
    seen = {label: _look_apart(spec, label) if spec.is_isolated(label) else _look(spec, label, setup) for label in spec.agents}
    own = [one for one in seen.values() if one.own]
    readable = frozenset(os.path.abspath(path) for one in own for path in (*one.opened, *one.data)) if own else None
    apart = {label: one.clairvoyant for label, one in seen.items() if spec.is_isolated(label)}
    return Inspection(
        len(setup.sites),
        assign_roles(spec.agents, apart),
        {label: one.opened for label, one in seen.items()},
        {label: one.defaults for label, one in seen.items()},
        market.paths,
        readable,
    )


def _look(spec: TournamentSpec, label: str, setup: MarketSetup | None = None) -> _Seen:
    target, params = spec.agents[label]["target"], spec.agents[label]["params"]
    with watch_files() as read:
        build_agent(target, params)
        defaults = _defaults(target, params)
        source = source_of(target)
        files = agent_files(target, {**defaults, **params}, source)
        own = source is not None or bool(files.code or files.data)
        if own:
            setup = setup or load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
            play_a_tick(setup, target, params, seed=spec.seed, time_limit=spec.deadline)
    opened = tuple(sorted({*read.paths, *read_at_import(files.code.values())}))
    return _Seen(opened, defaults, tuple(files.data.values()), own, find_agent(target).clairvoyant)


def _look_apart(spec: TournamentSpec, label: str) -> _Seen:
    """The same in a process that ends with it; of an agent that ends it first, or does not end, nothing is known."""
    assert spec.memory_gib is not None
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_limit, initargs=(spec.memory_gib, list(sys.path)))
    before = set(multiprocessing.active_children())
    try:
        return pool.submit(_look, spec, label).result(timeout=LONGEST)
    except (BrokenProcessPool, TimeoutError, MemoryError):
        return _Seen()
    finally:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def _limit(memory_gib: float, path: list[str]) -> None:
    sys.path[:] = path
    with contextlib.suppress(ImportError):  # not on every system
        import resource

        most = int(memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def assign_roles(agents: AgentSpecs, apart: Mapping[str, bool] | None = None) -> dict[str, str]:
    """The role of each agent, by label: one of ``schedule.ROLES``.

    ``apart`` says of agents that are not to be looked at whether they are clairvoyant.

    Reference and baselines are the library's own as they are, whose labels the configuration keeps for them. Any other is clairvoyant by
    its class, or ranked. The yardstick is the library's ``foresight`` as it is; without it ``foresight`` with parameters, without that
    any clairvoyant agent; and where that leaves several to choose from, none of them.
    """
    apart = apart or {}
    classes = {label: find_agent(agent["target"]) for label, agent in agents.items() if label not in apart}
    clairvoyant = {label: kind.clairvoyant for label, kind in classes.items()} | dict(apart)
    roles = {label: "clairvoyant" if clairvoyant[label] else "ranked" for label in agents}
    for label in BASELINES:
        if agents.get(label) == {"target": label, "params": {}}:
            roles[label] = "reference" if label == REFERENCE else "baseline"
    seers = [label for label in agents if roles[label] == "clairvoyant"]
    own = [label for label in seers if classes.get(label) is Foresight]
    plain = [label for label in own if not agents[label]["params"]]
    candidates = plain or own or seers
    if len(candidates) == 1:
        roles[candidates[0]] = "yardstick"
    return roles


def play_a_tick(setup: MarketSetup, target: str, params: Mapping[str, Any], *, seed: int = 0, time_limit: float = math.inf) -> str:
    """Let an agent play the first tick of an episode in all seats of a market of its own; return its first failure, or ``""``."""
    arena = setup.arena(1)
    arena.start(setup.scenario(seed, [0]))
    seating = Seating(arena, {"it": AgentSpec(target, params)}, [["it"] * arena.n_sites], time_limit=time_limit)
    seating.reset(seed, [0])
    seating.bid()
    arena.step()
    seating.learn()
    return next(iter(seating.first_error.values()), "")


def _defaults(target: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Default arguments that hold where an agent of one's own is built with ``params``, and name a file."""
    if target in registered():
        return {}
    found = inspect.signature(find_agent(target)).parameters.items()
    texts = {name: parameter.default for name, parameter in found if name not in params}
    return {
        name: text
        for name, text in texts.items()
        if isinstance(text, str) and ("/" in text or "." in text) and os.path.isfile(text)
    }
