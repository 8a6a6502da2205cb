"""``gridpilot dashboard [RUN|JOURNAL ...]``: a page to look at, on this machine alone."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gridpilot.errors import ConfigError, MissingExtraError
from gridpilot.tournament.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from gridpilot.insight.dashboard.sources import Sources

__all__ = ["main", "newest"]

PORT: Final = 8501
RUNS: Final = Path("runs")
NEEDED: Final = ("streamlit", "starlette")

DESCRIPTION: Final = """\
Show what an engine does, who leads a tournament and why, in a browser on this machine: live operation with an armed halt, decisions,
leaderboard, matches, a market to clear, questions. The address that is printed holds a token; without it nobody comes in."""


def main(argv: list[str]) -> int:
    """Serve until Ctrl-C.

    Raises :class:`~gridpilot.errors.MissingExtraError` without the extra ``insight``, and :class:`~gridpilot.errors.ConfigError` for a
    path that is neither a run nor a journal, for nothing to show, and for a port that is taken.
    """
    arguments = _parser().parse_args(argv)
    if not 0 <= arguments.port <= 65535:
        raise ConfigError(f"--port is {arguments.port}, expected a number from 0 to 65535")
    if arguments.demo and arguments.paths:
        raise ConfigError(
            f"dashboard: --demo shows what it starts itself, and {arguments.paths[0]} was given, expected one of them"
        )
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise MissingExtraError("gridpilot dashboard", "insight")
    from gridpilot.insight.dashboard.serve import free_port, serve
    from gridpilot.insight.dashboard.sources import Sources

    port = free_port(arguments.port)
    with contextlib.ExitStack() as stack:
        if arguments.demo:
            from gridpilot.insight.dashboard.demo import demo

            sources = stack.enter_context(demo())
        else:
            runs, journals = _sorted(arguments.paths or newest(RUNS))
            sources = Sources(runs, journals)

        def ready(url: str) -> None:
            print(
                f"dashboard {url}\n{_listing(sources)}\nCtrl-C ends it{' and all that it started' if arguments.demo else ''}.",
                flush=True,
            )
            if not arguments.no_browser:
                with contextlib.suppress(webbrowser.Error):
                    webbrowser.open(url)

        serve(sources, port, ready)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gridpilot dashboard", description=DESCRIPTION)
    parser.add_argument(
        "paths", metavar="RUN|JOURNAL", type=Path, nargs="*", help=f"tournaments and journals; by default the newest of {RUNS}/"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0 takes a free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="start a stand-in, an engine in shadow and a small tournament to look at; they end with it",
    )
    return parser


def newest(folder: Path) -> list[Path]:
    """The newest tournament and the newest journal of ``folder``, those that there are.

    Raises :class:`~gridpilot.errors.ConfigError` where there is neither.
    """
    runs = [path.parent for path in folder.glob(f"*/{MANIFEST_NAME}")]
    journals = [path for path in folder.glob("*.db") if path.is_file()]
    found = [max(paths, key=_changed) for paths in (runs, journals) if paths]
    if not found:
        raise ConfigError(f"{folder}/ holds no tournament and no journal to show, expected RUN or JOURNAL, or --demo")
    return found


def _changed(path: Path) -> int:
    """When something was last written: a journal's newest records are in the file beside it."""
    seen = (path / MANIFEST_NAME, path, path.with_name(f"{path.name}-wal"))
    return max(one.stat().st_mtime_ns for one in seen if one.exists())


def _sorted(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    runs, journals = [], []
    for path in dict.fromkeys(paths):
        if path.is_dir():
            if not (path / MANIFEST_NAME).is_file():
                raise ConfigError(
                    f"{path} has no {MANIFEST_NAME}, expected the folder of a tournament or the journal of gridpilot live"
                )
            runs.append(path)
        elif path.exists():
            journals.append(path)
        else:
            raise ConfigError(f"{path} does not exist, expected the folder of a tournament or the journal of gridpilot live")
    return runs, journals


def _listing(sources: Sources) -> str:
    """What is shown, a line each."""
    lines = [f"journal   {path}" for path in sources.journals] + [f"run       {path}" for path in sources.runs]
    return "\n".join(lines)
