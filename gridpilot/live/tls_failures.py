"""Why no TLS connection could be made, told apart: a certificate that is not to be trusted is another matter than a server that is down."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["why_no_connection"]

# Numbers of OpenSSL's X509_V_ERR_...: its texts may quote a certificate, and so whatever its maker wrote there.
_CERTIFICATES: Final[Mapping[int, str]] = MappingProxyType(
    {
        9: "is not valid yet, unless this machine's clock is behind",
        10: "has expired, unless this machine's clock is ahead",
        18: "is self-signed, by no authority that this machine knows",
        19: "is of an authority that this machine does not know",
        20: "is of an authority that this machine does not know",
        21: "is of an authority that this machine does not know",
        23: "was revoked",
        62: "is of another host than live.url names",
        64: "is of another host than live.url names",
    }
)
_NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)


def why_no_connection(error: BaseException) -> str:
    """In words, without anything that the server said: of its certificate, of its TLS, or that no connection could be made at all."""
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault = _CERTIFICATES.get(cause.verify_code, f"is not to be trusted (OpenSSL's code {cause.verify_code})")
            return f"no connection was made: the server's certificate {fault}; nothing was sent"
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            if cause.reason in _NO_TLS:
                return "no connection was made: what answers there does not speak TLS, expected a server of https; nothing was sent"
            return f"no connection was made: no TLS could be agreed on ({cause.reason}); nothing was sent"
        cause = cause.__cause__ or cause.__context__
    return "no connection could be made"
