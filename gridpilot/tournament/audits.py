"""The audit at the start of a tournament of agents that are not the library's: its verdict stands in manifest and leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.agents.registry import is_own
from gridpilot.audit.ask import audit
from gridpilot.tournament.manifest import Manifest, seal

__all__ = ["audit_agents", "failed_audits", "with_audits"]

Verdicts = dict[str, dict[str, Any]]


def audit_agents(agents: Mapping[str, Mapping[str, Any]], deadline: float) -> Verdicts:
    """Examine, in the short form, the agents of a manifest that have code or files of their own; their verdicts by label.

    ``deadline`` is what a decision may take, s. Raises :class:`~gridpilot.errors.AgentError` for an agent that cannot be built.
    """
    own = [label for label, entry in agents.items() if not is_own(entry["target"], entry["params"]) or entry.get("files")]
    if not own:
        return {}
    audits = audit([(agents[label]["target"], agents[label]["params"]) for label in own], short=True, deadline=deadline)
    return {label: result.summary() for label, result in zip(own, audits, strict=True)}


def with_audits(manifest: Manifest, verdicts: Verdicts) -> Manifest:
    """The manifest with the verdicts in the entries of their agents."""
    agents = {label: {**entry, "audit": verdicts.get(label)} for label, entry in manifest["agents"].items()}
    return seal({**manifest, "agents": agents})


def failed_audits(manifest: Manifest) -> dict[str, dict[str, str]]:
    """The agents that failed their audit, by label: the checks, and what each found."""
    verdicts = {label: entry.get("audit") for label, entry in manifest["agents"].items()}
    return {label: dict(verdict["failed"]) for label, verdict in verdicts.items() if verdict and not verdict["passed"]}
