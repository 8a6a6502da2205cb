"""The server of the dashboard: Streamlit in this process, on loopback, behind the gate."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gridpilot.errors import ConfigError
from gridpilot.insight.dashboard.sources import Sources, serve_sources

__all__ = ["ADDRESS", "free_port", "serve"]

ADDRESS: Final = "127.0.0.1"
SCRIPT: Final = Path(__file__).with_name("app.py")
ENDED: Final = 128 + signal.SIGTERM

CONFIG: Final[dict[str, Any]] = {
    "server.address": ADDRESS,
    "server.headless": True,
    "server.allowedHosts": [ADDRESS, "localhost"],
    "server.enableAgentApi": False,
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "browser.serverAddress": ADDRESS,  # without it Streamlit asks the internet for this machine's address
    "browser.gatherUsageStats": False,
    "global.developmentMode": False,
    "logger.hideWelcomeMessage": True,
    "runner.magicEnabled": False,
    "runner.postScriptGC": False,  # a whole collection after every look: with this library's modules a fifth of a second each
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "type",
    "client.showErrorLinks": False,
    "theme.base": "dark",
    "theme.primaryColor": "#f2a33a",
    "theme.backgroundColor": "#0e1218",
    "theme.secondaryBackgroundColor": "#171d26",
    "theme.textColor": "#dfe5ec",
    "theme.borderColor": "#2a323d",
    "theme.showWidgetBorder": True,
    "theme.baseFontSize": 14,
    "theme.paddingTop": "1rem",
}
"""Nothing of it is left to files and variables, which could open the server or have it ask other hosts."""


def free_port(port: int) -> int:
    """``port`` if nobody listens there, and any free one for 0.

    Raises :class:`~gridpilot.errors.ConfigError` for a port that is taken or may not be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}, expected a free port, or 0 for any") from error
        return int(listener.getsockname()[1])


def serve(sources: Sources, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; ``ready`` is given the address with its token once the server listens.

    Raises ``KeyboardInterrupt`` and ``SystemExit`` as signals come, and :class:`~gridpilot.errors.ConfigError` for a port that is taken.
    """
    import streamlit
    from starlette.middleware import Middleware

    from gridpilot.insight.dashboard.gate import TokenGate

    port, token = free_port(port), secrets.token_urlsafe(24)

    @contextlib.asynccontextmanager
    async def say_address(app: streamlit.App) -> AsyncIterator[None]:
        ready(f"http://{ADDRESS}:{port}/?token={token}")
        yield

    serve_sources(sources)
    gate = Middleware(TokenGate, token=token, port=port)
    app = streamlit.App(SCRIPT, middleware=[gate], lifespan=say_address)
    with _ended_by_signals():
        app.run(config={**CONFIG, "server.port": port, "browser.serverPort": port})


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave by an exception on SIGTERM and SIGHUP too: what was started along with the page ends with it."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(ENDED)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
