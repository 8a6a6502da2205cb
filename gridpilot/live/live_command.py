"""``gridpilot live``: run an agent on a venue; ``live status``, ``halt``, ``register`` and so on are commands of their own."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, TextIO

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictBool

from gridpilot import configuration
from gridpilot.errors import AgentError, ConfigError
from gridpilot.live.api import TICK
from gridpilot.live.config import FINGERPRINT, LiveConfig, RiskLimits
from gridpilot.overrides import quoted
from gridpilot.stdout import results_only

__all__ = ["main"]

OTHERS: Final = {
    **dict.fromkeys(("status", "halt", "resume", "verify", "export"), "gridpilot.live.operations"),
    "report": "gridpilot.live.report_command",
    "register": "gridpilot.live.register_command",
}
KEY_VARIABLE: Final = "MARA_API_KEY"
QUOTES: Final = "'\""


class LiveRun(BaseModel):
    """``conf/live.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: dict[str, Any]
    live: LiveConfig
    deployment: Path | None
    fingerprint: str | None
    as_json: Annotated[StrictBool, Field(alias="json")]


@dataclass(frozen=True)
class Pilot:
    """Who decides, and within which limits."""

    target: str
    params: Mapping[str, Any]
    risk: RiskLimits
    name: str
    origin: dict[str, Any]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises :class:`~gridpilot.errors.LiveError` where the engine cannot start."""
    if argv and argv[0] in OTHERS:
        module = importlib.import_module(OTHERS[argv[0]])
        return int(module.main(argv[1:] if argv[0] in ("register", "report") else argv))
    if argv and re.fullmatch(r"[a-z]+", argv[0]):
        raise ConfigError(f"live: there is no {argv[0]!r}, expected {', '.join(OTHERS)}, or overrides such as live=stand_in")
    argv = [_fingerprint_as_text(argument) for argument in argv]
    keys = [argument.partition("=")[0] for argument in argv]
    if "deployment" in keys and "deployment=null" not in argv:
        for key in keys:
            if key.startswith(("agent", "live.risk")):
                raise ConfigError(
                    f"{key} is part of the deployment, which is never changed; deploy again with another, or leave one out"
                )
    return configuration.run("live", argv, _run)


def _fingerprint_as_text(argument: str) -> str:
    """``deployment.fingerprint=HEX`` under the key that ``conf/live.yaml`` has for it: ``deployment`` itself is a folder's name.

    Digits alone, or with an e among them, would be read as a number.
    """
    key, given, value = argument.partition("=")
    if not given or key not in (FINGERPRINT, "fingerprint") or value == "null":
        return argument
    return f"fingerprint={quoted(value.strip(QUOTES))}"


def _run(config: dict[str, Any]) -> int:
    settings = configuration.validate(LiveRun, config, "live")
    if not settings.as_json:
        return _begin(settings, None)
    with results_only() as out:  # what the agent prints is no line of JSON
        return _begin(settings, out)


def _begin(settings: LiveRun, lines: TextIO | None) -> int:
    from gridpilot.live.open_venue import find_venue

    pilot = _pilot(settings)
    live = settings.live.model_copy(update={"risk": pilot.risk})
    keys = [SecretStr(key.strip()) for key in os.environ.get(KEY_VARIABLE, "").split(",") if key.strip()]
    if live.mode == "live" and find_venue(live).remote and not keys:
        raise ConfigError(
            f"live.mode=live needs a key in {KEY_VARIABLE}, which is not set; gridpilot live register --name NAME makes a site"
        )
    return _operate(live, pilot, keys, lines=lines)


def _pilot(settings: LiveRun) -> Pilot:
    from gridpilot.agents.registry import build_agent

    agent = dict(settings.agent)
    pilot = Pilot(str(agent.pop("name", "")), agent, settings.live.risk, "", {})
    if settings.deployment is None and settings.fingerprint is not None:
        raise ConfigError(f"{FINGERPRINT} is set and no deployment is, expected deployment=DIR beside it")
    if settings.deployment is not None:
        from gridpilot.live.deployment import load_deployment, remarks_on

        deployment = load_deployment(settings.deployment, settings.fingerprint)
        for warning in (*deployment.warnings, *remarks_on(deployment.risk)):
            print(f"gridpilot live: {settings.deployment}: {warning}", file=sys.stderr)
        origin = {"deployment": deployment.label, "fingerprint": deployment.fingerprint}
        params = dict(deployment.agent["params"])
        pilot = Pilot(str(deployment.agent["target"]), params, deployment.risk, deployment.label, origin)
    built = build_agent(pilot.target, pilot.params)  # an unknown name or a wrong parameter is told before anything else happens
    if built.clairvoyant:
        raise AgentError(f"agent {pilot.target!r} is clairvoyant, shown what no venue can show; expected another")
    return pilot if pilot.name else Pilot(pilot.target, pilot.params, pilot.risk, type(built).__name__, pilot.origin)


def _operate(live: LiveConfig, pilot: Pilot, keys: Sequence[SecretStr], *, lines: TextIO | None) -> int:
    from gridpilot.agents.seating import AgentSpec
    from gridpilot.live.alert_channels import channels_of
    from gridpilot.live.alerts import Alerts
    from gridpilot.live.engine import Engine
    from gridpilot.live.journal import Journal
    from gridpilot.live.live_table import Heading, LiveTable
    from gridpilot.live.lock import sole_engine
    from gridpilot.live.logs import Redaction, configure
    from gridpilot.live.memory import release_compiler
    from gridpilot.live.metrics import Metrics
    from gridpilot.live.metrics_server import MetricsServer
    from gridpilot.live.open_venue import find_venue, open_venue
    from gridpilot.live.running import registered
    from gridpilot.live.watch import Watch
    from gridpilot.market.compilation import start_without_blas

    channels = channels_of(live.alerts, os.environ)
    release_compiler()  # before and after, so that the pages of its import and of its start are never there together
    start_without_blas()
    release_compiler()
    shown = not lines and (sys.stdout.isatty() if live.table is None else live.table)
    log = configure(table=shown, secrets=keys)
    with contextlib.ExitStack() as stack:
        remote = find_venue(live).remote
        name = live.venue if isinstance(live.venue, str) else str(live.venue.get("name"))
        known = registered(live.journal, name, live.url if remote else None, live.mode, keys if remote else ())
        stack.enter_context(sole_engine(live.journal))
        stack.enter_context(known)
        venue = open_venue(live, keys)
        stack.callback(venue.close)
        journal = stack.enter_context(Journal(live.journal))
        if not venue.remote and journal.last("session") is not None:
            raise ConfigError(
                f"live.journal={live.journal} holds an earlier run, which a {venue.name} one cannot go on with; choose another"
            )
        wall = venue.clock.monotonic
        metrics = Metrics(wall)
        limits = {"heartbeat_limit": max(5.0, venue.timing.tick), "correct_limit": max(15.0, 3.0 * venue.timing.tick)}
        venue.observe_calls(metrics.called)
        feed_limit = live.risk.fallback_after * TICK.total_seconds()
        if live.metrics_port is not None:
            server = stack.enter_context(MetricsServer(metrics, live.metrics_port, feed_limit=feed_limit, **limits))
            print(f"gridpilot live: http://127.0.0.1:{server.port}/metrics and /health", file=sys.stderr)
        table = None
        if shown:
            table = LiveTable(Heading(venue.name, venue.address, pilot.name, (), venue.clock.speed, live.mode))
            stack.enter_context(table)
        watch = Watch(log, metrics, monotonic=wall, table=table, lines=lines, **limits)
        engine = Engine(venue, [AgentSpec(pilot.target, pilot.params)], live, journal, watch, origin=pilot.origin)
        with contextlib.ExitStack() as beside, _signals(engine):
            if channels:
                beside.enter_context(
                    Alerts(
                        live.alerts, channels, live.journal, health=partial(metrics.health, feed_limit=feed_limit, **limits),
                        now=venue.clock.now, log=log, told=metrics.alert, redaction=Redaction(keys), poll=_look_every(venue.timing.tick),
                    )
                )  # fmt: skip
            engine.run()
        if not lines:
            stack.callback(_say_where, live.journal, journal.head)
    return 0


def _look_every(tick: float) -> float:
    """Wall seconds between two looks at what is wrong, of ticks of so many."""
    return min(15.0, max(0.5, tick / 20.0))


def _say_where(path: Path, head: tuple[int, str]) -> None:
    from gridpilot.live.which_journal import as_option

    print(f"journal  {path}: {head[0]:,} records, head {head[1][:16]}\nverify   gridpilot live verify {as_option(path)} --replay")


@contextlib.contextmanager
def _signals(engine: Any) -> Iterator[None]:
    """End gracefully on SIGTERM and Ctrl-C: the cycle is finished, machines stay as they are."""

    def stop(number: int, frame: FrameType | None) -> None:
        engine.stop(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
