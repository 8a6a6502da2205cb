"""The ways in which somebody is told of an alarm: a webhook, a mail. Each sends one notice within a total wall time, or says why not.

The servers are others': they may hang, dribble, redirect or echo. A watchdog closes the connection when the time is over, whatever is being
waited for; redirects are not followed; nothing is taken from the environment (no proxies); of an answer little is read and none is shown,
since a server may quote a secret. Only the lookup of a name cannot be cut off: it holds up its own channel, and nobody else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from gridpilot.errors import ConfigError, LiveError
from gridpilot.live.alerts_config import PASSWORD, SLACK, TOKEN, AlertsConfig, SmtpConfig, WebhookConfig

__all__ = ["Channel", "NotSent", "Smtp", "Webhook", "channels_of", "subject_of", "text_of"]

Notice = Mapping[str, Any]
"""What is told: plain JSON, without secrets."""

READ: Final = 4096  # bytes of an answer, at the most
AGAIN: Final = frozenset({408, 425, 429, *range(500, 600)})  # answers after which it may go later
SIGNS: Final = {"page": "🔴", "warn": "🟠", "info": "🔵"}


class NotSent(LiveError):
    """A notice was not taken: why, and whether it is worth another try."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Channel(Protocol):
    """One way to tell somebody."""

    name: str

    def send(self, notice: Notice, within: float) -> None:
        """Send a notice within so many wall seconds. Raises :class:`NotSent`."""


def channels_of(config: AlertsConfig, environment: Mapping[str, str]) -> list[Channel]:
    """The channels that are configured, with their secrets from the ``environment``.

    Raises :class:`~gridpilot.errors.ConfigError` where a secret that is needed is not there, or can be no header's or path's.
    """
    channels: list[Channel] = []
    if config.webhook.url is not None:
        token = environment.get(TOKEN, "").strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(f"{TOKEN} holds a blank or a sign that no address can hold, expected what follows the webhook's url")
        if not token and urlsplit(config.webhook.url).hostname == SLACK:
            raise ConfigError(
                f"live.alerts.webhook.url is at {SLACK}, and {TOKEN} is not set, expected the rest of the address in it"
            )
        channels.append(Webhook(config.webhook, SecretStr(token)))
    if config.smtp.host is not None:
        password = environment.get(PASSWORD, "")
        if config.smtp.user is not None and not password:
            raise ConfigError(f"live.alerts.smtp.user is set, and {PASSWORD} is not, expected the password in it")
        channels.append(Smtp(config.smtp, SecretStr(password)))
    return channels


def subject_of(notice: Notice) -> str:
    """A notice in a line.

    >>> subject_of({"alarm": "FeedStale", "state": "resolved", "severity": "warn", "site": "hall 2", "mode": "shadow"})
    '[over] FeedStale at hall 2 (shadow)'
    """
    word = "over" if notice["state"] == "resolved" else notice["severity"]
    return f"[{word}] {notice['alarm']} at {notice['site']} ({notice['mode']})"


def text_of(notice: Notice) -> str:
    """A notice in words."""
    over = notice["state"] == "resolved"
    lines = [
        f"{notice['summary']}{'' if notice['summary'].endswith('?') else '.'}",
        f"Found: {notice['detail']}." if notice["detail"] else "",
        f"Since {notice['since']}{', over at ' + notice['at'] if over else ''} (engine's time, UTC).",
        f"Agent {notice['agent']} on {notice['venue']}, mode {notice['mode']}.",
    ]
    return "\n".join(line for line in lines if line)


class Webhook:
    """A POST of JSON; any answer of 2xx is well."""

    name = "webhook"

    def __init__(self, config: WebhookConfig, token: SecretStr) -> None:
        assert config.url is not None
        parts = urlsplit(config.url)
        self._host, self._tls, self._form = parts.hostname or "", parts.scheme == "https", config.form
        self._port = parts.port or (443 if self._tls else 80)
        self._path, self._token = parts.path or "/", token

    def send(self, notice: Notice, within: float) -> None:
        """Send a notice within so many wall seconds. Raises :class:`NotSent`."""
        secret, path = self._token.get_secret_value(), self._path
        headers = {"Content-Type": "application/json", "User-Agent": "gridpilot", "Connection": "close"}
        if self._form == "slack":
            sign = "✅" if notice["state"] == "resolved" else SIGNS[notice["severity"]]
            body: Notice = {"text": f"{sign} *{_slack(subject_of(notice))}*\n{_slack(text_of(notice))}"}
            path = f"{path.rstrip('/')}/{secret.lstrip('/')}" if secret else path
        else:
            body = notice
            if secret:
                headers["Authorization"] = f"Bearer {secret}"
        with _telling(), _Line(self._host, self._port, within, ssl.create_default_context() if self._tls else None) as line:
            connection = http.client.HTTPConnection(self._host, self._port)
            connection.sock = line.socket
            connection.request("POST", path, json.dumps(body).encode(), headers)
            response = connection.getresponse()
            response.read(READ)
        if 300 <= response.status < 400:
            raise NotSent(f"answered {response.status}, and redirects are not followed", again=False)
        if not 200 <= response.status < 300:
            raise NotSent(f"answered {response.status}", again=response.status in AGAIN)


