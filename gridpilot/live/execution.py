"""Carrying a command out: a desired state, sent until the venue confirms it or it no longer matters.

A change whose answer is lost may have been applied or not. So the machines are read back before anything is sent again, prices are read
before a command is repeated (it dies with its row), and what is repeated is the same desired state, never a difference. Where several
sites share a limit, power is taken before it is given: no site may grow until what the others can draw at worst leaves room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gridpilot.errors import RefusedError, UnavailableError, UnknownOutcomeError, VenueError
from gridpilot.live.api import Counts
from gridpilot.live.cycle_report import Status
from gridpilot.live.facility import Facility
from gridpilot.live.venue import Venue

__all__ = ["Execution", "Result"]

MISMATCHES: Final = 3  # read-backs that differ from a confirmed change, after which something else is thought to steer the site


@dataclass(frozen=True)
class Result:
    """What became of a command."""

    status: Status
    counts: tuple[Counts, ...]  # (N,) that run, as far as is known
    attempts: int  # PUTs sent
    latency: float  # wall s from the start to the last change acknowledged; 0 where none was
    mismatches: int  # read-backs that differ from what the venue had just confirmed
    message: str
    confirmed: tuple[bool, ...] = ()  # (N,) whether the venue has told, since the command was sent, that these machines run


class Execution:
    """The machines of N sites, as far as they are known."""

    def __init__(self, venue: Venue, facility: Facility) -> None:
        self.venue, self.facility = venue, facility
        self._known: list[Counts | None] = [None] * len(facility.sites)  # as the venue last said
        self._in_doubt: list[Counts | None] = [None] * len(facility.sites)  # sent, and not known to be applied or not
        # Sent without an answer, and until when on the clock's monotonic they may still arrive: a read-back cannot see what is under way.
        self._under_way: list[list[tuple[Counts, float]]] = [[] for _ in facility.sites]
        self._told = [False] * len(facility.sites)  # whether the venue has told what runs since it was last asked to change it
        self._attempts = self._mismatches = 0

    @property
    def counts(self) -> tuple[Counts, ...]:
        """The machines that run, as far as is known: what was asked for where the answer is missing."""
        pairs = zip(self._known, self._in_doubt, self.facility.off, strict=True)
        return tuple(doubt if doubt is not None else known if known is not None else off for known, doubt, off in pairs)

    @property
    def certain(self) -> bool:
        """Whether every site's machines are known."""
        return None not in self._known and self._in_doubt == [None] * len(self._known)

    def reconcile(self) -> tuple[Counts, ...]:
        """Read what runs at every site. Raises :class:`~gridpilot.errors.VenueError` where the venue does not tell."""
        for i in range(len(self.facility.sites)):
            self._known[i], self._in_doubt[i] = self.venue.machines(i), None
        return self.counts

    def may_be_late(self, counts: Sequence[Counts]) -> bool:
        """Whether ``counts (N,)`` may come from a command of this engine's whose answer never came."""
        now = self.venue.clock.monotonic()
        late = [[sent for sent, until in under_way if until > now] for under_way in self._under_way]
        return any(each in sent for each, sent in zip(counts, late, strict=True))

    def carry_out(
        self, desired: Sequence[Counts], *, is_current: Callable[[], bool | None], started: float, until: float
    ) -> Result:
        """Make ``desired (N,)`` run.

        ``is_current``  asked before anything is sent a second time: True, False where the command is superseded, None where it
                        cannot be told now
        ``started``     when the row was seen, for the latency; ``until``: when to give up; both on the clock's ``monotonic``
        """
        self._attempts = self._mismatches = 0
        self._told = [False] * len(desired)
        acknowledged, statuses, messages = started, list[Status](), list[str]()

        def change(site: int) -> int:
            known = self._known[site]
            before = self._site_w(site) if known is None else self.facility.power_w(site, known)
            return self.facility.power_w(site, desired[site]) - before

        for i in sorted(range(len(desired)), key=change):
            others = sum(self._worst_w(j) for j in range(len(desired)) if j != i)
            if others + self.facility.power_w(i, desired[i]) > self.facility.cap_w and any(desired[i]):
                statuses.append("unknown")
                messages.append(f"site {i} waits: the others may still draw {others} W")
                continue
            status, at, message = self._set(i, desired[i], is_current, until)
            statuses.append(status)
            acknowledged = max(acknowledged, at)
            messages += [message] if message else []
        order: tuple[Status, ...] = ("refused", "unknown", "abandoned", "applied")
        worst = next(status for status in order if status in statuses)
        return Result(
            worst,
            self.counts,
            self._attempts,
            acknowledged - started,
            self._mismatches,
            "; ".join(messages)[:500],
            tuple(self._told),
        )

    def _set(self, site: int, desired: Counts, is_current: Callable[[], bool | None], until: float) -> tuple[Status, float, str]:
        """Status, when the last change was acknowledged, and what went wrong last."""
        clock, wait, message, acknowledged, first = self.venue.clock, self.venue.timing.backoff, "", 0.0, True
        mismatches = 0
        while True:
            if not first:
                current = is_current()
                if current is False:
                    return "abandoned", acknowledged, message
                if clock.monotonic() >= until:
                    return "unknown", acknowledged, message
                if current is None:
                    clock.sleep(wait)
                    wait = min(2.0 * wait, self.venue.timing.longest_wait)
                    continue
            first = False
            pause = wait
            self._in_doubt[site], self._told[site] = desired, False
            try:
                self._attempts += 1
                answer = self.venue.set_machines(site, desired)
                acknowledged = clock.monotonic()
                self._known[site], self._in_doubt[site], self._told[site] = answer, None, True
                confirmed = answer == desired
                message = "" if confirmed else f"the venue set {answer} where {desired} was asked for"
            except UnknownOutcomeError as error:
                confirmed, message = False, str(error)
                self._under_way[site].append((desired, clock.monotonic() + self.venue.timing.tick))
            except UnavailableError as error:
                self._attempts -= 1
                self._in_doubt[site] = None
                confirmed, message = False, str(error)
                pause = max(wait, min(error.retry_after or 0.0, self.venue.timing.longest_wait))
            except RefusedError as error:
                self._in_doubt[site] = None
                self._read_back(site)
                return ("applied" if self._known[site] == desired else "refused"), acknowledged, str(error)
            reported = self._read_back(site)
            if reported == desired or (reported is None and confirmed):
                return "applied", acknowledged, message
            if confirmed:
                mismatches += 1
                self._mismatches += 1
                message = f"the venue confirmed {desired} and then reports {reported}"
                if mismatches == MISMATCHES:
                    return "unknown", acknowledged, message + ": something else seems to steer this site"
            clock.sleep(pause)
            wait = min(2.0 * wait, self.venue.timing.longest_wait)

    def _read_back(self, site: int) -> Counts | None:
        """What the venue reports to run, or None where it does not tell."""
        try:
            reported = self.venue.machines(site)
        except VenueError:  # the caller goes on in doubt, which is recorded as the command's status
            return None
        self._known[site], self._in_doubt[site], self._told[site] = reported, None, True
        return reported

    def _worst_w(self, site: int) -> int:
        """The most a site may be drawing within the next moments, W."""
        now, known, doubt = self.venue.clock.monotonic(), self._known[site], self._in_doubt[site]
        if known is None:
            return self._site_w(site)
        self._under_way[site] = [(counts, until) for counts, until in self._under_way[site] if until > now]
        possible = [known, *(counts for counts, _ in self._under_way[site]), *([] if doubt is None else [doubt])]
        return max(self.facility.power_w(site, counts) for counts in possible)

    def _site_w(self, site: int) -> int:
        return round(self.facility.sites[site].grid_kw * 1000.0)
