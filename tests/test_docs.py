"""The documentation: it builds without a warning, its links lead somewhere, its examples run, and what it says twice is equal."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import gridpilot
from gridpilot.cli import COMMANDS, main
from tests.test_structure import ROOT

EXAMPLES = ROOT / "examples"


def run_python(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_researcher_s_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_python("researcher.py", ["1", "24"], monkeypatch, tmp_path)
    out = capsys.readouterr().out
    assert all(name in out for name in ("truthful", "threshold", "Evening"))


def test_the_example_of_one_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_python("one_among.py", ["uniform", "truthful", "1", "1", "oracle_response"], monkeypatch, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("uniform, one among truthful, 1 days, 1 seats")
    assert float(lines[2].split()[2]) > 0.0


def test_the_rl_engineer_s_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_python("rl_engineer.py", ["3"], monkeypatch, tmp_path)
    assert len(re.findall(r"reward -?\d+\.\d\d$", capsys.readouterr().out, re.MULTILINE)) == 4


def test_the_operator_s_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its commands one after the other, in this process: interpreters that start take longer than what they do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDPILOT_RUNTIME_DIR", str(tmp_path))
    script = (EXAMPLES / "operator.sh").read_text(encoding="utf-8").replace("$rows", "12").replace("$journal", "tutorial.db")
    commands = [shlex.split(line.partition(">")[0]) for line in script.splitlines() if line.startswith("gridpilot ")]
    assert len(commands) == 7
    for command in commands:
        assert main(command[1:]) == 0, command
    out = capsys.readouterr().out
    assert "12 decisions made again, 0 otherwise" in out
    assert (tmp_path / "report.html").is_file()
    assert len((tmp_path / "decisions.csv").read_text(encoding="utf-8").splitlines()) == 13


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_every_example_is_in_a_tutorial_and_run(path: Path) -> None:
    if path.suffix not in {".py", ".sh"}:
        pytest.skip("not an example")
    tutorials = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "tutorials").glob("*.md"))
    assert f"{{literalinclude}} ../../examples/{path.name}" in tutorials
    assert f"{path.name}" in Path(__file__).read_text(encoding="utf-8")


def test_the_citation_has_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == gridpilot.__version__
    assert f"version = {{{gridpilot.__version__}}}" in (ROOT / "docs" / "cite.md").read_text(encoding="utf-8")


def test_the_workflow_runs_what_is_run_here() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert "bash .ci/run" in [step.get("run", "").strip() for step in job["steps"]]


SNIPPET = re.compile(r"^(?:\S+=\S+ )*gridpilot ([a-z][a-z-]+)(?: ([a-z]+))?", re.MULTILINE)


def test_the_commands_of_the_pages_exist() -> None:
    from gridpilot.live.live_command import OTHERS

    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")]:
        for command, word in SNIPPET.findall(page.read_text(encoding="utf-8")):
            assert command in COMMANDS, f"{page.name}: gridpilot {command}"
            assert command != "live" or word in {"", "agent", "deployment", *OTHERS}, f"{page.name}: gridpilot live {word}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``scripts/docs`` builds it."""
    if any(importlib.util.find_spec(name) is None for name in ("sphinx", "furo", "myst_parser")):
        pytest.skip("the extra docs is not installed: scripts/docs installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(folder / "trees"), "docs"]
    done = subprocess.run([*command, str(folder / "html")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


class Page(HTMLParser):
    """Links, anchors and what is loaded of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name == "href" and tag == "a" and value:
                self.links.append(value)
            elif (name == "src" or (name == "href" and tag == "link")) and value:
                self.loaded.append(value)


@pytest.mark.docs
def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 20
    wrong = []
    for path, page in pages.items():
        wrong += [f"{path.name} loads {link}" for link in page.loaded if urlsplit(link).scheme not in {"", "data"}]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in anchors):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []


@pytest.mark.docs
def test_the_reference_is_whole(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "configuration.html").read_text(encoding="utf-8"))
    live = yaml.safe_load((ROOT / "conf" / "live" / "base.yaml").read_text(encoding="utf-8"))
    assert [key for key in live if key not in text] == []
    assert "alerts.webhook.form" in text
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"usage: gridpilot {name}" not in commands and f"gridpilot {name}" not in commands] == []
    assert str(ROOT) not in commands
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [name for name in gridpilot.__all__ if name != "__version__" and f"gridpilot.{name}" not in python] == []
    assert "gridpilot_live_alerts_total" in (site / "reference" / "metrics.html").read_text(encoding="utf-8")
    assert json.loads((site / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(").rstrip(";)\n"))
