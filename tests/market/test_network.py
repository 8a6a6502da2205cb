"""Feeders, DC networks and indivisible blocks: textbook cases, laws, and an independent formulation of the welfare."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridpilot.errors import BidError, MarketError
from gridpilot.market.network import clear_network, network_market

from .oracle import exact_vcg

Document = dict[str, Any]


def clear(document: Document, mechanism: str = "vcg") -> Any:
    return clear_network(network_market(document), mechanism)


def whole(*packages: tuple[float, float]) -> Document:
    """One all-or-nothing package (kW, $/h) a site."""
    bids = [[[kw, value / kw]] for kw, value in packages]
    return {"bids": bids, "supply": [[2, 0]], "capacity": 2, "indivisible": [[True]] * len(bids)}


RING: Document = {
    "bids": [[[100, 0.2]], [[100, 0.2]]],
    "supply": [[1000, 0.05]],
    "capacity": 1000,
    "n_buses": 3,
    "lines": [
        {"from": 0, "to": 1, "x": 1.0, "limit": None},
        {"from": 0, "to": 2, "x": 1.0},
        {"from": 1, "to": 2, "x": 1.0, "limit": 10},
    ],
    "site_bus": [1, 2],
    "supply_bus": 0,
}
CONGESTION: Document = {
    "bids": [[[600, 0.2], [200, 0.1]], [[500, 0.15], [300, 0.09]], [[400, 0.12]]],
    "supply": [[5000, 0.05]],
    "capacity": 5000,
    "nodes": [{"parent": -1, "limit": 1000}],
    "site_node": [0, 0, 0],
}


# --- textbook cases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "allocation", "payment"),
    [
        pytest.param(whole((1, 5), (1, 2), (2, 6)), [1, 1, 0], [4, 1, 0], id="two apples"),
        pytest.param(whole((2, 2), (1, 2), (1, 2)), [0, 1, 1], [0, 0, 0], id="low revenue"),
        pytest.param(RING, [100, 100], [-5.5, -5.5], id="counterflow"),
        pytest.param(CONGESTION, [600, 400, 0], [72, 48, 0], id="congestion at a feeder"),
    ],
)
def test_textbook_cases(document: Document, allocation: list[float], payment: list[float]) -> None:
    result = clear(document)
    np.testing.assert_allclose(result.allocation, allocation, atol=1e-9)
    np.testing.assert_allclose(result.payment, payment, atol=1e-9)
    assert (result.price_lo, result.price_hi) == (None, None)


def test_revenue_rises_when_a_local_bidder_leaves() -> None:
    assert clear(whole((2, 2), (1, 2))).payment.sum() == pytest.approx(2, abs=1e-9)


def test_the_seller_can_lose_money_on_counterflow() -> None:
    result = clear(RING)
    assert result.supply_cost - result.payment.sum() == pytest.approx(21, abs=1e-9)
    assert result.welfare == pytest.approx(30, abs=1e-9)


def test_block_order_and_caps_bind_all_or_nothing_blocks() -> None:
    document = {"bids": [[[4, 5], [3, 4], [2, 3]]], "supply": [[9, 1]], "capacity": 9, "indivisible": [[True, False, True]]}
    assert clear(document).allocation == [9]
    assert clear(document | {"caps": [6]}).allocation == [6]
    assert clear(document | {"caps": [6]}).value == [28]  # 4 kW at 5 and 2 of the 3 kW at 4
    assert clear(document | {"caps": [3]}).value == [12]  # the first block cannot be had
    assert clear(document | {"caps": [3], "block_order": True}).allocation == [0]  # and the others need it
    empty_whole = {"bids": [[[4, 5], [0, 5], [3, 4]]], "supply": [[9, 1]], "capacity": 9, "indivisible": [[False, True, False]]}
    assert clear(empty_whole | {"caps": [6]}).value == [28]
    never_full = {"bids": [[[2, 5], [5, 4], [1, 3]]], "supply": [[9, 1]], "capacity": 9, "indivisible": [[False, False, True]]}
    assert clear(never_full | {"caps": [3], "block_order": True}).value == [14]
    forced = {"bids": [[[4, 1], [6, 0.9]]], "supply": [[5, 0.5], [5, 0.7]], "capacity": 8, "indivisible": [[False, True]]}
    assert clear(forced).value == pytest.approx([6 * 0.9 + 2])
    assert clear(forced | {"block_order": True}).allocation == [4]


def test_ties_are_served_at_most_volume() -> None:
    document = {"bids": [[[3, 0.2]], [[2, 0.2], [2, 0.1]]], "supply": [[5, 0.1], [9, 0.2]], "capacity": 99}
    result = clear(document)
    assert result.volume == 5  # both blocks at exactly the last cost used
    assert clear(document | {"supply": [[4, 0.1], [9, 0.2]]}).volume == 5


def test_pay_as_bid_pays_the_bid() -> None:
    result = clear(RING, "pay_as_bid")
    np.testing.assert_allclose(result.payment, [20, 20], atol=1e-12)
    np.testing.assert_array_equal(result.surplus, [0, 0])


def test_a_market_without_sites_or_supply_allocates_nothing() -> None:
    assert clear({"bids": [], "supply": [[1, 1]], "capacity": 1}).welfare == 0
    empty = clear({"bids": [[[5, 1]], []], "supply": [], "capacity": 1, "indivisible": [[True], []]})
    np.testing.assert_array_equal(empty.allocation, [0, 0])
    np.testing.assert_array_equal(empty.payment, [0, 0])


# --- an independent formulation: voltage angles, explicit caps, enumerated all-or-nothing choices --------------------------------


def reference_welfare(document: Document, without: int | None = None) -> float:
    """Best welfare over every choice of all-or-nothing blocks, each a linear programme with voltage angles."""
    blocks = [(i, k, *block) for i, bid in enumerate(document["bids"]) if i != without for k, block in enumerate(bid)]
    flags = document.get("indivisible")
    whole_blocks = [j for j, (i, k, *_) in enumerate(blocks) if flags and flags[i][k]]
    best = -math.inf
    for served in itertools.product([False, True], repeat=len(whole_blocks)):
        low, high = np.zeros(len(blocks)), np.array([block[2] for block in blocks], dtype=float)
        for j, yes in zip(whole_blocks, served, strict=True):
            low[j] = high[j] = blocks[j][2] if yes else 0.0
        for j, yes in zip(whole_blocks, served, strict=True):
            for other, (i, k, kw, _) in enumerate(blocks):
                if document.get("block_order") and i == blocks[j][0]:
                    if yes and k < blocks[j][1]:
                        low[other] = kw
                    elif not yes and k > blocks[j][1] and blocks[j][2] > 0:
                        high[other] = 0.0
        if (low <= high).all():
            best = max(best, _programme(document, blocks, low, high))
    return best


def _programme(document: Document, blocks: list[Any], low: Any, high: Any) -> float:
    """-inf where the choice is infeasible."""
    supply, n = document["supply"], len(blocks)
    buses, lines = document.get("n_buses", 1), document.get("lines", [])
    width = n + len(supply) + buses
    upper, limits = [], []
    for i, cap in enumerate(document.get("caps", [])):
        if cap is not None:
            upper.append([float(b[0] == i) for b in blocks] + [0.0] * (width - n))
            limits.append(cap)
    upper.append([0.0] * n + [1.0] * len(supply) + [0.0] * buses)
    limits.append(document["capacity"])
    for node, entry in enumerate(document.get("nodes", [])):
        if entry.get("limit") is not None:
            upper.append([float(_below(document, b[0], node)) for b in blocks] + [0.0] * (width - n))
            limits.append(entry["limit"])
    balance = np.zeros((buses, width))
    for j, b in enumerate(blocks):
        balance[document["site_bus"][b[0]] if lines else document.get("supply_bus", 0), j] = 1.0
    balance[document.get("supply_bus", 0), n : n + len(supply)] = -1.0
    for line in lines:
        flow = np.zeros(width)
        flow[n + len(supply) + line["from"]], flow[n + len(supply) + line["to"]] = 1 / line["x"], -1 / line["x"]
        balance[line["from"]] += flow
        balance[line["to"]] -= flow
        if line.get("limit") is not None:
            upper += [list(flow), list(-flow)]
            limits += [line["limit"]] * 2
    cost = [-b[3] for b in blocks] + [max(c, document.get("reserve", -math.inf)) for _, c in supply] + [0.0] * buses
    bounds = [*zip(low, high, strict=True), *((0.0, s) for s, _ in supply), *((None, None) for _ in range(buses))]
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    result = linprog(cost, upper, limits, balance, np.zeros(buses), bounds, method="highs-ds", options=tight)
    return -result.fun if result.status == 0 else -math.inf


def _below(document: Document, site: int, node: int) -> bool:
    at = document["site_node"][site]
    while at >= 0 and at != node:
        at = document["nodes"][at]["parent"]
    return bool(at == node)


kilowatts = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7, 10.0])
limit = st.sampled_from([None, None, 0.0, 1.0, 2.5, 6.0])
price = st.sampled_from([-0.3, 0.0, 0.05, 0.1, 0.2, 0.31, 0.7])


def blocks_of(count: int, descending: bool) -> st.SearchStrategy[list[list[float]]]:
    prices = st.lists(price, min_size=0, max_size=count).map(lambda p: sorted(p, reverse=descending))
    return prices.flatmap(lambda p: st.tuples(*[kilowatts] * len(p)).map(lambda q: [[a, b] for a, b in zip(q, p, strict=True)]))


@st.composite
def plain(draw: st.DrawFn, n: int = 3) -> Document:
    bids = draw(st.lists(blocks_of(3, True), min_size=1, max_size=n))
    document = {"bids": bids, "supply": draw(blocks_of(3, False)), "capacity": draw(kilowatts)}
    document["caps"] = draw(st.lists(limit, min_size=len(bids), max_size=len(bids)))
    if draw(st.booleans()):
        document["reserve"] = draw(price)
    return document


@st.composite
def feeders(draw: st.DrawFn, n_sites: int) -> Document:
    count = draw(st.integers(1, 4))
    nodes = [{"parent": draw(st.integers(-1, i - 1)), "limit": draw(limit)} for i in range(count)]
    return {"nodes": nodes, "site_node": [draw(st.integers(0, count - 1)) for _ in range(n_sites)]}


@st.composite
def buses(draw: st.DrawFn, n_sites: int) -> Document:
    count = draw(st.integers(1, 4))
    pairs = [(draw(st.integers(0, i - 1)), i) for i in range(1, count)]  # a tree, then chords, parallel lines among them
    if count > 1:
        pairs += draw(st.lists(st.sampled_from(list(itertools.permutations(range(count), 2))), max_size=3))
    reactance = st.sampled_from([0.1, 0.5, 1.0, 3.0])
    lines = [{"from": a, "to": b, "x": draw(reactance), "limit": draw(limit)} for a, b in pairs]
    bus = st.integers(0, count - 1)
    return {"n_buses": count, "lines": lines, "site_bus": [draw(bus) for _ in range(n_sites)], "supply_bus": draw(bus)}


@st.composite
def markets(draw: st.DrawFn) -> Document:
    """Any combination of the extensions."""
    document = draw(plain())
    n = len(document["bids"])
    if draw(st.booleans()):
        document |= draw(feeders(n))
    if draw(st.booleans()):
        document |= draw(buses(n))
    if draw(st.booleans()):
        document["indivisible"] = [[draw(st.booleans()) for _ in bid] for bid in document["bids"]]
        document["block_order"] = draw(st.booleans())
    return document


# --- laws ---------------------------------------------------------------------------------------------------------------------


@given(markets())
@settings(max_examples=120)
def test_welfare_and_surplus_agree_with_the_independent_formulation(document: Document) -> None:
    result = clear(document)
    best = reference_welfare(document)
    without = np.array([reference_welfare(document, i) for i in range(len(document["bids"]))])
    assert result.welfare == pytest.approx(best, abs=1e-9)
    np.testing.assert_allclose(result.surplus, best - without, atol=2e-9)
    assert (result.surplus >= 0).all()  # individual rationality
    assert result.value.sum() - result.supply_cost == pytest.approx(result.welfare, abs=1e-12)


@given(markets())
@settings(max_examples=80)
def test_allocation_keeps_every_limit(document: Document) -> None:
    result = clear(document)
    x = result.allocation
    assert (x >= 0).all()
    assert result.volume <= document["capacity"] * (1 + 1e-9)
    for i, cap in enumerate(document["caps"]):
        assert cap is None or x[i] <= cap + 1e-9
    for node, entry in enumerate(document.get("nodes", [])):
        assert entry["limit"] is None or sum(x[i] for i in range(len(x)) if _below(document, i, node)) <= entry["limit"] + 1e-9
    for i, flags in enumerate(document.get("indivisible", [])):
        sizes = [kw for (kw, _), flag in zip(document["bids"][i], flags, strict=True) if flag]
        if all(flags):  # then the allocation is a sum of whole blocks
            assert min(abs(x[i] - sum(c)) for r in range(len(sizes) + 1) for c in itertools.combinations(sizes, r)) < 1e-9


@given(plain(4))
@settings(max_examples=80)
def test_a_single_node_agrees_with_exact_arithmetic(document: Document) -> None:
    exact = exact_vcg(**document)
    for extension in ({}, {"nodes": [{"parent": -1}], "site_node": [0] * len(document["bids"])}):
        result = clear(document | extension)
        assert result.welfare == pytest.approx(float(exact.welfare), abs=1e-12)
        assert result.volume == pytest.approx(float(exact.volume), abs=1e-12)
        np.testing.assert_allclose(result.surplus, np.array(exact.surplus, dtype=float), atol=1e-12)


@given(plain(4), st.data())
@settings(max_examples=60)
def test_a_radial_feeder_is_the_dc_network_of_the_same_tree(document: Document, data: st.DataObject) -> None:
    tree = data.draw(feeders(len(document["bids"])))
    lines = [
        {"from": node["parent"] + 1, "to": i + 1, "x": data.draw(st.sampled_from([0.2, 1.0])), "limit": node["limit"]}
        for i, node in enumerate(tree["nodes"])
    ]
    network = {"n_buses": len(lines) + 1, "lines": lines, "site_bus": [node + 1 for node in tree["site_node"]], "supply_bus": 0}
    radial, meshed = clear(document | tree), clear(document | network)
    assert radial.welfare == pytest.approx(meshed.welfare, abs=1e-10)
    np.testing.assert_allclose(radial.surplus, meshed.surplus, atol=1e-10)


@given(plain(4), st.data())
@settings(max_examples=60)
def test_a_network_without_limits_is_a_single_node(document: Document, data: st.DataObject) -> None:
    network = data.draw(buses(len(document["bids"]))) | data.draw(feeders(len(document["bids"])))
    free = json.loads(json.dumps(network))
    for entry in free["lines"] + free["nodes"]:
        entry["limit"] = None
    exact, result = exact_vcg(**document), clear(document | free)
    assert result.welfare == pytest.approx(float(exact.welfare), abs=1e-10)
    np.testing.assert_allclose(result.surplus, np.array(exact.surplus, dtype=float), atol=1e-10)


@given(markets(), st.data())
@settings(max_examples=80)
def test_no_misreport_pays_under_vcg(document: Document, data: st.DataObject) -> None:
    site = data.draw(st.integers(0, len(document["bids"]) - 1))
    truth = document["bids"][site]
    share = data.draw(st.sampled_from([0.0, 0.4, 0.8, 1.3, 3.0]))
    lie = json.loads(json.dumps(document))
    lie["bids"][site] = [[kw, v * share] for kw, v in truth] if all(v >= 0 for _, v in truth) else []
    if "indivisible" in lie:
        lie["indivisible"][site] = lie["indivisible"][site][: len(lie["bids"][site])]
    honest, lied = clear(document), clear(lie)
    assert true_value(document, site, lied.allocation[site]) - lied.payment[site] <= honest.surplus[site] + 1e-9


def true_value(document: Document, site: int, won: float) -> float:
    """What ``won`` kW, all of it used, is worth to a site by its bid."""
    bid = document["bids"][site]
    flags = document["indivisible"][site] if "indivisible" in document else [False] * len(bid)
    best = -math.inf
    for served in itertools.product([False, True], repeat=len(bid)):  # of a divisible block: it may be used
        order = [not flag or yes for flag, yes in zip(flags, served, strict=True)]
        if any(yes and not flag for flag, yes in zip(flags, served, strict=True)):
            continue
        usable = list(itertools.accumulate(order, min)) if document.get("block_order") else order
        if any(yes and not may for yes, may in zip(served, usable, strict=True)):
            continue
        last = max((k for k, yes in enumerate(served) if yes), default=-1)
        forced = [yes or (bool(document.get("block_order")) and k < last) for k, yes in enumerate(served)]
        rest = won - sum(kw for (kw, _), must in zip(bid, forced, strict=True) if must)
        value = sum(kw * v for (kw, v), must in zip(bid, forced, strict=True) if must)
        for (kw, v), must, may in zip(bid, forced, usable, strict=True):
            if may and not must and rest > 0:
                value += min(kw, rest) * v
                rest -= min(kw, rest)
        if abs(rest) < 1e-9:
            best = max(best, value)
    return best


def test_a_misreport_pays_under_pay_as_bid() -> None:
    lie = json.loads(json.dumps(RING))
    lie["bids"][0][0][1] = 0.1
    assert 100 * 0.2 - clear(lie, "pay_as_bid").payment[0] > clear(RING, "pay_as_bid").surplus[0] + 5


@given(markets())
@settings(max_examples=30)
def test_equal_markets_clear_to_equal_bits(document: Document) -> None:
    first, second = clear(document), clear(document)
    assert first.allocation.tobytes() == second.allocation.tobytes()
    assert first.payment.tobytes() == second.payment.tobytes()


@given(markets(), st.sampled_from([-40, -7, 13, 35]), st.sampled_from([-20, 3, 21]))
@settings(max_examples=40)
def test_units_do_not_matter(document: Document, kw: int, money: int) -> None:
    """Scaling quantities and prices by powers of two scales the result, to the bit."""
    q, p = 2.0**kw, 2.0**money
    scaled = document | {
        "bids": [[[a * q, b * p] for a, b in bid] for bid in document["bids"]],
        "supply": [[a * q, b * p] for a, b in document["supply"]],
        "capacity": document["capacity"] * q,
        "caps": [None if cap is None else cap * q for cap in document["caps"]],
    }
    for key in {"nodes", "lines"} & document.keys():
        scaled[key] = [e | {"limit": None if e["limit"] is None else e["limit"] * q} for e in document[key]]
    if "reserve" in document:
        scaled["reserve"] = document["reserve"] * p
    plain_result, result = clear(document), clear(scaled)
    assert (result.allocation / q).tolist() == plain_result.allocation.tolist()
    assert (result.payment / (q * p)).tolist() == plain_result.payment.tolist()


def test_a_dear_emergency_step_does_not_blur_the_bids() -> None:
    document = {"bids": [[[4, 0.05]], [[4, 0.05 + 1e-7]]], "supply": [[4, 0.01], [100, 1e9]], "capacity": 104}
    for extension in ({}, {"indivisible": [[True], [True]]}):
        result = clear(document | extension)
        np.testing.assert_array_equal(result.allocation, [0, 4])
        assert result.surplus[1] == pytest.approx(4e-7, abs=1e-12)


# --- bad input ----------------------------------------------------------------------------------------------------------------


def changed(document: Document, **keys: Any) -> Document:
    return {key: value for key, value in (document | keys).items() if value is not ...}


LINE = {"from": 0, "to": 1, "x": 1.0}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1], r"a market is \[1\], expected an object"),
        (changed(RING, bids=...), "key 'bids' is missing"),
        (changed(RING, colour=1), "unknown key 'colour'"),
        (changed(RING, capacity=-1), "capacity: -1.0 kW, expected a number >= 0"),
        (changed(RING, capacity=True), "capacity: True"),
        (changed(RING, capacity=math.nan), "capacity: nan"),
        (changed(RING, caps=[1]), "caps: expected a list of 2"),
        (changed(RING, caps=[1, -2]), r"caps\[1\]: -2"),
        (changed(RING, reserve="x"), "reserve: 'x', expected a number"),
        (changed(RING, supply=[[1, 2], [1, 1]]), r"supply: step 1 costs 1.0 \$/kWh, below step 0's 2.0"),
        (changed(RING, supply=[[1]]), "supply: expected a list of"),
        (changed(RING, supply=[[-1, 0]]), "supply: step 0 has quantity -1.0 kW"),
        (changed(RING, supply_bus=...), "key 'supply_bus' is missing"),
        (changed(RING, supply_bus=3), "supply_bus is 3, expected a whole number from 0 to 2"),
        (changed(RING, n_buses=0), "n_buses is 0"),
        (changed(RING, site_bus=[1]), "site_bus has 1 entries, expected 2"),
        (changed(RING, site_bus=[1, 1.0]), r"site_bus\[1\] is 1.0, expected a whole number"),
        (changed(RING, lines=[LINE]), r"site_bus\[1\] is 2, expected a bus that lines connect with the supply bus 0"),
        (changed(RING, lines=[LINE | {"x": 0}]), r"lines\[0\] x is 0, expected a reactance > 0"),
        (changed(RING, lines=[LINE | {"x": "a"}]), r"lines\[0\] x is 'a'"),
        (changed(RING, lines=[LINE | {"limit": -5}]), r"lines\[0\] limit is -5"),
        (changed(RING, lines=[LINE | {"to": 0}]), r"lines\[0\] goes from bus 0 to itself"),
        (changed(RING, lines=[LINE | {"to": 9}]), r"lines\[0\] to is 9"),
        (changed(RING, lines=[LINE | {"lim": 9}]), r"lines\[0\]: unknown key 'lim'"),
        (changed(RING, lines=[{"from": 0, "to": 1}]), r"lines\[0\]: key 'x' is missing"),
        (changed(RING, lines=7), "lines is 7, expected a list"),
        (changed(CONGESTION, site_node=...), "key 'site_node' is missing"),
        (changed(CONGESTION, site_node=[0, 0, 1]), r"site_node\[2\] is 1, expected a whole number from 0 to 0"),
        (changed(CONGESTION, nodes=[{"parent": 1}]), r"nodes\[0\] parent is 1"),
        (changed(CONGESTION, nodes=[{"parent": 0}]), r"nodes\[0\] parent is 0, which leads round a cycle"),
        (changed(CONGESTION, nodes=[{"parent": -1}, {"parent": 2}, {"parent": 1}]), r"nodes\[1\] parent is 2, which leads round"),
        (changed(CONGESTION, nodes=[{"parent": -1, "limit": -1}]), r"nodes\[0\] limit is -1"),
        (changed(CONGESTION, nodes=[5]), r"nodes\[0\] is 5, expected an object"),
        (changed(CONGESTION, indivisible=[[True]]), "indivisible has 1 entries, expected 3"),
        (changed(CONGESTION, indivisible=[[True], [True], [True]]), r"indivisible\[0\] has 1 entries, expected 2"),
        (changed(CONGESTION, indivisible=[[True, 1], [True] * 2, [True]]), r"indivisible\[0\]\[1\] is 1, expected true or false"),
        (changed(CONGESTION, block_order="yes"), "block_order is 'yes', expected true or false"),
    ],
)
def test_bad_markets_are_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(MarketError, match=message):
        network_market(document)


def test_bad_blocks_are_refused_as_bids() -> None:
    with pytest.raises(BidError, match=r"bids\[1\]: block 1 has price"):
        network_market(changed(RING, bids=[[], [[1, 1], [1, 2]]]))


def test_uniform_and_unknown_mechanisms_are_refused() -> None:
    with pytest.raises(MarketError, match=r"mechanism is 'uniform'.*no single price"):
        clear(RING, "uniform")
    with pytest.raises(MarketError, match="mechanism is 'first', expected 'vcg' or 'pay_as_bid'"):
        clear(RING, "first")


def test_a_solver_that_does_not_finish_is_an_error_not_an_answer() -> None:
    rng = np.random.default_rng(0)
    bids = [[[float(kw), float(v)]] for kw, v in zip(rng.uniform(1, 2, 60), rng.uniform(1, 2, 60), strict=True)]
    document = {"bids": bids, "supply": [[45, 0]], "capacity": 45, "indivisible": [[True]] * 60}
    with pytest.raises(MarketError, match="HiGHS stopped with status 'Time limit reached', expected 'Optimal'"):
        clear_network(network_market(document), time_limit=0.0)


def test_another_user_of_the_solver_with_more_threads_does_no_harm() -> None:
    highspy.Highs.resetGlobalScheduler(True)  # the pool of threads belongs to the process
    other = highspy.Highs()  # type: ignore[no-untyped-call]
    other.silent()
    other.setOptionValue("threads", 2)
    other.maximize(other.addVariable(0.0, 1.0))
    try:
        np.testing.assert_allclose(clear(whole((1, 5), (1, 2), (2, 6))).payment, [4, 1, 0], atol=1e-9)
    finally:
        highspy.Highs.resetGlobalScheduler(True)
