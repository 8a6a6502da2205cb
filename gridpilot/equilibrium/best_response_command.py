"""``gridpilot best-response``: what each bidder of a market could have got with another bid, from a JSON file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridpilot.equilibrium.best_response import best_response
from gridpilot.errors import MarketError
from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clear_command import check_document
from gridpilot.market.clearing import Mechanism
from gridpilot.market.json_input import answer_file, check_pairs

__all__ = ["main", "respond_document"]

LISTS: Final = ("payoff", "best", "best_x", "gain")

DESCRIPTION: Final = """\
Find each site's best response to the bids of the others, in one market or in every market of an array, and print it as JSON.

A market is a JSON object as `gridpilot clear` takes it (bids, supply, capacity, caps, reserve; no network, no all-or-nothing blocks),
and besides
  values    for every site its true blocks [kW, $/kWh] of non-increasing price; left out or null: the bids are the truth

The result has the keys mechanism, and with one entry a site
  payoff            $/h: true value of what was won less its payment, at the bids submitted
  best              $/h: the most that another bid would have got; under pay_as_bid a supremum
  best_x            kW won then
  gain              $/h: best less payoff, at least 0
  truthful_surplus  $/h: what the true blocks earn under VCG against the same bids of the others
and nashconv, $/h: the sum of the gains."""


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.MarketError` for input that is not a market, naming where and what is wrong."""
    parser = argparse.ArgumentParser(
        "gridpilot best-response", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help='JSON file with a market or an array of markets; "-" reads standard input')
    parser.add_argument("--mechanism", choices=list(MECHANISMS), default="vcg", help="what the winners pay (default: vcg)")
    options = parser.parse_args(argv)
    answer_file(
        options.file, lambda market, where: respond_document(market, options.mechanism, where=where), "a market", MarketError
    )
    return 0


def respond_document(document: Any, mechanism: Mechanism = "vcg", *, where: str = "market") -> dict[str, Any]:
    """The best responses of one market given in JSON's types, in JSON's types.

    Raises :class:`~gridpilot.errors.MarketError`, whose message begins with ``where`` and names the key, its value and what was expected.
    """
    try:
        check_document(document, besides=("values",), networks=False)
        market = {key: value for key, value in document.items() if value is not None}
        values = market.get("values")
        if values is not None:
            if not isinstance(values, list):
                raise MarketError(f"values is {values!r:.60}, expected a list with a list of [kW, $/kWh] blocks for every site")
            for i, blocks in enumerate(values):
                check_pairs(blocks, f"values[{i}]", MarketError)
        result = best_response(**market, mechanism=mechanism)
        answer: dict[str, Any] = {"mechanism": mechanism, **{key: getattr(result, key).tolist() for key in LISTS}}
        answer["nashconv"] = result.nashconv
        answer["truthful_surplus"] = result.truthful_surplus.tolist()
        _check_finite(answer)
        return answer
    except MarketError as error:
        raise type(error)(f"{where}: {error}") from error


def _check_finite(answer: Mapping[str, Any]) -> None:
    for key, value in answer.items():
        numbers = value if isinstance(value, list) else [value]
        if key != "mechanism" and not all(map(math.isfinite, numbers)):
            raise MarketError(
                f"{key} is {value!r:.60}, beyond double precision: expected quantities and prices whose products stay below 1e308"
            )
