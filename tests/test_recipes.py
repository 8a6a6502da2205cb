"""The recipes of CONTRIBUTING.md, walked in a copy of the tree: their files are written, and the part is found, tested and works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("agents", "conf", "envs", "gridpilot", "tests", "pyproject.toml", "CONTRIBUTING.md", "README.md")


class Recipe(NamedTuple):
    files: dict[str, str]  # written; those named in the recipe, and no others
    changes: dict[str, tuple[str, str]]  # of files that are there: what is replaced by what
    suites: list[str]  # in which the part is tested because it exists
    part: str = ""  # its name


RECIPES = {
    "Add an agent": Recipe(
        {
            "agents/my_agent.py": '''
            """Half of the truth."""

            from __future__ import annotations

            from gridpilot.agents.base import Agent
            from gridpilot.market.bids import Bid
            from gridpilot.market.observation import MarketInfo, Observation
            from gridpilot.market.site import Site

            __all__ = ["MyAgent"]


            class MyAgent(Agent):
                """Bids a share of its value."""

                def __init__(self, share: float = 0.5) -> None:
                    self.share = share

                def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
                    """Nothing is remembered."""

                def bid(self, observation: Observation) -> Bid:
                    """Every block at a share of what it is worth."""
                    bid = observation.truthful_bid()
                    return Bid([(kw, self.share * price) for kw, price in bid.blocks])
            ''',
            "conf/agent/my_agent.yaml": """
            # Bids half of its value.
            name: gridpilot.agents.my_agent.MyAgent
            share: 0.5  # of its value
            """,
            "tests/agents/test_my_agent.py": """
            def test_my_agent_is_no_truthful_bidder() -> None:
                from gridpilot.agents.registry import build_agent
                assert build_agent("my_agent").share == 0.5
            """,
        },
        {},
        [
            "tests/agents/test_conformance.py",
            "tests/test_presets.py",
            "tests/test_conf_comments.py",
            "tests/agents/test_my_agent.py",
        ],
        "my_agent",
    ),
    "Add a forecaster or a planner": Recipe(
        {
            "gridpilot/forecasting/my_member.py": '''
            """The last price again."""

            from __future__ import annotations

            from typing import Any

            from gridpilot.forecasting.persistence import Persistence

            __all__ = ["MyMember"]


            class MyMember(Persistence):
                """The last price, by another name."""

                name = "my_member"

                def _start(self) -> None:
                    super()._start()

                def _learn(self, step: int, prices: Any) -> None:
                    super()._learn(step, prices)

                def _predict(self, horizon: int) -> Any:
                    return super()._predict(horizon)
            ''',
            "conf/forecaster/my_member.yaml": """
            # The last price, by another name.
            name: gridpilot.forecasting.my_member.MyMember
            """,
            "tests/forecasting/test_my_member.py": """
            def test_my_member_has_its_name() -> None:
                from gridpilot.forecasting import build_forecaster
                assert build_forecaster("my_member").name == "my_member"
            """,
            "gridpilot/planning/my_planner.py": '''
            """The dynamic programme again."""

            from __future__ import annotations

            from gridpilot.planning.dynamic import DynamicProgramme

            __all__ = ["MyPlanner"]


            class MyPlanner(DynamicProgramme):
                """The dynamic programme, by another name."""

                name = "my_planner"
            ''',
            "conf/planner/my_planner.yaml": """
            # The dynamic programme, by another name.
            name: gridpilot.planning.my_planner.MyPlanner
            cells: 30  # of the state of charge
            """,
            "tests/planning/test_my_planner.py": """
            def test_my_planner_has_its_name() -> None:
                from gridpilot.planning.registry import build_planner
                assert build_planner("my_planner").name == "my_planner"
            """,
        },
        {},
        ["tests/forecasting", "tests/planning", "tests/test_presets.py", "tests/test_conf_comments.py"],
        "my_member or my_planner",
    ),
    "Add a price model": Recipe(
        {
            "gridpilot/prices/my_model.py": '''
            """Prices that are drawn afresh every tick."""

            from __future__ import annotations

            from typing import Any

            import numpy as np
            from pydantic import BaseModel, ConfigDict, PositiveFloat

            from gridpilot.configuration import validate
            from gridpilot.prices.base import PriceModel, check_request

            __all__ = ["MyPrices"]


            class MyConfig(BaseModel):
                """What MyPrices takes."""

                model_config = ConfigDict(extra="forbid", frozen=True)

                sd: PositiveFloat


            class MyPrices(PriceModel):
                """Log-normal noise."""

                def __init__(self, **parameters: Any) -> None:
                    self.config = validate(MyConfig, parameters, "prices")

                def simulate(self, root: int, episodes: Any, ticks: int, *, history: int = 0) -> Any:
                    seed, numbers, ticks, history = check_request(root, episodes, ticks, history)
                    prices = np.empty((history + ticks, len(numbers), 3))
                    for b, episode in enumerate(numbers):
                        noise = np.random.default_rng([int(seed), int(episode)]).standard_normal((history + ticks, 3))
                        prices[:, b] = np.array([0.03, 2.1, 0.3]) * np.exp(self.config.sd * noise)
                    return prices, np.zeros(len(numbers), dtype=np.int64)
            ''',
            "conf/prices/my_preset.yaml": """
            # Prices that are drawn afresh every tick.
            name: gridpilot.prices.my_model.MyPrices
            sd: 0.1  # of the log price
            """,
            "tests/prices/test_my_model.py": """
            def test_my_preset_is_noisy() -> None:
                from gridpilot.prices import load_prices
                assert load_prices("my_preset").simulate(0, [0], 100)[0].std() > 0.0
            """,
        },
        {},
        [
            "tests/prices/test_conformance.py",
            "tests/test_presets.py",
            "tests/test_conf_comments.py",
            "tests/prices/test_my_model.py",
        ],
        "my_preset",
    ),
    "Add a mechanism": Recipe(
        {
            "tests/market/test_my_mechanism.py": """
            def test_my_mechanism_is_free() -> None:
                from gridpilot import clear
                bids = [[(600.0, 0.2)], [(500.0, 0.1)]]
                assert clear(bids, [(1000.0, 0.05)], 1000.0, mechanism="my_mechanism").payment.sum() == 0.0
            """,
        },
        {
            "gridpilot/market/auction.py": ('"pay_as_bid": PAY_AS_BID}', '"pay_as_bid": PAY_AS_BID, "my_mechanism": 3}'),
            "gridpilot/market/clearing.py": (
                'Literal["vcg", "uniform", "pay_as_bid"]',
                'Literal["vcg", "uniform", "pay_as_bid", "my_mechanism"]',
            ),
        },
        ["tests/market/test_my_mechanism.py"],
        "my_mechanism",
    ),
    "Add a venue": Recipe(
        {
            "gridpilot/live/my_venue.py": '''
            """Recorded rows again."""

            from __future__ import annotations

            from typing import ClassVar

            from gridpilot.live.replay_venue import ReplayVenue

            __all__ = ["MyVenue"]


            class MyVenue(ReplayVenue):
                """Recorded rows, by another name."""

                name: ClassVar[str] = "my_venue"
            ''',
            "conf/venue/my_venue.yaml": """
            # Recorded rows, by another name.
            name: gridpilot.live.my_venue.MyVenue
            """,
            "conf/live/my_venue.yaml": """
            # Recorded rows, by another name.
            defaults: [base]
            venue: my_venue  # plays live.file
            """,
        },
        {
            "tests/live/test_parity.py": (
                '    "mara": stand_in,\n',
                '    "mara": stand_in,\n    "my_venue": lambda rows, inventory: __import__("gridpilot.live.my_venue", fromlist=["x"])'
                ".MyVenue(rows, INVENTORIES[inventory], 1_000_000),\n",
            )
        },
        ["tests/live/test_parity.py::test_every_registered_venue_is_here", "tests/test_presets.py", "tests/test_conf_comments.py"],
        "my_venue or registered",
    ),
}
EACH = pytest.mark.parametrize("title", RECIPES)
COMMANDS = {
    "Add an agent": ["tournament", "agents=[my_agent]", "episodes=1", "ticks=12", "history=12", "backend=serial", "out=run"],
    "Add a price model": ["simulate-prices", "prices=my_preset", "episodes=2", "ticks=12"],
    "Add a venue": ["live", "agent=truthful", "live=my_venue", "live.file=rows.csv", "live.table=false"],
}
ROWS = "timestamp,energy_price,hash_price,token_price\n" + "".join(f"2025-06-21T12:{5 * i:02}:00,1.0,2.0,1.0\n" for i in range(6))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of the tree in which a recipe has been walked."""
    folders: dict[str, Path] = {}

    def walk(title: str) -> Path:
        if title not in folders:
            folder = folders[title] = tmp_path_factory.mktemp("tree")
            for name in COPIED:
                source = ROOT / name
                shutil.copytree(source, folder / name, symlinks=True) if source.is_dir() else shutil.copy2(source, folder / name)
            for name, text in RECIPES[title].files.items():
                assert not (folder / name).exists()
                (folder / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
            for name, (old, new) in RECIPES[title].changes.items():
                text = (folder / name).read_text(encoding="utf-8")
                assert old in text, f"{name} holds no {old!r}: change this recipe"
                (folder / name).write_text(text.replace(old, new), encoding="utf-8")
        return folders[title]

    return walk


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in the copy, whose modules go first."""
    command = [sys.executable, "-W", "ignore", "-m", *arguments]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def steps(title: str) -> str:
    """The numbered steps of a recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, after = text.partition(f"## {title}\n")
    assert after, f"CONTRIBUTING.md has no recipe {title!r}"
    return "\n".join(re.findall(r"^(?:\d\. |   ).*$", after.partition("\n## ")[0], re.MULTILINE))


@EACH
def test_the_recipe_names_the_files_that_are_written_and_changed(title: str) -> None:
    named = set(re.findall(r"`([\w/]+/[\w.]+\.(?:py|yaml))`", steps(title)))
    written = set(RECIPES[title].files)
    assert {name for name in named if "my_" in name} == written
    others = named - written
    assert set(RECIPES[title].changes) <= others
    assert all((ROOT / name).exists() for name in others)


def test_every_recipe_is_walked() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (Add .*)$", text, re.MULTILINE) == list(RECIPES)


@EACH
def test_the_suites_find_the_part(title: str, copied: Callable[[str], Path]) -> None:
    recipe = RECIPES[title]
    done = run(copied(title), "pytest", "--collect-only", "-q", *recipe.suites, "-k", recipe.part)
    for part in recipe.part.split(" or "):
        assert part in done.stdout


@pytest.mark.slow
@EACH
def test_the_suites_pass(title: str, copied: Callable[[str], Path]) -> None:
    recipe, folder = RECIPES[title], copied(title)
    # A mechanism changes a kernel that most of the market is compiled with: interpreted, the one test takes no time.
    interpreted = {"NUMBA_DISABLE_JIT": "1"} if title == "Add a mechanism" else {}
    run(folder, "pytest", "-q", *recipe.suites, "-k", recipe.part, "--junitxml=found.xml", **interpreted)
    passed = [case.get("name", "") for case in ElementTree.parse(folder / "found.xml").iter("testcase")]
    for part in recipe.part.split(" or "):
        assert any(part in name for name in passed), part


@pytest.mark.slow
@pytest.mark.parametrize("title", COMMANDS)
def test_the_commands_take_the_part(title: str, copied: Callable[[str], Path]) -> None:
    folder = copied(title)
    (folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    run(folder, "gridpilot", *COMMANDS[title])
