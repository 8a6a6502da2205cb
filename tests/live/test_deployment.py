from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridpilot.agents.registry import build_agent
from gridpilot.errors import DeploymentError
from gridpilot.live import deployment
from gridpilot.live.config import RiskLimits
from gridpilot.live.deployment import Deployment, load_deployment
from gridpilot.live.deployment_writer import pack_agent, write_deployment
from gridpilot.provenance import code_hash
from gridpilot.setup import load_preset, load_setup

SITES = load_setup().sites[:2]
RECORD = {"created": "2025-06-21T12:00:00+00:00", "agent": "one", "run": "0123456789", "source": {}, "despite": [], "notes": []}
PARTS = ["agent.yaml", "deployment.json", "evaluation.json", "manifest.json", "policy/NOTE.txt", "risk.yaml", "site.yaml"]
UUID4 = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
OWN = """
from gridpilot.agents.truthful import Truthful
from deployed_helper import GREED

class Mine(Truthful):
    greed = GREED
"""


def passes(folder: Path) -> None:
    assert (folder / "deployment.json").is_file()


def write(folder: Path, target: str = "truthful", params: dict[str, Any] | None = None, **changes: Any) -> Path:
    fields: dict[str, Any] = {
        "agent": {"target": target, "params": params or {}},
        "policy": {"NOTE.txt": b"nothing\n"},
        "sites": SITES,
        "risk": RiskLimits.model_validate(load_preset("live", "base")["risk"]),
        "evaluation": {"rank": 1},
        "manifest": {"config": {}},
        "check": passes,
    }
    write_deployment(folder, {**RECORD, **changes.pop("record", {})}, **{**fields, **changes})
    return folder


def write_own(folder: Path, greed: int) -> Path:
    policy = {"deployed_bidder.py": OWN.encode(), "deployed_helper.py": f"GREED = {greed}\n".encode()}
    return write(folder, "deployed_bidder.Mine", policy=policy)


