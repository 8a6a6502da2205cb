from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gridpilot.series.inspect_command import main
from gridpilot.series.picture import blocks


def write(rows: int = 400) -> Path:
    path = Path("mine.csv")
    hours = [h for h in range(rows) if h not in (50, 51)]
    text = "\n".join(f"{np.datetime64('2024-02-01T00') + h};{h % 24 - 2},5" for h in hours)
    path.write_text("time;price\n" + text.replace("T", " ").replace(";", ":00;"), encoding="utf-8")
    return path


def test_what_was_found_as_json_and_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    path = write()
    assert main([str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["separator"], found["decimal"], found["encoding"]) == ("semicolon", ",", "UTF-8")
    assert (found["step_seconds"], found["gaps"], found["missing"], found["repeats"]) == (3600, 1, 2, 0)
    assert found["share_negative"] == pytest.approx(34 / 398, abs=0.01)
    assert main([str(path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert any(line.startswith("gaps") and "2 rows missing" in line for line in shown)


def test_blocks_fall_back_to_ascii() -> None:
    values = np.array([0.0, 1.0, np.nan, 4.0])
    assert blocks(values, 4, 1, "utf-8") == ["▁▃ █"]
    assert all(line.isascii() for line in blocks(values, 4, 2, "ascii"))
    assert blocks(np.full(4, 3.0), 4, 1, "utf-8") == ["▁▁▁▁"]
