from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from gridpilot import provenance
from gridpilot.errors import TournamentError
from gridpilot.file_access import is_installed
from gridpilot.provenance import agent_files, code_hash
from gridpilot.tournament.config import validate_tournament
from gridpilot.tournament.manifest import build_manifest, open_run
from tests.tournament import synthetic


def lay(**texts: str) -> None:
    """Files by name, ``__`` standing for a slash."""
    for name, text in texts.items():
        path = Path(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_code_is_followed_through_its_imports() -> None:
    lay(
        bidder="import random, numpy, one\nfrom two.deep import thing\nfrom gridpilot import Agent\nimport absent_module",
        one="def late():\n    import three",
        three="import bidder",  # around
        random="shadows nothing: Python has its own already",
        gridpilot__init="not the library",
        two__init="",
        two__deep__thing="from ..other import X\nfrom . import near",
        two__deep__near="",
        two__other="X = (",  # no Python: importing it tells so
        two__unused="",
        unused="",
    )
    Path("two/init.py").rename("two/__init__.py")
    Path("gridpilot/init.py").rename("gridpilot/__init__.py")
    found = agent_files("bidder.Mine", {}, Path("bidder.py").absolute())
    names = ["bidder.py", "one.py", "three.py", "two/__init__.py", "two/deep/near.py", "two/deep/thing.py", "two/other.py"]
    assert list(found.code) == names
    assert found.code["two/other.py"] == Path("two/other.py").absolute()
    package = agent_files("two.Mine", {}, Path("two/__init__.py").absolute())
    assert list(package.code) == ["two/__init__.py"]
    nested = agent_files("two.deep.near.Mine", {}, Path("two/deep/near.py").absolute())
    assert list(nested.code) == ["two/__init__.py", "two/deep/near.py"]


def test_parameters_name_files_and_parts() -> None:
    lay(planner="import helper", helper="")
    Path("data").mkdir()
    for name in ("data/hot.yaml", "plain", "v1.2"):
        Path(name).write_text("x")
    params = {
        "list": ["ercot", "data/hot.yaml", {"file": "v1.2"}],
        "planner": {"name": "planner.Mine", "horizon": 3},
        "name": "plain",  # not taken for the file of that name
        "other": "nowhere.Mine",
        "gone": ["weights/best", "policy.zip"],
        "long": "x." * 5000,
    }
    found = agent_files("mpc", params, None)
    assert found.data == {"list.1": Path("data/hot.yaml"), "list.2.file": Path("v1.2")}
    assert list(found.code) == ["helper.py", "planner.py"]
    assert found.absent == {"gone.0": "weights/best", "gone.1": "policy.zip"}


def test_installed_code_is_nobodys_file() -> None:
    for module in ("yaml", "numpy", "json.decoder"):
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        assert is_installed(Path(spec.origin))
        assert agent_files(f"{module}.Agent", {}, Path(spec.origin)).code == {}
    assert not is_installed(Path("mine.py").absolute())


@pytest.mark.parametrize(
    "name",
    [
        "planning/dynamic_kernels.py",
        "presets.py",
        "agents/mpc.py",
        "conf/agent/mpc.yaml",
        "conf/bidding/truthful.yaml",
        "conf/storage/mpc.yaml",
        "market/auction.py",
    ],
)
def test_the_code_hash_covers_what_rows_depend_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(provenance.__file__).parent
    shutil.copytree(root, "gridpilot", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "__file__", str(Path("gridpilot/provenance.py").absolute()))
    before = code_hash()
    Path("gridpilot/cli.py").write_text("# nothing that is played\n")
    assert code_hash() == before
    Path("gridpilot", name).write_text("# changed\n")
    assert code_hash() != before


def test_results_that_depend_on_more_rooms_are_known_by_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "training").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    rows, policies = code_hash(), code_hash("training")
    (tmp_path / "training" / "search.py").write_text("better = True")
    assert code_hash() == rows
    assert code_hash("training") != policies


def test_a_tournament_is_another_where_an_agents_file_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    lay(provenance_bidder="import provenance_helper", provenance_helper="A = 1")
    Path("hot.yaml").write_text("1")
    agents = [{"name": "mpc", "climatologies": ["hot.yaml"]}, "provenance_bidder.Mine"]

    def played() -> None:
        settings = validate_tournament(synthetic.configuration(agents=agents))
        open_run(Path("run"), build_manifest(settings, synthetic.inspect(settings.spec()), 10))

    played()
    played()
    Path("hot.yaml").write_text("2")
    Path("provenance_helper.py").write_text("A = 2")
    helper = r"agents\.Mine\.files\.provenance_helper\.py \(the file has changed since\)"
    climatology = r"agents\.mpc\.files\.climatologies\.0 \(the file has changed since\)"
    with pytest.raises(TournamentError, match=f"{helper}; {climatology}$"):
        played()
