"""``gridpilot serve-mara``: a stand-in of the MARA API on this machine."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from gridpilot.errors import ConfigError
from gridpilot.live.api import TICK, PriceRow, format_time
from gridpilot.live.clock import SystemClock
from gridpilot.live.price_feed import OPENING, generate_rows, read_rows
from gridpilot.live.stand_in import faults as fault_rules
from gridpilot.live.stand_in.faults import LONGEST_FAULT, Faults, Rule, load_faults, random_rule
from gridpilot.live.stand_in.options import StandInOptions, describe_options, parse_options
from gridpilot.live.stand_in.rows import RowSource
from gridpilot.live.stand_in.state import KeptState, open_state

__all__ = ["main"]

DEFAULT_PORT: Final = 8321
EXAMPLE: Final = '{"name": "my-site"}'
FASTEST: Final = 100_000.0  # feed seconds a wall second

DESCRIPTION: Final = """\
Serve the API of the MARA Hackathon 2025 on this machine, with a price feed drawn here or read from a file.

At speed 1 the newest row is of now, UTC. At another speed the feed starts on 2025-06-21, or where the file does."""

EPILOG: Final = f"The file of --faults\n\n{(fault_rules.__doc__ or '').partition('drawn at random.')[2].strip()}"


def main(argv: list[str]) -> int:
    """Run the command until Ctrl-C or SIGTERM.

    Raises :class:`~gridpilot.errors.ConfigError` for a bad option or faults file, :class:`~gridpilot.errors.PriceError` for a bad price
    file, and :class:`~gridpilot.errors.LiveError` where the port is taken.
    """
    arguments = _parser().parse_args(argv)
    if arguments.list_options:
        print(describe_options())
        return 0
    options = _options(arguments)
    if not 0.0 < arguments.speed <= FASTEST:
        raise ConfigError(f"--speed is {arguments.speed:g}, expected a number above 0 and at most {FASTEST:,.0f}")
    if not 0 <= arguments.port <= 65535:
        raise ConfigError(f"--port is {arguments.port}, expected a number from 0 to 65535")
    rules = _rules(arguments)
    feed, state = _feed(arguments, options)
    _serve(arguments, options, feed, Faults(rules, arguments.fault_seed), state)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "gridpilot serve-mara", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0 takes a free one")
    parser.add_argument(
        "--feed", help="price model: a name of conf/prices, or a dotted path (default: mara_event, or replay where --file is given)"
    )
    parser.add_argument(
        "--file", type=Path, help="of --feed replay: CSV or JSON with timestamp and energy_price, hash_price, token_price"
    )
    parser.add_argument("--inventory", choices=("documented", "live"), help="machine types (default: live, as at the event)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="feed seconds a wall second (default 1)")
    parser.add_argument("--history", metavar="N", help="rows that are there at the start (default 1)")
    parser.add_argument("--power", metavar="W", help="power of a site (default 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the feed (default 0)")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keep sites, keys and rows in FILE, and go on with them when started again"
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="rules of faults, see below")
    parser.add_argument("--fault-rate", type=float, default=0.0, metavar="P", help="share of calls that fail at random (default 0)")
    parser.add_argument("--fault-seed", type=int, default=0, metavar="S", help="of all faults (default 0)")
    parser.add_argument(
        "--fault-slow", type=float, default=1.0, metavar="S", help="seconds that a slow one of these takes (default 1)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="what the API's description leaves open")
    parser.add_argument("--list-options", action="store_true", help="name the options of --set and stop")
    parser.add_argument("--access-log", action="store_true", help="print a line for each request")
    return parser


def _options(arguments: argparse.Namespace) -> StandInOptions:
    flags = {"inventory": arguments.inventory, "history": arguments.history, "power_w": arguments.power}
    values: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    for setting in arguments.set:
        name, given, text = setting.partition("=")
        if not given:
            raise ConfigError(f"--set {setting!r}: expected OPTION=VALUE")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: the value cannot be read") from error
    return parse_options(values)


def _rules(arguments: argparse.Namespace) -> tuple[Rule, ...]:
    """The rules of the file, then the one for faults at random."""
    rules = load_faults(arguments.faults) if arguments.faults is not None else ()
    if not 0.0 <= arguments.fault_rate <= 1.0:
        raise ConfigError(f"--fault-rate is {arguments.fault_rate:g}, expected a number from 0 to 1")
    if not 0.0 <= arguments.fault_slow <= LONGEST_FAULT:
        raise ConfigError(f"--fault-slow is {arguments.fault_slow:g}, expected a number from 0 to {LONGEST_FAULT:g}")
    return (*rules, random_rule(arguments.fault_rate, slow_s=arguments.fault_slow)) if arguments.fault_rate else rules


def _feed(arguments: argparse.Namespace, options: StandInOptions) -> tuple[Sequence[PriceRow] | RowSource, KeptState | None]:
    """The rows, and the state that is kept; at speed 1 the last row of the history is the one of now, or was when it began."""
    now = datetime.now(UTC)
    newest = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
    chosen: str = arguments.feed or ("mara_event" if arguments.file is None else "replay")
    before = (options.history - 1) * TICK
    if chosen != "replay":
        if arguments.file is not None:
            raise ConfigError(f"--file is given with --feed {chosen}, expected --feed replay")
        state = _state(arguments, options, chosen, OPENING if arguments.speed != 1.0 else newest - before, before)
        return partial(generate_rows, chosen, arguments.seed, start=state[0]), state[1]
    if arguments.file is None:
        raise ConfigError("--feed replay needs a file of prices: --file FILE")
    rows = read_rows(arguments.file)
    if len(rows) < options.history:
        raise ConfigError(f"--history is {options.history}, expected at most the {len(rows)} rows of {arguments.file}")
    shown = rows[options.history - 1].at - rows[0].at
    start, kept = _state(arguments, options, str(arguments.file), rows[0].at if arguments.speed != 1.0 else newest - shown, shown)
    moved = start - rows[0].at
    return [replace(row, at=row.at + moved) for row in rows], kept


def _state(
    arguments: argparse.Namespace, options: StandInOptions, feed: str, start: datetime, shown: timedelta
) -> tuple[datetime, KeptState | None]:
    """When the feed starts, and where that is kept; ``shown`` of it is there at the start."""
    if arguments.state is None:
        return start, None
    server = {"feed": feed, "seed": arguments.seed, "speed": arguments.speed, **options.model_dump(mode="json")}
    state = open_state(arguments.state, server, start, start + shown + timedelta(seconds=options.row_delay_s))
    return state.start, state


def _serve(
    arguments: argparse.Namespace,
    options: StandInOptions,
    feed: Sequence[PriceRow] | RowSource,
    faults: Faults,
    state: KeptState | None,
) -> None:
    from gridpilot.live.stand_in.app import create_app
    from gridpilot.live.stand_in.server import listen, make_server, run

    listener = listen(arguments.host, arguments.port)
    try:
        clock = SystemClock(arguments.speed)
        if state is not None:
            clock.anchor(state.now(arguments.speed))
        app = create_app(options, feed, clock, faults)
        if state is not None:
            state.keep(app.state.stand_in.sites)
        server = make_server(app, access_log=arguments.access_log)
    except BaseException:
        listener.close()
        raise
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        print(f"gridpilot serve-mara: warning: {host} is not loopback: others can reach this server, unencrypted", file=sys.stderr)
    print("\n".join(_greeting(arguments, options, app.state.stand_in.newest, len(faults.rules), url)), flush=True)
    run(server, listener)


def _greeting(arguments: argparse.Namespace, options: StandInOptions, newest: PriceRow, rules: int, url: str) -> list[str]:
    source = str(arguments.file) if arguments.file is not None else f"{arguments.feed or 'mara_event'}, seed {arguments.seed}"
    where = "" if url.endswith(f"127.0.0.1:{DEFAULT_PORT}") else f" live.url={url}"
    named = [f"{name}={value}" for name, value in options.model_dump(exclude_defaults=True).items()]
    return [
        f"listening on {url}",
        f"feed      {source}; newest row {format_time(newest.at)} UTC, speed {arguments.speed:g}",
        f"site      {options.power_w:,} W, inventory {options.inventory}",
        *([f"options   {', '.join(named)}"] if named else []),
        *([f"faults    {rules} rule{'s' if rules > 1 else ''}"] if rules else []),
        f"pages     {url}/ and {url}/docs",
        f"a key     gridpilot live register --name my-site{where}",
        f"          curl -X POST {url}/sites -H 'Content-Type: application/json' -d '{EXAMPLE}'",
        f"then      MARA_API_KEY=KEY gridpilot live live=stand_in live.mode=live{where}",
        "Ctrl-C ends it.",
    ]
