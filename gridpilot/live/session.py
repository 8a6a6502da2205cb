"""Beginning: what there is to run, what runs, and what an earlier session left behind. Without an answer to each nothing starts."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import LiveError
from gridpilot.live.accepted_rows import AHEAD, BACKWARDS, AcceptedRows, RefusedRow
from gridpilot.live.all_off import AllOff
from gridpilot.live.api import format_time
from gridpilot.live.config import LiveConfig
from gridpilot.live.controller import Controller
from gridpilot.live.execution import Execution
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import counts_to_json, facility_to_json, refused_row_to_json, row_to_json, state_to_json
from gridpilot.live.memory import release_compiler
from gridpilot.live.patience import insist
from gridpilot.live.recovery import Recovery, recover
from gridpilot.live.replica import Replica
from gridpilot.live.venue import Venue

__all__ = ["Session", "begin"]

FIRST_ASK: Final = 0.5  # of a tick's wall length, for an agent that begins
CLOCKS_DIFFER: Final = 3  # rows from the future that are no junk: a clock is wrong, and it may be this one
CLOCK_OFF: Final = timedelta(days=400)  # beyond which a time is junk
_FAR_FUTURE: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
_PACKAGES: Final = ("gridpilot", "numpy", "numba", "httpx2")


@dataclass(frozen=True)
class Session:
    """What one run of the loop works with, until inventory or limits change."""

    recovery: Recovery
    accepted: AcceptedRows
    controller: Controller
    execution: Execution
    replica: Replica | None
    refused: tuple[RefusedRow, ...]  # rows of the first reading
    body: dict[str, Any]  # of the journal's record


def begin(
    venue: Venue,
    agents: Sequence[AgentSpec],
    config: LiveConfig,
    journal: Journal,
    *,
    sends: bool,
    origin: dict[str, Any],
    is_stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> Session:
    """Open the venue, read prices and, where commands will be sent, the machines that run; write the session down.

    ``agents`` is one for each site, or one for all. ``origin`` says where they come from, and ``tell`` is told what is waited
    for. Raises :class:`~gridpilot.errors.LiveError` where the limit, the prices or the machines cannot be read within the venue's patience.
    """
    recovery = recover(journal, config.history)
    off = AllOff(venue, journal, tell)

    def looking() -> bool:
        if sends:
            off.where_due()
        return is_stopping()

    looking()  # a halt waits for nothing that switching off does not need
    ask = partial(insist, clock=venue.clock, patience=venue.timing.patience, is_stopping=looking, tell=tell)
    without = f"{venue.name}: cannot start without"
    facility = _site(venue, lambda: ask(venue.open, f"{without} the site"), stays=sends, is_stopping=is_stopping)
    accepted, refused = _first_rows(venue, config, journal.path, recovery, lambda: ask(venue.prices, f"{without} prices"), looking)
    execution = Execution(venue, facility)
    running = ask(execution.reconcile, f"{without} the machines that run") if sends else recovery.state(facility).counts
    state = recovery.state(facility, running)
    specs = tuple(agents) * len(facility.sites) if len(agents) == 1 else tuple(agents)
    if len(specs) != len(facility.sites):
        raise LiveError(f"{venue.name}: {len(specs)} agents for {len(facility.sites)} sites, expected one for all or one a site")
    timing = venue.timing
    controller = Controller(
        facility, specs, config.risk, state, keep=config.history, seed=config.seed,
        time_limit=timing.deadline, first_limit=max(timing.deadline, FIRST_ASK * timing.tick),
    )  # fmt: skip
    controller.observer.add(accepted.rows)
    described = [{"target": spec.target, "params": dict(spec.params)} for spec in specs]
    body = {
        "id": f"{format_time(venue.clock.now())} {recovery.head}",
        "mode": config.mode,
        "venue": venue.name,
        "url": config.url if venue.name == "mara" else None,
        "speed": venue.clock.speed,
        "agent": described[0],
        "agents": described,
        "origin": origin,
        "seed": config.seed,
        **facility_to_json(facility),
        "state": state_to_json(state),
        "config": config.model_dump(mode="json"),
        "versions": {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}},
    }
    known = {row.at for row in recovery.rows}
    fresh = [row_to_json(row) for row in accepted.rows if row.at not in known]
    records: list[tuple[str, dict[str, Any]]] = [("rows", {"rows": fresh})] if fresh else []
    records += [("refused_row", refused_row_to_json(refusal)) for refusal in refused]
    records.append(("session", body))
    if sends:
        reconciled = {"counts": counts_to_json(running), "power_w": facility.total_w(running), "message": "at start"}
        records.append(("reconciliation", reconciled))
    journal.append(records, at=venue.clock.now())
    controller.rehearse()
    release_compiler()
    return Session(recovery, accepted, controller, execution, Replica(recovery) if config.twin else None, refused, body)


def _site(venue: Venue, ask: Callable[[], Facility], *, stays: bool, is_stopping: Callable[[], bool]) -> Facility:
    """What there is to run; an engine that sends stays for as long as no power may be drawn, with everything off."""
    while True:
        try:
            return ask()
        except LiveError:
            if not (stays and venue.without_power) or is_stopping():
                raise


def _first_rows(
    venue: Venue,
    config: LiveConfig,
    journal: Path,
    recovery: Recovery,
    ask: Callable[[], Sequence[Any]],
    is_stopping: Callable[[], bool],
) -> tuple[AcceptedRows, tuple[RefusedRow, ...]]:
    """The rows known so far; an accelerated clock is set to the newest one that can be believed."""
    until = venue.clock.monotonic() + venue.timing.patience
    while True:
        entries = ask()
        trial = AcceptedRows(config.risk, config.history)
        trial.merge(entries, _FAR_FUTURE)
        if trial.newest is not None:
            venue.clock.anchor(trial.newest.at)
            if recovery.rows and trial.newest.at < recovery.rows[-1].at - BACKWARDS:
                raise LiveError(
                    f"{venue.name}: the newest row is of {format_time(trial.newest.at)}, and journal {journal} holds rows up to "
                    f"{format_time(recovery.rows[-1].at)}: that is another feed, or the same begun again; choose another live.journal"
                )
        accepted = AcceptedRows(config.risk, config.history)
        accepted.restore(recovery.rows)
        now = venue.clock.now()
        merge = accepted.merge(entries, now)
        ahead = [row.at for row in trial.rows if now + AHEAD < row.at < now + CLOCK_OFF]
        if accepted.newest is not None and len(ahead) < CLOCKS_DIFFER:
            return accepted, merge.refused
        if len(ahead) >= CLOCKS_DIFFER and (is_stopping() or venue.clock.monotonic() >= until):
            raise LiveError(
                f"{venue.name}: {len(ahead)} rows are ahead of this machine's clock, the newest is of {format_time(ahead[-1])}, and it is "
                f"{format_time(now)} here: set the clock that is wrong; the rows that would count are old ones"
            )
        if is_stopping() or venue.clock.monotonic() >= until:
            reasons = "; ".join(f"{refusal.reason}: {refusal.message}" for refusal in merge.refused[:3])
            raise LiveError(f"{venue.name}: no price row that can be used, expected at least one; {reasons or 'the feed is empty'}")
        venue.clock.sleep(venue.timing.poll)
