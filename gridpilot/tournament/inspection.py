"""What is looked at before a tournament's first match: that its parts can be built, which role each agent has, and what it reads."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridpilot.agents.foresight import Foresight
from gridpilot.agents.registry import build_agent, find_agent, registered
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.file_access import read_at_import, watch_files
from gridpilot.provenance import agent_files, source_of
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import AgentSpecs, Inspection, TournamentSpec
from gridpilot.tournament.schedule import BASELINES, REFERENCE

__all__ = ["assign_roles", "inspect_spec", "play_a_tick"]


def inspect_spec(spec: TournamentSpec) -> Inspection:
    """Build everything once, and let every agent that has files of its own play the first tick of an episode.

    Raises what is wrong with the market, the prices or an agent; a failure in that tick is none, as it will be scored.
    """
    with watch_files() as market:
        setup = load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
    opened: dict[str, tuple[Path, ...]] = {}
    defaults: dict[str, dict[str, str]] = {}
    readable: set[str] | None = None
    for label, agent in spec.agents.items():
        target, params = agent["target"], agent["params"]
        with watch_files() as read:
            build_agent(target, params)
            defaults[label] = _defaults(target, params)
            source = source_of(target)
            files = agent_files(target, {**defaults[label], **params}, source)
            own = source is not None or bool(files.code or files.data)
            if own:
                play_a_tick(setup, target, params, seed=spec.seed, time_limit=spec.deadline)
        opened[label] = tuple(sorted({*read.paths, *read_at_import(files.code.values())}))
        if own:
            known = {os.path.abspath(path) for path in (*opened[label], *files.data.values())}
            readable = known | (readable or set())
    limit = None if readable is None else frozenset(readable)
    return Inspection(len(setup.sites), assign_roles(spec.agents), opened, defaults, market.paths, limit)


def assign_roles(agents: AgentSpecs) -> dict[str, str]:
    """The role of each agent, by label: one of ``schedule.ROLES``.

    Reference and baselines are the library's own as they are, whose labels the configuration keeps for them. Any other is clairvoyant by
    its class, or ranked. The yardstick is the library's ``foresight`` as it is; without it ``foresight`` with parameters, without that
    any clairvoyant agent; and where that leaves several to choose from, none of them.
    """
    classes = {label: find_agent(agent["target"]) for label, agent in agents.items()}
    roles = {label: "clairvoyant" if kind.clairvoyant else "ranked" for label, kind in classes.items()}
    for label in BASELINES:
        if agents.get(label) == {"target": label, "params": {}}:
            roles[label] = "reference" if label == REFERENCE else "baseline"
    seers = [label for label in agents if roles[label] == "clairvoyant"]
    own = [label for label in seers if classes[label] is Foresight]
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
