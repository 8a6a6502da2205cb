"""A journal is followed by what is new, and read anew where it is another; a run is opened again when its files change."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridpilot.errors import GridPilotError
from gridpilot.insight import live_facts
from gridpilot.insight.dashboard import followed
from gridpilot.insight.dashboard.followed import Followed
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.opened import OpenedJournal
from gridpilot.live.journal import Journal


def grown(journal: Path, path: Path, records: int) -> None:
    """The first records of a journal, as a journal of its own that is added to."""
    with Journal(journal, read_only=True) as whole, Journal(path) as part:
        for record in list(whole.records(after=part.head[0], until=records)):
            part.append([(record.kind, record.body)], at=record.at)


def test_what_is_followed_piece_by_piece_is_what_is_read_at_once(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with Journal(journal, read_only=True) as whole:
        length, facts = whole.head[0], live_facts.day(whole)
    grown(journal, path, 9)
    seen = Followed(path)
    for records in range(9, length + 7, 7):
        grown(journal, path, records)
        seen.read()
    once = Followed(journal)
    once.read()
    assert [(one.record.seq, one.profit, one.weight, one.outcome) for one in seen.decisions] == [
        (one.record.seq, one.profit, one.weight, one.outcome) for one in once.decisions
    ]
    assert seen.rows == once.rows
    assert seen.day() == once.day() == facts
    assert seen.records == length


def test_a_look_at_what_has_not_changed_reads_no_record(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Followed(journal)
    seen.read()
    monkeypatch.setattr(followed, "status", lambda journal: pytest.fail("read again"))
    seen.read()


def test_a_journal_put_in_its_place_is_read_from_the_start(journal: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "live.db", tmp_path / "other.db"
    grown(journal, path, 40)
    seen = Followed(path)
    seen.read()
    assert seen.decisions
    with Journal(other) as new:
        new.append([("halt", {"why": str(i)}) for i in range(50)], at=datetime(2026, 1, 1, tzinfo=UTC))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(other, path)
    seen.read()
    assert (seen.decisions, seen.records) == ([], 50)


def test_of_a_huge_journal_only_the_newest_is_kept(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "KEPT_DECISIONS", 10)
    monkeypatch.setattr(followed, "RECORDS", 60)
    seen = Followed(journal)
    seen.read()
    assert len(seen.decisions) == 10
    assert seen.first == seen.records - 60
    with OpenedJournal(journal).look() as whole:
        assert seen.decision() == live_facts.decision(whole)


def test_the_age_of_the_feed_is_told_where_clocks_agree(journal: Path) -> None:
    seen = Followed(journal)
    seen.read()
    assert seen.feed_age_s() is None  # a replay: its rows are of another time
    seen.session = {**seen.session, "venue": "mara", "speed": 1.0}
    assert seen.feed_age_s(seen.rows[-1].at + timedelta(seconds=90)) == 90.0


def test_a_run_stays_open_until_its_files_change(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    sources = Sources([run])
    with sources.run(run) as first:
        pass
    with sources.run(run) as second:
        assert second is first
    manifest = run / "manifest.json"
    os.utime(manifest, ns=(1, 1))
    with sources.run(run) as third:
        assert third is not first
    manifest.unlink()
    with pytest.raises(GridPilotError, match=r"has no manifest\.json"), sources.run(run):
        pass
