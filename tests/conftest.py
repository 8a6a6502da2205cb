"""Settings every test runs under."""

from __future__ import annotations

import os
import signal

# A shell's background job ignores Ctrl-C, and so would every process that a test starts, to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Read when numba and matplotlib are first imported, so before any test module is.
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

settings.register_profile(
    "suite",
    derandomize=True,  # the same examples in every run: a failure here is a failure everywhere
    deadline=None,  # the first example may compile a kernel
    max_examples=int(os.environ.get("GRIDPILOT_MAX_EXAMPLES", "40")),
    database=None,
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a folder of its own, so that nothing it writes by a relative path lands in the source tree."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    # Engines of other tests, and of whoever works on this machine, are not to be found, nor halted.
    monkeypatch.setenv("GRIDPILOT_RUNTIME_DIR", f"{folder}-runtime")
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # as wide as where nothing says how wide
