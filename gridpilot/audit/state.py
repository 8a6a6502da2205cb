"""The state of a process that an agent shares with everybody else, before and after: modules, random numbers, signals, threads."""

from __future__ import annotations

import builtins
import dataclasses
import gc
import locale
import operator
import os
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from gridpilot.audit.play import Incident
from gridpilot.presets import registered

__all__ = ["ModulesState", "ProcessState"]

_STRICT: Final = {
    "builtins", "copy", "dataclasses", "functools", "json", "math", "numpy", "numpy.linalg", "numpy.random", "os", "pickle", "random",
    "signal", "threading", "time",
}  # fmt: skip
"""Modules besides the project's in which no function or class may be replaced, by whatever."""
_GROUPS: Final = ("agent", "bidding", "storage", "forecaster", "planner")
_BY_PYTHON: Final = {"__slotnames__", "__abstractmethods__", "_abc_impl", "__doc__", "__annotations__", "__dict__", "__weakref__"}
_PLAIN: Final = (dict, list, set, frozenset, tuple)


class ModulesState:
    """What the modules hold that are there now; ``is_own`` tells the agent's own files."""

    def __init__(self, is_own: Callable[[str], bool]) -> None:
        self._is_own = is_own
        self._modules = dict(sys.modules)
        self._names = {name: dict(vars(module)) for name, module in self._modules.items() if isinstance(module, types.ModuleType)}
        self._project = dict(self._contents())
        self._registered = repr([registered(group) for group in _GROUPS])

    def changes(self) -> Iterator[Incident]:
        """What is another now."""
        for name, module in self._modules.items():
            if module is not None and sys.modules.get(name) is not module:
                yield Incident("outside", f"the module {name} was replaced")
        for name, before in self._names.items():
            strict, now = _is_project(name) or name in _STRICT, vars(self._modules[name])
            if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
                continue
            for key in (now.keys() | before.keys()) - {"__builtins__", "__warningregistry__"}:
                here, there = now.get(key, _GONE), before.get(key, _GONE)
                if here is not there and self._counts(name, strict, there, here):
                    yield Incident("outside", f"{name}.{key} was {'added' if there is _GONE else 'replaced'}")
        contents = dict(self._contents())
        for path, before_ in self._project.items():
            if path in contents and not _equal(contents[path], before_):
                yield Incident("outside", f"{path} was changed")
        for path in contents.keys() - self._project.keys():
            if path.rpartition(".")[0] in self._classes:
                yield Incident("outside", f"{path} was added")
        if repr([registered(group) for group in _GROUPS]) != self._registered:
            yield Incident("outside", "the registry of parts was changed")

    def _counts(self, module: str, strict: bool, there: Any, here: Any) -> bool:
        if there is _GONE:  # as when a submodule is imported, or a name looked up that is made on demand
            ours = isinstance(here, types.ModuleType) or _is_project(getattr(here, "__module__", None) or "")
            return self._is_foreign(here) or (_is_project(module) and not ours)
        if strict and (_is_project(module) or callable(there) or here is _GONE):
            return True
        return self._is_foreign(here)

    def _is_foreign(self, value: Any) -> bool:
        """Whether the agent's own code made it."""
        code = getattr(value, "__code__", None)
        if isinstance(code, types.CodeType):
            return self._is_own(code.co_filename)
        kind = value if isinstance(value, type) else type(value)
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        return file is not None and self._is_own(file)

    def _contents(self) -> Iterator[tuple[str, Any]]:
        """Of the project's modules: the insides of functions and classes, and of what is plain data."""
        self._classes: set[str] = set()
        for name, module in self._modules.items():
            if not _is_project(name) or not isinstance(module, types.ModuleType):
                continue
            for key, value in list(vars(module).items()):
                if key.startswith("__"):
                    continue
                if dataclasses.is_dataclass(value) and not isinstance(value, type):
                    yield f"{name}.{key}", (value, repr(value))
                elif getattr(value, "__module__", name) != name:
                    continue
                if isinstance(value, type):
                    self._classes.add(f"{name}.{key}")
                    for attribute, inside in list(vars(value).items()):
                        if attribute not in _BY_PYTHON and not attribute.startswith("__pydantic"):
                            yield f"{name}.{key}.{attribute}", _insides(inside)
                elif isinstance(value, (types.FunctionType, np.ndarray, *_PLAIN)):
                    yield f"{name}.{key}", _insides(value)


def _insides(value: Any) -> Any:
    if isinstance(value, types.FunctionType):
        return (value, value.__code__, value.__defaults__, value.__kwdefaults__)
    if isinstance(value, np.ndarray):
        return (value, value.tobytes())
    if isinstance(value, _PLAIN):
        return (value, repr(value))
    return (value,)


def _equal(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(x is y or (isinstance(x, str | bytes) and x == y) for x, y in zip(a, b, strict=True))


def _is_project(name: str) -> bool:
    return name.split(".")[0] == "gridpilot"


_GONE: Final = object()


class ProcessState:
    """What else a process has one of."""

    def __init__(self) -> None:
        self._modules = len(sys.modules)
        self._random, self._other = _random_state(), _process_state()

    def changes(self) -> Iterator[Incident]:
        """What is another now."""
        for name, state in _random_state().items():
            if self._random.get(name, state) != state:
                yield Incident("random", f"the state of {name} was changed")
        imported = len(sys.modules) > self._modules  # libraries set these up when they are imported
        for name, state in _process_state().items():
            if self._other[name] != state and not (imported and name in _BY_IMPORTS):
                check = "resources" if name == "threads" else "outside"
                found = f"threads were left running: {', '.join(map(str, state))}" if name == "threads" else f"{name} was changed"
                yield Incident(check, found)


_BY_IMPORTS: Final = {"warnings.filters", "sys.excepthook", "sys.meta_path", "sys.path_hooks"}


def _random_state() -> dict[str, Any]:
    states: dict[str, Any] = {"the module random": repr(random.getstate()), "numpy.random": repr(_legacy_state())}
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        states["torch"] = bytes(torch.get_rng_state().numpy().tobytes())
    return states


def _legacy_state() -> Any:
    state: Any = np.random.get_state(legacy=False)
    return sorted(state.items(), key=str), state["state"]["key"].tobytes()


def _process_state() -> dict[str, Any]:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return {
        "os.environ": dict(os.environ),
        "the working directory": os.getcwd(),
        "sys.path": list(sys.path),
        "sys.meta_path": [id(finder) for finder in sys.meta_path],
        "sys.path_hooks": [id(hook) for hook in sys.path_hooks],
        "sys.stdout or sys.stderr": (id(sys.stdout), id(sys.stderr)),
        "sys.excepthook": (id(sys.excepthook), id(threading.excepthook)),
        "the tracing of the interpreter": (sys.gettrace(), sys.getprofile()),
        "the recursion limit": sys.getrecursionlimit(),
        "the switch interval": sys.getswitchinterval(),
        "warnings.filters": list(warnings.filters),
        "numpy's error state": (np.geterr(), np.geterrcall()),
        "numpy's print options": repr(np.get_printoptions()),
        "a signal's handler": handlers,
        "the garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_debug(), list(map(id, gc.callbacks))),
        "the locale": locale.setlocale(locale.LC_ALL),
        "builtins": len(vars(builtins)),
        "threads": [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()],
    }
