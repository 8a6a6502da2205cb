"""What a stand-in keeps in a file, so that one that is ended or killed and started again is the same server: its sites and its rows.

Rows need no keeping: a feed is the same whenever it is drawn with the same seed from the same start, and the clock runs on from where it
would have come to. Sites are written down before a change is answered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gridpilot.errors import ConfigError
from gridpilot.files import replacing
from gridpilot.live.api import format_time, parse_time
from gridpilot.live.stand_in.sites import Site, Sites

__all__ = ["KeptState", "open_state"]

FORMAT: Final = 1


@dataclass
class KeptState:
    """A state file that is there or will be."""

    path: Path
    server: Mapping[str, Any]  # what makes its rows and sites what they are; must be the same at every start
    start: datetime  # UTC, of the feed's first row
    at: datetime  # the feed's time when it began
    wall: float | None = None  # s since 1970, when that was; None before the first start
    sites: tuple[Site, ...] = ()

    def now(self, speed: float) -> datetime:
        """What the feed's time has come to, as if the server had never been away."""
        if self.wall is None:
            self.wall = time.time()
        return self.at + timedelta(seconds=max(0.0, time.time() - self.wall) * speed)

    def keep(self, sites: Sites) -> None:
        """Give ``sites`` those that were kept, and write all of them down now and after each change."""
        sites.restore(self.sites)
        sites.changed = lambda: self._write(sites)
        self._write(sites)

    def _write(self, sites: Sites) -> None:
        body = {
            "format": FORMAT,
            "server": dict(self.server),
            "start": format_time(self.start),
            "began": [format_time(self.at), self.wall],
            "sites": [
                [site.number, site.name, site.key, site.power_w, format_time(site.updated_at), site.counts] for site in sites.all()
            ],
        }
        with replacing(self.path, ConfigError, mode=0o600) as temporary:  # it holds keys
            temporary.write_text(json.dumps(body, indent=1), encoding="utf-8")


def open_state(path: Path, server: Mapping[str, Any], start: datetime, began: datetime) -> KeptState:
    """The state in the file at ``path``, or a new one that begins with the first row at ``start`` and the time at ``began``.

    Raises :class:`~gridpilot.errors.ConfigError` for a file that is none, and one that another ``server`` has written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return KeptState(path, server, start, began)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--state {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise ValueError(f"format {body['format']}, expected {FORMAT}")
        at, wall = body["began"]
        sites = tuple(
            Site(
                int(number),
                str(name),
                str(key),
                int(power_w),
                parse_time(updated),
                None if counts is None else tuple(map(int, counts)),
            )
            for number, name, key, power_w, updated, counts in body["sites"]
        )
        kept = KeptState(path, body["server"], parse_time(body["start"]), parse_time(at), float(wall), sites)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"--state {path} is no state of serve-mara: {error}; expected one that it has written, or a new name"
        ) from error
    for name, value in server.items():
        if kept.server.get(name) != value:
            raise ConfigError(
                f"--state {path} was begun with {name} {kept.server.get(name)!r}, and {value!r} is asked for; expected the same, or a new "
                "name"
            )
    return kept
