"""``gridpilot live register``: makes a site and says where its key belongs."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from gridpilot.errors import ConfigError, LiveError
from gridpilot.files import sync
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import SystemClock
from gridpilot.live.config import Timing
from gridpilot.live.logs import printable

__all__ = ["main"]

DEFAULT_URL: Final = "http://127.0.0.1:8321"
_OVERRIDE: Final = "live.url="

DESCRIPTION: Final = """\
Make a site and show its key, once. There is no second chance to see it: a lost key means a new site.

On a terminal the key is printed; with --key-file it goes to a new file that only you can read, and is not printed."""


def main(argv: list[str]) -> int:
    """Run the command.

    Raises :class:`~gridpilot.errors.ConfigError`, before a site is made, for a bad address or name and where the key has nowhere to go,
    and :class:`~gridpilot.errors.LiveError` where the server does not make a site or the key cannot be written down.
    """
    parser = argparse.ArgumentParser(
        "gridpilot live register", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the site")
    parser.add_argument("--url", help=f"of the API (default: {DEFAULT_URL})")
    parser.add_argument("--key-file", metavar="FILE", type=Path, help="a new file for the key")
    parser.add_argument("overrides", metavar="live.url=URL", nargs="*", help="the same as --url")
    options = parser.parse_intermixed_args(argv)
    url = _url(options.url, options.overrides)
    if not options.name.strip():
        raise ConfigError("--name is empty, expected the name of a site")
    if options.key_file is None and not sys.stdout.isatty():
        raise ConfigError("stdout is no terminal, so the key would be lost or end in a log: give --key-file FILE")
    with MaraClient(url, timing=Timing.of(1.0), clock=SystemClock()) as client:
        if options.key_file is None:
            key, name, power_w = client.register(options.name)
            shown = shlex.quote(key.get_secret_value())
        else:
            name, power_w = _register_into(options.key_file, client, options.name)
            shown = f'"$(cat {shlex.quote(str(options.key_file))})"'
    power = f"{power_w:,} W" if power_w else "power not told"
    print(f"site {printable(name)!r} at {url}, {power}. Its key belongs in the environment:\n  export MARA_API_KEY={shown}")
    return 0


def _url(option: str | None, overrides: list[str]) -> str:
    urls = [option] if option is not None else []
    for override in overrides:
        if not override.startswith(_OVERRIDE):
            raise ConfigError(f"{override.partition('=')[0]!r:.60} is no option of register, expected {_OVERRIDE}URL")
        urls.append(override.removeprefix(_OVERRIDE))
    if len(set(urls)) > 1:
        raise ConfigError(f"--url and {_OVERRIDE} name {len(set(urls))} different addresses, expected one")
    return urls[0] if urls else DEFAULT_URL


def _register_into(path: Path, client: MaraClient, name: str) -> tuple[str, int]:
    """Make a site and write its key to ``path``, which is opened first: a site whose key cannot be kept is of no use."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"--key-file {path}: {error.strerror}, expected a new file in a folder that can be written") from error
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        try:
            key, given, power_w = client.register(name)
        except BaseException:
            path.unlink(missing_ok=True)  # nothing was written
            raise
        try:
            file.write(key.get_secret_value().encode() + b"\n")
            sync(path)
            sync(path.parent)
        except OSError as error:
            raise LiveError(f"{path}: the site is made, and its key could not be written ({error}): make another site") from error
    return given, power_w
