"""What is looked at before a tournament's first match: that its parts can be built, which role each agent has, and what it reads."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gridpilot.agents.foresight import Foresight
from gridpilot.agents.isolation import Ended, Limits, end_idle
from gridpilot.agents.registry import agent_class, file_defaults, is_own
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.errors import AgentError
from gridpilot.file_access import read_at_import, watch_files
from gridpilot.forecasting.climatology import Climatology
from gridpilot.provenance import agent_files, source_of
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import AgentSpecs, Inspection, TournamentSpec
from gridpilot.tournament.outlooks import climatologies_of, outlook_notes
from gridpilot.tournament.schedule import BASELINES, CLAIRVOYANT_ROLES, REFERENCE

__all__ = ["agents_of", "assign_roles", "inspect_spec", "play_a_tick"]


class _Seen(NamedTuple):
    """What is known of an agent that has been built, and has played a tick where it has files of its own."""

    opened: tuple[Path, ...] = ()  # files read meanwhile
    defaults: dict[str, str] = {}  # noqa: RUF012 - default arguments that name a file; never written to
    data: tuple[Path, ...] = ()  # files that its parameters name
    own: bool = True  # whether it has files of its own
    clairvoyant: bool = False
    climatologies: Sequence[Climatology] = ()  # that it plans by


def inspect_spec(spec: TournamentSpec) -> Inspection:
    """Build everything once, and let every agent that has files of its own play the first tick of an episode.

    Agents that are isolated do so in their own processes, which end with it. Raises what is wrong with the market, the prices or an
    agent; a failure in that tick is none, as it will be scored.
    """
    with watch_files() as market:
        setup = load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
    agents = agents_of(spec)
    seen = {label: _look(spec, agent, setup) for label, agent in agents.items()}
    end_idle()  # in play, files are held back from the start of a process
    own = [one for one in seen.values() if one.own]
    readable = frozenset(os.path.abspath(path) for one in own for path in (*one.opened, *one.data)) if own else None
    apart = {label: one.clairvoyant for label, one in seen.items() if agents[label].limits is not None}
    return Inspection(
        len(setup.sites),
        assign_roles(spec.agents, apart),
        {label: one.opened for label, one in seen.items()},
        {label: one.defaults for label, one in seen.items()},
        market.paths,
        readable,
        outlook_notes({label: one.climatologies for label, one in seen.items()}, setup, spec.seed),
    )


def agents_of(spec: TournamentSpec) -> dict[str, AgentSpec]:
    """How its agents are built, by label: those that are not the library's in processes of their own, where it asks for that.

    What an isolated agent says of itself moves nothing: it is shown what no bidder knows only in the role that the inspection found.
    """
    limits = None if spec.memory_gib is None else Limits(spec.memory_gib)
    return {
        label: AgentSpec(
            agent["target"],
            agent["params"],
            None if is_own(agent["target"], agent["params"]) else limits,
            clairvoyant=spec.roles is None or spec.roles[label] in CLAIRVOYANT_ROLES,
            files=spec.files,
        )
        for label, agent in spec.agents.items()
    }


def _look(spec: TournamentSpec, agent: AgentSpec, setup: MarketSetup) -> _Seen:
    if agent.limits is not None:
        return _look_apart(spec, agent, setup)
    with watch_files() as read:
        built = agent.build()
        clairvoyant = type(built).clairvoyant
        defaults = file_defaults(agent.target, agent.params)
        code, data, own = _files(agent, defaults)
        if own:
            play_a_tick(setup, agent, seed=spec.seed, time_limit=spec.deadline)
    opened = tuple(sorted({*read.paths, *read_at_import(code)}))
    return _Seen(opened, defaults, data, own, clairvoyant, climatologies_of(built))


def _look_apart(spec: TournamentSpec, agent: AgentSpec, setup: MarketSetup) -> _Seen:
    """The same in the agent's own process; of an agent that ends it, or does not answer, nothing is known."""
    try:
        clairvoyant = agent.is_clairvoyant()
        play_a_tick(setup, agent, seed=spec.seed, time_limit=spec.deadline)
        report = agent.report()
    except AgentError as error:
        if isinstance(error.__cause__, Ended):
            return _Seen()
        raise
    _, data, own = _files(agent, report.defaults)
    return _Seen(
        tuple(sorted(Path(path) for path in report.opened if os.path.isfile(path))), report.defaults, data, own, clairvoyant
    )


def _files(agent: AgentSpec, defaults: Mapping[str, str]) -> tuple[list[Path], tuple[Path, ...], bool]:
    """Files of code of the user's, files that parameters name, and whether there are any, or the agent itself is the user's."""
    source = source_of(agent.target)
    files = agent_files(agent.target, {**defaults, **agent.params}, source)
    return list(files.code.values()), tuple(files.data.values()), source is not None or bool(files.code or files.data)


def assign_roles(agents: AgentSpecs, apart: Mapping[str, bool] | None = None) -> dict[str, str]:
    """The role of each agent, by label: one of ``schedule.ROLES``.

    ``apart`` says of agents that are not to be looked at whether they are clairvoyant.

    Reference and baselines are the library's own as they are, whose labels the configuration keeps for them. Any other is clairvoyant by
    its class, or ranked. The yardstick is the library's ``foresight`` as it is; without it ``foresight`` with parameters, without that
    any clairvoyant agent; and where that leaves several to choose from, none of them.
    """
    apart = apart or {}
    classes = {label: agent_class(agent["target"], agent["params"]) for label, agent in agents.items() if label not in apart}
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


def play_a_tick(setup: MarketSetup, agent: AgentSpec, *, seed: int = 0, time_limit: float = math.inf) -> str:
    """Let an agent play the first tick of an episode in all seats of a market of its own; return its first failure, or ``""``."""
    arena = setup.arena(1)
    arena.start(setup.scenario(seed, [0]))
    with contextlib.closing(Seating(arena, {"it": agent}, [["it"] * arena.n_sites], time_limit=time_limit)) as seating:
        seating.reset(seed, [0])
        seating.bid()
        arena.step()
        seating.learn()
        return next(iter(seating.first_error.values()), "")
