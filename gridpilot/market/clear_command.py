"""``gridpilot clear``: clear one market or an array of them from a JSON file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridpilot.errors import MarketError
from gridpilot.market._network_document import BASE_KEYS, EXTENSION_KEYS
from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clearing import Mechanism, clear
from gridpilot.market.json_input import answer_file, check_numbers, check_pairs

__all__ = ["check_document", "clear_document", "main"]

REQUIRED: Final = {
    "bids": "a list with a list of [kW, $/kWh] blocks for every site",
    "supply": "a list of [kW, $/kWh] steps",
}
LISTS: Final = ("allocation", "payment", "value", "surplus")
RATES: Final = ("welfare", "supply_cost", "volume")
PRICES: Final = ("price_lo", "price_hi")

DESCRIPTION: Final = """\
Clear one market, or every market of an array, and print what each site gets and pays as JSON.

A market is a JSON object:
  bids      for every site a list of blocks [kW, $/kWh] of non-increasing price
  supply    a list of steps [kW, $/kWh] of non-decreasing cost
  capacity  kW at which the supply is cut; left out or null: no limit
  caps      for every site the kW it gets at the most, or null (optional)
  reserve   $/kWh that replaces every lower cost (optional)
Feeders (nodes, site_node), DC networks (n_buses, lines, site_bus, supply_bus) and all-or-nothing blocks (indivisible, block_order)
are described in gridpilot/market/network.py.

The result has the keys mechanism, allocation (kW), payment, value and surplus ($/h, one entry a site), welfare, supply_cost ($/h),
volume (kW), price_lo and price_hi ($/kWh: the highest losing and the lowest winning price; null: unbounded, or no single price)."""


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.MarketError` for input that is not a market, naming where and what is wrong."""
    parser = argparse.ArgumentParser(
        "gridpilot clear", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help='JSON file with a market or an array of markets; "-" reads standard input')
    parser.add_argument("--mechanism", choices=list(MECHANISMS), default="vcg", help="what the winners pay (default: vcg)")
    options = parser.parse_args(argv)
    answer_file(options.file, lambda market, where: clear_document(market, options.mechanism, where=where), "a market", MarketError)
    return 0


def clear_document(document: Any, mechanism: Mechanism = "vcg", *, where: str = "market") -> dict[str, Any]:
    """The result of one market given in JSON's types, in JSON's types.

    Raises :class:`~gridpilot.errors.MarketError`, whose message begins with ``where`` and names the key, its value and what was
    expected.
    """
    try:
        check_document(document)
        market = {key: value for key, value in document.items() if value is not None}
        result: Any
        if EXTENSION_KEYS & market.keys():
            from gridpilot.market.network import clear_network, network_market  # brings the solver, which most markets do without

            market.setdefault("capacity", math.fsum(kw for kw, _ in market["supply"]))
            result = clear_network(network_market(market), mechanism)
        else:
            result = clear(**market, mechanism=mechanism)
        return _to_json(result, mechanism)
    except MarketError as error:
        raise type(error)(f"{where}: {error}") from error


def check_document(document: Any, *, besides: Sequence[str] = (), networks: bool = True) -> None:
    """Refuse what is not a market by its keys and types; what the numbers must be is checked where the market is built.

    ``besides``   keys that it may have on top of a market's
    ``networks``  whether feeders, lines and all-or-nothing blocks may be part of it
    """
    allowed = BASE_KEYS | set(besides) | (EXTENSION_KEYS if networks else set())
    if not isinstance(document, Mapping):
        raise MarketError(f"is {document!r:.60}, expected an object with the keys {', '.join(REQUIRED)}, capacity, ...")
    for key in document:
        if key not in allowed:
            raise MarketError(
                f"unknown key {key!r} (its value is {document[key]!r:.60}), expected some of {', '.join(sorted(allowed))}"
            )
    for key in REQUIRED:
        if document.get(key) is None:
            given = "null" if key in document else "missing"
            raise MarketError(
                f"key {key!r} is {given}, expected {'a list of bids' if key == 'bids' else 'a list of [kW, $/kWh] steps'}"
            )
    for key, value in document.items():
        check_numbers(value, key, MarketError)
    bids = document["bids"]
    if not isinstance(bids, list):
        raise MarketError(f"bids is {bids!r:.60}, expected {REQUIRED['bids']}")
    for i, blocks in enumerate(bids):
        check_pairs(blocks, f"bids[{i}]", MarketError)
    check_pairs(document["supply"], "supply", MarketError)


def _to_json(result: Any, mechanism: str) -> dict[str, Any]:
    document: dict[str, Any] = {"mechanism": mechanism}
    for key in LISTS:
        document[key] = getattr(result, key).tolist()
    for key in RATES:
        document[key] = float(getattr(result, key))
    for key in LISTS + RATES:
        _check_result(document[key], key)
    for key in PRICES:
        price = getattr(result, key)
        document[key] = None if price is None or math.isinf(price) else float(price)
    return document


def _check_result(value: Any, key: str) -> None:
    numbers = value if isinstance(value, list) else [value]
    if not all(map(math.isfinite, numbers)):
        raise MarketError(
            f"{key} is {value!r:.60}, beyond double precision: expected quantities and prices whose products stay below 1e308"
        )
