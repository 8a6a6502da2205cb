"""Something to look at: a stand-in of the API, an engine in shadow on it and a small tournament, all of which end with the page."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridpilot.insight.dashboard.serve import ADDRESS, free_port
from gridpilot.insight.dashboard.sources import Sources

__all__ = ["demo"]

SPEED: Final = 60  # feed seconds a wall second: a decision every five seconds
HISTORY: Final = 144  # rows that are there at the start: half a day of prices, so that it begins at midnight
PATIENCE_S: Final = 10.0  # for each to end by itself
TOURNAMENT: Final = ("agents=[truthful,threshold,zero_intelligence]", "episodes=10", "ticks=48", "lineups=[mixed,self]")
SECRET: Final = "MARA_API_KEY"  # of somebody's site, which a demo has no business with


@contextlib.contextmanager
def demo() -> Iterator[Sources]:
    """What it shows, within the block; what was started ends with it, and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="gridpilot-demo-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        port, journal, run = free_port(0), folder / "demo.db", folder / "demo"
        stand_in = ("serve-mara", "--port", str(port), "--speed", str(SPEED), "--history", str(HISTORY))
        engine = (
            "live", "live=stand_in", f"live.url=http://{ADDRESS}:{port}", f"live.journal={journal}", "agent=threshold", "live.table=false",
        )  # fmt: skip
        stack.enter_context(_running(stand_in, folder / "stand_in.log"))
        stack.enter_context(_running(engine, folder / "engine.log"))
        stack.enter_context(_running(("tournament", *TOURNAMENT, f"out={run}"), folder / "tournament.log"))
        yield Sources([run], [journal], coming=f"the demo has just begun; logs are in {folder}")


@contextlib.contextmanager
def _running(arguments: tuple[str, ...], log: Path) -> Iterator[None]:
    """A command of this program as a process of its own, which ends with the block."""
    environment = {key: value for key, value in os.environ.items() if key != SECRET}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gridpilot", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the page, which ends them in their order
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
