"""Files in the form of market operators' exports: read right, or refused with the option that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot.errors import PriceError
from gridpilot.series import Reading, ReadOptions, read

HOURS = range(24)


def opened(text: str, columns: list[str] | None = None, encoding: str = "utf-8", **options: Any) -> Reading:
    Path("file.csv").write_bytes(text.encode(encoding))
    return read(Path("file.csv"), columns, ReadOptions(**options))


def spaced(reading: Reading, first: str, last: str, step: int) -> bool:
    """Whether the rows begin and end there and are evenly spaced instants."""
    assert reading.times is not None
    steps = np.unique(np.diff(reading.times.instants)).tolist()
    return (reading.time(0), reading.time(-1), steps) == (first, last, [step])


def refusal(text: str, columns: list[str] | None = None, **options: Any) -> str:
    with pytest.raises(PriceError) as caught:
        opened(text, columns, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hourly(fmt: str, days: int = 20, start: str = "2024-02-01") -> str:
    times = pd.date_range(start, periods=24 * days, freq="h")
    return "time,price\n" + "\n".join(f"{time.strftime(fmt)},{20 + i % 24}.5" for i, time in enumerate(times)) + "\n"


def test_ercot_hours_end_and_settlement_points_are_told_apart() -> None:
    rows = ["DeliveryDate,HourEnding,SettlementPoint,SettlementPointPrice,DSTFlag"]
    rows += [
        f"01/{day},{hour + 1:02d}:00,{point},{hour},N"
        for day in ("20/2024", "21/2024")
        for hour in HOURS
        for point in ("HB_HUB", "LZ_WEST")
    ]
    text = "\n".join(rows)
    assert "'SettlementPoint' (HB_HUB, LZ_WEST); pick one with pick=HB_HUB" in refusal(text, ["SettlementPointPrice"])
    reading = opened(text, pick=("LZ_WEST",))
    assert spaced(reading, "2024-01-20T00:00:00", "2024-01-21T23:00:00", 3600)
    assert reading.values[:24, 0].tolist() == list(HOURS)


def test_ercot_intervals_are_parts_of_the_hour() -> None:
    rows = ["Delivery Date,Delivery Hour,Delivery Interval,Settlement Point Price"]
    rows += [f"01/20/2024,{hour + 1},{quarter + 1},{hour}" for hour in HOURS for quarter in range(4)]
    assert spaced(opened("\n".join(rows), ["Settlement Point Price"]), "2024-01-20T00:00:00", "2024-01-20T23:45:00", 900)


def test_caiso_has_a_row_for_each_component() -> None:
    rows = ["INTERVALSTARTTIME_GMT,INTERVALENDTIME_GMT,OPR_DT,OPR_HR,NODE,LMP_TYPE,MW"]
    for kind in ("LMP", "MCC"):
        for hour in range(16):
            rows.append(
                f"2024-02-01T{hour + 8:02d}:00:00-00:00,2024-02-01T{hour + 9:02d}:00:00-00:00,2024-02-01,{hour + 1},TH_NP15,{kind},{hour}.5"
            )
    text = "\n".join(rows)
    assert "pick=LMP" in refusal(text, ["MW"])
    reading = opened(text, ["MW"], pick=("LMP",), zone="America/Los_Angeles")
    assert spaced(reading, "2024-02-01T00:00:00", "2024-02-01T15:00:00", 3600)


def test_pjm_writes_two_clocks_with_am_and_pm() -> None:
    def shown(time: pd.Timestamp) -> str:
        return f"{time.month}/{time.day}/{time.year} {time.hour % 12 or 12}:00:00 {'AM' if time.hour < 12 else 'PM'}"

    times = pd.date_range("2024-01-13 05:00", periods=48, freq="h")
    rows = [f"{shown(time)},{shown(time - pd.Timedelta(hours=5))},51288,AEP,{i}" for i, time in enumerate(times)]
    text = "\n".join(["datetime_beginning_utc,datetime_beginning_ept,pnode_id,pnode_name,total_lmp_da", *rows])
    assert spaced(opened(text, ["total_lmp_da"]), "2024-01-13T05:00:00", "2024-01-15T04:00:00", 3600)
    local = opened(text, ["total_lmp_da"], time=("datetime_beginning_ept",))
    assert spaced(local, "2024-01-13T00:00:00", "2024-01-14T23:00:00", 3600)
    assert local.times is not None
    assert local.times.instants[0] == times[0].timestamp()


def test_nyiso_has_a_row_for_each_zone() -> None:
    rows = ['"Time Stamp","Name","PTID","LBMP ($/MWHr)"']
    rows += [f'"01/15/2024 {hour:02d}:00","{zone}",61757,{hour}.11' for hour in HOURS for zone in ("CAPITL", "N.Y.C.")]
    text = "\n".join(rows)
    assert "pick=CAPITL" in refusal(text, ["LBMP ($/MWHr)"])
    assert spaced(opened(text, ["LBMP ($/MWHr)"], pick=("N.Y.C.",)), "2024-01-15T00:00:00", "2024-01-15T23:00:00", 3600)


@pytest.mark.parametrize(("start", "hours"), [("2024-03-30", 47), ("2024-10-26", 49)])
@pytest.mark.parametrize("named", [False, True])
def test_entsoe_ranges_over_both_clock_changes(start: str, hours: int, named: bool) -> None:
    times = pd.date_range(start, periods=hours + 24, freq="h", tz="Europe/Brussels")
    rows = []
    for i, time in enumerate(times):
        end = time + pd.Timedelta(hours=1)
        begin_zone, end_zone = (f" ({t.tzname()})" if named and t.day == 27 and t.hour == 2 else "" for t in (time, end))
        rows.append(f'"{time:%d.%m.%Y %H:%M}{begin_zone} - {end:%d.%m.%Y %H:%M}{end_zone}","{i}.5","EUR","BZN|DE-LU"')
        if time.month == 3 and (time.hour, end.hour) == (1, 3):
            rows.append(f'"{time:%d.%m.%Y} 02:00 - {time:%d.%m.%Y} 03:00","n/e","EUR",""')
    reading = opened("\n".join(['"MTU (CET/CEST)","Day-ahead Price [EUR/MWh]","Currency","BZN"', *rows]))
    assert reading.times is not None
    assert reading.times.instants.tolist() == [int(time.timestamp()) for time in times]
    assert ((reading.times.clock % 86400) // 3600).tolist() == times.hour.tolist()


def test_aemo_ends_its_periods() -> None:
    times = pd.date_range("2024-02-01 00:05", periods=576, freq="5min")
    text = "REGION,SETTLEMENTDATE,TOTALDEMAND,RRP,PERIODTYPE\n" + "\n".join(
        f"NSW1,{t:%Y/%m/%d %H:%M:%S},7000.1,{i},TRADE" for i, t in enumerate(times)
    )
    assert spaced(opened(text, ["RRP"]), "2024-02-01T00:00:00", "2024-02-02T23:55:00", 300)
    assert opened(text, ["RRP"], label="start").time(0) == "2024-02-01T00:05:00"
    report = "C,NEMP,DISPATCH\nI,DISPATCH,PRICE,5,SETTLEMENTDATE,RRP\n"
    report += (
        "\n".join(f'D,DISPATCH,PRICE,5,"{t:%Y/%m/%d %H:%M:%S}",{i}' for i, t in enumerate(times)) + '\nC,"END OF REPORT",579\n'
    )
    assert spaced(opened(report, ["RRP"]), "2024-02-01T00:00:00", "2024-02-02T23:55:00", 300)


def test_eia_hours_of_a_day_and_of_periods() -> None:
    rows = [f"2024-02-{day:02d}T{hour:02d},{hour}.5" for day in range(1, 9) for hour in HOURS]
    assert spaced(opened("period,price\n" + "\n".join(rows)), "2024-02-01T00:00:00", "2024-02-08T23:00:00", 3600)
    rows = [f'ERCO,01/{day}/2024,{hour + 1},"{hour + 10},123"' for day in (20, 21) for hour in HOURS]
    text = "Balancing Authority,Data Date,Hour Number,Demand (MW)\n" + "\n".join(rows)
    assert "decimal" in refusal(text, ["Demand (MW)"])
    reading = opened(text, ["Demand (MW)"], decimal=".")
    assert spaced(reading, "2024-01-20T00:00:00", "2024-01-21T23:00:00", 3600)
    assert reading.values[0, 0] == 10123.0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_nord_pool_in_every_encoding(encoding: str) -> None:
    rows = [f"{day:02d}-01-2020;{hour:02d}\u00a0-\u00a0{hour + 1:02d};{hour},12;\u00a0" for day in range(12, 16) for hour in HOURS]
    reading = opened("Elspot Prices\n;Hours;SE1;FI\n" + "\n".join(rows), ["SE1"], encoding=encoding)
    assert spaced(reading, "2020-01-12T00:00:00", "2020-01-15T23:00:00", 3600)
    assert reading.values[5, 0] == 5.12


@pytest.mark.parametrize(
    ("fmt", "days", "options"),
    [
        ("%d/%m/%Y %H:%M", 28, {}),
        ("%m/%d/%Y %H:%M", 28, {}),
        ("%d/%m/%Y %H:%M", 11, {"dates": "day_first"}),
        ("%m/%d/%Y %I:%M %p", 11, {"dates": "month_first"}),
        ("%d.%m.%Y %H:%M", 11, {}),
        ("%d-%b-%Y %H:%M", 11, {}),
        ("%Y%m%d%H%M", 11, {}),
        ("%Y%m%dT%H%M%SZ", 11, {}),
    ],
)
def test_formats(fmt: str, days: int, options: dict[str, Any]) -> None:
    assert spaced(opened(hourly(fmt, days), **options), "2024-02-01T00:00:00", f"2024-02-{days:02d}T23:00:00", 3600)


def test_epochs() -> None:
    for scale in (1, 1000, 10**6, 10**9):
        text = "when,price\n" + "\n".join(f"{(1706745600 + 3600 * i) * scale},{i}" for i in range(48))
        assert spaced(opened(text, ["price"]), "2024-02-01T00:00:00", "2024-02-02T23:00:00", 3600)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (hourly("%d/%m/%Y %H:%M", 11), "'01/02/2024', in which day and month .* dates=day_first or dates=month_first"),
        (hourly("%d/%m/%Y %H:%M", 28).replace("20/02/2024 05", "02/20/2024 05"), r"'02/20/2024 05:00' in row 462 \(line 463\)"),
        (hourly("%Y-%m"), "'2024-02' in row 1 .* lacks a day"),
        (hourly("%Y-%m-%d %H:%M").replace("02-03 13:00", "02-03"), "'2024-02-03' in row 62 .*expected a time of day"),
        (hourly("%Y-%m-%d %H:%M").replace("2024-02-03 13:00", "yesterday"), "'yesterday' in row 62"),
        (hourly("%Y-%m-%d %H:%M").replace("2024-02-03 13:00", "2024-02-30 13:00"), "'2024-02-30 13:00' in row 62 .* day of the calendar"),
        (hourly("%Y-%m-%d %H:%M").replace("2024-02-03 13:00", "1970-01-01 13:00"), "1970-01-01T13:00:00 in row 62 .* correct it"),
        (hourly("%Y-%m-%d %H:%M").replace(".5", ",5"), "decimal commas between commas"),
        (hourly("%Y-%m-%d %H:%M") + "2024-02-2", "line 482 has 1 fields"),
        (hourly("%Y-%m-%d %H:%M").partition("\n")[2], "line 1 holds '2024-02-01 00:00', expected a heading"),
        (hourly("%H:%M"), "time column 'time' has '00:00' in row 1"),
    ],
)  # fmt: skip
def test_what_reads_in_no_one_way_is_refused_with_its_place(text: str, words: str) -> None:
    import re

    assert re.search(words, refusal(text))


def test_hour_25_needs_a_zone() -> None:
    rows = [f"2024-11-{day:02d},{hour},{hour}" for day in range(1, 6) for hour in range(1, 26 if day == 3 else 25)]
    text = "Date,HE,Price\n" + "\n".join(rows)
    assert "zone=America/Chicago" in refusal(text, ["Price"])
    assert spaced(opened(text, ["Price"], zone="America/Chicago"), "2024-11-01T00:00:00", "2024-11-05T23:00:00", 3600)


def test_titles_footers_and_trailing_commas_are_left_out_and_told() -> None:
    lines = hourly("%Y-%m-%d %H:%M").splitlines()
    text = "\n".join(
        ["My report", "made today, with care", "", lines[0], *(line + "," for line in lines[1:]), "Total,12345", "Source: us"]
    )
    reading = opened(text)
    assert (len(reading.values), reading.names) == (480, ("price",))
    assert len(reading.notes) == 3