def rehash(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    record = json.loads((folder / "deployment.json").read_text())
    record["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "deployment.json").write_text(json.dumps(record))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def greed(loaded: Deployment) -> int:
    built = build_agent(loaded.agent["target"], loaded.agent["params"])
    return int(built.greed)  # type: ignore[attr-defined]


def test_what_is_written_is_read() -> None:
    risk = RiskLimits.model_validate({**load_preset("live", "base")["risk"], "max_loss_per_day": 500.0})
    folder = write(Path("new/site"), "threshold", {"low": 0.7}, risk=risk)
    assert files(folder) == PARTS
    loaded = load_deployment(folder)
    assert loaded.folder == folder.absolute()
    assert (loaded.label, loaded.agent) == ("one", {"target": "threshold", "params": {"low": 0.7}})
    assert (loaded.risk, loaded.sites) == (risk, SITES)
    assert (loaded.evaluation, loaded.manifest, loaded.warnings) == ({"rank": 1}, {"config": {}}, ())
    assert loaded.record.code == code_hash()
    assert loaded.fingerprint == hashlib.sha256((folder / "deployment.json").read_bytes()).hexdigest()
    assert build_agent(loaded.agent["target"], loaded.agent["params"]).storage.low == 0.7  # type: ignore[attr-defined]
    assert (folder / "agent.yaml").read_text().startswith("# one, as it was played")
    assert [entry.name for entry in folder.parent.iterdir()] == ["site"]


@pytest.mark.parametrize("name", [name for name in PARTS if name != "deployment.json"])
def test_every_file_is_held_to_its_hash(name: str) -> None:
    folder = write(Path("site"))
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole + b"\n")
    with pytest.raises(DeploymentError, match=rf"site/{name} has been changed since it was deployed"):
        load_deployment(folder)
    (folder / name).unlink()
    with pytest.raises(DeploymentError, match=rf"site/{name} is missing, it was part of the deployment"):
        load_deployment(folder)
    (folder / name).write_bytes(whole)
    assert load_deployment(folder).label == "one"


@pytest.mark.parametrize(
    "name", ["notes.txt", "policy/more.py", "policy/__pycache__/deployed_bidder.cpython-311.pyc", "policy/.hidden"]
)
def test_no_file_may_be_added(name: str) -> None:
    folder = write(Path("site"))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(DeploymentError, match=rf"site/{name} is not part of the deployment"):
        load_deployment(folder)


def test_no_link_may_be_added() -> None:
    folder = write(Path("site"))
    Path("package").mkdir()
    (folder / "policy/package").symlink_to(Path("package").absolute())
    with pytest.raises(DeploymentError, match=r"site/policy/package is a link, which could lead to anything"):
        load_deployment(folder)


@pytest.mark.parametrize("name", ["policy", "policy/NOTE.txt", "site.yaml"])
def test_nothing_is_reached_by_a_link(name: str) -> None:
    folder = write(Path("site"))
    (folder / name).rename("outside")
    (folder / name).symlink_to(Path("outside").absolute())
    with pytest.raises(DeploymentError, match="is a link, which could lead to anything"):
        load_deployment(folder)


def test_what_is_no_plain_file_is_not_waited_for() -> None:
    folder = write(Path("site"))
    (folder / "policy/NOTE.txt").unlink()
    os.mkfifo(folder / "policy/NOTE.txt")
    with pytest.raises(DeploymentError, match=r"NOTE\.txt is no plain file"):
        load_deployment(folder)


def test_compiled_kernels_do_not_lie_beside_their_source() -> None:
    folder = write(Path("site"))
    (folder / "policy/__pycache__").mkdir()
    (folder / "policy/__pycache__/bidder.plan-12.py311.nbi").write_text("x")
    with pytest.raises(DeploymentError, match=r"plan-12\.py311\.nbi is not part of the deployment"):
        load_deployment(folder)


def test_kernels_of_its_own_are_kept_elsewhere_and_the_folder_stays_as_it_is() -> None:
    source = b"""
import numba
from gridpilot import Agent

@numba.njit(cache=True)
def half(x):
    return x / 2.0

class Mine(Agent):
    def __init__(self):
        self.half = half(3.0)

    def bid(self, observation):
        return observation.truthful_bid()
"""
    program = "import sys; from pathlib import Path; from gridpilot.live.deployment import load_deployment; "
    program += "load_deployment(Path('site')); m = sys.modules['compiled_mine']; print(m.half.stats.cache_path)"
    folder = write(Path("site"), "compiled_mine.Mine", policy={"compiled_mine.py": source})
    before = files(folder)
    for home in (Path("home").absolute(), Path("/proc/nowhere")):  # the second time none that can be written
        variables = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=False)
        assert done.returncode == 0, done.stderr
        assert files(folder) == before
        assert not Path(done.stdout.strip()).is_relative_to(folder.absolute())
    assert load_deployment(folder).label == "one"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, expected 1"),
        ({"format": None}, "has format None, expected 1"),
        ({"despit": []}, "unknown key 'despit'; did you mean despite?"),
        ({"run": 7}, "run=7: input should be a valid string"),
        ({"files": {}}, r"does not list agent\.yaml"),
        ({"files": {"../site.yaml": "0"}}, r"lists '\.\./site\.yaml', which is not within the folder"),
        ({"files": {"/etc/hosts": "0"}}, "lists '/etc/hosts', which is not within the folder"),
        ({"files": {"..\\site.yaml": "0"}}, "which is not within the folder"),
        ({"files": {"policy/a\0b": "0"}}, "which is not within the folder"),
        ({"files": {"policy//a": "0"}}, "which is not within the folder"),
        ({"files": {"policy/__pycache__/a.nbi": "0"}}, "compiled code is not deployed, its source is"),
    ],
)
def test_a_record_that_makes_no_sense(change: dict[str, Any], message: str) -> None:
    path = write(Path("site")) / "deployment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DeploymentError, match=message):
        load_deployment(Path("site"))


def test_a_record_that_is_none() -> None:
    with pytest.raises(DeploymentError, match="site does not exist, expected a folder written by gridpilot deploy"):
        load_deployment(Path("site"))
    Path("site").mkdir()
    with pytest.raises(DeploymentError, match=r"site holds no deployment\.json"):
        load_deployment(Path("site"))
    Path("site/deployment.json").write_text("{half")
    with pytest.raises(DeploymentError, match=r"deployment\.json is not JSON"):
        load_deployment(Path("site"))
    Path("site/deployment.json").write_text("[]")
    with pytest.raises(DeploymentError, match="has format None"):
        load_deployment(Path("site"))
    with pytest.raises(DeploymentError, match=r"deployment\.json is no folder"):
        load_deployment(Path("site/deployment.json"))


