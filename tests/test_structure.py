"""What holds the house up: the direction of imports, light start-up, the links, and the public surface."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gridpilot.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("agents", "conf", "envs")

# A room may import the rooms of the rows above its own, and itself.
ORDER = (
    ("market", "series"),
    ("prices", "forecasting", "planning", "equilibrium", "risk", "policies"),
    ("setup",),
    ("agents",),
    ("audit",),
    ("envs", "by_hand"),
    ("tournament", "live", "backtest"),
    ("simulation", "training"),
    ("hindsight",),
    ("insight", "validation", "benchmark", "deploy", "warm_up", "cli"),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# What may be imported from everywhere; but the market does without configuration.
SHARED = {
    "documents",
    "errors",
    "columns",
    "configuration",
    "file_access",
    "files",
    "foreign_files",
    "memory",
    "overrides",
    "pictures",
    "stdout",
    "presets",
    "progress",
    "provenance",
    "redaction",
    "spreadsheets",
    "suggestions",
    "sweep",
    "workers",
}

HEAVY = {
    "altair",
    "anthropic",
    "arch",
    "cvxpy",
    "fastapi",
    "filterpy",
    "gymnasium",
    "highspy",
    "httpx2",
    "hydra",
    "lightgbm",
    "matplotlib",
    "mesa",
    "numba",
    "numpy",
    "omegaconf",
    "onnx",
    "optuna",
    "pandas",
    "pettingzoo",
    "prophet",
    "pyarrow",
    "pydantic",
    "scipy",
    "skfolio",
    "sklearn",
    "streamlit",
    "safetensors",
    "sb3_contrib",
    "stable_baselines3",
    "torch",
    "xgboost",
}


def modules() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    found = {}
    for folder, package in [("gridpilot", "gridpilot"), *((name, f"gridpilot.{name}") for name in LINKED)]:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            if folder == "gridpilot" and inside.parts[0] in LINKED:
                continue  # reached through a link
            parts = [package, *inside.with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports; ``from a.b import c`` counts as ``a.b.c``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield "."
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield name


MODULES = modules()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name: str) -> None:
    if name == "gridpilot":
        return  # names everything, imports nothing until it is asked: test_start_up_is_light
    room = name.split(".")[1]
    for imported in imports(MODULES[name]):
        assert imported != ".", f"{name} has a relative import"
        package, *inside = imported.split(".")
        if package != "gridpilot" or not inside or inside[0] in {room, "__version__"}:
            continue
        target = inside[0]
        if target in SHARED:
            assert room != "market" or target == "errors", f"{name} imports {imported}: the market takes no configuration"
            assert room != "errors", f"{name} imports {imported}: errors stand alone"
            continue
        assert {room, target} <= set(RANK), f"{name} imports {imported}: give both a place in ORDER"
        assert RANK[target] < RANK[room], f"{name} imports {imported}, against the order of the rooms"


def test_imports_go_in_no_circle() -> None:
    # Those inside functions and under TYPE_CHECKING count: where two modules need each other, something belongs in a third.
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for name, path in MODULES.items():
        for imported in imports(path):
            while imported and imported not in MODULES:
                imported = imported.rpartition(".")[0]
            if imported not in {"", "gridpilot", name}:
                graph[name].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


# What is written once: what it looks like, and the module where it stands.
ONCE = {
    "atomic writes": (r"\bfsync\(", "files"),
    "progress": (r"\brich\.progress\b", "progress"),
    "did you mean": (r"\bdifflib\b", "suggestions"),
    "names of the prices": (r'= \("energy", "hash", "token"\)', "market.units"),
    "quantile levels": (r"\b0?\.05, 0?\.25, 0?\.50?, 0?\.75\b", "forecasting.base"),
    "names of failures": (r'"timeouts", "exceptions"', "errors"),
    "versions of packages": (r"\bPackageNotFoundError\b", "provenance"),
}


@pytest.mark.parametrize("what", ONCE)
def test_plumbing_is_written_once(what: str) -> None:
    pattern, place = ONCE[what]
    assert [name for name in MODULES if re.search(pattern, MODULES[name].read_text(encoding="utf-8"))] == [f"gridpilot.{place}"]


def test_nothing_imports_the_linked_folders_by_their_own_names() -> None:
    # With the repository's root on sys.path it would work, and every class would exist twice.
    files = [*MODULES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    wrong = [f"{path}: {name}" for path in files for name in imports(path) if name.split(".")[0] in LINKED]
    assert wrong == []


@pytest.mark.parametrize("name", LINKED)
def test_the_links_are_relative_links_with_a_package_behind_them(name: str) -> None:
    link = ROOT / "gridpilot" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert (ROOT / name / "__init__.py").is_file()
    tracked = subprocess.run(
        ["git", "ls-files", "--stage", f"gridpilot/{name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode == 0 and tracked.stdout:  # a source archive has no git
        assert tracked.stdout.startswith("120000 "), f"gridpilot/{name} is committed as something else than a link"


@pytest.mark.parametrize("code", ["import gridpilot", "from gridpilot.cli import main; main(['--help'])"])
def test_start_up_is_light(code: str) -> None:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stderr)}
    assert loaded & HEAVY == set()


def test_every_command_is_a_module_of_the_product() -> None:
    for name, (module, _) in COMMANDS.items():
        assert module in MODULES, f"gridpilot {name}: no module {module}"


# The public surface. A name that is added or lost here is a decision, and belongs in CHANGELOG.md.
SURFACE: dict[str, set[str]] = {
    "gridpilot": {
        "Agent",
        "Arena",
        "BatchAgent",
        "BacktestResult",
        "Battery",
        "Bid",
        "CalibratedPrices",
        "Clearing",
        "Cooling",
        "GridPilotError",
        "MachineClass",
        "Market",
        "MarketInfo",
        "MarketRules",
        "MarketSetup",
        "Observation",
        "Outcome",
        "PriceModel",
        "Scenario",
        "Site",
        "TournamentResult",
        "__version__",
        "build_market",
        "calibrate_prices",
        "clear",
        "clear_batch",
        "load_setup",
        "load_site",
        "run_backtest",
        "run_tournament",
        "simulate_prices",
        "train",
    },
    "gridpilot.agents": set(),
    "gridpilot.audit": set(),
    "gridpilot.backtest": set(),
    "gridpilot.benchmark": set(),
    "gridpilot.envs": {
        "MarketEnv",
        "MarketParallelEnv",
        "MarketVectorEnv",
        "decode",
        "decode_seats",
        "encode",
        "encode_seats",
        "parallel_env",
    },
    "gridpilot.forecasting": {"CHANNELS", "QUANTILE_LEVELS", "Forecast", "Forecaster", "Row", "build_forecaster"},
    "gridpilot.insight": set(),
    "gridpilot.live": set(),
    "gridpilot.market": set(),
    "gridpilot.equilibrium": set(),
    "gridpilot.hindsight": set(),
    "gridpilot.simulation": set(),
    "gridpilot.validation": set(),
    "gridpilot.planning": {
        "CVaRProgramme",
        "ConvexReference",
        "DynamicProgramme",
        "Ladder",
        "LinearProgramme",
        "Outlook",
        "Plan",
        "Planner",
    },
    "gridpilot.series": {"ReadOptions", "Reading", "read"},
    "gridpilot.policies": {"Layout", "Policy", "load_policy", "save_policy"},
    "gridpilot.prices": {
        "CHANNELS",
        "CapacityConfig",
        "PriceModel",
        "Scenario",
        "WeatherConfig",
        "World",
        "load_prices",
    },
    "gridpilot.risk": {
        "Allocator",
        "Drawdown",
        "StudentT",
        "allocate",
        "conditional_value_at_risk",
        "drawdown",
        "fit_student_t",
        "scenario_cvar",
        "student_t_cvar",
        "student_t_var",
        "tail_weights",
        "value_at_risk",
    },
    "gridpilot.tournament": set(),
    "gridpilot.training": {"make_vec_env", "make_vector_env", "psro", "self_play", "train"},
}


@pytest.mark.parametrize("name", sorted(SURFACE))
def test_the_public_surface(name: str) -> None:
    module = importlib.import_module(name)
    assert set(getattr(module, "__all__", ())) == SURFACE[name]
    for public in SURFACE[name]:
        assert getattr(module, public) is not None


def test_every_room_is_in_the_surface() -> None:
    rooms = {name for name in MODULES if MODULES[name].name == "__init__.py" and name.count(".") <= 1 and name != "gridpilot.conf"}
    assert rooms == set(SURFACE)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if MODULES[name].name not in {"__init__.py", "__main__.py"}))
def test_every_module_says_what_is_public(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"
    assigned = {
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)
    }
    assert "__all__" in assigned, f"{name} has no __all__"


COMMAND_LINE = re.compile(r"(?:^|[\s`/])(?<!from )gridpilot ([a-z][a-z-]+)\b", re.MULTILINE)
SCRIPT = re.compile(r"\bscripts/([a-z-]+)\b")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_the_pages_exist(page: str) -> None:
    code = "\n".join(CODE.findall((ROOT / page).read_text(encoding="utf-8")))
    assert set(COMMAND_LINE.findall(code)) <= set(COMMANDS) | {"help"}
    scripts = set(SCRIPT.findall(code))
    assert scripts
    for name in scripts:
        assert os.access(ROOT / "scripts" / name, os.X_OK), f"{page} names scripts/{name}"
