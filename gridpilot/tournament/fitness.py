"""Whether an agent is fit to be deployed: its record in a tournament, and what speaks against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from gridpilot import presets
from gridpilot.agents.by_value import BY_VALUE
from gridpilot.configuration import validate
from gridpilot.errors import FAILURES, TournamentError
from gridpilot.market.site import Site
from gridpilot.market.units import DT, TICKS_PER_DAY
from gridpilot.provenance import AgentFiles, agent_files, code_hash, sha256
from gridpilot.setup import MarketConfig
from gridpilot.suggestions import did_you_mean
from gridpilot.tournament.audits import failed_audits
from gridpilot.tournament.leaderboard import money
from gridpilot.tournament.manifest import Manifest
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.runner import read_run
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, REFERENCE
from gridpilot.tournament.statistics import LEVEL, MIN_EPISODES, AgentSummary, Leaderboard, rank, scores

__all__ = ["CODES", "Check", "Record", "check_record", "evaluate", "read_record"]

CODES: Final = {
    "incomplete": "matches of the run are missing",
    "code": "the library's source has changed since",
    "source": "a file of the agent has changed since",
    "audit": "the agent was not audited, or failed its audit",
    "few_episodes": "too few episodes to tell agents apart",
    "timeouts": "decisions came too late",
    "exceptions": "decisions raised an exception",
    "invalid_bids": "bids were invalid",
    "grid_limit": "a site drew more than its connection carries",
    "daily_loss": "a site lost more in a day than is allowed",
    "regret": "hindsight regret is above the limit, or was not measured",
}
"""What may speak against an agent."""

TOLERANCE: Final = 1e-9  # relative, of sums over an episode


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    code: str  # of CODES
    found: str
    passed: bool


@dataclass(frozen=True)
class Record:
    """An agent and what it did in a tournament."""

    label: str
    target: str
    params: dict[str, Any]  # as built: those of its conf/agent file too, and its defaults that name a file
    manifest: Manifest
    rows: pd.DataFrame  # of all agents
    board: Leaderboard
    summary: AgentSummary
    seats: tuple[Site, ...]  # the market's sites
    source: Path | None  # of an agent of one's own
    files: AgentFiles  # of its own
    changed: tuple[str, ...]  # of these, what is not as the manifest says, or not in it


def read_record(run: Path, label: str) -> Record:
    """The record of the agent ``label`` in the run folder ``run``.

    Raises :class:`~gridpilot.errors.TournamentError` for an agent that did not play, or is clairvoyant, for files of its own that
    are gone, and what reading a run raises.
    """
    manifest, rows = read_run(run)
    if label not in manifest["agents"]:
        hint = did_you_mean(label, manifest["agents"]) or f"its agents are {', '.join(manifest['agents'])}"
        raise TournamentError(f"{run}: there is no agent {label!r}; {hint}")
    entry = manifest["agents"][label]
    target: str = entry["target"]
    known = presets.registered("agent").get(target, {})
    if entry["role"] in CLAIRVOYANT_ROLES:
        raise TournamentError(f"{label} is clairvoyant, shown what only a simulated market can show: it is never deployed")
    board = rank(rows)
    summary = next((agent for agent in board.agents if agent.agent == label), None)
    if summary is None:
        raise TournamentError(f"{run}: {label} has no complete episode of the mixed line-up, on which agents are judged")
    source, files, changed = _files(entry, label)
    return Record(
        label=label,
        target=target,
        params={**{key: value for key, value in known.items() if key != "name"}, **entry.get("defaults", {}), **entry["params"]},
        manifest=manifest,
        rows=rows,
        board=board,
        summary=summary,
        seats=validate(MarketConfig, manifest["config"]["market"], f"{run}: market").build_sites(),
        source=source,
        files=files,
        changed=changed,
    )


def check_record(record: Record, max_loss_per_day: float | None) -> list[Check]:
    """What may speak against deploying the agent, in the order of ``CODES``; ``max_loss_per_day`` in $ at a site.

    All but its regret, which is measured apart: :func:`gridpilot.hindsight.exploit_file.regret_check`.
    """
    played, due = len(record.rows.drop_duplicates(MATCH_KEY)), int(record.manifest["matches"])
    here, there = code_hash(), str(record.manifest["code"])
    code = f"unchanged, {here[:10]}" if here == there else f"{there[:10]} was played and {here[:10]} is here: play it again"
    own = ", ".join((*record.files.code, *(path.name for path in record.files.data.values()), *record.files.opened))
    source = f"unchanged: {own}" if own else "no files besides the library's"
    if record.changed:
        source = f"{', '.join(record.changed)} changed since, or not recorded then"
    by_value = record.target == BY_VALUE
    if by_value:
        source = "the agent was given as an object from Python: write its class to a file, and play that"
    rows = record.rows[record.rows["agent"] == record.label]
    return [
        Check("incomplete", f"{played:,} of {due:,} matches are finished", played >= due),
        Check("code", code, here == there),
        Check("source", source, not record.changed and not by_value),
        _audit(record),
        Check(
            "few_episodes",
            f"{record.board.episodes} complete, {MIN_EPISODES} are needed to tell agents apart",
            record.board.episodes >= MIN_EPISODES,
        ),
        *(_failures(record.summary, name) for name in FAILURES),
        _grid_limit(rows, record.seats),
        _daily_loss(rows, max_loss_per_day),
    ]


def evaluate(record: Record) -> dict[str, Any]:
    """The agent's figures as plain lists, dicts and scalars: its line of the leaderboard, its worst episode, and every site."""
    episodes = scores(record.rows)
    mixed = record.rows[(record.rows["lineup"] == "mixed") & record.rows["episode"].isin(episodes.index)]
    daily = mixed["profit"] * TICKS_PER_DAY / mixed["ticks"]
    by_site = daily.groupby([mixed["site"], mixed["agent"]], sort=False).mean().unstack()
    own, sites, board = episodes[record.label], by_site[record.label], record.board
    return {
        "unit": "$ per site and day",
        "level": LEVEL,
        "reference": REFERENCE,
        "episodes": board.episodes,
        "ticks": board.ticks,
        "seats": board.seats,
        "ranked": len(board.agents),
        "winner_set": [agent.agent for agent in board.agents if agent.in_winner_set] if board.episodes >= MIN_EPISODES else None,
        **dataclasses.asdict(record.summary),
        "failures": record.summary.failures,
        "failed_checks": failed_audits(record.manifest).get(record.label, {}),
        "worst_episode": {"episode": int(own.idxmin()), "profit": float(own.min())},
        "worst_site": {"site": str(sites.idxmin()), "profit": float(sites.min())},
        "sites": {str(name): {"profit": float(sites[name]), REFERENCE: float(by_site[REFERENCE][name])} for name in by_site.index},
    }


