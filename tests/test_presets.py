"""Parts by name: one form and the same errors for every kind, and a user's own class wherever one of the library's goes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot import load_setup, load_site, presets
from gridpilot.agents.bidding.base import BIDDING
from gridpilot.agents.registry import AGENT
from gridpilot.agents.storage.base import STORAGE
from gridpilot.cli import main
from gridpilot.envs import MarketEnv
from gridpilot.errors import ConfigError, PriceError
from gridpilot.forecasting.registry import FORECASTER
from gridpilot.live.open_venue import VENUE
from gridpilot.planning.registry import PLANNER
from gridpilot.prices.load import PRICES, load_prices
from tests.test_structure import ROOT

KINDS: dict[str, presets.Kind[Any]] = {kind.group: kind for kind in (AGENT, BIDDING, FORECASTER, PLANNER, PRICES, STORAGE, VENUE)}
NAMES = [(group, name) for group in KINDS for name in presets.names(group)]
EACH = pytest.mark.parametrize("group", [group for group in KINDS if group != "venue"])  # built with what live is told
ANY_KIND = pytest.mark.parametrize("group", KINDS)
ANY = {
    "agent": "truthful",
    "bidding": "truthful",
    "storage": "none",
    "forecaster": "persistence",
    "planner": "dynamic",
    "prices": "mara_event",
}


@pytest.mark.parametrize(("group", "name"), NAMES, ids=[f"{group}={name}" for group, name in NAMES])
def test_a_file_of_conf_is_a_mapping_with_the_path_of_its_class(group: str, name: str) -> None:
    kind = presets.find(KINDS[group], name)
    assert presets.load_preset(group, name)["name"] == f"{kind.__module__}.{kind.__qualname__}"


@EACH
def test_a_name_a_path_and_a_mapping_with_either_are_the_same_part(group: str) -> None:
    kind, name = KINDS[group], ANY[group]
    file = presets.load_preset(group, name)
    built = [presets.build(kind, spec) for spec in (name, {"name": name}, file)]
    built.append(presets.build(kind, file["name"], {key: value for key, value in file.items() if key != "name"}))
    assert len({type(part) for part in built}) == 1


@ANY_KIND
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("oracle", "'oracle': expected one of .*, or a dotted path such as my_file.Mine"),
        ({"name": "oracle"}, "'oracle': expected one of"),
        ({"target": "oracle"}, "name is None, expected one of"),
        ({"name": 3}, "name is 3, expected one of"),
        ("", "'': expected one of"),
        ("no_such_module.Mine", "there is no module 'no_such_module'"),
        ("gridpilot.errors.Missing", "has no 'Missing'"),
        ("gridpilot.errors.GridPilotError", "GridPilotError is not a subclass of gridpilot"),
        ("faulty_parts_here.Mine", "importing 'faulty_parts_here' failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_part_gets_one_error(group: str, spec: Any, words: str) -> None:
    Path("faulty_parts_here.py").write_text("1 / 0\n")
    with pytest.raises(KINDS[group].error, match=f"^{group} .*{words}"):
        presets.build(KINDS[group], spec)


@EACH
def test_a_class_of_ones_own_is_told_apart_by_what_it_takes_and_how_it_fails(group: str) -> None:
    kind = KINDS[group]
    module = f"own_{group}_here"
    Path(f"{module}.py").write_text(
        textwrap.dedent(f"""\
        from {kind.base.__module__} import {kind.base.__name__}

        class Mine({kind.base.__name__}):
            __abstractmethods__ = frozenset()
            def __init__(self, size=1, **fixed):
                assert size > 0, "size is too small"
                self.size = size

        class Strict(Mine):
            def __init__(self, size=1):
                super().__init__(size)

        Mine.__abstractmethods__ = Strict.__abstractmethods__ = frozenset()
        """)
    )
    assert presets.build(kind, {"name": f"{module}.Mine", "size": 3}).size == 3
    assert presets.build(kind, {"name": f"{module}.Mine", "size": 3}, {"size": 4}).size == 4
    with pytest.raises(kind.error, match=f"{group} '{module}.Mine': Mine failed to start: AssertionError: size is too small"):
        presets.build(kind, {"name": f"{module}.Mine", "size": 0})
    with pytest.raises(kind.error, match=r"'sise'.*Strict takes size"):
        presets.build(kind, {"name": f"{module}.Strict", "sise": 2})


@pytest.fixture
def evenings() -> Iterator[None]:
    Path("my_prices_here.py").write_text(
        textwrap.dedent("""\
        import numpy as np
        from gridpilot import PriceModel

        class Evenings(PriceModel):
            def __init__(self, evening=0.12):
                self.evening = evening

            def simulate(self, root, episodes, ticks, *, history=0):
                prices = np.empty((history + ticks, len(episodes), 3))
                hour = np.arange(-history, ticks) / 12.0 % 24.0
                prices[..., 0] = np.where(hour >= 18.0, self.evening, 0.03)[:, None]
                prices[..., 1:] = 2.1, 0.3
                return prices, np.zeros(len(episodes), dtype=np.int64)
        """)
    )
    return


@pytest.mark.usefixtures("evenings")
@pytest.mark.parametrize(
    ("overrides", "evening"),
    [
        (["prices=my_prices_here.Evenings"], 0.12),
        (["prices=my_prices_here.Evenings", "prices.evening=0.5"], 0.5),
        (["prices={name: my_prices_here.Evenings, evening: 0.4}"], 0.4),
        (["prices={name: my_prices_here.Evenings, evening: 0.4}", "prices.evening=0.5"], 0.5),
    ],
)
def test_a_price_model_of_the_working_folder_is_simulated(overrides: list[str], evening: float) -> None:
    import pandas as pd

    assert main(["simulate-prices", *overrides, "episodes=2", "out=paths.csv", "json=true"]) == 0
    assert pd.read_csv("paths.csv")["energy"].max() == evening


@pytest.mark.usefixtures("evenings")
def test_a_price_model_of_the_working_folder_makes_markets_and_environments() -> None:
    spec = {"name": "my_prices_here.Evenings", "evening": 0.5}
    assert load_setup(prices=spec, ticks=288, history=0).scenario(0, [0]).prices[:, 0, 0].max() == 0.5
    env = MarketEnv(prices=spec)
    env.reset(seed=0)
    assert load_setup(prices="my_prices_here.Evenings").reference_prices == (2.1, 0.3)


@pytest.mark.usefixtures("evenings")
def test_a_price_model_of_the_working_folder_is_played_in_a_tournament(capfd: pytest.CaptureFixture[str]) -> None:
    small = ["agents=[threshold]", "episodes=1", "ticks=24", "history=24", "lineups=[mixed]", "backend=serial", "json=true"]
    assert main(["tournament", "prices={name: my_prices_here.Evenings, evening: 0.5}", *small, "out=run"]) == 0
    assert {agent["agent"] for agent in json.loads(capfd.readouterr().out)["agents"]} >= {"threshold", "truthful"}
    assert json.loads(Path("run/manifest.json").read_text())["config"]["prices"]["evening"] == 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("evenings")
def test_a_price_model_of_the_working_folder_is_forecast(capfd: pytest.CaptureFixture[str]) -> None:
    short = ["members=[persistence]", "days=1", "warm_up_days=1", "horizons=[5]", "json=true", "out=backtest"]
    assert main(["backtest", "prices=my_prices_here.Evenings", *short]) == 0
    assert "prices my_prices_here.Evenings" in json.loads(capfd.readouterr().out)["source"]


def test_a_price_model_that_there_is_not_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-prices", "prices=nowhere_at_all.Model"]) == 2
    assert "prices 'nowhere_at_all.Model': there is no module 'nowhere_at_all'" in capfd.readouterr().err
    assert main(["simulate-prices", "prices={evening: 3}"]) == 2
    assert "name is None, expected one of" in capfd.readouterr().err
    with pytest.raises(PriceError, match="one of aemo_nsw"):
        load_setup(prices="nowhere")


def test_a_preset_can_be_changed_by_name() -> None:
    ours = load_setup(prices={"name": "mara_event", "begin": "opening"}, ticks=3, history=0).scenario(0, [0]).prices
    np.testing.assert_allclose(ours[0, 0], [3.0 * 0.04, 4.0 * 1.06, 2.0 * 0.24])


def test_a_preset_may_be_a_file_of_one_s_own_given_by_its_path() -> None:
    Path("flat.yaml").write_text("name: mara_event\nbegin: opening\n")
    Path("market.yml").write_text("capacity_kw: 900\nsupply: [[900, 0.0]]\nsites: [seat.yaml, mix_1mw]\n")
    Path("seat.yaml").write_text((ROOT / "conf" / "site" / "mix_1mw.yaml").read_text(encoding="utf-8"))
    setup = load_setup("market.yml", "flat.yaml", ticks=3, history=0)
    assert setup.sites[0] == setup.sites[1] == load_site("./seat.yaml")
    assert type(setup.world.prices).__name__ == "MaraEventPrices"
    assert setup.scenario(0, [0]).prices[0, 0] == pytest.approx([3.0 * 0.04, 4.0 * 1.06, 2.0 * 0.24])


@pytest.mark.parametrize("given", ["nowhere.yaml", "list.yaml"])
def test_a_file_of_one_s_own_that_cannot_be_used_is_named(given: str) -> None:
    Path("list.yaml").write_text("[1, 2]")
    for load in (load_setup, load_site, load_prices):
        with pytest.raises(ConfigError, match=given):
            load(given)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=r"did you mean site=mix_1mw\?"):
        load_site("mix_1mw.yaml")


def test_prices_that_say_model_as_earlier_versions_did_are_built() -> None:
    assert type(load_prices({"model": "mara_event", "begin": "opening"})).__name__ == "MaraEventPrices"
    with pytest.raises(PriceError, match="nothing_such"):
        load_prices({"model": "nothing_such"})


def test_prices_may_be_a_table_given_by_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"2024-03-0{1 + i // 288}T{i % 288 // 12:02d}:{5 * (i % 12):02d}:00,{30 + i % 288 / 10}" for i in range(3 * 288)]
    Path("my prices.csv").write_text("time,lmp\n" + "\n".join(rows) + "\n")
    prices = load_setup(prices="my prices.csv", ticks=288, history=0).scenario(0, [0]).prices
    assert prices[:, 0, 0] == pytest.approx((30 + np.arange(288) / 10) / 1000)
    assert main(["simulate-prices", "prices=my prices.csv", "episodes=1", "ticks=288", "out=paths.parquet"]) == 0
    assert pd.read_parquet("paths.parquet")["energy"].to_numpy() == pytest.approx(prices[:, 0, 0])
    capsys.readouterr()  # what the first use of a kernel says
    assert main(["simulate-prices", "prices=nowhere.csv"]) == 2
    assert capsys.readouterr().err == "gridpilot simulate-prices: error: nowhere.csv: no such file\n"
