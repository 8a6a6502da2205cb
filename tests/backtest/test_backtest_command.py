from __future__ import annotations

import html.parser
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot.backtest import backtest_command
from gridpilot.backtest.config import member_specs, validate_backtest
from gridpilot.backtest.output import results, run_folder, weights_table
from gridpilot.backtest.report import render_report
from gridpilot.backtest.run import backtest
from gridpilot.errors import ConfigError, GridPilotError, MissingExtraError

MINE = "tests.backtest.members"
REFERENCE = f"{{name:{MINE}.Last,label:persistence,width:1.0}}"
REPLACED = f"[{{{{name:{MINE}.{{}},label:persistence}}}}]"
KNOWN = {"persistence": {}, "rls": {}, "seasonal": {}, "ensemble": {}}


@pytest.fixture(scope="module")
def prices_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days of hours with a daily wave, a gap, an empty field and a spike."""
    path = tmp_path_factory.mktemp("data") / "prices.csv"
    rng = np.random.default_rng(0)
    hours = np.arange(40 * 24)
    price = 50.0 + 20.0 * np.sin(2 * np.pi * hours / 24) + rng.standard_normal(len(hours))
    price[900] = 2000.0
    frame = pd.DataFrame({"when": pd.Timestamp("2024-03-01") + pd.to_timedelta(hours, unit="h"), "lmp": price, "load": price / 2})
    frame.loc[500, "lmp"] = np.nan
    frame.drop(index=range(700, 706)).to_csv(path, index=False)
    return path


def command(*overrides: str, members: str = f"[{REFERENCE},{MINE}.Yesterday,{MINE}.Awful,{MINE}.Weighted]") -> int:
    return backtest_command.main([f"members={members}", *overrides])


def test_from_a_file_to_a_folder(prices_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(f"data={prices_file}", "column=lmp", "out=run", "every=5") == 0
    shown = capsys.readouterr().out
    folder = Path("run")
    assert sorted(path.name for path in folder.iterdir()) == [
        "forecasts.parquet",
        "manifest.json",
        "report.html",
        "results.json",
        "scores.parquet",
        "weights.parquet",
    ]
    assert "Yesterday: earns its place" in shown
    assert "Awful: earned nothing" in shown
    assert f"report  {folder / 'report.html'}" in shown

    scores = pd.read_parquet(folder / "scores.parquet").set_index(["member", "minutes"])
    assert scores.index.levels[1].tolist() == [60, 180, 360, 720, 1440]
    # By hand, from the file and the forecasts that were kept.
    frame = pd.read_csv(prices_file, parse_dates=["when"]).set_index("when")["lmp"].resample("1h").asfreq()
    kept = pd.read_parquet(folder / "forecasts.parquet")
    kept = kept[(kept["member"] == "Yesterday") & (kept["horizon"] == 6) & (kept["day"] == "")]
    truth = frame.reindex(kept["origin_time"] + pd.Timedelta(hours=6)).to_numpy()
    assert np.array_equal(truth, kept["observed"], equal_nan=True)
    now = frame.ffill().reindex(kept["origin_time"]).to_numpy()
    scored = np.isfinite(truth)
    row = scores.loc[("Yesterday", 360)]
    assert row["mae"] == pytest.approx(np.abs(truth - kept["q50"])[scored].mean())
    assert row["mae_persistence"] == pytest.approx(np.abs(truth - now)[scored].mean())
    assert row["skill"] == pytest.approx(1.0 - row["mae"] / row["mae_persistence"])
    assert row["coverage_90"] == pytest.approx(((truth >= kept["q05"]) & (truth <= kept["q95"]))[scored].mean())
    assert row["n"] == scored.sum() < len(kept)
    assert row["crps"] == pytest.approx(2.0 * row["pinball"])
    assert (scores.loc["persistence", "skill"] == 0.0).all()
    assert (scores.loc["persistence", "pinball_skill"] == 0.0).all()
    assert scores.loc[("Yesterday", 1440), "skill_seasonal"] == pytest.approx(0.0, abs=0.02)

    weights = pd.read_parquet(folder / "weights.parquet")
    assert set(weights["ensemble"]) == {"Weighted"}
    assert weights.groupby("origin")["weight"].sum().eq(1.0).all()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]["sha256"] == __import__("hashlib").sha256(prices_file.read_bytes()).hexdigest()
    assert manifest["config"]["column"] == ["lmp"]
    assert set(manifest["members"]) == {"persistence", "Yesterday", "Awful", "Weighted"}


class Page(html.parser.HTMLParser):
    """Collects what a report is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else(prices_file: Path) -> None:
    command(
        f"data={prices_file}",
        "column=lmp",
        "out=run",
        "every=7",
        members=f"[{REFERENCE},{MINE}.Weighted,{MINE}.Raising,{MINE}.NeedsExtra]",
    )
    page = Page(Path("run/report.html").read_text())
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "script" not in page.tags
    for expected in (
        "Verdicts",
        "Coverage by horizon",
        "Reliability",
        "Weights over time",
        "Two days",
        "Cost",
        "a note of its own",
    ):
        assert expected in page.text
    assert "failed: row 11: RuntimeError: the sky is falling" in page.text
    assert "left out: needs_extra" in page.text
    assert page.tags.count("svg") == 3 + 1 + 2  # skill, cover, reliability; weights; two members' days
    assert "6 of 960 rows are missing" in page.text


