"""The benchmark runs, and says what it measured; how fast is not a matter for tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gridpilot.benchmark import live, planner, training
from gridpilot.benchmark.benchmark_command import SUITES, main
from gridpilot.benchmark.timing import cpu_seconds
from gridpilot.errors import ConfigError
from gridpilot.setup import load_setup


def test_every_suite_measures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "DECISIONS", 6)
    assert main(["repeats=1", "markets=8", "json=true"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["suite"] for row in rows} == set(SUITES) - {"live", "training"}  # which take minutes
    assert all(0.0 < row["best"] <= row["median"] for row in rows)
    assert {row["measure"] for row in rows} == {"cpu_us"}
    compared = [row for row in rows if row["ratio"] is not None]
    assert {"np.argsort", "n + 1 linear programmes"} <= {row["against"] for row in compared}


def test_live_operation_is_measured_end_to_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "ROWS", 6)
    assert main(["live"]) == 0
    text = capsys.readouterr().out
    for pilot in live.PILOTS:
        assert re.search(rf"\)  {pilot}: row seen to PUT acknowledged, wall time: p99 of .* x a bare PUT$", text, re.MULTILINE)
        # A row is looked for and then seen: since it became visible it is longer.
        seen, visible = (_milliseconds(text, f"{pilot}: row {what} to PUT acknowledged.*: p50") for what in ("seen", "visible"))
        assert seen < visible < 60_000.0
    if Path("/proc/self/status").exists():
        assert re.search(
            r"^ +\d+ MiB .* after 6 rows, resident memory: most so far; [\d.]+ x the limit of 200 MiB$", text, re.MULTILINE
        )
    assert list(Path().iterdir()) == []  # servers, journals and logs are gone


def test_training_is_measured_beside_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setattr(training, "ROWS", 10)
    monkeypatch.setattr(training, "BATCH", 40)
    rows = list(training.measure_training(1, load_setup(ticks=12, history=12)))
    assert rows[0].name.startswith("one decision of a policy from its folder, 55 - 64 - 64 - 2")
    assert rows[0].ratio is None
    for row in rows[1:]:
        assert row.ratio is not None
        assert row.rate == pytest.approx(1e6 / row.median)
        assert f"{100.0 / row.ratio:.0f} % of the speed without a market" in row.name
    assert {row.against for row in rows[1:]} == {"an environment that does nothing"}


def _milliseconds(text: str, name: str) -> float:
    """The median of a line of wall time."""
    (found,) = re.findall(rf"^ *([\d.e+]+) (us|ms|s) \(.*\)  {name}", text, re.MULTILINE)
    return float(found[0]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[1]]


def test_a_suite_can_be_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulation", "repeats=1", "markets=4"]) == 0
    text = capsys.readouterr().out
    assert "GARCH" in text
    assert "np.argsort" not in text


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(ConfigError, match="no suite 'speed', expected some of clearing"):
        main(["speed"])


def test_cpu_seconds_grow_with_the_work() -> None:
    def work(n: int) -> int:
        return sum(range(n))

    short, _ = cpu_seconds(lambda: work(1_000), repeats=3)
    long, fastest = cpu_seconds(lambda: work(100_000), repeats=3)
    assert 0.0 < short < fastest <= long
