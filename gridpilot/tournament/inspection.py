"""What is looked at before a tournament's first match: that its parts can be built, and which role each agent has."""

from __future__ import annotations

from gridpilot.agents.foresight import Foresight
from gridpilot.agents.registry import build_agent, find_agent
from gridpilot.setup import load_setup
from gridpilot.tournament.config import AgentSpecs, Inspection, TournamentSpec
from gridpilot.tournament.schedule import BASELINES, REFERENCE

__all__ = ["assign_roles", "inspect_spec"]


def inspect_spec(spec: TournamentSpec) -> Inspection:
    """Build everything once. Raises what is wrong with the market, the prices or an agent."""
    setup = load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
    for agent in spec.agents.values():
        build_agent(agent["target"], agent["params"])
    return Inspection(len(setup.sites), assign_roles(spec.agents))


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
