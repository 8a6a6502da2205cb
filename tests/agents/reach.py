"""Everything that can be reached from an object by its attributes, items, closures and the bases of its arrays."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["arrays_within_reach"]

_ENTERED = ("gridpilot", "tests", "builtins", "functools")
_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype)


def arrays_within_reach(*roots: Any) -> list[np.ndarray]:
    """The arrays among them, each once; modules of others than this library are not entered."""
    seen: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _PLAIN):
            continue
        seen[id(one)] = one
        waiting += _neighbours(one)
    return [one for one in seen.values() if isinstance(one, np.ndarray)]


def _neighbours(one: Any) -> Iterator[Any]:
    if isinstance(one, types.ModuleType):
        if one.__name__.startswith("gridpilot"):
            yield from list(vars(one).values())
        return
    if isinstance(one, np.ndarray):
        yield one.base
        if one.dtype == object:
            yield from one.ravel().tolist()
        return
    if isinstance(one, memoryview):
        yield one.obj
        return
    if isinstance(one, dict):
        yield from list(one)
        yield from list(one.values())
    elif isinstance(one, list | tuple | set | frozenset):
        yield from list(one)
    if isinstance(one, types.FunctionType):
        yield sys.modules.get(one.__module__)
        yield one.__defaults__
        for cell in one.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # an empty cell
                continue
        return
    if isinstance(one, types.MethodType):
        yield one.__self__
        yield one.__func__
        return
    if isinstance(one, type):
        if one.__module__.startswith("gridpilot"):
            yield from list(vars(one).values())
        return
    if not type(one).__module__.startswith(_ENTERED):
        return
    yield type(one)
    for name in getattr(one, "__dict__", {}):
        yield getattr(one, name, None)
    for kind in type(one).__mro__:
        for name in getattr(kind, "__slots__", ()):
            yield getattr(one, name, None)
