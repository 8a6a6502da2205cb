"""Tournaments from Python: what goes in are names, classes, instances and data frames, what comes out are data frames."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from gridpilot.agents.base import Agent
from gridpilot.agents.by_value import entry_of
from gridpilot.columns import SafeConsole
from gridpilot.configuration import composed
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.files import write_atomically
from gridpilot.presets import described
from gridpilot.prices.load import price_parameters
from gridpilot.spreadsheets import csv_text
from gridpilot.suggestions import did_you_mean
from gridpilot.tournament.audits import failed_audits
from gridpilot.tournament.leaderboard import as_dict, render
from gridpilot.tournament.manifest import Manifest
from gridpilot.tournament.report_command import write_results
from gridpilot.tournament.run import play_configured
from gridpilot.tournament.statistics import Leaderboard, rank

__all__ = ["TournamentResult", "run_tournament"]

Participant = str | Mapping[str, Any] | type[Agent] | Agent

_ESTIMATE = {"value", "low", "high"}


def run_tournament(
    agents: Iterable[Participant] | Mapping[str, Participant] | None = None,
    *,
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    workers: int = 1,
    quiet: bool = False,
    **settings: Any,
) -> TournamentResult:
    """Play a tournament: the same rows, to the digit, as ``gridpilot tournament`` with the same settings.

    ``agents``    names, dotted paths, ``{name: ..., label: ..., parameters}``, classes and instances of :class:`gridpilot.Agent`; a
                  mapping gives each a label. By default those of the command. An instance plays as it was when it was handed over.
    ``market``    a name of ``conf/market``, a YAML file of that form, or a mapping.
    ``prices``    a name of ``conf/prices``, a file or a data frame of recorded prices, ..., see
                  :func:`~gridpilot.prices.load.price_parameters`.
    ``workers``   processes. With more than one, a script has to be guarded by ``if __name__ == "__main__":``.
    ``quiet``     no progress on stderr.
    ``settings``  every other key of ``conf/tournament/default.yaml``: ``episodes``, ``seed``, ``lineups``, ``isolation``, ``out``, ...;
                  ``mechanism`` and ``capacity_kw`` change the market's.

    The rows are kept in ``out``, by default a folder below ``runs`` named by what was played, and are continued from there. Raises
    :class:`~gridpilot.errors.GridPilotError` with one line for whatever cannot be played.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run_tournament(["threshold"], episodes=1, ticks=12, lineups=["mixed"], out=f"{folder}/run", quiet=True)
    >>> sorted(result.leaderboard["agent"])
    ['threshold', 'truthful', 'zero_intelligence']
    """
    config = composed("tournament")
    changed = {key: settings.pop(key) for key in ("mechanism", "capacity_kw") if key in settings}
    for key in settings:
        if key not in config or key in ("market", "prices", "agents", "backend", "json"):
            known = sorted(set(config) - {"market", "prices", "agents", "backend", "json"})
            raise ConfigError(
                f"run_tournament: unknown setting {key!r}; {did_you_mean(key, known) or 'known are ' + ', '.join(known)}"
            )
    config |= settings | {"workers": workers, "backend": "serial" if workers == 1 else "processes"}
    config["market"] = described("market", market) | changed
    config["prices"] = price_parameters(prices)
    if agents is not None:
        config["agents"] = _entries(agents)
    if config.get("out") is not None:
        config["out"] = str(config["out"])
    console = SafeConsole(stderr=True, quiet=quiet)
    played = play_configured(config, console)
    return TournamentResult(played.folder, played.manifest, played.rows.reset_index(drop=True), played.whole)


class TournamentResult:
    """What a tournament found.

    ``rows``         a row a match and seat, columns of :mod:`gridpilot.tournament.rows`
    ``leaderboard``  a row an agent, best first; of each estimate its value, the ends of its interval (``_low``, ``_high``) and, where there
                     is none, why (``_reason``)
    ``pairs``        a row a pair of agents: difference of profits, its interval and p-values
    ``markets``      a row a line-up: welfare, profit, revenue and what they change by
    ``folder``       where rows, manifest and report lie; ``manifest`` says what was played
    """

    def __init__(self, folder: Path, manifest: Manifest, rows: pd.DataFrame, whole: bool = True) -> None:
        self.folder, self.manifest, self.rows = folder, manifest, rows
        self._board: Leaderboard = rank(rows)
        if whole:
            write_results(folder, rows, manifest, self._board)

    @cached_property
    def _content(self) -> dict[str, Any]:
        return as_dict(self._board, failed_audits(self.manifest))

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """A row an agent."""
        return _frame(self._content["agents"])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A row a pair of agents."""
        return _frame(self._content["pairs"])

    @cached_property
    def markets(self) -> pd.DataFrame:
        """A row a line-up."""
        return _frame(self._content["markets"])

    def to_latex(self) -> str:
        """The leaderboard as a table for a paper (booktabs): profit and gains in $ per site and day with their intervals."""
        columns = {"profit": "Profit", "gain": "Gain", "alone_gain": "Gain alone", "capture_percent": r"Capture, \%"}
        lines = [
            " & ".join([_latex(str(row["agent"])), *(_with_interval(row, name) for name in columns)]) + r" \\"
            for row in self.leaderboard.to_dict("records")
        ]
        level, episodes = 100.0 * float(self._content["level"]), self._board.episodes
        return "\n".join(
            [
                r"\begin{tabular}{l" + "r" * len(columns) + "}",
                r"\toprule",
                " & ".join(["Agent", *columns.values()]) + r" \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                f"% $ per site and day over {episodes} episodes, {level:g} % intervals; gains over truthful at the same seats and days",
                "",
            ]
        )

    def to_csv(self, path: str | Path) -> Path:
        """Write the leaderboard; return where. Raises :class:`~gridpilot.errors.TournamentError` when it cannot be written."""
        return _write(path, csv_text(self.leaderboard))

    def save(self, folder: str | Path) -> Path:
        """Write leaderboard, pairs and markets as CSV, the rows as Parquet and the leaderboard in LaTeX into ``folder``; return it.

        Raises :class:`~gridpilot.errors.TournamentError` when they cannot be written.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TournamentError(f"cannot write {place}: {error.strerror or error}") from error
        for name in ("leaderboard", "pairs", "markets"):
            _write(place / f"{name}.csv", csv_text(getattr(self, name)))
        _write(place / "leaderboard.tex", self.to_latex())
        buffer = io.BytesIO()
        self.rows.to_parquet(buffer, index=False)
        write_atomically(place / "rows.parquet", buffer.getvalue(), TournamentError)
        return place

    def __repr__(self) -> str:
        best = self._board.agents[0].agent
        return (
            f"<TournamentResult of {self._board.episodes} episodes, {len(self._board.agents)} agents, first {best}: {self.folder}>"
        )

    def __str__(self) -> str:
        return self._shown(100)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self._shown(120))}</pre>"

    def _shown(self, width: int) -> str:
        console = SafeConsole(width=width, file=io.StringIO(), color_system=None)
        mechanism = str(self.manifest["config"]["market"].get("mechanism", ""))
        console.print(render(self._board, width=width, mechanism=mechanism, suspects=failed_audits(self.manifest)))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()


def _entries(agents: Iterable[Participant] | Mapping[str, Participant]) -> list[Any]:
    """Entries of a configuration. Agents without a label that would share one are numbered: MyAgent, MyAgent_2."""
    if isinstance(agents, str):
        raise ConfigError(f"run_tournament: agents is {agents!r}, expected a list of agents")
    given = list(agents.items()) if isinstance(agents, Mapping) else [(None, agent) for agent in agents]
    entries, used = [], set[str]()
    for label, agent in given:
        entry: dict[str, Any]
        if isinstance(agent, str):
            entry, own = {"name": agent}, agent.rpartition(".")[2]
        elif isinstance(agent, Mapping):
            entry, own = dict(agent), ""
            if isinstance(entry.get("name"), type | Agent):
                kind = entry.pop("name")
                entry, own = {**entry_of(kind), **entry}, (kind if isinstance(kind, type) else type(kind)).__name__
        else:
            entry, own = entry_of(agent), (agent if isinstance(agent, type) else type(agent)).__name__
        label = label or entry.get("label") or own
        if not isinstance(agent, str | Mapping):
            label = next(name for name in (label, *(f"{label}_{i}" for i in range(2, len(given) + 2))) if name not in used)
        if label:
            used.add(label)
            entry["label"] = label
        entries.append(entry)
    return entries


def _frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table of records; estimates become columns of their own."""
    flat = []
    for record in records:
        row: dict[str, Any] = {}
        for key, value in record.items():
            if isinstance(value, Mapping) and value.keys() >= _ESTIMATE:
                row |= {key if name == "value" else f"{key}_{name}": item for name, item in value.items()}
            elif isinstance(value, Mapping):
                row[key] = ", ".join(map(str, value))
            else:
                row[key] = value
        flat.append(row)
    return pd.DataFrame(flat)


def _with_interval(row: Mapping[Any, Any], name: str) -> str:
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None or pd.isna(value):
        return "--"
    interval = "" if low is None or pd.isna(low) or pd.isna(high) else f" [{low:.1f}, {high:.1f}]"
    return f"{value:.1f}{interval}"


def _latex(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "_&%$#{}" else letter for letter in text)


def _write(path: str | Path, text: str) -> Path:
    write_atomically(Path(path), text.encode(), TournamentError)
    return Path(path)