def test_another_record_has_another_fingerprint() -> None:
    folder = write(Path("site"))
    before = load_deployment(folder).fingerprint
    record = json.loads((folder / "deployment.json").read_text())
    (folder / "deployment.json").write_text(json.dumps({**record, "notes": ["all is well"]}))
    assert load_deployment(folder).fingerprint != before


def test_a_fingerprint_that_is_demanded_is_looked_at_before_anything_runs() -> None:
    folder = write(Path("site"), "planted_bidder.Mine", policy={"planted_bidder.py": b"open('ran', 'w')\n" + OWN.encode()})
    with pytest.raises(DeploymentError, match=r"has the fingerprint [0-9a-f]{64}, expected 0{64}: it is another deployment"):
        load_deployment(folder, "0" * 64)
    assert not Path("ran").exists()
    made = {"agent": {"target": "truthful", "params": {}}, "policy": {}, "sites": SITES, "evaluation": {}, "manifest": {}}
    risk = RiskLimits.model_validate(load_preset("live", "base")["risk"])
    told = write_deployment(Path("told"), RECORD, **made, risk=risk, check=passes)
    assert load_deployment(Path("told"), told.upper()).fingerprint == told


@pytest.mark.parametrize("part", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"])
def test_a_part_of_a_fingerprint_demands_nothing_and_is_refused(part: str) -> None:
    with pytest.raises(DeploymentError, match="expected all 64 hexadecimal digits"):
        load_deployment(write(Path("site")), part)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("risk.yaml", b"fallback_after: 9", "risk.yaml: key 'max_change_kw' is missing"),
        ("risk.yaml", b"[1", "risk.yaml is not YAML: while parsing"),
        ("risk.yaml", b"[1]", r"risk.yaml holds \[1\], expected a dict"),
        ("site.yaml", b"[]", "site.yaml: sites=.*at least 1 item"),
        ("site.yaml", b"[{name: a, fleet: {b: 1}}]", "fleet has 'b'"),
        ("evaluation.json", b"{", "evaluation.json is not JSON: Expecting"),
        ("manifest.json", b"[]", r"manifest.json holds \[\], expected a dict"),
        ("agent.yaml", b"target: truthful", r"agent\.yaml is not a target with its params"),
        ("agent.yaml", b"target: nobody\nparams: {}", "agent 'nobody': expected one of"),
        ("agent.yaml", b"target: nowhere_at_all.Mine\nparams: {}", "no module 'nowhere_at_all'"),
        ("agent.yaml", b"target: threshold\nparams: {lo: 0.1}", "Threshold takes low, high, gain"),
        ("agent.yaml", b"target: foresight\nparams: {}", "'one' is clairvoyant"),
    ],
)
def test_contents_that_make_no_sense(name: str, content: bytes, message: str) -> None:
    folder = write(Path("site"))
    rehash(folder, name, content)
    with pytest.raises(DeploymentError, match=message):
        load_deployment(folder)


def test_an_agent_of_ones_own_comes_from_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    first, second = write_own(Path("first").absolute(), 1), write_own(Path("second").absolute(), 2)
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    os.chdir(elsewhere)
    Path("deployed_bidder.py").write_text("raise RuntimeError('the wrong file')\n")
    Path("deployed_helper.py").write_text("raise RuntimeError('the wrong file')\n")
    before = files(first), files(second)
    assert [greed(load_deployment(folder)) for folder in (first, second, first)] == [1, 2, 1]
    assert sys.path[0] == str(first / "policy")
    assert (files(first), files(second)) == before  # no bytecode that the next loading would stumble over
    assert load_deployment(first).folder == first