class Smtp:
    """A mail to all recipients."""

    name = "smtp"

    def __init__(self, config: SmtpConfig, password: SecretStr) -> None:
        """Raises :class:`~gridpilot.errors.ConfigError` for a ``ca`` that holds no certificate."""
        assert config.host is not None
        self._config, self._host, self._password = config, config.host, password
        self._trusted = None if config.security == "none" else _trusted(config.ca)

    def send(self, notice: Notice, within: float) -> None:
        """Send a notice within so many wall seconds. Raises :class:`NotSent`."""
        config, mail = self._config, EmailMessage()
        mail["Subject"] = " ".join(subject_of(notice).split())
        mail["From"], mail["To"] = config.sender, ", ".join(config.recipients)
        mail.set_content(text_of(notice))
        with (
            _telling(),
            _Line(self._host, config.port, within, self._trusted if config.security == "tls" else None) as line,
            contextlib.closing(_Server(line)) as server,
        ):
            if config.security == "starttls":
                server.starttls(context=self._trusted)
            if config.user is not None:
                server.login(config.user, self._password.get_secret_value())
            server.send_message(mail)  # a server that does not take it says so; what it says to a goodbye is all the same


class _Server(smtplib.SMTP):
    """A mail server at the end of a line that is open already."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__(line.host, line.port, local_hostname="[127.0.0.1]")

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        return self._line.socket


class _Line:
    """A connection that is cut ``within`` wall seconds, whatever it is used for by then; a context manager. With a ``context`` it is TLS.

    Raises ``OSError``, ``TimeoutError`` where the time was over.
    """

    def __init__(self, host: str, port: int, within: float, context: ssl.SSLContext | None) -> None:
        self.host, self.port = host, port
        self._until = time.monotonic() + within
        self._late = False
        plain = self._connect()
        self._handle = plain.dup()  # stays a handle on the connection, whoever wraps or detaches the other one
        self._timer = threading.Timer(max(0.0, self._until - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()
        try:
            self.socket = plain if context is None else context.wrap_socket(plain, server_hostname=host)
        except BaseException as error:
            plain.close()
            self._close()
            if self._is_late():
                raise TimeoutError("no connection in time") from error
            raise

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._close()
        self.socket.close()
        if self._is_late():  # an answer that was cut off may look like a whole one
            raise TimeoutError("no whole answer in time")

    def _connect(self) -> socket.socket:
        problem: OSError = TimeoutError("no connection in time")
        for family, kind, number, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            left = self._until - time.monotonic()
            if left <= 0.0:
                raise TimeoutError("no connection in time")
            plain = socket.socket(family, kind, number)
            try:
                plain.settimeout(left)  # of each wait from here on; the watchdog sees to the sum
                plain.connect(address)
                return plain
            except OSError as error:
                plain.close()
                problem = error
        raise problem

    def _is_late(self) -> bool:
        """Whether the time is over; a wait may end by itself a moment before the watchdog does it."""
        return self._late or time.monotonic() >= self._until

    def _cut(self) -> None:
        self._late = True
        with contextlib.suppress(OSError):  # it has ended by itself
            self._handle.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self._timer.cancel()
        self._handle.close()


def _trusted(ca: str | None) -> ssl.SSLContext:
    """What certificates are held against: the machine's authorities, or those of the PEM file ``ca`` alone."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # SSLError is one
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"live.alerts.smtp.ca {ca}: {reason}, expected a file of certificates (PEM)") from error


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """What can go wrong, as :class:`NotSent`, in words of this program's own."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise NotSent(f"the server does not let this user in ({error.smtp_code})", again=False) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise NotSent(
            f"recipients were refused ({', '.join(map(str, codes))})", again=all(400 <= code < 500 for code in codes)
        ) from None
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"the server answered {error.smtp_code}", again=not 500 <= error.smtp_code < 600) from None
    except smtplib.SMTPNotSupportedError:
        raise NotSent("the server does not offer STARTTLS or logging in", again=False) from None
    except ssl.SSLCertVerificationError as error:
        raise NotSent(f"its certificate is not trusted: {error.verify_message}", again=True) from None
    except TimeoutError:
        raise NotSent("no answer in time", again=True) from None
    except (OSError, smtplib.SMTPException, http.client.HTTPException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise NotSent(f"no connection, or it was lost: {reason}", again=True) from None


def _slack(text: str) -> str:
    """Text that Slack takes as it is (https://api.slack.com/reference/surfaces/formatting#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
