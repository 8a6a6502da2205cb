"""Markets from configuration: presets load, what is wrong is named, and MARA's inventories earn what its API says."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from gridpilot.errors import ConfigError, GridPilotError
from gridpilot.setup import load_preset, load_setup, load_site


def presets(group: str) -> list[str]:
    folder = resources.files("gridpilot.conf") / group
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@pytest.mark.parametrize("name", presets("market"))
def test_every_market_plays(name: str) -> None:
    setup = load_setup(name, ticks=2, history=1)
    arena = setup.arena()
    arena.start(setup.scenario(0, [0]))
    arena.step()
    assert 0.0 < arena.totals[0, 2] <= setup.rules.capacity_kw


def test_the_default_market_is_ten_different_sites() -> None:
    sites = load_setup().sites
    assert len({site.name for site in sites}) == len({site.fleet for site in sites}) == 10
    assert all(600.0 < site.fleet_kw < 700.0 and site.grid_kw == 1000.0 for site in sites)


@pytest.mark.parametrize("name", presets("site"))
def test_every_site_preset_earns_on_its_own(name: str) -> None:
    prices = "mara_event" if name.startswith("mara") else "ercot"
    market = {**load_preset("market", "default"), "sites": [name], "capacity_kw": 1000.0}
    setup = load_setup(market, prices, ticks=24, history=1)
    arena = setup.arena()
    arena.start(setup.scenario(0, [0]))
    while not arena.done:
        arena.step()
        assert arena.outcome[0, 0, 0] <= 1000.0
    assert setup.rated_values()[0] > 0.0


# (hash or token output, W) a machine: the two inventories of the MARA Hackathon 2025 API.
INVENTORY = {
    "mara_documented": {
        "air": (1000, 3500),
        "hydro": (5000, 5000),
        "immersion": (10000, 10000),
        "gpu": (1000, 5000),
        "asic": (50000, 15000),
    },
    "mara_live": {
        "air": (1000, 3333),
        "hydro": (10000, 5000),
        "immersion": (5000, 10000),
        "gpu": (1000, 3333),
        "asic": (5000, 10000),
    },
}


@pytest.mark.parametrize("name", sorted(INVENTORY))
def test_maras_machines_earn_and_cost_what_the_api_says(name: str) -> None:
    scales = {key: value["scale"] for key, value in load_preset("prices", "mara_event").items() if isinstance(value, dict)}
    raw = {"energy": 1.2695072872530706, "hash": 1.382032767339416, "token": 1.5723370784071644}
    for machine in load_site(name).fleet:
        output, watts = INVENTORY[name][machine.name]
        api = output * raw[machine.product] / (watts * raw["energy"])  # revenue over cost of a price row
        cost = machine.unit_kw * raw["energy"] * scales["energy"]
        assert machine.output * raw[machine.product] * scales[machine.product] / cost == pytest.approx(api, rel=1e-9)
        assert machine.units * machine.unit_kw <= 1000.0 < (machine.units + 1) * machine.unit_kw


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sites": []}, "sites"),
        ({"sites": ["nowhere"]}, "site=nowhere: no such choice, expected one of"),
        ({"sites": [{"name": "a"}]}, r"market: sites\[0\]: key 'fleet' is missing"),
        ({"sites": [{"name": "a", "fleet": {"hydros": 1}}]}, "fleet has 'hydros', expected one of the machines hydro"),
        ({"sites": [{"name": "a", "fleet": {"hydro": 1}, "batery": {}}]}, "unknown key 'batery'; did you mean battery"),
        ({"sites": [{"name": "a", "fleet": {"hydro": 1}, "battery": {"power_kw": -1.0}}]}, "battery: power_kw is -1.0"),
        ({"sites": [{"name": "a", "fleet": {"hydro": 1}, "battery": {"power": 1.0}}]}, "unknown key 'power'"),
        ({"sites": [{"name": "a", "fleet": [1, 2]}]}, r"fleet is \[1, 2\]"),
        ({"capacity_kw": -1.0}, "capacity_kw"),
        ({"mechanism": "lottery"}, "mechanism"),
        ({"supply": [[0.5, 0.1], [0.5, 0.0]]}, "supply: step 1 costs 0.0"),
        ({"capacity": {"bas": 1.0}}, "bas"),
    ],
)
def test_bad_markets_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(GridPilotError, match=message):
        load_setup({**load_preset("market", "default"), **change})


def test_bad_lengths_and_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="ticks is 0"):
        load_setup(ticks=0)
    with pytest.raises(ConfigError, match="market=nope: no such choice, expected one of default"):
        load_setup("nope")


def test_reference_prices_are_the_models_medians() -> None:
    setup = load_setup()
    hashing, token = setup.reference_prices
    assert 1.0 < hashing < 4.0
    assert 0.15 < token < 0.6
    expected = [site.rated_value(hashing, token) for site in setup.sites]
    np.testing.assert_allclose(setup.rated_values(), expected)
