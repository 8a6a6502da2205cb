"""Auctioneers that are wrong, each in one way, to see that known results are no longer found with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clearing import clear, clear_batch
from gridpilot.market.network import clear_network
from gridpilot.validation.study import Auctioneer

SWAPPED = {"vcg": "pay_as_bid", "uniform": "vcg", "pay_as_bid": "uniform"}


def _after(change: Callable[[Any], Any]) -> Auctioneer:
    """What is cleared right and then changed."""

    def wrong(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **more: change(function(*arguments, **more))

    return Auctioneer(wrong(clear), wrong(clear_batch), wrong(clear_network))


def _dearer(found: Any) -> Any:
    price = None if found.price_lo is None else found.price_lo * 1.3 + 0.05
    return dataclasses.replace(found, payment=found.payment * 1.3 + 0.05, price_lo=price)


def _smaller(found: Any) -> Any:
    return dataclasses.replace(found, allocation=found.allocation * 0.9 + 0.01, welfare=found.welfare * 0.9 - 0.2)


def _swapped() -> Auctioneer:
    def wrong(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, mechanism, **more: function(*arguments, mechanism=SWAPPED[mechanism], **more)

    def network(market: Any, mechanism: str) -> Any:
        return clear_network(market, "pay_as_bid" if mechanism == "vcg" else "vcg")

    numbers = {name: MECHANISMS[other] for name, other in SWAPPED.items()}
    return Auctioneer(wrong(clear), wrong(clear_batch), network, numbers)


FAULTS = {"payments too high": _after(_dearer), "allocations too small": _after(_smaller), "rules of payment swapped": _swapped()}