def _files(entry: dict[str, Any], label: str) -> tuple[Path | None, AgentFiles, tuple[str, ...]]:
    recorded, target = entry["source"], entry["target"]
    own = recorded is not None and recorded["sha256"] and not target.startswith("gridpilot.")
    source = Path(recorded["file"]).absolute() if own else None
    if source is not None and not source.is_file():
        raise TournamentError(
            f"{label}: its source {source} is gone, which has to be copied; run this where the tournament was run"
        )
    params = {**entry.get("defaults", {}), **entry["params"]}
    found = agent_files(target, params, source)
    opened = {name: found.root / name for name in entry.get("opened", {})}  # a path in full stays what it is
    for path in opened.values():
        if not path.is_file():
            raise TournamentError(f"{label}: {path} is gone, which it reads; run this where the tournament was run")
    found = agent_files(target, params, source, opened.values())
    for key, text in found.absent.items():
        raise TournamentError(
            f"{label}: its parameter {key} is {text!r:.80}, and there is no such file in {Path.cwd()}; "
            "run this where the tournament was run"
        )
    now = {name: sha256(path) for name, path in {**found.code, **found.data, **found.opened}.items() if path != source}
    before = {**entry.get("files", {}), **entry.get("opened", {})}
    changed = [name for name in sorted(now.keys() | before.keys()) if now.get(name) != before.get(name)]
    if source is not None and sha256(source) != recorded["sha256"]:
        changed.insert(0, source.name)
    return source, found, tuple(changed)


def _audit(record: Record) -> Check:
    verdict = record.manifest["agents"][record.label]["audit"]
    if verdict is None:
        source = record.manifest["agents"][record.label]["source"]
        library = (source is None or record.target.startswith("gridpilot.")) and not record.files.code
        return Check("audit", "an agent of the library" if library else "it was not audited", library)
    passed = verdict.get("passed") is True
    return Check(
        "audit", "passed" if passed else f"failed: {', '.join(map(str, verdict.get('failed', ()))) or 'see the manifest'}", passed
    )


def _failures(summary: AgentSummary, name: str) -> Check:
    count = int(getattr(summary, name))
    first = f", the first failure: {summary.first_error:.200}" if count and summary.first_error else ""
    return Check(name, f"{count:,} of {summary.decisions:,} decisions{first}", count == 0)


def _grid_limit(rows: pd.DataFrame, seats: Sequence[Site]) -> Check:
    limit = rows["seat"].map({seat: site.grid_kw for seat, site in enumerate(seats)})
    drawn = rows["drawn_kwh"] / (rows["ticks"] * DT)
    nearest = (drawn - limit).idxmax()
    row = rows.loc[nearest]
    found = f"at most {drawn[nearest]:,.1f} of {limit[nearest]:,.0f} kW, the mean of episode {row['episode']} at {row['site']}"
    return Check("grid_limit", found, bool((drawn <= limit * (1.0 + TOLERANCE)).all()))


def _daily_loss(rows: pd.DataFrame, limit: float | None) -> Check:
    days = (rows["ticks"] / TICKS_PER_DAY).clip(lower=1.0)  # what is lost within a part of a day is lost that day
    profit = rows["profit"] / days
    row, worst = rows.loc[profit.idxmin()], float(profit.min())
    what = f"a loss of {money(-worst)}" if worst < 0.0 else f"a profit of {money(worst)}"
    allowed = "no limit is set" if limit is None else f"a loss of {limit:,.0f} is allowed"
    found = f"at worst {what} $, episode {row['episode']} at {row['site']}; {allowed}"
    return Check("daily_loss", found, limit is None or -worst <= limit)
