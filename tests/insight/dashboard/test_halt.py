"""A halt from the page: only armed, in time, in the session that armed it, with a reason; and once."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from gridpilot.insight.dashboard.halt import ARMED_S, Arming
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.live.journal import Journal
from gridpilot.live.lock import sole_engine


class Clock:
    """Wall s that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def copy(journal: Path, tmp_path: Path) -> Path:
    """A journal of its own, to be halted."""
    path = tmp_path / "live.db"
    with Journal(journal, read_only=True) as whole:
        whole.backup(path)
    return path


def halts(path: Path) -> list[str]:
    with Journal(path, read_only=True) as journal:
        return [str(record.body["why"]) for record in journal.records(kinds={"halt"})]


def test_unarmed_timed_out_or_without_a_reason_nothing_is_halted(copy: Path) -> None:
    clock = Clock()
    arming = Arming(copy, clock)
    assert not arming.press("why")
    assert "not armed" in arming.refused
    arming.arm()
    assert not arming.press("   ")
    assert "reason" in arming.refused
    clock.now += ARMED_S
    assert not arming.press("too late")
    assert "timed out" in arming.refused
    arming.arm()
    arming.disarm()
    assert not arming.press("disarmed")
    assert halts(copy) == []


def test_armed_one_press_writes_one_record_with_its_reason(copy: Path) -> None:
    clock = Clock()
    arming = Arming(copy, clock)
    arming.arm()
    clock.now += ARMED_S - 0.1
    with sole_engine(copy):  # as an engine that runs
        assert arming.press("smoke  in\nhall 2")
        assert not arming.press("again")
        seen = arming.look()
        assert seen is not None
        assert (seen.confirmed, seen.problem) == ("", "")  # nobody has confirmed anything
        clock.now += 130.0
        assert "no confirmation in time" in str(arming.look())
    assert halts(copy) == ["smoke in hall 2"]


def test_without_an_engine_the_halt_stands_and_it_is_said_that_nothing_was_switched_off(copy: Path) -> None:
    arming = Arming(copy, Clock())
    arming.arm()
    assert arming.press("no one there")
    assert arming.halted is not None
    assert "nothing was switched off" in arming.halted.problem
    assert halts(copy) == ["no one there"]


def test_a_journal_that_cannot_be_written_is_told_as_not_halted(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    path.write_text("no journal")
    arming = Arming(path, Clock())
    arming.arm()
    assert not arming.press("why")
    assert arming.refused.startswith("NOT HALTED: ")


def draw(sources: object) -> None:
    from gridpilot.insight.dashboard import live

    live.page(sources)


def session(sources: Sources) -> AppTest:
    """A browser's session of its own."""
    return AppTest.from_function(draw, kwargs={"sources": sources}, default_timeout=30).run()


def names(page: AppTest) -> list[str]:
    """Of the buttons that have to do with halting."""
    return [button.label for button in page.button if button.label != "Decide again"]


def test_a_session_halts_only_what_it_has_armed_itself(copy: Path) -> None:
    sources = Sources([], [copy])
    first, second = session(sources), session(sources)
    assert names(first) == names(second) == ["Arm halt"]
    first.button[0].click().run()
    assert "HALT" in names(first)
    assert names(second.run()) == ["Arm halt"]
    first.text_input(key="halt_why").input("a test")
    with sole_engine(copy):
        next(button for button in first.button if button.label == "HALT").click().run()
    assert not first.exception
    assert halts(copy) == ["a test"]
    assert any("live resume" in code.value for code in first.code)
    assert names(second.run()) == ["Arm halt"]
    assert second.button[0].disabled  # it is halted already
    assert halts(copy) == ["a test"]


def test_a_button_that_is_on_the_screen_still_when_time_is_up_halts_nothing(copy: Path) -> None:
    page = session(Sources([], [copy]))
    page.button[0].click().run()
    page.session_state["arming"][copy].until = 0.0  # long ago, by the clock of the machine
    page.text_input(key="halt_why").input("late")
    next(button for button in page.button if button.label == "HALT").click().run()
    assert halts(copy) == []
    assert ["timed out" in warning.value for warning in page.warning] == [True]
