"""The API itself: six endpoints over rows and sites."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Request, Response, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ValidationError

from gridpilot.live.api import CLASSES, INVENTORIES, PRICE_FIELDS, PriceRow
from gridpilot.live.clock import Clock
from gridpilot.live.stand_in.faults import Fault, Faults
from gridpilot.live.stand_in.middleware import ROW_FAULT, ROWS
from gridpilot.live.stand_in.options import StandInOptions
from gridpilot.live.stand_in.rows import Rows
from gridpilot.live.stand_in.schema import NewSite, machines_body
from gridpilot.live.stand_in.serialiser import Serialiser, StatusError
from gridpilot.live.stand_in.sites import OFF, OverCapError, Site, Sites, earnings

__all__ = ["StandIn"]

_KEY: Final = APIKeyHeader(name="X-Api-Key", auto_error=False, description="from POST /sites")
Key = Annotated[str | None, Security(_KEY)]

_BAD: Final[dict[str, Any]] = {
    "nan_row": lambda price, _: float("nan"),
    "null_row": lambda price, _: None,
    "negative_row": lambda price, _: -price,
    "jump_row": lambda price, factor: price * factor,
}


class StandIn:
    """What a stand-in knows. ``sites.puts`` are the commands it has applied."""

    def __init__(self, options: StandInOptions, rows: Rows, clock: Clock, faults: Faults) -> None:
        self.options, self.rows, self.clock, self.faults = options, rows, clock, faults
        self.sites = Sites(INVENTORIES[options.inventory], options.power_w, clock.now)
        self.serialiser = Serialiser(options)
        self.body = machines_body(options)
        self._inventory = self.serialiser.json(self.sites.inventory.to_json())
        self._written: list[bytes] = []  # rows as JSON, oldest first: the history is long and asked for often

    @property
    def newest(self) -> PriceRow:
        """The newest row."""
        return self.rows[self.rows.visible(self.clock.now()) - 1]

    async def post_sites(self, request: Request) -> Response:
        """Make a site and give its key, which is told only here. A name may be used again; every site has a key of its own."""
        asked = await self._read(NewSite, request)
        site = self.sites.register(asked["name"])
        return self.serialiser.answer(self._site(site, with_key=True), self.options.register_status)

    async def get_sites(self, key: Key = None) -> Response:
        """The site behind a key."""
        found = self._site(self._find(key), with_key=self.options.sites_with_key)
        shapes = {"object": found, "list": [found], "wrapped": {"site": found}}
        return self.serialiser.answer(shapes[self.options.sites_shape])

    async def get_prices(self, request: Request) -> Response:
        """The price rows so far, the same for every site."""
        shown, fault = request.scope[ROWS], request.scope[ROW_FAULT]
        self._written += [self.serialiser.json(self.serialiser.row(self.rows[i])) for i in range(len(self._written), shown)]
        first = max(0, shown - (self.options.keep_rows or shown))
        written = self._written[first:shown]
        if fault is not None:
            written = self._spoil(written, self.rows[shown - 1], fault)
        if self.options.order == "newest_first":
            written.reverse()
        return Response(b"[" + b",".join(written) + b"]", media_type="application/json")

    async def get_inventory(self) -> Response:
        """The machine types. They never change."""
        return Response(self._inventory, media_type="application/json")

    async def put_machines(self, request: Request, key: Key = None) -> Response:
        """Set the site's machines, at once. What they draw together must not be more than the site's power; the power itself is allowed."""
        site = self._find(key)
        asked = await self._read(self.body, request)
        try:
            self.sites.set_machines(site, asked, keep=self.options.omitted == "keep")
        except OverCapError as error:
            raise StatusError(self.options.over_cap_status, str(error), self.options.over_cap_shape) from error
        return self.serialiser.answer(self._allocation(site), self.options.put_status)

    async def get_machines(self, request: Request, key: Key = None) -> Response:
        """What runs, what it draws, and what it earns and costs at the newest row. Nothing accrues."""
        site, before = self._find(key), self.options.before_first_put
        if site.counts is None and before != "zeros":
            if before == "not_found":
                raise StatusError(404, "no machines have been set yet", self.options.error_shape)
            nothing: dict[str, Any] = {"nothing": None, "empty_object": {}, "null_fields": dict.fromkeys(CLASSES)}
            return self.serialiser.answer(nothing[before])
        counts, row = site.counts or OFF, self.rows[request.scope[ROWS] - 1]
        figures = earnings(counts, self.sites.watts(counts), self.sites.inventory, row)
        # As observed: site_id is 0 here even where PUT said otherwise.
        return self.serialiser.answer({**self._allocation(site), "site_id": 0, **figures})

    def _find(self, key: str | None) -> Site:
        site = self.sites.find(key)
        if site is None:
            problem = "X-Api-Key is missing" if key is None else "no site has this key"
            raise StatusError(self.options.unauthorised_status, problem, self.options.error_shape)
        return site

    async def _read(self, model: type[BaseModel], request: Request) -> dict[str, Any]:
        try:
            return model.model_validate_json(await request.body()).model_dump(exclude_unset=True)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(["body", *(str(part) for part in problem["loc"])])
            raise StatusError(self.options.wrong_type_status, f"{place}: {problem['msg']}", self.options.error_shape) from error

    def _site(self, site: Site, *, with_key: bool) -> dict[str, Any]:
        key = {"api_key": site.key} if with_key else {}
        return {**key, "name": site.name, "power": site.power_w}

    def _allocation(self, site: Site) -> dict[str, Any]:
        counts = dict(zip(CLASSES, site.counts or OFF, strict=True))
        updated = self.serialiser.time(site.updated_at, "microseconds")
        return {**counts, "id": site.number, "site_id": site.number, "updated_at": updated}

    def _spoil(self, written: list[bytes], newest: PriceRow, fault: Fault) -> list[bytes]:
        """The rows as a fault shows them."""
        if fault.kind == "repeat_rows":
            return [row for row in written for _ in range(2)]
        if fault.kind == "reorder_rows":
            return self.faults.shuffle.sample(written, len(written))
        if fault.kind in _BAD:
            row = self.serialiser.row(newest)
            bad = {name: _BAD[fault.kind](row[name], fault.amount) for name in PRICE_FIELDS}
            return [*written[:-1], self.serialiser.json({**row, **bad})]
        return written
