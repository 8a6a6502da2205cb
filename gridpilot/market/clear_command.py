"""``gridpilot clear``: clear one market or an array of them from a JSON file."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridpilot.errors import MarketError
from gridpilot.market._network_document import BASE_KEYS, EXTENSION_KEYS
from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clearing import Mechanism, clear

__all__ = ["clear_document", "main"]

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
    where = "standard input" if options.file == "-" else options.file
    document = _parse(_read(options.file), where)
    if isinstance(document, list):
        results = [clear_document(market, options.mechanism, where=f"{where}: market {i}") for i, market in enumerate(document)]
        print("[" + ",\n ".join(json.dumps(result, allow_nan=False) for result in results) + "]")
    else:
        print(json.dumps(clear_document(document, options.mechanism, where=where), allow_nan=False, indent=2))
    return 0


def clear_document(document: Any, mechanism: Mechanism = "vcg", *, where: str = "market") -> dict[str, Any]:
    """The result of one market given in JSON's types, in JSON's types.

    Raises :class:`~gridpilot.errors.MarketError`, whose message begins with ``where`` and names the key, its value and what was
    expected.
    """
    try:
        _check_document(document)
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


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise MarketError(f"{file}: cannot be read: {reason}; expected a JSON file with a market or an array of markets") from error


def _parse(text: bytes, where: str) -> Any:
    expected = "expected a JSON object (a market) or an array of them"
    if not text.strip():
        raise MarketError(f"{where}: is empty, {expected}")
    try:
        document = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise MarketError(f"{where}: is not UTF-8 text (byte {error.start}: {text[error.start]:#04x}), {expected}") from error
    except (ValueError, RecursionError) as error:  # not JSON; a number of thousands of digits; a thousand brackets
        raise MarketError(f"{where}: is not JSON: {error}; {expected}") from error
    if not isinstance(document, dict | list):
        raise MarketError(f"{where}: is {document!r:.60}, {expected}")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"key {twice!r} appears twice in an object, expected it once")
    return result


def _check_document(document: Any) -> None:
    """Refuse what is not a market by its keys and types; what the numbers must be is checked where the market is built."""
    allowed = BASE_KEYS | EXTENSION_KEYS
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
        _check_numbers(value, key)
    bids = document["bids"]
    if not isinstance(bids, list):
        raise MarketError(f"bids is {bids!r:.60}, expected {REQUIRED['bids']}")
    for i, blocks in enumerate(bids):
        _check_pairs(blocks, f"bids[{i}]")
    _check_pairs(document["supply"], "supply")


def _check_numbers(value: Any, where: str) -> None:
    """JSON as Python reads it has NaN, Infinity and integers beyond every float; a market has not."""
    kind = type(value)
    if kind is list:
        for i, entry in enumerate(value):
            _check_numbers(entry, f"{where}[{i}]")
    elif kind is dict:
        for key, entry in value.items():
            _check_numbers(entry, f"{where}.{key}")
    elif (kind is float and not math.isfinite(value)) or (kind is int and abs(value) > sys.float_info.max):
        raise MarketError(f"{where} is {value!r:.60}, expected a finite number")


def _check_pairs(value: Any, where: str) -> None:
    # numpy would read "5" and true as numbers.
    if not isinstance(value, list):
        raise MarketError(f"{where} is {value!r:.60}, expected a list of [kW, $/kWh] pairs")
    for k, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(x) is float or type(x) is int for x in pair)):
            raise MarketError(f"{where}[{k}] is {pair!r:.60}, expected a pair of numbers [kW, $/kWh]")


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
