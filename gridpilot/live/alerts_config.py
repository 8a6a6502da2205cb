"""``live.alerts``: who is told of alarms. Secrets stand in the environment alone, for the journal keeps the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, model_validator

__all__ = ["PASSWORD", "SLACK", "TOKEN", "AlertsConfig", "Severity", "SmtpConfig", "WebhookConfig", "is_loopback_name"]

Severity = Literal["page", "warn", "info"]
"""How grave an alarm is: worth a page at night, worth a look by day, worth knowing."""

SLACK: Final = "hooks.slack.com"
TOKEN: Final = "GRIDPILOT_WEBHOOK_TOKEN"
PASSWORD: Final = "GRIDPILOT_SMTP_PASSWORD"
_ADDRESS: Final = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|::1", re.IGNORECASE)


def is_loopback_name(host: str) -> bool:
    """Whether a host is this machine, literally."""
    return _LOOPBACK.fullmatch(host.strip("[]")) is not None


def _webhook_url(url: str | None) -> str | None:
    """Raises ``ValueError`` for what is no address that a notice may go to."""
    if url is None:
        return None
    expected = "expected an address such as https://host/path, or http on loopback, without user, query or fragment"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"it is no address; {expected}") from None
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise ValueError(f"it holds more than host and path; {expected}")  # which may be a secret, and is not quoted
    plain = parts.scheme == "http" and is_loopback_name(host)
    if (
        not (parts.scheme == "https" or plain)
        or not _HOST.fullmatch(host)
        or port == 0
        or not url.isascii()
        or not url.isprintable()
    ):
        raise ValueError(f"it goes to {parts.scheme}://{host:.60}; {expected}")
    if " " in url:
        raise ValueError(f"it holds a blank; {expected}")
    if host.lower() == SLACK and parts.path.strip("/").count("/"):
        raise ValueError(
            f"what follows the first part of its path is a secret, expected https://{SLACK}/services, the rest in {TOKEN}"
        )
    return url


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text) or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r:.80} is no mail address, expected one such as night@example.org")
    return text


Address = Annotated[str, AfterValidator(_address)]


class WebhookConfig(BaseModel):
    """A POST to one address; off where ``url`` is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str | None, AfterValidator(_webhook_url)] = None
    form: Literal["json", "slack"] = "json"


class SmtpConfig(BaseModel):
    """A mail; off where ``host`` is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: str | None = None
    user: str | None = None
    sender: Address | None = None
    recipients: tuple[Address, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.host is None:
            return self
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"host is {self.host!r:.80}, expected the name of a mail server")
        if self.sender is None or not self.recipients:
            raise ValueError("host is set, expected sender and recipients beside it")
        if self.security == "none" and not is_loopback_name(self.host):
            raise ValueError(f"security is none and host {self.host!r:.80}: that is for loopback alone, expected starttls or tls")
        return self


class AlertsConfig(BaseModel):
    """``live.alerts``; every key is explained in ``conf/live/base.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    least: Severity = "warn"
    calm: NonNegativeFloat = 10.0  # min
    deadline: Annotated[PositiveFloat, Field(le=60.0)] = 10.0  # wall s
    webhook: WebhookConfig = WebhookConfig()
    smtp: SmtpConfig = SmtpConfig()
