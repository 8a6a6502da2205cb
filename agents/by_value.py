"""Agents given as objects: a class of a notebook or a script, or an instance, carried as bytes to wherever it plays.

A class that lies in a file is named by its dotted path instead, as in a configuration, so that the same run is the same run. What is
carried is pickled by value (cloudpickle), with the module that it comes from. Bytes of equal objects differ between two sessions, and so a
run's identity takes their digest, which does not, and the source of the class; see :func:`digest_of`.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import pickletools
import re
import sys
import zlib
from typing import Any, Final, NamedTuple, cast

import cloudpickle  # type: ignore[import-untyped]

from gridpilot.agents.base import Agent
from gridpilot.errors import AgentError
from gridpilot.file_access import is_installed
from gridpilot.provenance import source_of

__all__ = ["BY_VALUE", "AgentByValue", "carried", "digest_of", "entry_of"]

BY_VALUE: Final = "gridpilot.agents.by_value.AgentByValue"
_MARK: Final = re.compile("[0-9a-f]{32}")  # of a class, by cloudpickle,
_AFTER: Final = ["NONE", "TUPLE"]  # the last but one of the arguments that make the class


class _Step(NamedTuple):
    """An operation of a pickle."""

    name: str
    value: Any
    position: int  # in the pickle


class AgentByValue(Agent):
    """Building it yields the agent that it carries, anew each time: a new instance of its class, or a copy of the instance.

    ``pickled``  the class or the instance, as :func:`entry_of` writes it
    ``digest``   of what it carries, equal in every session
    ``source``   the text of the class, where there is one
    ``of``       the dotted path of the class, for its code to be found beside the run
    """

    def __new__(cls, pickled: str, digest: str = "", source: str = "", of: str = "") -> Agent:  # type: ignore[misc]
        """The agent itself, which is no instance of this class."""
        one = carried(pickled)
        return one() if isinstance(one, type) else one


def entry_of(agent: type[Agent] | Agent) -> dict[str, Any]:
    """A configuration's entry for an agent that is given as a class or an instance: its dotted path, or the agent by value.

    Raises :class:`~gridpilot.errors.AgentError` for what is no agent, and for one that cannot be pickled, saying why.
    """
    kind = agent if isinstance(agent, type) else type(agent)
    if not issubclass(kind, Agent):
        raise AgentError(
            f"agents: {agent!r:.100} is no agent, expected a subclass of gridpilot.Agent, an instance of one, or a name"
        )
    path = f"{kind.__module__}.{kind.__qualname__}"
    in_a_file = _has_path(kind)
    if agent is kind and in_a_file:
        return {"name": path}
    module = sys.modules.get(kind.__module__)
    own = in_a_file and module is not None and not _is_installed(kind)
    if own:
        cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(agent)
    except Exception as error:  # a user's object may refuse in any way
        raise AgentError(f"agents: {kind.__name__} cannot be sent to where it plays: {type(error).__name__}: {error}") from error
    finally:
        if own:
            cloudpickle.unregister_pickle_by_value(module)
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a bare interpreter
        source = ""
    digest = digest_of(data)
    pickled = base64.b64encode(zlib.compress(_marked(data, digest), 9)).decode()
    return {"name": BY_VALUE, "pickled": pickled, "digest": digest, "source": source, "of": path if in_a_file else ""}


def carried(pickled: str) -> type[Agent] | Agent:
    """What :func:`entry_of` has pickled. Raises :class:`~gridpilot.errors.AgentError` where it cannot be read here."""
    try:
        one = cloudpickle.loads(zlib.decompress(base64.b64decode(pickled, validate=True)))
    except Exception as error:  # code of the user's may run, and fail in any way
        raise AgentError(f"agents: an agent by value cannot be read: {type(error).__name__}: {error}") from error
    if not (isinstance(one, Agent) or (isinstance(one, type) and issubclass(one, Agent))):
        raise AgentError(f"agents: an agent by value is {type(one).__name__}, expected an agent")
    return one


def digest_of(data: bytes) -> str:
    """64 hexadecimal digits of a pickle, equal for objects that are equal down to their code, whichever session pickled them.

    Two things change from session to session. Equal strings are written once or several times, as they happen to be one object or several:
    each is taken in full wherever it stands. And cloudpickle marks a class with a random number, which is left out.
    """
    steps, marks = _steps_of(data)
    kept = [step[:2] for i, step in enumerate(steps) if i not in marks]
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def _steps_of(data: bytes) -> tuple[list[_Step], set[int]]:
    """What a pickle does, without what is about its memo alone; and which of these steps are cloudpickle's marks of classes."""
    steps: list[_Step] = []
    memo: list[_Step] = []
    objects = 0
    for code, value, position in pickletools.genops(data):
        if code.name == "MEMOIZE":
            text = isinstance(steps[-1].value, str | bytes)
            memo.append(steps[-1] if text else _Step("OBJECT", objects, 0))
            objects += not text
        elif code.name in ("BINGET", "LONG_BINGET"):
            steps.append(memo[cast("int", value)])
        elif code.name != "FRAME":
            steps.append(_Step(code.name, value, position or 0))
    marks = {
        i
        for i, step in enumerate(steps)
        if step.name == "SHORT_BINUNICODE" and _MARK.fullmatch(step.value) and [one.name for one in steps[i + 1 : i + 3]] == _AFTER
    }
    return steps, marks


def _marked(data: bytes, digest: str) -> bytes:
    """The pickle with marks made of its digest, so that no process takes its classes for those that were pickled, and sets their state."""
    steps, marks = _steps_of(data)
    written = bytearray(data)
    for number, i in enumerate(sorted(marks)):
        start = steps[i].position + 2  # after the operation and the length
        written[start : start + 32] = hashlib.sha256(f"{digest} {number}".encode()).hexdigest()[:32].encode()
    return bytes(written)


def _has_path(kind: type[Agent]) -> bool:
    """Whether another process finds the class by its dotted path."""
    if kind.__module__ == "__main__" or "." in kind.__qualname__:
        return False
    module = sys.modules.get(kind.__module__)
    if getattr(module, kind.__qualname__, None) is not kind:
        return False
    try:
        return source_of(f"{kind.__module__}.{kind.__qualname__}") is not None
    except AgentError:
        return False


def _is_installed(kind: type[Agent]) -> bool:
    path = source_of(f"{kind.__module__}.{kind.__qualname__}")
    return kind.__module__.partition(".")[0] == "gridpilot" or (path is not None and is_installed(path))
