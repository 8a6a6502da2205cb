"""Sizes beyond this machine are refused in one line, before anything is allocated."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import gridpilot
from gridpilot import memory
from gridpilot.cli import main
from gridpilot.envs import MarketVectorEnv
from gridpilot.errors import ConfigError, PriceError
from gridpilot.memory import available_memory, check_disk, check_memory
from gridpilot.setup import load_setup


@pytest.fixture
def little_more_than_now() -> Iterator[None]:
    """What is allocated all the same fails."""
    used = 1024 * int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 10**9, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["tournament", "episodes=1e9"], "episodes=1,000,000,000"),
        (["tournament", "episodes=100000000"], "episodes=100,000,000"),
        (["tournament", "ticks=1e10"], "ticks=10,000,000,000"),
        (["tournament", "history=1e10"], "history=10,000,000,000"),
        (["tournament", "workers=1e6", "chunk=1", "episodes=2e4"], "workers=1,000,000"),
        (["simulate-prices", "episodes=1e12"], "episodes=1,000,000,000,000"),
        (["simulate-prices", "ticks=1e12", "episodes=1"], "1,000,000,000,000 ticks"),
        (["climatology", "episodes=1e9"], "episodes=1,000,000,000"),
        (["climatology", "ticks=1e9", "episodes=1"], "1,000,000,000 ticks"),
        (["backtest", "days=1e9"], "days=1000000000"),
        (["backtest", "process=seasonal", "warm_up_days=1e10"], "warm_up_days=10000000000"),
        (["backtest", "scenarios=1e10"], "scenarios=10,000,000,000"),
        (["benchmark", "markets=1e9"], "markets=1,000,000,000"),
    ],
)
@pytest.mark.usefixtures("little_more_than_now")
def test_absurd_sizes_are_told_with_what_they_would_take(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert named in err
    assert "B of memory or more, expected at most the" in err or "B of disk or more, expected at most the" in err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.usefixtures("little_more_than_now")
def test_absurd_sizes_from_python_are_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"num_envs=10,000,000,000 would take .* TB of memory"):
        MarketVectorEnv(10**10, load_setup(ticks=3))
    with pytest.raises(ConfigError, match=r"10,000,000,000 markets of 10 sites would take"):
        load_setup(ticks=3).arena(10**10)
    with pytest.raises(PriceError, match=r"episodes=10,000,000,000"):
        gridpilot.simulate_prices("mara_event", episodes=10**10)


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free = available_memory()
    assert free is not None
    check_memory(0.5 * free, "this", ConfigError)
    (tmp_path / "memory.max").write_text("5000000000\n")
    (tmp_path / "memory.current").write_text("4999000000\n")
    assert available_memory() == 1_000_000
    with pytest.raises(
        ConfigError, match=r"^this would take 1\.5 GB of memory or more, expected at most the 0\.0 GB that are available$"
    ):
        check_memory(1.5e9, "this", ConfigError)
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() == pytest.approx(free, rel=0.5)
    check_disk(0, tmp_path / "file", "this", ConfigError)
    with pytest.raises(ConfigError, match="TB of disk or more"):
        check_disk(1e20, tmp_path / "file", "this", ConfigError)
