"""Structured logs of a running engine: lines of JSON, or readable ones on a terminal, from which keys are struck out.

The logger is a value that is passed on: neither structlog's configuration nor the standard library's is touched.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import stamina.instrumentation
import structlog
from pydantic import SecretBytes, SecretStr

from gridpilot.errors import ConfigError
from gridpilot.live.api import format_time
from gridpilot.live.cycle_report import CycleReport
from gridpilot.redaction import REDACTED, redacted
from gridpilot.stdout import printable

__all__ = ["EVENTS", "REDACTED", "Redaction", "configure", "is_clean", "log_cycle", "log_event", "printable"]


Level = Literal["debug", "info", "warning", "error"]

EVENTS: Final[Mapping[str, Level]] = MappingProxyType(
    {
        "started": "info",
        "cycle": "info",
        "refused_row": "warning",  # a price row that was not believed
        "api_down": "warning",
        "api_up": "info",
        "halted": "warning",
        "resumed": "info",
        "reconciled": "info",
        "mismatch": "error",  # the venue reports other counts than it confirmed
        "drift": "error",  # the replica decided differently from the same journal
        "skew": "warning",  # the venue's clock and this one differ
        "alert": "info",  # somebody is told of an alarm, or that it is over
        "alert_failed": "warning",  # a channel takes none; told once, until it takes one again
        "alert_restored": "info",
        "stopped": "info",
    }
)
"""Event: its level."""

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_KEY: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)  # a UUID
_HEADER: Final = re.compile(  # what follows the name of a header or variable with a secret, also in the repr of a dict or of bytes
    r"((?:api[-_]?key|authorization)['\"]?\s*[:=,]\s*(?:b(?=['\"]))?['\"]?(?:(?:bearer|basic)\s+)?)[^\s'\",}\]]+", re.IGNORECASE
)
_SECRET_NAME: Final = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)
_PRICE_NAMES: Final = frozenset({"token", "token_price", "tokens"})  # whose numbers are prices and outputs
_DEEPEST: Final = 12  # levels of nesting, beyond which nothing is shown


class Redaction:
    """A structlog processor after which an event holds plain JSON values and no key.

    Struck out are UUIDs (the API's keys are such), what stands in a field whose name speaks of a key, token, secret or password, what
    pydantic holds as a secret, and the ``secrets`` themselves wherever they turn up, in names of fields and texts of exceptions too.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._secrets = sorted({text for secret in secrets if (text := secret.get_secret_value())}, key=len, reverse=True)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        """The event without keys."""
        return {self.text(name): self.value(value, name) for name, value in event.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._secrets)} secrets)"

    def text(self, text: str) -> str:
        """``text`` without keys.

        >>> Redaction().text("401 for 6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11")
        '401 for [redacted]'
        """
        text = redacted(text, self._secrets)
        for secret in self._secrets:  # the short ones too, as they are
            text = text.replace(secret, REDACTED)
        return _KEY.sub(REDACTED, _HEADER.sub(rf"\1{REDACTED}", text))

    def value(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """``value``, which stands in the field ``name``, as plain JSON without keys; NaN and infinities become text."""
        number = isinstance(value, int | float)
        if value is None or isinstance(value, bool):
            return value
        if _SECRET_NAME.search(name) and not (name.lower() in _PRICE_NAMES and number):
            return REDACTED
        if isinstance(value, SecretStr | SecretBytes) or depth > _DEEPEST:
            return REDACTED
        match value:
            case int():
                return int(value)
            case float():
                return float(value) if math.isfinite(value) else str(value)
            case str():
                return self.text(value)
            case bytes() | bytearray():
                return self.text(value.decode(errors="backslashreplace"))
            case datetime():
                return value.isoformat()
            case Mapping():
                return {self.text(str(key)): self.value(inner, str(key), depth + 1) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(inner, "", depth + 1) for inner in value]
            case BaseException():
                return self.text(f"{type(value).__name__}: {value}")
        return self.text(repr(value))


def configure(
    level: str | None = None, stream: TextIO | None = None, *, table: bool = False, secrets: Iterable[SecretStr] = ()
) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to ``stream``: readable lines where that is a terminal, lines of JSON elsewhere.

    ``level`` is by default that of ``LOG_LEVEL``, or ``INFO``; with the live ``table`` on the same terminal only warnings and worse are
    shown. Without a ``stream`` every line goes to what is ``sys.stderr`` at the time, so that the live table keeps it off its own lines.
    A line that cannot be written, because the reader has gone or the disk is full, is lost: the engine goes on.
    Retries of stamina are written to this logger too, as ``retry``; it would otherwise print them, arguments and all, to stdout.
    Raises ``ConfigError`` where there is no such level.
    """
    source = "LOG_LEVEL" if level is None else "log level"
    asked = (os.environ.get("LOG_LEVEL") or "INFO") if level is None else level
    if asked.upper() not in _LEVELS:
        raise ConfigError(f"{source} is {asked!r:.40}, expected one of {', '.join(_LEVELS)}")
    threshold = logging.getLevelNamesMapping()[asked.upper()]
    terminal = (stream or sys.stderr).isatty()
    render: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer(ensure_ascii=False)]
    if terminal:
        render = [_printable, structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)]
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # text from here on: pretty tracebacks would show variables, and secrets with them
            Redaction(secrets),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(max(threshold, logging.WARNING) if table else threshold),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    stamina.instrumentation.set_on_retry_hooks(
        [lambda retry: log.debug("retry", call=retry.name, number=retry.retry_num, wait=retry.wait_for, cause=retry.caused_by)]
    )
    return log


def is_clean(report: CycleReport) -> bool:
    """Whether the agent decided, nothing went wrong before, and the command took effect (or was not to be sent, in shadow mode)."""
    return report.reason == "agent" and not report.causes and report.status in {"applied", "shadow"}


def log_cycle(log: structlog.typing.FilteringBoundLogger, report: CycleReport) -> None:
    """Log one cycle: a warning unless it is clean or carries out a halt."""
    energy, hash_price, token = report.prices
    halted = "halted" in report.causes and report.status in {"applied", "shadow"}
    write = log.info if is_clean(report) or halted else log.warning
    write(
        "cycle",
        at=format_time(report.at),
        mode=report.mode,
        kind=report.kind,
        reason=report.reason,
        causes=report.causes,
        status=report.status,
        prices={"energy": energy, "hash": hash_price, "token": token},
        counts={name: list(units) for name, *units in zip(report.classes, *report.counts, strict=True)},
        power_w=report.power_w,
        cap_w=report.cap_w,
        profit=report.profit,
        best=report.alternatives.get("best"),
        attempts=report.attempts,
        latency=report.latency,
        fresh=report.fresh,
        ticks=report.ticks,
    )


def log_event(log: structlog.typing.FilteringBoundLogger, event: str, **fields: Any) -> None:
    """Log an event of ``EVENTS`` at its level. Raises ``KeyError`` for another."""
    getattr(log, EVENTS[event])(event, **fields)


def _printable(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: printable(value) if isinstance(value, str) and name != "exception" else value for name, value in event.items()}


class _Lines:
    """What structlog writes lines to."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write a line, at once; in one piece, because threads share the stream."""
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except OSError:
            return  # told in configure: there is nowhere left to say so

    debug = info = warning = error = critical = msg
