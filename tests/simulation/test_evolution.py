"""Evolution: the processes against their theory, the course against its own bookkeeping, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridpilot.cli import main
from gridpilot.equilibrium.populations import moran_fixation
from gridpilot.errors import ConfigError
from gridpilot.setup import load_setup
from gridpilot.simulation.dynamics import PROCESSES
from gridpilot.simulation.evolution import evolve
from gridpilot.simulation.kept_course import Course, KeptCourse
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


class Interrupted(KeptCourse):
    """Is interrupted when it has kept so many generations."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path, "one", clock=lambda: 0.0)
        self.after = after

    def save(self, course: Course, *, at_once: bool = False) -> None:
        super().save(course, at_once=at_once)
        if not at_once and len(course.payoffs) == self.after:
            raise KeyboardInterrupt


def test_what_was_interrupted_goes_on_to_the_same_result(tmp_path: Path) -> None:
    setup = load_setup(ticks=12, history=24)
    strategies = {label: agent_specs(["mpc"])[label] for label in ("truthful", "zero_intelligence")}
    whole = evolve(setup, strategies, generations=7, populations=3, seed=5)
    path = tmp_path / "course.npz"
    for after in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            evolve(setup, strategies, generations=7, populations=3, seed=5, kept=Interrupted(path, after))
        held = KeptCourse(path, "one").load()
        assert held is not None
        assert len(held.payoffs) == after
    for generations in (7, 4, 7):  # fewer than are there are read off, and what is there stays
        course = evolve(setup, strategies, generations=generations, populations=3, seed=5, kept=KeptCourse(path, "one"))
        assert np.array_equal(course.counts, whole.counts[: generations + 1])
        assert np.array_equal(course.payoffs, whole.payoffs[:generations], equal_nan=True)
    with pytest.raises(ConfigError, match="is the course of other settings, agents or code"):
        evolve(setup, strategies, generations=7, populations=3, seed=5, kept=KeptCourse(path, "another"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="is no course that can be gone on with, delete it to begin anew"):
        evolve(setup, strategies, generations=7, populations=3, seed=5, kept=KeptCourse(path, "one"))


def test_the_command_goes_on_with_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evolve", "ticks=12", "history=24", "populations=2", "agents=[truthful,zero_intelligence]", "json=true"]
    tables = []
    for out, generations in (("a", 2), ("a", 5), ("b", 5)):
        assert main([*words, f"generations={generations}", f"out={tmp_path / out}"]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[1] == tables[2] != tables[0]
    assert (tmp_path / "a" / "course.parquet").read_bytes() == (tmp_path / "b" / "course.parquet").read_bytes()
    assert main([*words, "seed=3", f"out={tmp_path / 'a'}"]) == 2
    assert "is the course of other settings" in capsys.readouterr().err


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
