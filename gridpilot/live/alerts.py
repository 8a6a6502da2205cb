"""Alerts of a running engine: alarms that are raised or over, told by webhook and mail, from threads beside the engine's.

The engine knows nothing of it. One thread reads the journal as others may (a connection of its own, for reading alone) and asks for the
health that ``/health`` shows; each channel has a thread of its own with few notices waiting, of which the oldest goes where there are too
many. A channel that hangs is cut off, one that fails is told once in the log and tried again with longer and longer pauses, and whatever
happens in here ends in the log. When the engine ends, no more than ``END_S`` is waited for.

``JOURNAL.alerts`` beside the journal holds what somebody was told of, so that an engine that is started again tells only what is new.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from gridpilot.errors import JournalError
from gridpilot.files import write_atomically
from gridpilot.live.alarms import RULES, Alarms, Change, Rule
from gridpilot.live.alert_channels import Channel, Notice, NotSent
from gridpilot.live.alerts_config import AlertsConfig
from gridpilot.live.api import format_time
from gridpilot.live.journal import Journal
from gridpilot.live.logs import Redaction, log_event
from gridpilot.live.metrics import Health
from gridpilot.live.trail import Trail
from gridpilot.redaction import redacted_value

__all__ = ["Alerts", "told_path"]

WAITING: Final = 64  # notices of a channel, at the most
KEEP_S: Final = 24 * 3600.0  # wall s after which a notice is of no more use
PAUSES: Final = (1.0, 60.0)  # wall s between two tries: the first, and the longest
END_S: Final = 1.5  # wall s that the end of the engine waits for all of this, at the most
GRAVITY: Final = ("info", "warn", "page")

Told = Callable[[str, str], None]
"""Channel and what became of a notice: ``sent``, ``failed``, ``refused`` or ``dropped``."""


def told_path(journal: Path) -> Path:
    """The file beside a journal that holds what somebody was told of."""
    return journal.with_name(journal.name + ".alerts")


class Alerts:
    """Watches the engine on ``journal`` while the block lasts; an exception out of the block is told as well.

    ``health`` and ``now`` (engine's time) are asked from another thread, every ``poll`` wall seconds.
    """

    def __init__(
        self,
        config: AlertsConfig,
        channels: Sequence[Channel],
        journal: Path,
        *,
        health: Callable[[], Health],
        now: Callable[[], datetime],
        log: structlog.typing.FilteringBoundLogger,
        told: Told,
        redaction: Redaction,
        poll: float,
        pauses: tuple[float, float] = PAUSES,
    ) -> None:
        self._journal, self._health, self._now = journal.absolute(), health, now
        self._log, self._redaction, self._poll, self._calm = log, redaction, poll, config.calm
        grave = GRAVITY[GRAVITY.index(config.least) :]
        self._rules = [rule for rule in RULES if rule.severity in grave]
        self._outboxes = [_Outbox(channel, config.deadline, log, told, pauses) for channel in channels]
        self._ending, self._failure = threading.Event(), ""
        self._problem = ""  # of the watching itself, as it was told last
        self._thread = threading.Thread(target=self._watch, name="alerts", daemon=True)

    def __enter__(self) -> Self:
        for outbox in self._outboxes:
            outbox.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        until = time.monotonic() + END_S
        if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            self._failure = f"{type(error).__name__}: {error}"
        self._ending.set()
        self._thread.join(0.5 * END_S)
        for outbox in self._outboxes:
            outbox.end()
        for outbox in self._outboxes:
            outbox.join(max(0.0, until - time.monotonic()))

    def _watch(self) -> None:
        """Look until the engine ends. Nothing gets out of here: what goes wrong is told, and tried again."""
        watcher: _Watcher | None = None
        while True:
            ending = self._ending.wait(self._poll)
            try:
                watcher = watcher or _Watcher(self._journal, self._rules, self._calm)
                health = self._health()
                changes = watcher.look(health, self._now(), self._failure if ending else "")
                self._problem = ""
                for change in changes:
                    self._tell(change, watcher.trail)
                if changes:
                    watcher.save()
            except Exception as error:
                if type(error).__name__ != self._problem:  # once, until it goes well or otherwise wrong
                    self._problem = type(error).__name__
                    log_event(self._log, "alert_failed", channel="journal", why=f"{type(error).__name__}: {error}")
            if ending:
                if watcher is not None:
                    watcher.close()
                return

    def _tell(self, change: Change, trail: Trail) -> None:
        notice = self._notice(change, trail)
        log_event(
            self._log, "alert", alarm=change.rule.name, state=change.state, severity=change.rule.severity, detail=change.detail
        )
        for outbox in self._outboxes:
            outbox.put(notice)

    def _notice(self, change: Change, trail: Trail) -> Notice:
        session: dict[str, Any] = trail.session or {}
        notice = {
            "alarm": change.rule.name,
            "state": change.state,
            "severity": change.rule.severity,
            "summary": change.rule.summary,
            "detail": " ".join(change.detail.split())[:300],
            "at": format_time(change.at),
            "since": format_time(change.since),
            "site": ", ".join(site["name"] for site in session.get("sites", ()))[:200] or "a site not yet read",
            "venue": session.get("venue", "unknown"),
            "agent": str(session.get("agent", {}).get("target", "unknown")).rpartition(".")[2],
            "mode": session.get("mode", "unknown"),
        }
        cleared = redacted_value(self._redaction.value(notice))
        assert isinstance(cleared, dict)
        return cleared


class _Watcher:
    """Reads the journal and judges it. To be made, used and closed in one thread."""

    def __init__(self, path: Path, rules: Sequence[Rule], calm: float) -> None:
        self._path = path
        self._journal = Journal(path, read_only=True)
        try:
            self.trail = Trail.of(self._journal)
            self._alarms = Alarms(rules, calm=timedelta(minutes=calm), raised=_read(told_path(path)))
        except BaseException:
            self._journal.close()
            raise

    def look(self, health: Health, now: datetime, failure: str) -> list[Change]:
        """What has changed; ``failure`` is why the engine ends, where nobody has asked it to."""
        self.trail.follow(self._journal)
        self.trail.advance(now)
        changes = self._alarms.look(self.trail, health, self.trail.now or now)
        gone = self._alarms.gone(self.trail.now or now, failure) if failure else None
        return changes if gone is None else [*changes, gone]

    def save(self) -> None:
        """Keep what somebody was told of. Raises :class:`~gridpilot.errors.JournalError`."""
        raised = {name: since.isoformat() for name, since in self._alarms.raised.items()}
        write_atomically(told_path(self._path), (json.dumps({"raised": raised}) + "\n").encode(), JournalError)

    def close(self) -> None:
        self._journal.close()


class _Outbox:
    """The notices that wait for a channel, and the thread that sends them."""

    def __init__(
        self,
        channel: Channel,
        deadline: float,
        log: structlog.typing.FilteringBoundLogger,
        told: Told,
        pauses: tuple[float, float],
    ) -> None:
        self._channel, self._deadline, self._log, self._told = channel, deadline, log, told
        self._first_pause, self._longest_pause = pauses
        self._waiting: deque[tuple[float, Notice]] = deque()
        self._change = threading.Condition()
        self._ending = self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"alerts by {channel.name}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Have a notice sent; where too many wait, the oldest is given up."""
        with self._change:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self._told(self._channel.name, "dropped")
            self._waiting.append((time.monotonic(), notice))
            self._change.notify()

    def end(self) -> None:
        """Send what waits, each once, and end."""
        with self._change:
            self._ending = True
            self._change.notify()

    def join(self, within: float) -> None:
        """Wait for the end."""
        self._thread.join(within)

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                self._deliver(*entry)
            except Exception as error:  # a fault of this program, which must neither end the thread nor stay untold
                self._fail(f"{type(error).__name__}", "refused")

    def _next(self) -> tuple[float, Notice] | None:
        with self._change:
            while not self._waiting and not self._ending:
                self._change.wait()
            return self._waiting.popleft() if self._waiting else None

    def _deliver(self, put_at: float, notice: Notice) -> None:
        pause = self._first_pause
        while True:
            last = self._ending
            try:
                self._channel.send(notice, self._deadline)
            except NotSent as problem:
                if not problem.again:
                    self._fail(str(problem), "refused")
                    return
                self._fail(str(problem), "failed")
                if last or time.monotonic() - put_at > KEEP_S:
                    self._told(self._channel.name, "dropped")
                    return
            else:
                self._told(self._channel.name, "sent")
                if self._failing:
                    self._failing = False
                    log_event(self._log, "alert_restored", channel=self._channel.name)
                return
            with self._change:
                self._change.wait_for(lambda: self._ending, timeout=pause)
            pause = min(2.0 * pause, self._longest_pause)

    def _fail(self, why: str, result: str) -> None:
        self._told(self._channel.name, result)
        if not self._failing:  # once, until it goes well
            self._failing = True
            log_event(self._log, "alert_failed", channel=self._channel.name, why=why)


def _read(path: Path) -> dict[str, datetime]:
    """What somebody was told of. A file that is not there tells nothing, nor does one that is damaged: then it is told again."""
    try:
        return {str(name): datetime.fromisoformat(since) for name, since in json.loads(path.read_text("utf-8"))["raised"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
