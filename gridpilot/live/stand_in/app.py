"""A stand-in as an application, for a server or for a client in the same process."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from gridpilot import __version__
from gridpilot.live.api import PriceRow
from gridpilot.live.clock import Clock
from gridpilot.live.stand_in.endpoints import StandIn
from gridpilot.live.stand_in.faults import ENDPOINTS, Faults
from gridpilot.live.stand_in.middleware import FaultMiddleware
from gridpilot.live.stand_in.options import ErrorShape, StandInOptions
from gridpilot.live.stand_in.pages import docs_page, home_page
from gridpilot.live.stand_in.rows import Rows, RowSource
from gridpilot.live.stand_in.schema import ERRORS, Answers, NewSite
from gridpilot.live.stand_in.serialiser import StatusError

__all__ = ["create_app"]

DESCRIPTION: Final = (
    "A stand-in on this machine for the API of the MARA Hackathon 2025. Times are UTC. Figures are plain products: revenue = count x "
    "output x price, cost = watts x energy price, for a row of five minutes."
)


def create_app(
    options: StandInOptions,
    feed: Sequence[PriceRow] | RowSource,
    clock: Clock,
    faults: Faults | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> FastAPI:
    """The API over ``feed``: rows oldest first, after whose end it stands still, or a source of as many as are asked for.

    A row is visible when ``clock.now()`` has come to its time, the first ``options.history`` rows always. ``clock`` is anchored to the
    last of these, and its ``speed`` is told in the header ``X-Stand-In-Speed`` of every answer. ``sleep`` is how slow faults wait, wall
    seconds. The state is at ``app.state.stand_in``, a :class:`~gridpilot.live.stand_in.endpoints.StandIn`. One event loop at a time.

    In a client's own process, as ``httpx2.ASGITransport(create_app(...))``, faults that end a connection raise
    ``httpx2.RemoteProtocolError``. Raises :class:`~gridpilot.errors.LiveError` where the feed has fewer rows than ``options.history``.
    """
    rows = Rows(feed, options.history, timedelta(seconds=options.row_delay_s))
    clock.anchor(rows[options.history - 1].at + timedelta(seconds=options.row_delay_s))
    stand_in = StandIn(options, rows, clock, faults or Faults())
    app = FastAPI(
        title="Stand-in of the MARA Hackathon 2025 API",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,  # FastAPI's own pages fetch their scripts from a public host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.stand_in = stand_in
    _add_endpoints(app, stand_in)
    _add_pages(app, stand_in)
    _add_refusals(app, stand_in)
    app.add_middleware(
        FaultMiddleware, faults=stand_in.faults, rows=rows, clock=clock, serialiser=stand_in.serialiser, date_skew_s=options.date_skew_s,
        began=clock.monotonic(), sleep=sleep,
    )  # fmt: skip
    return app


def _add_endpoints(app: FastAPI, stand_in: StandIn) -> None:
    options, answers = stand_in.options, Answers.of(stand_in.options)
    unauthorised = _refusal(options.unauthorised_status, "No key, or none that is known", options.error_shape)
    wrong_type = _refusal(options.wrong_type_status, "The body is not what it should be", options.error_shape)
    over_cap = _refusal(options.over_cap_status, "More power than the site has; nothing was applied", options.over_cap_shape)
    none_yet = (
        _refusal(404, "No machines have been set yet", options.error_shape) if options.before_first_put == "not_found" else {}
    )
    refused_puts = _merged(unauthorised, wrong_type, over_cap)

    def add(
        method: str, path: str, endpoint: Any, answer: Any, refusals: dict[int | str, Any], status: int = 200, body: Any = None
    ) -> None:
        schema = {} if body is None else {"requestBody": _json_body(body)}
        app.add_api_route(
            path, endpoint, methods=[method], response_model=answer, status_code=status, responses=refusals, openapi_extra=schema,
            summary=f"{method} {path}", operation_id=f"{method.lower()}{path.replace('/', '_')}",
        )  # fmt: skip

    add("POST", "/sites", stand_in.post_sites, answers.new_site, wrong_type, options.register_status, NewSite)
    add("GET", "/sites", stand_in.get_sites, answers.site, unauthorised)
    add("GET", "/prices", stand_in.get_prices, answers.prices, {})
    add("GET", "/inventory", stand_in.get_inventory, answers.inventory, {})
    add("PUT", "/machines", stand_in.put_machines, answers.allocation, refused_puts, options.put_status, stand_in.body)
    add("GET", "/machines", stand_in.get_machines, answers.machines, _merged(unauthorised, none_yet))


def _json_body(model: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}


def _refusal(status: int, description: str, shape: ErrorShape) -> dict[int | str, dict[str, Any]]:
    model = ERRORS[shape]
    if model is not None:
        return {status: {"description": description, "model": model}}
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}} if shape == "text" else {}
    return {status: {"description": description, **text}}


def _merged(*refusals: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """One table of refusals; those that share a status share its entry."""
    merged: dict[int | str, dict[str, Any]] = {}
    for status, entry in (pair for table in refusals for pair in table.items()):
        known = merged.get(status, entry)
        if known is entry:
            merged[status] = entry
            continue
        description = f"{known['description']}; or: {entry['description']}"
        if not all("model" in each or "content" in each for each in (known, entry)):
            merged[status] = {"description": description}  # a body that may be missing cannot be described
            continue
        models = {each["model"]: None for each in (known, entry) if "model" in each}
        merged[status] = {**known, **entry, "description": description}
        if models:
            merged[status]["model"] = functools.reduce(operator.or_, models)
    return merged


def _add_pages(app: FastAPI, stand_in: StandIn) -> None:
    async def home() -> Response:
        return Response(home_page(stand_in), media_type="text/html")

    async def docs() -> Response:
        return Response(docs_page(app.openapi(), stand_in.options), media_type="text/html")

    app.add_api_route("/", home, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


def _add_refusals(app: FastAPI, stand_in: StandIn) -> None:
    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, StatusError)
        return stand_in.serialiser.refusal(error.status, error.message, error.shape)

    async def no_such_path(_: Request, error: Exception) -> Response:
        return stand_in.serialiser.refusal(404, "Not Found", stand_in.options.error_shape)

    async def no_such_method(request: Request, error: Exception) -> Response:
        # FastAPI would name the methods of one endpoint of the path, not of all.
        methods = sorted(each.split()[0] for each in ENDPOINTS if each.split()[1] == request.url.path)
        answer = stand_in.serialiser.refusal(405, "Method Not Allowed", stand_in.options.error_shape)
        answer.headers["Allow"] = ", ".join(methods or ["GET"])
        return answer

    app.add_exception_handler(StatusError, refuse)
    app.add_exception_handler(404, no_such_path)
    app.add_exception_handler(405, no_such_method)
