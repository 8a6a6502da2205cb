"""Evolution: the processes against their theory, the course against its own bookkeeping, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridpilot.cli import main
from gridpilot.equilibrium.populations import moran_fixation
from gridpilot.setup import load_setup
from gridpilot.simulation.dynamics import PROCESSES
from gridpilot.simulation.evolution import evolve
from gridpilot.tournament.config import agent_specs

SHORT = ["ticks=24", "history=24"]


def test_moran_fixes_as_often_as_theory_says() -> None:
    n, relative = 6, 1.5
    rng = np.random.default_rng(0)
    payoffs, fixed, trials = np.array([np.log(relative), 0.0]), 0, 2000
    for _ in range(trials):
        counts = np.array([1, n - 1])
        while 0 < counts[0] < n:
            counts = PROCESSES["moran"](counts, payoffs, 1.0, 0.0, rng)
        fixed += int(counts[0] == n)
    expected = moran_fixation(relative, n)
    assert abs(fixed / trials - expected) < 4.0 * np.sqrt(expected * (1.0 - expected) / trials)


@pytest.mark.parametrize("name", list(PROCESSES))
def test_a_process_keeps_the_number_of_sites_and_favours_what_pays(name: str) -> None:
    rng = np.random.default_rng(1)
    up = 0
    for _ in range(400):
        counts = np.array([5, 5, 0])
        after = PROCESSES[name](counts, np.array([0.1, 0.0, 9.0]), 10.0, 0.0, rng)
        assert after.sum() == 10
        assert (after >= 0).all()
        assert after[2] == 0  # nobody is like somebody who is not there
        up += int(after[0] - 5)
    assert up > 0


@pytest.mark.parametrize("name", list(PROCESSES))
def test_mutants_may_be_anybody(name: str) -> None:
    rng = np.random.default_rng(1)
    seen = [PROCESSES[name](np.array([10, 0, 0]), np.zeros(3), 1.0, 0.5, rng)[2] for _ in range(100)]
    assert max(seen) > 0


def test_the_course_adds_up_and_is_reproducible() -> None:
    setup = load_setup(ticks=24, history=24)
    strategies = {label: agent_specs(["mpc"])[label] for label in ("mpc", "zero_intelligence")}
    courses = [evolve(setup, strategies, process="replicator", generations=6, populations=4, seed=2) for _ in range(2)]
    course = courses[0]
    assert np.array_equal(course.counts, courses[1].counts)
    assert np.array_equal(course.payoffs, courses[1].payoffs, equal_nan=True)
    assert (course.counts.sum(axis=2) == 10).all()
    assert np.array_equal(np.isnan(course.payoffs), course.counts[:-1] == 0)
    frame = course.frame()
    np.testing.assert_allclose(frame.groupby(["generation", "population"])["share"].sum(), 1.0)
    table = course.fixation().set_index("strategy")
    assert table.loc["mpc", "end"] > table.loc["mpc", "start"]
    assert table["fixed"].sum() == pytest.approx((course.counts[-1].max(axis=1) == 10).mean())


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["evolve", *SHORT, "generations=3", "populations=2", "agents=[truthful,mpc]"]
    assert main([*words, f"out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "3 generations" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if str(tmp_path) not in line)
    assert (out / "shares.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_parquet(out / "course.parquet")) == 4 * 2 * 2
    assert (out / "fixation.csv").read_text().startswith("strategy,start,end,fixed,generation")
    assert main([*words, "json=true"]) == 0
    rows = json.loads(capsys.readouterr().out)["strategies"]
    assert [row["strategy"] for row in rows] == ["truthful", "mpc"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("process=moron", "moran"),
        ("agents=[truthful]", "at least 2"),
        ("agents=[truthful,foresight]", "clairvoyant"),
        ("mutation=2", "mutation"),
        ("out=/dev/null", "it is a file"),
    ],
)
def test_what_cannot_be_played_is_told_in_a_line(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evolve", *SHORT, word]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
