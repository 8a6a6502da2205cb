from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import gridpilot
from gridpilot.agents.by_value import BY_VALUE, entry_of
from gridpilot.agents.registry import build_agent
from gridpilot.errors import AgentError, ConfigError, PriceError
from gridpilot.tournament import tournament_command
from gridpilot.tournament.result import run_tournament

SHORT = {"episodes": 2, "ticks": 12, "history": 24, "lineups": ["mixed"], "quiet": True}


class Modest(gridpilot.Agent):
    """Bids a share of what power is worth to it."""

    def __init__(self, share: float = 0.9) -> None:
        self.share = share

    def bid(self, observation: gridpilot.Observation) -> gridpilot.Bid:
        return observation.truthful_bid(shade=self.share - 1.0)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_rows_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_tournament(["threshold"], out="python", **SHORT)
    overrides = ["agents=[threshold]", "episodes=2", "ticks=12", "history=24", "lineups=[mixed]", "backend=serial", "out=command"]
    assert tournament_command.main(overrides) == 0
    from gridpilot.tournament.runner import read_run

    manifest, rows = read_run(Path("command"))
    pd.testing.assert_frame_equal(result.rows, rows.reset_index(drop=True), check_exact=True)
    assert set(result.leaderboard["agent"]) == {"threshold", "truthful", "zero_intelligence"}
    assert {"profit", "profit_low", "gain", "rank"} <= set(result.leaderboard.columns)
    assert len(result.pairs) == 3
    assert "welfare" in result.markets.columns
    assert manifest["agents"] == result.manifest["agents"]


def test_classes_and_instances_play_and_are_told_apart() -> None:
    class Inner(Modest):
        """Defined where no other process finds it."""

    result = run_tournament({"half": Modest(0.5), "inner": Inner, "own": Modest}, out="run", **SHORT)
    profits = result.leaderboard.set_index("agent")["profit"]
    assert profits["inner"] == pytest.approx(profits["own"], rel=0.2)
    assert profits["half"] != profits["own"]
    assert result.manifest["agents"]["half"]["target"] == BY_VALUE
    assert "class Modest" in result.manifest["agents"]["half"]["params"]["source"]
    assert result.rows[["timeouts", "exceptions", "invalid_bids"]].to_numpy().sum() == 0
    again = run_tournament({"half": Modest(0.5), "inner": Inner, "own": Modest}, out="run", **SHORT)
    pd.testing.assert_frame_equal(again.rows, result.rows, check_exact=True)