def test_paths_are_relative_in_the_folder_and_absolute_in_use() -> None:
    Path("a").mkdir()
    Path("b").mkdir()
    params = {"of": ["a/hot.yaml", "ercot", "b/hot.yaml"], "plain": "policy/other.yaml", "again": "a/hot.yaml", "n": 3}
    data = {"of.0": Path("a/hot.yaml"), "of.2": Path("b/hot.yaml"), "again": Path("a/hot.yaml")}
    agent, names = pack_agent("mpc", params, data)
    assert names == {"hot.yaml": Path("a/hot.yaml"), "hot-2.yaml": Path("b/hot.yaml")}
    packed = ["policy/hot.yaml", "ercot", "policy/hot-2.yaml"]
    assert agent == {
        "target": "mpc",
        "params": {"of": packed, "plain": "policy/other.yaml", "again": "policy/hot.yaml", "n": 3},
    }
    climatology = yaml.safe_dump(load_preset("climatology", "mara_event")).encode()
    folder = write(Path("site"), "mpc", {"climatologies": packed}, policy={"hot.yaml": climatology, "hot-2.yaml": climatology})
    at = folder.absolute() / "policy"
    expected = [str(at / "hot.yaml"), "ercot", str(at / "hot-2.yaml")]
    assert load_deployment(folder).agent["params"]["climatologies"] == expected


@pytest.mark.parametrize(
    ("params", "policy", "message"),
    [
        ({"deep": [{"key": UUID4}]}, {}, r"parameter 'deep\.0\.key' has the form of an API key"),
        ({UUID4.upper(): 1}, {}, r"agent\.yaml would hold what has the form of an API key in line 4"),
        ({}, {"bidder.py": f"\nKEY = '{UUID4}'\n".encode()}, r"policy/bidder\.py would hold .* in line 2"),
    ],
)
def test_keys_are_refused(params: dict[str, Any], policy: dict[str, bytes], message: str) -> None:
    with pytest.raises(DeploymentError, match=message) as refused:
        write(Path("site"), params=pack_agent("truthful", params, {})[0]["params"], policy=policy)
    assert UUID4 not in str(refused.value).lower()
    assert list(Path().iterdir()) == []


def test_what_is_no_key_is_written() -> None:
    write(Path("site"), params={}, policy={"NOTE.txt": b"6ba7b810-9dad-11d1-80b4-00c04fd430c8 is of version 1, " + b"0" * 36})
    assert load_deployment(Path("site")).label == "one"


@pytest.mark.parametrize("kind", ["file", "empty folder", "folder", "dangling link"])
def test_nothing_is_overwritten(kind: str) -> None:
    folder = Path("site")
    if kind == "file":
        folder.write_text("mine")
    elif kind == "dangling link":
        folder.symlink_to("nowhere")
    else:
        folder.mkdir()
        (folder / "mine" if kind == "folder" else Path("other")).write_text("mine")
    before = sorted(str(path) for path in Path().rglob("*"))
    with pytest.raises(DeploymentError, match="site exists, and a deployment is never changed"):
        write(folder)
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), DeploymentError("unfit"), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(failure: BaseException) -> None:
    Path("kept").mkdir()

    def fail(folder: Path) -> None:
        assert files(folder) == PARTS
        raise failure

    for folder in (Path("kept/site"), Path("new/deep/site")):
        expected = DeploymentError if isinstance(failure, OSError) else type(failure)
        with pytest.raises(expected, match=r"unfit|cannot write .*site: No space left|^$"):
            write(folder, check=fail)
    assert list(Path().rglob("*")) == [Path("kept")]


def test_a_place_that_cannot_be_written() -> None:
    Path("taken").write_text("x")
    with pytest.raises(DeploymentError, match=r"cannot write taken/site: (Not a directory|File exists)"):
        write(Path("taken/site"))


def test_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("site"), record={"despite": [{"code": "exceptions", "found": "3 of 9 decisions"}]})
    monkeypatch.setattr(deployment, "code_hash", lambda: "f" * 64)
    despite, code = load_deployment(Path("site")).warnings
    assert despite == "deployed despite exceptions: 3 of 9 decisions"
    assert f"not that of the deployment (gridpilot 0.1.0, {code_hash()[:10]})" in code


def test_reading_takes_neither_pandas_nor_pyarrow() -> None:
    write(Path("site"), "mpc")
    program = (
        "import sys; from pathlib import Path; from gridpilot.live.deployment import load_deployment; "
        "load_deployment(Path('site')); print({'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
