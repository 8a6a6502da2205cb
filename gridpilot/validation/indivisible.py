"""Where blocks are all or nothing VCG can earn nothing, and losers can gain by bidding as two (Ausubel and Milgrom)."""

from __future__ import annotations

from collections.abc import Iterator

from gridpilot.market.network import NetworkClearing
from gridpilot.validation.row import Figure, Result, exact
from gridpilot.validation.study import Study

__all__ = ["LONELY_VICKREY", "TWO_APPLES"]


def _whole(study: Study, *bids: tuple[float, float]) -> NetworkClearing:
    """Two units for all-or-nothing bids, each of some units and $ for all of them."""
    blocks = [[[units, worth / units]] for units, worth in bids]
    return study.clear_network(bids=blocks, supply=[[2.0, 0.0]], indivisible=[[True]] * len(bids))


def _lonely_vickrey(study: Study) -> Iterator[Figure]:
    pair = (2.0, 2.0)  # both units are worth 2 together, one alone nothing
    both = _whole(study, pair, (1.0, 2.0), (1.0, 2.0))
    yield exact("pair worth 2, units worth 2 to two others: revenue", 0.0, both.payment.sum())
    yield exact("pair worth 2, units worth 2 to two others: welfare", 4.0, both.welfare)
    # One bidder less, and the seller earns more: the outcome above is not in the core.
    yield exact("pair worth 2, a unit worth 2 to one other: revenue", 2.0, _whole(study, pair, (1.0, 2.0)).payment.sum())
    # Someone to whom the pair is worth 1.5 loses; as two bidders of 2 a unit it wins, and neither of them pays.
    yield exact("pair worth 1.5 to a rival of the pair worth 2: wins", 0.0, _whole(study, pair, (2.0, 1.5)).allocation[1])
    shills = _whole(study, pair, (1.0, 2.0), (1.0, 2.0))
    yield exact(
        "the same as two bidders of 2 a unit: surplus", 1.5, 1.5 * shills.allocation[1:].sum() / 2 - shills.payment[1:].sum()
    )
    # Two losers of 0.5 a unit who both bid 2.
    honest = _whole(study, pair, (1.0, 0.5), (1.0, 0.5))
    yield exact("two losers, truthful: they win", 0.0, honest.allocation[1:].sum())
    yield exact("two losers who both bid 2: surplus of each", 0.5, 0.5 * shills.allocation[1] - shills.payment[1])


def _two_apples(study: Study) -> Iterator[Figure]:
    # A and B want one each, C both: without A the others reach 6, with it B's 2; without B 6, with it A's 5.
    found = _whole(study, (1.0, 5.0), (1.0, 2.0), (2.0, 6.0))
    for i, paid in enumerate((4.0, 1.0, 0.0)):
        yield exact(f"A 5, B 2, C 6 for both: payment of {'ABC'[i]}", paid, found.payment[i])


LONELY_VICKREY = Result("lonely_vickrey", "Ausubel and Milgrom 2006", _lonely_vickrey)
TWO_APPLES = Result("two_apples", "by hand: Clarke 1971", _two_apples)