def test_an_agent_by_value_is_known_again_in_another_session() -> None:
    script = """
        import sys, gridpilot
        from gridpilot.agents.by_value import entry_of
        LEVEL, MARK = float(sys.argv[1]), "0123456789abcdef0123456789abcde" + sys.argv[2]

        class Mine(gridpilot.Agent):
            def __init__(self, share=0.5):
                self.share, self.mark = share, MARK

            def bid(self, observation):
                return observation.truthful_bid(shade=-LEVEL)

        print(entry_of(Mine(0.25))["digest"])
    """
    Path("session.py").write_text(textwrap.dedent(script))

    def session(*arguments: str) -> str:
        command = [sys.executable, "session.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout

    first, again, level, mark = session("0.1", "a"), session("0.1", "a"), session("0.2", "a"), session("0.1", "b")
    assert first == again
    assert len({first, level, mark}) == 3  # what it reads of its script, and a text of 32 digits of its own


def test_agents_that_would_share_a_label_are_numbered() -> None:
    result = run_tournament([Modest, Modest(0.8)], out="run", **SHORT)
    assert {"Modest", "Modest_2"} <= set(result.leaderboard["agent"])


def test_an_instance_is_built_anew_each_time() -> None:
    agent = Modest(0.7)
    entry = entry_of(agent)
    params = {key: value for key, value in entry.items() if key != "name"}
    first, second = (build_agent(entry["name"], params) for _ in range(2))
    assert first is not second
    assert isinstance(first, gridpilot.Agent)
    assert vars(first) == {"share": 0.7}


def test_a_script_with_two_processes_gets_the_rows_of_one(tmp_path: Path) -> None:
    script = """
        import gridpilot

        class Mine(gridpilot.Agent):
            def bid(self, observation):
                return observation.truthful_bid(shade=-0.1)

        if __name__ == "__main__":
            short = dict(episodes=2, ticks=12, history=24, lineups=["mixed"], quiet=True)
            one = gridpilot.run_tournament([Mine], out="one", **short)
            two = gridpilot.run_tournament([Mine], out="two", workers=2, chunk=4, **short)
            assert one.rows.equals(two.rows), "different"
            assert not one.rows.loc[one.rows.agent == "Mine", "exceptions"].any(), one.rows.first_error.max()
            print(one.leaderboard.agent.tolist())
    """
    Path("script.py").write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Mine" in done.stdout


def test_prices_of_a_data_frame() -> None:
    times = pd.date_range("2024-01-01", periods=4 * 288, freq="5min")
    frame = pd.DataFrame({"energy": [0.02 + 0.01 * (i % 12) / 12 for i in range(len(times))]}, index=times)
    result = run_tournament(["threshold"], prices=frame, out="run", **SHORT)
    assert result.rows["market_mean_price"].between(0.01, 0.08).all()
    wide = frame.rename(columns={"energy": "lmp"}) * 1000.0
    same = {"name": "replay", "file": wide, "energy": {"column": "lmp", "unit": "$/MWh"}}
    other = run_tournament(["threshold"], prices=same, out="other", **SHORT)
    assert other.rows["profit"].to_numpy() == pytest.approx(result.rows["profit"].to_numpy(), rel=1e-9)


def test_what_is_written(tmp_path: Path) -> None:
    result = run_tournament(["threshold"], out="run", **(SHORT | {"episodes": 8}))
    folder = result.save("tables")
    assert sorted(path.name for path in folder.iterdir()) == [
        "leaderboard.csv", "leaderboard.tex", "markets.csv", "pairs.csv", "rows.parquet",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "rows.parquet"), result.rows)
    latex = result.to_latex()
    assert r"zero\_intelligence" in latex
    assert latex.count(r"\\") == 4
    assert "[" in latex
    assert "Leaderboard: 8 episodes" in str(result)
    assert result._repr_html_().startswith("<pre>")
    assert "8 episodes" in repr(result)


@pytest.mark.parametrize(
    ("agents", "settings", "error", "message"),
    [
        (["threshold"], {"episode": 3}, ConfigError, "unknown setting 'episode'; did you mean episodes"),
        ("threshold", {}, ConfigError, "expected a list of agents"),
        ([3], {}, AgentError, "3 is no agent"),
        ([dict], {}, AgentError, "is no agent"),
        (["threshold"], {"market": "missing.yaml"}, ConfigError, "missing.yaml cannot be read"),
        (["threshold"], {"prices": pd.DataFrame({"a": [1.0]})}, ConfigError, "a column energy"),
        (["threshold"], {"prices": "erkot"}, PriceError, "erkot.*did you mean ercot"),
    ],
)
def test_bad_input_is_one_line(agents: Any, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as told:
        run_tournament(agents, out="run", **({"quiet": True, "episodes": 1} | settings))
    assert "\n" not in str(told.value)
    assert not Path("run").exists()


def test_a_market_by_hand_is_the_tournaments_day() -> None:
    result = run_tournament([], out="run", episodes=1, ticks=12, history=24, lineups=["mixed", "self"], quiet=True)
    market = gridpilot.build_market(ticks=12, history=24, seed=0, episode=1_000_000)
    profit = dict.fromkeys((site.name for site in market.sites), 0.0)
    while not market.done:
        for name, outcome in market.step().items():
            profit[name] += outcome.profit
    played = result.rows[(result.rows["lineup"] == "self") & (result.rows["agent"] == "truthful")].set_index("site")
    assert len(played) == len(profit)
    for name, value in profit.items():
        assert value == pytest.approx(played.loc[name, "profit"] - played.loc[name, "stored"], rel=1e-9)
    with pytest.raises(gridpilot.GridPilotError, match="the episode is over"):
        market.observe(0)


def test_a_market_by_hand_takes_bids_of_ones_own() -> None:
    market = gridpilot.build_market(ticks=3)
    outcomes = market.step({"gpu": None, "air": gridpilot.Bid([(100.0, 1.0)])})
    assert outcomes["gpu"].won_kw == 0.0
    assert outcomes["air"].won_kw == pytest.approx(100.0)
    assert market.totals["volume_kw"] == pytest.approx(sum(outcome.won_kw for outcome in outcomes.values()))
    with pytest.raises(gridpilot.GridPilotError, match="did you mean gpu"):
        market.step({"gpuu": None})
    assert market.tick == 1
