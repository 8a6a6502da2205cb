"""Where Numba keeps what it compiles of a deployment's own code: never in its folder.

Numba's indexes are pickles, and reading one runs what it says; no hash of a source covers them. They go into the user's own cache instead,
where Numba keeps what it cannot keep beside its source, and where that cannot be written into a folder of this process alone.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numba
from numba.core import caching

__all__ = ["Elsewhere", "compile_elsewhere"]

_FOLDERS: Final[set[str]] = set()  # real paths


class Elsewhere(caching.UserWideCacheLocator):
    """A locator, in Numba's terms, for functions whose source lies in a deployment."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Where a function is kept; None for one that is not of a deployment."""
        if not any(Path(os.path.realpath(py_file)).is_relative_to(folder) for folder in _FOLDERS):
            return None
        found: Any = super().from_function(py_func, py_file)  # type: ignore[no-untyped-call]
        if found is None:
            found = cls(py_func, py_file)
            found._cache_path = tempfile.mkdtemp(prefix="gridpilot-numba-")
        return found


def compile_elsewhere(folder: Path) -> None:
    """See to it for all code below ``folder``, from now on in this process."""
    _FOLDERS.add(os.path.realpath(folder))
    config: Any = numba.config
    given = config.CACHE_LOCATOR_CLASSES or ",".join(f"{kind.__module__}.{kind.__name__}" for kind in _DEFAULT)
    own = f"{Elsewhere.__module__}.{Elsewhere.__name__}"
    if own not in given.split(","):
        config.CACHE_LOCATOR_CLASSES = f"{own},{given}"


_DEFAULT: Final = (
    caching.UserProvidedCacheLocator,
    caching.InTreeCacheLocator,
    caching.UserWideCacheLocator,
    caching.IPythonCacheLocator,
    caching.ZipCacheLocator,
)