def test_json_is_all_there_is_on_stdout(capsys: pytest.CaptureFixture[str], prices_file: Path) -> None:
    assert command(f"data={prices_file}", "column=[lmp,load]", "json=true", "horizons=[60,360]", "every=11") == 0
    content = json.loads(capsys.readouterr().out)
    (folder,) = Path("runs").iterdir()
    assert content == json.loads((folder / "results.json").read_text())
    assert content["folder"] == str(folder)
    assert content["channels"] == ["lmp", "load"]
    assert len(content["scores"]) == 4 * 2 * 2
    assert content["members"]["Yesterday"]["earns"] is True
    assert content["members"]["Weighted"]["mean_weights"] == {"persistence": 0.75, "yesterday": 0.25}
    assert content["members"]["Awful"]["cost"]["update_us"][0] > 0.0


def test_equal_runs_share_a_folder() -> None:
    from tests.backtest import members

    def folder(**changes: Any) -> Path:
        builders = {"persistence": lambda: members.Last(("energy",), 288)}
        settings = validate_backtest(configuration(days=2, every=12, **changes))
        return run_folder(backtest(settings, {"persistence": {}}, builders=builders))

    assert folder() == folder(json=True)
    assert folder().parent == Path("runs")
    assert len({folder(), folder(seed=1), folder(horizons=[5])}) == 3
    assert folder(out="here") == Path("here")


