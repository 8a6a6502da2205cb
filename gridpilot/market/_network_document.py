"""A market with a network or indivisible blocks, and its JSON form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MarketError
from gridpilot.market.bids import check_blocks
from gridpilot.market.clearing import check_capacity, check_caps, check_reserve, check_supply

__all__ = ["EXTENSION_KEYS", "FeederNode", "Line", "NetworkMarket", "network_market"]

FloatArray = npt.NDArray[np.float64]

EXTENSION_KEYS: Final = frozenset(
    {"nodes", "site_node", "n_buses", "lines", "site_bus", "supply_bus", "indivisible", "block_order"}
)  # any of these in a document makes it a network market
BASE_KEYS: Final = frozenset({"bids", "supply", "capacity", "caps", "reserve"})


@dataclass(frozen=True)
class FeederNode:
    """A node of a radial feeder: all power of the sites below it flows through it."""

    parent: int  # index of the node that feeds it; -1 is the supply itself, which several feeders may start from
    limit: float  # kW, >= 0, flow into the node; inf = no limit


@dataclass(frozen=True)
class Line:
    """A line of a DC network: ``flow = (theta_origin - theta_end) / reactance``, at most ``limit`` kW either way."""

    origin: int
    end: int
    reactance: float  # > 0, any unit: only ratios between lines matter
    limit: float  # kW, >= 0; inf = no limit; 0 still ties the angles of its two buses


@dataclass(frozen=True)
class NetworkMarket:
    """One market, already validated (:func:`network_market` validates), N sites, S supply steps.

    Without any extension it is the single-node market. Extensions combine: then every limit of each of them holds.
    """

    bids: tuple[FloatArray, ...]  # N arrays (K_i, 2): kW >= 0, $/kWh non-increasing
    supply: FloatArray  # (S, 2): kW >= 0, $/kWh non-decreasing
    capacity: float  # kW >= 0
    caps: FloatArray  # (N,) kW >= 0, inf = none
    reserve: float = -math.inf  # $/kWh; replaces every supply cost c by max(c, reserve)
    nodes: tuple[FeederNode, ...] = ()
    site_node: tuple[int, ...] = ()  # (N,) if there are nodes
    n_buses: int = 1
    lines: tuple[Line, ...] = ()
    site_bus: tuple[int, ...] = ()  # (N,), or empty: every site at the supply bus
    supply_bus: int = 0
    indivisible: tuple[tuple[bool, ...], ...] = ()  # (N, K_i) all-or-nothing blocks, or empty: none
    block_order: bool = False  # a block of a site needs the site's earlier ones full


def network_market(document: Mapping[str, Any]) -> NetworkMarket:
    """Validate the JSON form of a market, with or without extensions.

    Raises :class:`~gridpilot.errors.BidError` for bad blocks and :class:`~gridpilot.errors.MarketError` for anything else; the
    message names the key, the value and what was expected. Nothing is repaired.

    >>> network_market({"bids": [[[5, 0.2]]], "supply": [[9, 0.1]], "capacity": -9})
    Traceback (most recent call last):
    ...
    gridpilot.errors.MarketError: capacity: -9.0 kW, expected a number >= 0
    """
    if not isinstance(document, Mapping):
        raise MarketError(f"a market is {document!r:.60}, expected an object with the keys bids, supply and capacity")
    _keys(document, "market", required={"bids", "supply", "capacity"}, allowed=BASE_KEYS | EXTENSION_KEYS)
    bids = tuple(check_blocks(blocks, where=f"bids[{i}]") for i, blocks in enumerate(_list(document["bids"], "bids")))
    if "block_order" in document and not isinstance(document["block_order"], bool):
        raise MarketError(f"block_order is {document['block_order']!r}, expected true or false")
    return NetworkMarket(
        bids=bids,
        supply=check_supply(document["supply"]),
        capacity=check_capacity(document["capacity"]),
        caps=check_caps(document.get("caps"), len(bids)),
        reserve=check_reserve(document.get("reserve")),
        indivisible=_indivisible(document.get("indivisible"), bids),
        block_order=document.get("block_order", False),
        **_feeders(document, len(bids)),
        **_buses(document, len(bids)),
    )


def _feeders(document: Mapping[str, Any], n_sites: int) -> dict[str, Any]:
    if "nodes" not in document and "site_node" not in document:
        return {}
    _keys(document, "market with radial feeders", required={"nodes", "site_node"})
    nodes = []
    entries = _list(document["nodes"], "nodes")
    for i, node in enumerate(entries):
        _keys(node, f"nodes[{i}]", required={"parent"}, allowed={"parent", "limit"})
        parent = _index(node["parent"], f"nodes[{i}] parent", len(entries), low=-1)
        nodes.append(FeederNode(parent, _limit(node.get("limit"), f"nodes[{i}] limit")))
    for i in range(len(nodes)):
        above = i
        for _ in nodes:
            above = nodes[above].parent
            if above < 0:
                break
        else:
            parent = nodes[i].parent
            raise MarketError(f"nodes[{i}] parent is {parent}, which leads round a cycle, expected a path to a root (parent -1)")
    sites = _list(document["site_node"], "site_node", n_sites, "one for every site")
    site_node = tuple(_index(node, f"site_node[{i}]", len(nodes)) for i, node in enumerate(sites))
    return {"nodes": tuple(nodes), "site_node": site_node}


def _buses(document: Mapping[str, Any], n_sites: int) -> dict[str, Any]:
    keys = {"n_buses", "lines", "site_bus", "supply_bus"}
    if not keys & document.keys():
        return {}
    _keys(document, "market with a DC network", required=keys)
    n_buses = _index(document["n_buses"], "n_buses", None, low=1)
    lines = []
    for i, line in enumerate(_list(document["lines"], "lines")):
        _keys(line, f"lines[{i}]", required={"from", "to", "x"}, allowed={"from", "to", "x", "limit"})
        origin = _index(line["from"], f"lines[{i}] from", n_buses)
        end = _index(line["to"], f"lines[{i}] to", n_buses)
        if origin == end:
            raise MarketError(f"lines[{i}] goes from bus {origin} to itself, expected two different buses")
        reactance = _number(line["x"], f"lines[{i}] x")
        if reactance <= 0.0:
            raise MarketError(f"lines[{i}] x is {line['x']}, expected a reactance > 0")
        lines.append(Line(origin, end, reactance, _limit(line.get("limit"), f"lines[{i}] limit")))
    supply_bus = _index(document["supply_bus"], "supply_bus", n_buses)
    sites = _list(document["site_bus"], "site_bus", n_sites, "one for every site")
    site_bus = tuple(_index(bus, f"site_bus[{i}]", n_buses) for i, bus in enumerate(sites))
    reached = _connected(lines, supply_bus)
    for i, bus in enumerate(site_bus):
        if bus not in reached:
            raise MarketError(f"site_bus[{i}] is {bus}, expected a bus that lines connect with the supply bus {supply_bus}")
    return {"n_buses": n_buses, "lines": tuple(lines), "site_bus": site_bus, "supply_bus": supply_bus}


def _connected(lines: Sequence[Line], bus: int) -> set[int]:
    neighbours: dict[int, list[int]] = {}
    for line in lines:
        neighbours.setdefault(line.origin, []).append(line.end)
        neighbours.setdefault(line.end, []).append(line.origin)
    reached, front = {bus}, [bus]
    while front:
        for other in neighbours.get(front.pop(), ()):
            if other not in reached:
                reached.add(other)
                front.append(other)
    return reached


def _indivisible(flags: Any, bids: Sequence[FloatArray]) -> tuple[tuple[bool, ...], ...]:
    if flags is None:
        return ()
    rows = _list(flags, "indivisible", len(bids), "one list for every site")
    for i, (row, blocks) in enumerate(zip(rows, bids, strict=True)):
        for k, flag in enumerate(_list(row, f"indivisible[{i}]", len(blocks), "one for every block of the site")):
            if not isinstance(flag, bool):
                raise MarketError(f"indivisible[{i}][{k}] is {flag!r}, expected true or false")
    return tuple(tuple(row) for row in rows)


def _keys(value: Any, where: str, *, required: set[str], allowed: frozenset[str] | set[str] | None = None) -> None:
    if not isinstance(value, Mapping):
        raise MarketError(f"{where} is {value!r:.60}, expected an object with the keys {', '.join(sorted(allowed or required))}")
    if missing := sorted(required - value.keys()):
        raise MarketError(f"{where}: key {missing[0]!r} is missing, expected {', '.join(sorted(required))}")
    if allowed is not None and (unknown := sorted(map(str, value.keys() - allowed))):
        raise MarketError(f"{where}: unknown key {unknown[0]!r}, expected one of {', '.join(sorted(allowed))}")


def _list(value: Any, where: str, length: int | None = None, expected: str = "") -> list[Any]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise MarketError(f"{where} is {value!r:.60}, expected a list")
    if length is not None and len(value) != length:
        raise MarketError(f"{where} has {len(value)} entries, expected {length}: {expected}")
    return list(value)


def _number(value: Any, where: str) -> float:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise MarketError(f"{where} is {value!r:.60}, expected a finite number")
    return float(value)


def _limit(value: Any, where: str) -> float:
    if value is None or (isinstance(value, float) and value == math.inf):
        return math.inf
    if (limit := _number(value, where)) < 0.0:
        raise MarketError(f"{where} is {value!r:.60}, expected kW >= 0 or null")
    return limit


def _index(value: Any, where: str, count: int | None, low: int = 0) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (count is not None and value >= count):
        expected = f"a whole number >= {low}" if count is None else f"a whole number from {low} to {count - 1}"
        raise MarketError(f"{where} is {value!r:.60}, expected {expected}")
    return int(value)
