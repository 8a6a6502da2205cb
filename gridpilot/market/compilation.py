"""How compiled kernels are declared, cached and announced.

Kernels are compiled by numba when first called and cached on disk beside their source (in numba's user-wide cache where the
package folder is read-only), so that a machine compiles each of them once; the first compilation of a process says so on stderr. Where no
cache can be written each process compiles what it uses, and says so.

``kernel`` is for code that runs on one thread, ``parallel_kernel`` runs its ``prange`` loops on all of numba's threads. ``leaf_kernel`` is
for hot loops: it may make no array, and in return counts no references to those that it is given. What it needs as scratch is made by the
``kernel`` that calls it. Reordering of floating-point sums is forbidden in all: equal inputs give bitwise equal results, whatever the batch
size.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import errors, event

__all__ = ["inline_kernel", "kernel", "leaf_kernel", "parallel_kernel", "start_without_blas"]

# numba's private name for "this function owns arrays": with it, numba's runtime counts the references to every array that a function
# takes or views. A function without the option inherits its first caller's, so that every kernel has to say.
_OWNS_ARRAYS = "_nrt"
# What numba says, in places far from the cause, of a function that makes an array and has not got it.
_MAKES_ARRAY = ("NRT required but not enabled", "Only accept returning of array passed into the function as argument")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` to a cached kernel for one thread."""
    return _compiled(function, **{_OWNS_ARRAYS: True})


def leaf_kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` to a cached kernel that makes no arrays, and so counts no references: views of its arguments cost nothing.

    Compilation, at the first call, raises :class:`TypeError` where it makes one. It may call a ``kernel`` that does.
    """
    return _compiled(function, **{_OWNS_ARRAYS: False})


def inline_kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` into each kernel that calls it: for parts of a hot loop, where passing arrays costs more than the work."""
    return _compiled(function, inline="always")


def parallel_kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` to a cached kernel whose ``prange`` loops use all of numba's threads."""
    return _compiled(function, parallel=True, **{_OWNS_ARRAYS: True})


def start_without_blas() -> None:
    """Start numba's code generator without looking for BLAS, as no kernel here does linear algebra: 17 MiB less for the process.

    To look for it numba imports ``scipy.linalg``, and with it much of scipy and numpy's Fortran tools. A numba function that uses linear
    algebra still imports it when it is compiled. Does nothing where scipy's is there already.
    """
    name = "scipy.linalg"
    if name in sys.modules:
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails, as it does where there is no scipy
    try:
        numba.core.registry.cpu_target.target_context.refresh()
    finally:
        del sys.modules[name]


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # NUMBA_DISABLE_JIT=1, for debuggers: plain Python functions
        return np.errstate(all="ignore")(function)  # a kernel divides by zero and overflows in silence
    cached = True
    try:
        dispatcher = numba.njit(cache=True, error_model="numpy", **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # Neither the package's folder nor the user's can be written, as in a container or for a web server.
        cached = _announcement.kept = False
        dispatcher = numba.njit(error_model="numpy", **options)(function)
    if options.get(_OWNS_ARRAYS, True) is False:
        dispatcher.compile = functools.partial(_compile_or_explain, dispatcher.compile, function)
    if cached:
        _follow_sources(dispatcher)
    return dispatcher


def _follow_sources(dispatcher: Any) -> None:
    """Make a cached kernel depend on all kernel sources it can call, and go on without a cache that can no longer be written.

    numba's cache looks only at the file of the outermost kernel, so that after a change to a kernel which that one calls it would go on
    running the old code.
    """
    path = Path(inspect.getfile(dispatcher.py_func)).resolve()
    cache_file = dispatcher._cache._cache_file
    cache_file._source_stamp = (*cache_file._source_stamp, _stamp(path.parent), _stamp(Path(__file__).resolve().parent))
    save = dispatcher._cache.save_overload

    def save_if_possible(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError as error:  # the disk is full, or the folder has become read-only: the kernel itself is there
            _announcement.lost(error)

    dispatcher._cache.save_overload = save_if_possible


def _compile_or_explain(compile_for: Callable[[Any], Any], function: Callable[..., Any], signature: Any) -> Any:
    try:
        return compile_for(signature)
    except errors.NumbaError as error:
        if any(words in str(error) for words in _MAKES_ARRAY):
            raise TypeError(
                f"{function.__module__}.{function.__qualname__}: a leaf kernel makes an array, expected one that only uses those it is "
                "given; make it in the kernel that calls it"
            ) from error
        raise


@functools.cache
def _stamp(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        text = path.read_bytes()
        if b"kernel\n" in text:  # a decorator line
            digest.update(text)
    return digest.hexdigest()


class _Announcement(event.Listener):
    """Tells, once a process, that the first use compiles, and whether the result is kept."""

    def __init__(self) -> None:
        self.said = False
        self.kept = True

    def on_start(self, event: Any) -> None:
        if not self.said and "gridpilot" in event.data["dispatcher"].py_func.__module__:
            self.said = True
            what = "this happens once and is cached"
            if not self.kept:
                what = f"{_UNWRITABLE}, so that this happens every time"
            print(f"gridpilot: compiling the kernels for this machine; {what}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to say: numba keeps the result."""

    def lost(self, error: OSError) -> None:
        """Tell, once, that what was compiled could not be kept."""
        if self.kept:
            self.kept = False
            print(f"gridpilot: {_UNWRITABLE} ({error.strerror})", file=sys.stderr, flush=True)


_UNWRITABLE = "they cannot be kept, as no cache folder can be written; NUMBA_CACHE_DIR=FOLDER names one that can"
_announcement = _Announcement()
event.register("numba:compile", _announcement)  # type: ignore[no-untyped-call]