def test_a_simulated_series_is_scored_against_the_best_possible(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["process=seasonal", "days=8", "warm_up_days=2", "json=true", "horizons=[60,360]"]
    assert command(*overrides, members=f"[{REFERENCE},{MINE}.Yesterday]") == 0
    scores = pd.DataFrame(json.loads(capsys.readouterr().out)["scores"]).set_index(["member", "minutes"])
    best = scores.loc["best_possible"]
    assert best["share_of_best"].tolist() == [1.0, 1.0]
    assert best["coverage_90"].between(0.8, 0.97).all()
    share = scores.loc[("Yesterday", 360), "skill"] / best.loc[360, "skill"]
    assert scores.loc[("Yesterday", 360), "share_of_best"] == pytest.approx(share)
    assert scores.loc["persistence", "share_of_best"].tolist() == [0.0, 0.0]


def test_the_default_series_is_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prices=aemo_nsw", "days=2", "warm_up_days=1", "every=20", "horizons=[5,60]", "json=true"]
    assert command(*arguments, members=f"[{REFERENCE}]") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["source"] == "prices aemo_nsw, simulated with seed 0"
    assert content["channels"] == ["energy", "hash", "token"]
    assert {row["member"] for row in content["scores"]} == {"persistence", "best_possible"}


def test_a_constant_series_is_no_difficulty(capsys: pytest.CaptureFixture[str]) -> None:
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) * 15, unit="m")
    pd.DataFrame({"time": times, "price": 7.0}).to_parquet("flat.parquet")
    assert command("data=flat.parquet", "json=true", members=f"[{REFERENCE},{MINE}.Yesterday]") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["skill"] for row in scores} == {0.0}
    assert {row["dm"] for row in scores} == {None}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["members=[rsl]"], "unknown member 'rsl'; did you mean rls"),
        (["process=seasonal", "data=x.csv"], "data=x.csv and process=seasonal exclude each other"),
        (["column=lmp"], r"column=\['lmp'\] belongs to a file"),
        (["data=nowhere.csv"], "nowhere.csv: no such file"),
        (["process=seasonl"], "process='seasonl'"),
        (["horizons=[20000]"], "horizons has 20000"),
        (["day=3"], "unknown key 'day'"),
        (["process=seasonal", "days=0.01"], "2 are left, expected at least 20"),
        (
            ["process=seasonal", "days=2", f"members={REPLACED.format('Raising')}"],
            "no member answered; .*the sky is falling",
        ),
        (
            ["process=seasonal", "days=2", f"members={REPLACED.format('Nobody')}"],
            "no member answered; .*has no 'Nobody'",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(overrides: list[str], message: str) -> None:
    with pytest.raises(GridPilotError, match=message) as caught:
        backtest_command.main(overrides)
    assert "\n" not in str(caught.value)
    assert list(Path().iterdir()) == []


def test_members_are_named_described_or_all() -> None:
    assert list(member_specs(["rls"], KNOWN)) == ["persistence", "rls"]
    assert list(member_specs(["all"], KNOWN)) == ["persistence", "rls", "seasonal", "ensemble"]
    specs = member_specs([{"name": "rls", "label": "slow", "forget": 0.99}, "a.b.Mine"], KNOWN)
    assert specs["slow"] == {"name": "rls", "forget": 0.99}
    assert specs["Mine"] == {"name": "a.b.Mine"}
    own = member_specs(["rls", {"name": "a.b.Mine", "label": "persistence"}], KNOWN)
    assert next(iter(own.items())) == ("persistence", {"name": "a.b.Mine"})
    with pytest.raises(ConfigError, match="unknown member 'seasnal'; did you mean seasonal"):
        member_specs(["seasnal"], KNOWN)
    with pytest.raises(ConfigError, match="unknown member 'zzz'; known are persistence, rls"):
        member_specs(["zzz"], KNOWN)
    with pytest.raises(ConfigError, match="label 'rls' is taken"):
        member_specs(["rls", {"name": "rls", "forget": 0.5}], KNOWN)


def configuration(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "prices": {},
        "preset": "",
        "data": None,
        "column": None,
        "time": None,
        "step_minutes": None,
        "process": "seasonal",
        "seed": 0,
        "members": ["persistence"],
        "horizons": [5, 60],
        "days": 4,
        "warm_up_days": 1,
        "every": 7,
        "scenarios": 0,
        "out": None,
        "json": False,
    }
    return {**base, **changes}


def test_without_persistence_verdicts_rest_on_the_last_price() -> None:
    from tests.backtest import members

    settings = validate_backtest(configuration())
    builders = {"Yesterday": lambda: members.Yesterday(("energy",), 288)}
    result = backtest(settings, {"Yesterday": {}}, builders=builders)
    assert any("persistence did not answer" in note for note in result.notes)
    assert result.scores["pinball_skill"].isna().all()
    assert result.verdicts[0].earns is False
    assert weights_table(result).empty
    report = render_report(result, {})
    assert "Weights over time" not in report
    content = results(result, run_folder(result))
    assert math.isfinite(content["scores"][0]["skill"])


def test_without_scoringrules_the_crps_is_computed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tests.backtest import members

    monkeypatch.setitem(sys.modules, "scoringrules", None)
    builders = {"persistence": lambda: members.Last(("energy",), 288)}
    result = backtest(validate_backtest(configuration()), {"persistence": {}}, builders=builders)
    assert [note for note in result.notes if "pip install -c constraints.txt -e '.[forecast]' in " in note and "instead" in note]
    assert np.allclose(result.scores["crps"], 2.0 * result.scores["pinball"])
    with pytest.raises(MissingExtraError, match="scenarios=5"):
        backtest(validate_backtest(configuration(scenarios=5)), {"persistence": {}}, builders=builders)


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_a_narrow_terminal_is_told_of_fewer_horizons_and_no_figure_is_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert (
        backtest_command.main(
            ["process=seasonal", "days=3", "warm_up_days=1", "members=[persistence,seasonal_naive]", f"out=run{columns}"]
        )
        == 0
    )
    table = capsys.readouterr().out.partition("1 - MAE")[0].splitlines()[1:]
    assert all(len(line) <= columns for line in table)
    assert "…" not in "".join(table)
    heads = next(line for line in table if "cover %" in line)
    assert all(head in heads for head in ("5 min", "1 h", "24 h"))
    assert ("15 min" in heads) == (columns > 40)
