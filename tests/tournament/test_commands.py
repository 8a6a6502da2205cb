from __future__ import annotations

import html.parser
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gridpilot import deploy
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.tournament import report_command
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.manifest import read_manifest, run_id, seal
from gridpilot.tournament.run import default_workers
from gridpilot.tournament.runner import read_run
from gridpilot.tournament.schedule import Match
from gridpilot.tournament.tournament_command import run_tournament
from tests.tournament import synthetic

ROOT = Path(__file__).parents[2]


def tournament(**changes: Any) -> str:
    said = io.StringIO()
    assert (
        run_tournament(synthetic.configuration(**changes), synthetic.play, synthetic.inspect, console=Console(file=said, width=300))
        == 0
    )
    return said.getvalue()


def test_a_run_leaves_everything_in_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    tournament()
    out = capsys.readouterr().out
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"test-\w+-vcg-seed\d+-[0-9a-f]{10}", folder.name)
    assert sorted(path.name for path in folder.iterdir()) == ["leaderboard.json", "manifest.json", "parts", "report.html"]
    assert f"report  {folder / 'report.html'}" in out
    assert "112 matches in" in out
    board = json.loads((folder / "leaderboard.json").read_text())
    assert (board["episodes"], board["mechanism"], board["winner_set"]) == (8, "vcg", ["threshold"])


def test_the_same_command_continues(capsys: pytest.CaptureFixture[str]) -> None:
    tournament()
    first = capsys.readouterr().out
    assert "112 of 112 matches had been played before" in tournament(backend="processes", workers=2, chunk=1000)
    assert capsys.readouterr().out.rpartition("\n112")[0] == first.rpartition("\n112")[0]
    tournament(seed=9)
    assert len(list(Path("runs").iterdir())) == 2
    with pytest.raises(TournamentError, match="seed is 9 there and 10 here"):
        tournament(
            seed=10, out=next(str(p) for p in Path("runs").iterdir() if json.loads((p / "manifest.json").read_text())["seed"] == 9)
        )


def part_times(folder: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder, "parts").iterdir()}


@pytest.mark.parametrize(("before", "after"), [(7, 7), (10, 3), (1000, 14)])
def test_more_episodes_extend_a_run(before: int, after: int, capsys: pytest.CaptureFixture[str]) -> None:
    tournament(episodes=20, out="whole")
    board = Path("whole/leaderboard.json").read_bytes()
    expected = read_run(Path("whole"))[1]
    tournament(episodes=8, chunk=before, out="run")
    kept = part_times("run")
    assert "112 of 280 matches had been played before" in tournament(episodes=20, chunk=after, out="run")
    manifest, rows = read_run(Path("run"))
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    assert Path("run/leaderboard.json").read_bytes() == board
    assert {name: time for name, time in part_times("run").items() if name in kept} == kept
    assert [entry["episodes"] for entry in manifest["history"]] == [8, 12]
    assert "280 of 280 matches had been played before" in tournament(episodes=20, out="run")
    assert run_id(manifest) == run_id(read_run(Path("whole"))[0])


def test_fewer_episodes_show_the_first_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    tournament(episodes=8, out="short", json=True)
    short = json.loads(capsys.readouterr().out)
    tournament(episodes=20, chunk=11, out="run")
    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert "these are the first 8 of the 20 episodes of run" in tournament(episodes=8, out="run", json=True)
    assert json.loads(capsys.readouterr().out) == short
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == files


