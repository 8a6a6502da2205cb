"""The loop that runs a site: read prices, judge them, decide, journal the intent, send, read back, journal the outcome; once a row.

One engine runs every venue. It polls for a new row and never sleeps to a mark of the clock. A tick without a row, and a row that is refused
as data, are decisions of their own, at most one a tick. Nothing is sent in shadow mode. A halt in the journal holds until a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import JournalError, RefusedError, VenueError
from gridpilot.live.account import Account
from gridpilot.live.agenda import Agenda, Trigger
from gridpilot.live.all_off import AllOff
from gridpilot.live.api import TICK, Counts, PriceRow, format_time, parse_time
from gridpilot.live.config import LiveConfig
from gridpilot.live.controller import Decision
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.execution import Result
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import (
    counts_from_json,
    counts_to_json,
    row_to_json,
)
from gridpilot.live.row_reader import RowReader
from gridpilot.live.session import begin
from gridpilot.live.trust import rely_on
from gridpilot.live.venue import Venue
from gridpilot.live.watch import Watch

__all__ = ["Engine"]

CHECK_EVERY: Final = 12  # ticks between two looks whether inventory or limits have changed
FRESH: Final = 1.5 * TICK  # greatest age of a row that a decision still counts as made in time
LOOK_S: Final = 1.0  # wall s between two looks for a halt while nothing else is to be done
LOOKS: Final = 15  # at the most, in one such pause
FOREIGN: Final = "foreign_command"
LONG_AGO: Final = 0.5  # of a tick's wall length, after which prices are read again before anything is switched on by them
ASK_AT: Final = 0.75  # of it, after which the venue is asked what runs, so that the next row need not wait for the answer
GIVE_UP: Final = 0.8  # of a tick's wall length, after which a command is not repeated any more


class Engine:
    """Runs ``agents`` (one a site, or one for all) on a venue, and writes everything down.

    Nothing is sent unless ``config.mode`` is live. ``origin`` says where the agents come from, such as a deployment's fingerprint.
    """

    def __init__(
        self,
        venue: Venue,
        agents: Sequence[AgentSpec],
        config: LiveConfig,
        journal: Journal,
        watch: Watch,
        *,
        origin: dict[str, Any] | None = None,
    ) -> None:
        self.venue, self.agents, self.config, self.journal, self.watch = venue, tuple(agents), config, journal, watch
        self.clock, self.timing = venue.clock, venue.timing
        self.sends = config.mode == "live"
        self._origin = origin or {}
        self._stopping = ""
        self._rows = 0  # that had their decision
        self._first_at: datetime | None = None  # first tick decided
        self._counted: datetime | None = None  # newest tick counted as fresh
        self._fresh = 0
        self._api_down = self._halted = False

    def stop(self, why: str) -> None:
        """Finish the cycle and end; may be called by a signal handler."""
        self._stopping = self._stopping or why
        self.clock.wake()

    def run(self) -> None:
        """Run until ``stop``, the venue's last row, or ``config.rows`` rows.

        Raises :class:`~gridpilot.errors.LiveError` where it cannot start: no prices, no limit, machines that cannot be read.
        """
        try:
            self._begin()
        except Exception:  # whatever it is
            self._leave_off("the engine cannot start")
            raise
        why = "failed"
        try:
            while not self._stopping and not self._is_done():
                self._turn()
                self._wait()
            if self.sends and not self.execution.certain:
                self._resolve()
            why = self._stopping or "done"
        finally:
            if why == "failed":
                self._leave_off("the engine cannot go on")
            self.journal.append([("stop", {"why": why})], at=self.clock.now())
            self.watch.stopped(why)

    def _begin(self) -> None:
        if self.venue.remote:
            rely_on(self.journal, at=self.clock.now(), note=self.watch.note)
        else:  # a run of its own, which goes on with nothing
            self.journal.note_head()
        session = begin(
            self.venue, self.agents, self.config, self.journal, sends=self.sends, origin=self._origin,
            is_stopping=lambda: bool(self._stopping), tell=lambda text: self.watch.note("waiting", text),
        )  # fmt: skip
        self.venue.begun()
        self.accepted, self.controller, self.execution = session.accepted, session.controller, session.execution
        self.replica, recovery = session.replica, session.recovery
        self.account = Account(session.controller, recovery.booked, self.clock.now)
        self.agenda = Agenda(
            self.config.risk, self.timing.tick, row_at=recovery.row_at, mark_at=recovery.mark_at, now_wall=self.clock.monotonic()
        )
        self.reader = RowReader(self.venue, session.accepted, self.agenda, self.journal, self.watch)
        self._checked = self._seen = self.clock.monotonic()
        self._look_again: float | None = None  # when to read back once more, after a command that did not go smoothly
        self._intent: tuple[dict[str, Any], PriceRow] | None = None  # the last command, and the row it is for
        self._steered: bool | None = None  # whether others steer the site, since the last decision; None: not asked yet
        newest = self.accepted.newest
        assert newest is not None
        self.watch.started(session.body, newest)
        for note in self.venue.notes:
            self.watch.note("venue", note)
        self._follow()
        for refusal in session.refused:
            self.reader.refuse(refusal)
        if self.sends and session.recovery.unfinished is not None:
            self._finish(session.recovery.unfinished, newest)

    def _leave_off(self, why: str) -> None:
        """Leave nothing running that nobody looks after; who is asked to stop leaves machines as they are."""
        if self.sends and not self._stopping:
            AllOff(self.venue, self.journal, lambda text: self.watch.note("off", text)).leave(why)

    # One turn of the loop.

    def _turn(self) -> None:
        self.watch.heartbeat()
        if not self.journal.is_in_place:
            raise JournalError(
                f"journal {self.journal.path} was taken away or replaced while its engine ran: no halt would be found any more"
            )
        halt = self.journal.halt
        self._halted = halt.halted
        self.watch.halted(halt.why if halt.halted else None)
        newer = self._read()
        newest, now = self.accepted.newest, self.clock.now()
        assert newest is not None
        self.watch.feed(newest, now)
        self.watch.skew(self.venue.skew_s)
        if self.clock.monotonic() - self._checked > CHECK_EVERY * self.timing.tick and self._has_changed():
            return
        late = "api_down" if self._api_down else "feed_went_back" if self.reader.went_back else "feed_late"
        trigger = self.agenda.due(newest, now, self.clock.monotonic(), halted=halt.halted, newer=newer, late=late)
        if trigger is not None:
            self._cycle(trigger, newest)
        elif self.sends and not self.execution.certain:
            self._resolve()
        elif self._look_again is not None and self.clock.monotonic() >= self._look_again:
            self._read_once_more()
        elif self.sends and self._steered is None and not self._api_down and self._is_nearly_due():
            self._steered = self._is_steered_by_others()

    def _read(self) -> bool:
        """Read prices and take what is acceptable; whether there is a newer row than before."""
        try:
            self._seen = self.reader.read()
            self._api("up", "")
        except VenueError as error:
            self._api("down", str(error))
        rows = self.reader.unread()
        if not rows:
            return False
        before = self.controller.observer.newest
        self.controller.observer.add(rows)
        self._write([("rows", {"rows": [row_to_json(row) for row in rows]})], hurried=True)
        newest = self.controller.observer.newest
        if newest is None or newest == before:
            return False
        self.agenda.arrive(newest, self.clock.monotonic())
        return True

    def _cycle(self, trigger: Trigger, row: PriceRow) -> None:
        """Decide, write it down, send it, write down what came of it."""
        started = self._seen if trigger.kind == "row" else self.clock.monotonic()
        causes = trigger.causes
        # The first command of a halt waits for nothing; the later ones find out who switches on what is to be off.
        off = trigger.kind == "halt" and self.controller.observer.counts == self.controller.facility.off
        if self.sends and (trigger.kind == "row" or off) and self.execution.certain:
            steered = self._is_steered_by_others() if off or self._steered is None else self._steered
            causes = (*causes, FOREIGN) if steered else causes
        if not trigger.held:
            self._steered = None
        decision = self.controller.decide(trigger.kind, trigger.at, causes)
        fresh = trigger.kind == "row" and self.clock.now() - trigger.at <= FRESH
        command = f"{format_time(trigger.at)} {trigger.kind}"
        records = [("decision", {**decision.to_json(), "fresh": fresh})]
        send = self.sends and not trigger.held
        if send:
            intent = {"at": format_time(trigger.at), "command": command, "counts": counts_to_json(decision.counts), "attempt": 1}
            records.append(("intent", intent))
            self._intent = (intent, row)
        self.journal.append(records, at=self.clock.now(), hurried=True)
        self.agenda.decided(trigger, row)
        self._rows += trigger.kind == "row"
        if send:
            result = self._carry_out(decision.counts, row, trigger.kind, started=started)
        elif trigger.held:
            result = Result("held", self.controller.observer.counts, 0, 0.0, 0, "")
        else:
            result = Result("shadow", decision.counts, 0, 0.0, 0, "", (True,) * len(decision.counts))
        self._note(decision, result, command, fresh)

    def _is_nearly_due(self) -> bool:
        return self.clock.monotonic() >= self.agenda.arrived + ASK_AT * self.timing.tick

    def _is_steered_by_others(self) -> bool | None:
        """Whether other machines run than the venue last confirmed, though nothing was sent since; that is told and written down.

        None where the venue does not tell.
        """
        before = self.execution.counts
        try:
            counts = self.execution.reconcile()
        except VenueError as error:  # the command goes out all the same, and is read back
            self._api("down", str(error))
            return None
        if counts == before:
            return False
        foreign = not self.execution.may_be_late(counts)
        message = f"{counts_to_json(counts)} run, {counts_to_json(before)} were confirmed, and this engine sent nothing since"
        self._reconcile(counts, f"{FOREIGN}: {message}" if foreign else "a command arrived late")
        if foreign:
            self.watch.mismatch(message)
            self.watch.note(FOREIGN, f"somebody else commands the site: {message}")
        return foreign

    def _carry_out(self, desired: tuple[Counts, ...], row: PriceRow, kind: str, *, started: float) -> Result:
        halting, on = kind == "halt", any(map(any, desired))

        def is_current() -> bool | None:
            if self._stopping or self.journal.halt.halted != halting:
                return False
            try:
                self.reader.read()
            except RefusedError:
                return False
            except VenueError:
                return None
            return halting or (self.accepted.newest is not None and self.accepted.newest.at == row.at and not is_too_old())

        def is_too_old() -> bool:
            return on and not self.agenda.may_be_sent(kind, row, self.clock.now(), self.clock.monotonic())

        if self.journal.halt.halted != halting:  # since the turn began
            return Result("abandoned", self.execution.counts, 0, 0.0, 0, "a halt came first" if not halting else "resumed")
        if on and self.clock.monotonic() - self._seen > LONG_AGO * self.timing.tick and is_current() is not True:
            return Result("abandoned", self.execution.counts, 0, 0.0, 0, "prices were read too long ago, and are others by now")
        if is_too_old():
            return Result("abandoned", self.execution.counts, 0, 0.0, 0, "its prices are too old by now")
        until = self.clock.monotonic() + GIVE_UP * self.timing.tick
        result = self.execution.carry_out(desired, is_current=is_current, started=started, until=until)
        smooth = result.status == "applied" and not result.message
        self._look_again = None if smooth else self.clock.monotonic() + 2.0 * self.timing.timeout
        return result

    def _note(self, decision: Decision, result: Result, command: str, fresh: bool) -> None:
        """Journal the outcome, let the replica check the decision, and tell everybody who watches."""
        facility = self.controller.facility
        self.controller.settle(decision, result.counts)
        alternatives = facility.alternatives(self.controller.observer.prices)
        earned, outcome = self.account.outcome(decision.at, command, result, alternatives["best"])
        # Nobody waits for the agents' reasons but the next row: they are asked for when the command is out.
        said = self.controller.rationale(decision)
        self._write(
            [outcome, *([("rationale", {"at": format_time(decision.at), "command": command, "sites": said})] if said else [])]
        )
        self._first_at = self._first_at or decision.at
        if fresh and result.status in ("applied", "shadow") and decision.at != self._counted:
            self._fresh, self._counted = self._fresh + 1, decision.at
        for _ in range(result.mismatches):
            self.watch.mismatch(result.message)
        for error in decision.errors:
            self.watch.note("agent_failed", error)
        report = CycleReport(
            decision.at, self.clock.now(), self.config.mode, decision.kind, decision.reason, decision.causes, decision.prices,
            tuple(kind.name for kind in facility.sites[0].fleet), result.counts, facility.total_w(result.counts), facility.cap_w, earned,
            alternatives, result.status, result.attempts, result.latency,
            round((decision.at - self._first_at) / TICK) + 1, self._fresh,
        )  # fmt: skip
        self.watch.cycle(report, result.message)

    # Between decisions.

    def _finish(self, intent: dict[str, Any], newest: PriceRow) -> None:
        """See to a command whose outcome was never written down: it holds, it is repeated while its row lasts, or it is over."""
        facility, running, desired = self.controller.facility, self.execution.counts, counts_from_json(intent["counts"])
        halted, read = self.journal.halt.halted, (True,) * len(running)
        over = (
            format_time(newest.at) != intent["at"] or halted or [len(each) for each in desired] != [len(each) for each in running]
        )
        if running == desired:
            self._conclude(intent, Result("applied", running, 0, 0.0, 0, "found to be applied after a restart", read))
        elif over or facility.total_w(desired) > facility.cap_w:
            self._conclude(intent, Result("abandoned", running, 0, 0.0, 0, "over when the engine was restarted", read))
        else:
            self._repeat(intent, newest)

    def _resolve(self) -> None:
        """Find out what runs, where that is in doubt."""
        try:
            counts = self.execution.reconcile()
        except VenueError as error:
            self._api("down", str(error))
            return
        self._reconcile(counts, "after a doubt")
        self.watch.reconciled(counts_to_json(counts))

    def _reconcile(self, counts: tuple[Counts, ...], message: str) -> None:
        """Go on from what the venue reports to run."""
        earned, record = self.account.found(counts, message)
        if earned is not None:
            self.watch.earned(earned)
        self._write([record])

    def _read_once_more(self) -> None:
        """A change that was given up may have arrived after all: then the last command is sent again, while its row lasts."""
        self._look_again = None
        self._resolve()
        if self._intent is None or not self.execution.certain:
            return
        intent, row = self._intent
        desired = counts_from_json(intent["counts"])
        newest = self.accepted.newest
        if self.execution.counts == desired or newest is None or newest.at != row.at:
            return
        self.watch.mismatch(f"{counts_to_json(self.execution.counts)} run, {intent['counts']} were commanded")
        self._repeat(intent, row)

    def _repeat(self, intent: dict[str, Any], row: PriceRow) -> None:
        """Send a command again, under its own name."""
        again = {**intent, "attempt": intent["attempt"] + 1}
        self._intent = (again, row)
        self._write([("intent", again)])
        kind = str(intent["command"]).rpartition(" ")[2]
        result = self._carry_out(counts_from_json(intent["counts"]), row, kind, started=self.clock.monotonic())
        self._conclude(intent, result)

    def _conclude(self, intent: dict[str, Any], result: Result) -> None:
        """Write down what became of a command that no decision waits for."""
        self.controller.reconcile(result.counts)
        earned, outcome = self.account.outcome(parse_time(intent["at"]), intent["command"], result, 0.0)
        self.watch.earned(earned)
        self._write([outcome, self.account.standing(result.message or "after a command was repeated")])

    def _has_changed(self) -> bool:
        """Whether machines or limits have; a new session has begun then."""
        self._checked = self.clock.monotonic()
        for note in self.venue.notes:
            self.watch.note("venue", note)
        try:
            changed = self.venue.changed()
        except VenueError as error:
            self._api("down", str(error))
            return False
        if changed:
            self.journal.append([("stop", {"why": "inventory or limits have changed"})], at=self.clock.now())
            self.watch.note("venue", "inventory or limits have changed: a new session begins")
            self._begin()
        return changed

    def _api(self, state: str, message: str) -> None:
        if self._api_down != (state == "down"):
            self._api_down = state == "down"
            self.journal.append([("api", {"state": state, "message": message[:300]})], at=self.clock.now())
            self.watch.api(state, message)

    def _write(self, records: Sequence[tuple[str, dict[str, Any]]], *, hurried: bool = False) -> None:
        """Append to the journal, and let the replica read it; a decision that it makes otherwise is drift."""
        self.journal.append(records, at=self.clock.now(), hurried=hurried)
        self._follow()

    def _follow(self) -> None:
        if self.replica is not None:
            self.replica.follow(self.journal)
            self.watch.drift(self.replica.drift.different)

    def _is_done(self) -> bool:
        if self.config.rows is not None and self._rows >= self.config.rows:
            return True
        return self.venue.exhausted and self.agenda.is_empty(self.accepted.newest)

    def _wait(self) -> None:
        """Until the next look at the prices: sparingly while no row is due, closely when one is."""
        if self._stopping or self.reader.has_unread or self._is_done():
            return
        due = self.agenda.arrived + 0.9 * self.timing.tick - self.clock.monotonic()
        pause = min(self.timing.poll_early, max(due, self.timing.poll)) if due > 0.0 else self.timing.poll
        until, look = self.clock.monotonic() + pause, max(LOOK_S, pause / LOOKS)
        while not self._stopping and (left := until - self.clock.monotonic()) > 0.0:
            self.clock.sleep(min(left, look))
            if left > look and self.journal.halt.halted != self._halted:
                return  # a halt waits for no poll
