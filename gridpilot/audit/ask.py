"""Asking for the examination of agents: what ``gridpilot check`` and tournaments call. It imports nothing heavy, and no agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridpilot.audit.verdict import Audit, Verdict
from gridpilot.errors import AgentError

__all__ = ["DEADLINE", "audit", "command", "environment"]

DEADLINE: Final = 1.0  # s a decision, as in tournaments unless configured
PATIENCE: Final = 60.0  # s for a play
_BEGIN: Final = (
    "import json, sys; request = json.loads(sys.stdin.readline()); sys.path[:] = request['path']; "
    "from gridpilot.audit.host import serve; serve(request)"
)


def audit(
    agents: Sequence[tuple[str, Mapping[str, Any]]], *, short: bool = False, deadline: float = DEADLINE, patience: float = PATIENCE
) -> list[Audit]:
    """Examine ``agents``, each a registered name or dotted path and its parameters, in processes of their own.

    ``short`` leaves out what takes long. ``deadline`` in s is what a decision may take, ``patience`` what one of some twenty plays may.
    Paths are looked up in the working directory. Raises :class:`~gridpilot.errors.AgentError` for an agent that cannot be found or does
    not take the parameters.
    """
    request = {
        "agents": [{"target": target, "params": dict(params)} for target, params in agents],
        "short": short,
        "deadline": deadline,
        "patience": patience,
        "elsewhere": False,
        "path": sys.path,
    }
    done = subprocess.run(
        command(), input=json.dumps(request).encode() + b"\n", stdout=subprocess.PIPE, env=environment(), check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if "error" in answer:
            raise AgentError(answer["error"])
    if done.returncode or len(answers) < len(agents):
        raise AgentError(f"the examination of {agents[len(answers) % len(agents)][0]} ended early, exit code {done.returncode}")
    return [
        Audit(
            target=target,
            params=dict(params),
            short=short,
            clairvoyant=answer["clairvoyant"],
            verdicts=tuple(Verdict(**verdict) for verdict in answer["verdicts"]),
            seconds=answer["seconds"],
        )
        for (target, params), answer in zip(agents, answers, strict=True)
    ]


def command() -> list[str]:
    """The command of the process in which agents are examined."""
    return [sys.executable, "-P", "-c", _BEGIN]


def environment() -> dict[str, str]:
    """Its environment: one thread for every kind of parallel code, as the processes are forked."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONHASHSEED": "0"}