def test_an_extension_that_was_killed_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    tournament(episodes=20, out="whole")
    tournament(episodes=8, chunk=10, out="run")

    def die(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
        if matches[0].episode >= 1013:
            raise KeyboardInterrupt
        return synthetic.play(spec, matches)

    with pytest.raises(KeyboardInterrupt):
        run_tournament(synthetic.configuration(episodes=20, chunk=10, out="run"), die, synthetic.inspect)
    finished = 14 * 8 + 10 * (len(part_times("run")) - 12)
    assert 112 < finished < 280
    assert report_command.main(["run"]) == 0
    assert "This run is unfinished" in Path("run/report.html").read_text()
    assert f"{finished} of 280 matches had been played before" in tournament(episodes=20, out="run")
    pd.testing.assert_frame_equal(read_run(Path("run"))[1], read_run(Path("whole"))[1], check_exact=True)


def test_a_run_that_was_ended_before_its_extension_began_is_extended() -> None:
    tournament(episodes=20, out="whole")
    tournament(episodes=8, chunk=10, out="run")

    def die(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
        raise KeyboardInterrupt

    for path in sorted(Path("run/parts").iterdir())[5:]:
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run_tournament(synthetic.configuration(episodes=20, chunk=10, out="run"), die, synthetic.inspect)
    assert "50 of 112 matches had been played before" in tournament(episodes=8, out="run")  # the chunks that hold 8 episodes
    tournament(episodes=20, out="run")
    pd.testing.assert_frame_equal(read_run(Path("run"))[1], read_run(Path("whole"))[1], check_exact=True)


def reseal(**changes: Any) -> None:
    path = Path("run/manifest.json")
    path.write_text(json.dumps(seal({**json.loads(path.read_text()), **changes})))


def swap() -> None:
    one, other = Path("run/parts/000001.parquet"), Path("run/parts/000002.parquet")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def edit_rows() -> None:
    """As a notebook would, keeping the metadata."""
    path = Path("run/parts/000003.parquet")
    table = pq.read_table(path)
    column = table.schema.get_field_index("profit")
    pq.write_table(table.set_column(column, "profit", pc.add(table["profit"], 1.0)), path)


FORGED: dict[str, tuple[Callable[[], object], str]] = {
    "edited": (
        lambda: Path("run/manifest.json").write_text(Path("run/manifest.json").read_text().replace('"vcg"', '"uniform"')),
        "has been edited since it was written",
    ),
    "sealed again": (
        lambda: reseal(config={**read_manifest(Path("run"))["config"], "market": {"mechanism": "uniform"}}),
        "part 000000 of run",
    ),
    "another role": (
        lambda: reseal(
            agents={**(a := read_manifest(Path("run"))["agents"]), "threshold": {**a["threshold"], "role": "yardstick"}}
        ),
        "part 000000 of run",
    ),
    "swapped": (swap, "000001.parquet is not what part 000001 of run .* it is part 000002 of run"),
    "another run's": (
        lambda: shutil.copy("other/parts/000002.parquet", "run/parts/"),
        "000002.parquet is not what part 000002 of run",
    ),
    "changed rows": (edit_rows, "000003.parquet is not what .*, or its rows have been changed"),
    "rewritten": (
        lambda: pd.read_parquet("run/parts/000003.parquet").to_parquet("run/parts/000003.parquet"),
        "000003.parquet is not what .* it is no part of a run",
    ),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_run_that_was_tampered_with_is_not_reported(how: str) -> None:
    tournament(out="run")
    tournament(out="other", seed=9)
    spoil, message = FORGED[how]
    spoil()
    with pytest.raises(TournamentError, match=message):
        report_command.main(["run"])
    with pytest.raises(TournamentError, match=message):
        deploy.main(["run", "--agent", "threshold"])


def test_a_file_that_changes_while_it_is_played_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hot.yaml").write_text("1")

    def retrain(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
        Path("hot.yaml").write_text("2")
        return synthetic.play(spec, matches)

    config = synthetic.configuration(agents=["truthful", {"name": "threshold", "table": "hot.yaml"}], out="run")
    with pytest.raises(TournamentError, match=r"changed while the tournament was played, take run away .*files\.table \(the file"):
        run_tournament(config, retrain, synthetic.inspect)


def test_json_is_all_there_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    tournament(json=True, out="here")
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads(Path("here/leaderboard.json").read_text())


def test_bad_input_leaves_no_folder() -> None:
    with pytest.raises(ConfigError, match="unknown key 'sed'"):
        tournament(sed=1)

    def refuse(spec: object) -> int:
        raise ConfigError("no sites")

    with pytest.raises(ConfigError, match="no sites"):
        run_tournament(synthetic.configuration(), synthetic.play, refuse)
    assert list(Path().iterdir()) == []


def test_report_is_a_pure_function_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    tournament(out="run")
    written = {name: Path("run", name).read_bytes() for name in ("report.html", "leaderboard.json")}
    shown = capsys.readouterr().out
    for name in written:
        Path("run", name).unlink()
    assert report_command.main(["run"]) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[:-1] == shown.splitlines()[:-3]
    assert {name: Path("run", name).read_bytes() for name in written} == written
    assert report_command.main(["run", "--out", "elsewhere/copy.html", "--json"]) == 0
    assert Path("elsewhere/copy.html").read_bytes() == written["report.html"]
    assert json.loads(capsys.readouterr().out) == json.loads(written["leaderboard.json"])


def test_report_refuses_what_is_no_run() -> None:
    with pytest.raises(TournamentError, match="does not exist"):
        report_command.main(["nowhere"])
    tournament(out="run")
    for part in Path("run/parts").iterdir():
        part.unlink()
    with pytest.raises(TournamentError, match="holds no rows"):
        report_command.main(["run"])


def test_an_unfinished_run_is_reported_as_such() -> None:
    tournament(out="run")
    for part in sorted(Path("run/parts").iterdir())[-3:]:
        part.unlink()
    assert report_command.main(["run"]) == 0
    assert json.loads(Path("run/leaderboard.json").read_text())["episodes"] == 7  # of the last one the mixed matches are there
    page = Path("run/report.html").read_text()
    assert "This run is unfinished" in page


class _Page(html.parser.HTMLParser):
    """Checks that tags nest and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.fetched += [str(value) for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "data")]
        if tag not in ("meta", "br", "img", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("episodes", [1, 8])
def test_report_page(episodes: int) -> None:
    tournament(out="run", episodes=episodes)
    text = Path("run/report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in text
    assert "@import" not in text
    assert "script" not in page.count
    assert page.count["svg"] == 3 + 3 + 3 + 3  # profit, pairs and distribution of three agents, and the three scales
    sections = (
        "Leaderboard",
        "Profit by agent",
        "Paired differences",
        "Profit by seat",
        "The market",
        "Distribution over episodes",
    )
    for section in (*sections, "Failures", "How it was made"):
        assert f"<h2>{section}</h2>" in text
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in text
    assert "<b>no</b>" not in text
    assert not re.search(r"\bnan\b|\bNone\b", text.split("</style>")[1].split("<pre>")[0])
    assert ("too few" in text) == (episodes == 1)


def test_interruption_keeps_what_is_finished() -> None:
    script = """
        from tests.tournament import synthetic
        from gridpilot.tournament.tournament_command import run_tournament
        if __name__ == "__main__":
            config = synthetic.configuration(backend="processes", workers=2, chunk=2, out="run")
            run_tournament(config, synthetic.play_slowly, synthetic.inspect)
    """
    Path("interrupted.py").write_text(textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "interrupted.py"], stderr=subprocess.PIPE, text=True, env=environment)
    for _ in range(600):
        if list(Path("run/parts").glob("0*.parquet")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)  # ends when the workers are gone too, as they hold the other end
    assert process.returncode == -signal.SIGINT
    finished = 2 * len(list(Path("run/parts").glob("0*.parquet")))
    assert f"interrupted: {finished} of 112 matches are kept in run" in said
    assert 0 < finished < 112
    assert f"{finished} of 112 matches had been played before" in tournament(out="run")


def test_default_workers() -> None:
    assert 1 <= default_workers() <= 2
