"""How a stand-in writes things down: times, numbers, objects and refusals, as its options say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Response

from gridpilot.live.api import PriceRow
from gridpilot.live.stand_in.options import ErrorShape, StandInOptions

__all__ = ["Serialiser", "StatusError"]


class StatusError(Exception):
    """A request that is answered with ``status`` and a message."""

    def __init__(self, status: int, message: str, shape: ErrorShape) -> None:
        super().__init__(message)
        self.status, self.message, self.shape = status, message, shape


class Serialiser:
    """Writes answers."""

    def __init__(self, options: StandInOptions) -> None:
        self._options = options

    def time(self, at: datetime, timespec: str) -> str:
        """A timestamp: ISO 8601 in UTC."""
        text = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec)
        return f"{text}Z" if self._options.trailing_z else text

    def row(self, row: PriceRow) -> dict[str, Any]:
        """A row of ``GET /prices``."""
        at = row.at + timedelta(seconds=self._options.row_skew_s)
        return {
            "energy_price": row.energy,
            "hash_price": row.hash,
            "token_price": row.token,
            "timestamp": self.time(at, "seconds"),
        }

    def json(self, value: Any) -> bytes:
        """A JSON body."""
        return json.dumps(self._dress(value), separators=(",", ":")).encode()

    def answer(self, value: Any, status: int = 200) -> Response:
        """An answer with a JSON body."""
        return Response(self.json(value), status, media_type="application/json")

    def refusal(self, status: int, message: str, shape: ErrorShape) -> Response:
        """An answer that says no."""
        match shape:
            case "text":
                return Response(message.encode(errors="replace"), status, media_type="text/plain; charset=utf-8")
            case "empty":
                return Response(b"", status)
            case "detail":
                body: dict[str, Any] = {"detail": message}
            case "detail_list":
                body = {"detail": [{"msg": message}]}
            case "error":
                body = {"error": message}
            case "nested":
                body = {"error": {"message": message}}
        return self.answer(body, status)

    def _dress(self, value: Any) -> Any:
        match value:
            case dict():
                dressed = {name: self._dress(inner) for name, inner in value.items()}
                return {**dressed, "_version": "7", "hint": None} if self._options.extra_fields else dressed
            case list():
                return [self._dress(inner) for inner in value]
            case int() | float() if self._options.numbers_as_strings and not isinstance(value, bool):
                return repr(value)
            case _:
                return value
