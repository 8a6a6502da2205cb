"""The whole loop against a second, independently written server: whatever it does, the site is safe and the record is true."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridpilot.errors import LiveError
from gridpilot.live.api import TICK, format_time
from gridpilot.live.journal import Journal
from gridpilot.live.replica import replay
from tests.live.loops import Seen, TiedClock, engine, mara, quick, run
from tests.live.other_server import FAULTS, OtherServer

CAP_W = 1_000_000
OFF = (0, 0, 0, 0, 0)


def check_record(records: list[Any]) -> None:
    """What holds in every journal: one decision a row, one command a decision, nothing above the limit."""
    kinds = Counter((record.body["at"], record.body["kind"]) for record in records if record.kind == "decision")
    assert all(n == 1 for (_, kind), n in kinds.items() if kind == "row")
    commands: dict[str, Any] = {}
    for record in records:
        if record.kind == "intent":
            assert commands.setdefault(record.body["command"], record.body["counts"]) == record.body["counts"]
        if record.kind == "decision":
            assert record.body["power_w"] <= CAP_W


CHOICES: list[dict[str, Any]] = [
    {},
    {"numbers_as_strings": True, "extra_fields": True},
    {"trailing_z": True, "order": "oldest_first", "put_status": 201},
    {"order": "shuffled", "repeat_rows": True, "wrapped": True},
    {"omitted": "reset", "before_first_put": "null", "over_cap_status": 409},
    {"before_first_put": "empty", "drop_idle": True},
    {"before_first_put": "nulls", "keep_alive": False, "date_header": False},
    {"before_first_put": "zeros", "unauthorised_status": 403, "key_style": "hex"},
    {"power_w": 123_456},
    {"clock_off_s": 180.0},
    {"clock_off_s": -180.0, "trailing_z": True},
]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_every_choice_of_a_server_is_survived(choices: dict[str, Any], tmp_path: Path) -> None:
    with OtherServer(rows=3, **choices) as server:
        key = server.key()
        watch, records = run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=8)
        assert [(report.kind, report.reason, report.status) for report in watch.reports] == [("row", "agent", "applied")] * 8
        assert server.machines(key) == watch.reports[-1].counts[0]
        assert len(server.puts) == 8
        assert 0 < server.peak_w <= server.choices.power_w
        assert watch.drifted == 0
        check_record(records)


def test_a_lost_answer_leaves_one_command_and_the_desired_state(tmp_path: Path) -> None:
    with OtherServer() as server:
        key = server.key()
        server.script("PUT /machines", "lost")
        watch, records = run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=1)
        assert [report.status for report in watch.reports] == ["applied"]
        assert len(server.puts) == 1  # read back, and not sent again
        assert [record.kind for record in records].count("intent") == 1
        assert server.machines(key) == watch.reports[0].counts[0]


@pytest.mark.parametrize("fault", ["drop", "half", "reset", "truncated", "500", "html", "gzip"])
def test_a_command_is_repeated_as_the_same_desired_state(fault: str, tmp_path: Path) -> None:
    with OtherServer() as server:
        key = server.key()
        server.script("PUT /machines", fault, fault)
        watch, records = run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=2)
        assert [report.status for report in watch.reports] == ["applied"] * 2
        per_command = {counts for _, counts in server.puts}
        assert per_command <= {report.counts[0] for report in watch.reports}
        assert server.machines(key) == watch.reports[-1].counts[0]
        check_record(records)


BAD_ROWS = [
    ({"energy_price": float("nan")}, "price_nan"),
    ({"energy_price": None}, "row_unreadable"),
    ({"hash_price": -1.0}, "price_negative"),
    ({"token_price": 900.0}, "price_jump"),
    ({"energy_price": 3000.0}, "price_band"),
]


@pytest.mark.parametrize(("content", "code"), BAD_ROWS)
def test_a_bad_row_leads_to_the_fallback_with_its_reason(content: dict[str, Any], code: str, tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        server.spoil(5, content)
        watch, records = run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=6)
        kinds = [(report.kind, report.reason) for report in watch.reports]
        assert kinds == [("row", "agent")] * 3 + [("bad_row", "last_good")] + [("row", "agent")] * 3
        assert watch.reports[3].causes == (code,)
        assert watch.reports[3].counts == watch.reports[2].counts
        assert watch.reports[3].prices == watch.reports[2].prices  # the bad row's own are nowhere
        assert [record.body["reason"] for record in records if record.kind == "refused_row"] == [code]
        assert (watch.reports[-1].fresh, watch.reports[-1].ticks) == (6, 7)
        check_record(records)


@pytest.mark.parametrize("raw", [b"NaN", b"{", b'"', b"[1, 2"])
def test_a_body_that_is_half_json_costs_nothing_but_its_row(raw: bytes, tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        server.spoil(4, raw)
        watch, _ = run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=4)
        assert sum(report.kind == "row" for report in watch.reports) == 4
        assert server.machines(key) == watch.reports[-1].counts[0]


def test_a_feed_that_stops_leads_step_by_step_to_everything_off(tmp_path: Path) -> None:
    with OtherServer(rows=3, last_row=4) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        loop, watch = engine(venue, journal, rows=50)
        watch.on_report = lambda report: loop.stop("seen enough") if len(watch.reports) == 12 else None
        loop.run()
        venue.close()
        seen = [(report.kind, report.reason, report.causes, report.status) for report in watch.reports]
        assert seen[:3] == [("row", "agent", (), "applied")] * 3
        assert seen[3] == ("no_row", "last_good", ("feed_late",), "held")
        assert {what[:3] for what in seen[4:8]} == {("no_row", "last_good", ("feed_stale", "feed_late"))}
        assert seen[8:] == [("no_row", "off", ("feed_off", "feed_late"), "applied")] * 4
        assert server.machines(key) == OFF
        ages = [(report.at - watch.reports[2].at) / TICK for report in watch.reports[3:]]
        assert ages == [1, 2, 3, 4, 5, 6, 7, 8, 9]  # at most one decision a tick
        assert replay(journal).different == 0


def test_a_feed_that_goes_back_is_a_cause_of_its_own(tmp_path: Path) -> None:
    log = io.StringIO()
    with OtherServer(rows=30) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        watch = Seen(clock.monotonic, log)
        loop, _ = engine(venue, journal, rows=4, watch=watch)

        def on_report(report: Any) -> None:
            if len(watch.reports) == 2:
                server.advance_rows(-20)  # replaced by one that begins again
            if len(watch.reports) == 10:
                server.advance_rows(20)  # and put back

        watch.on_report = on_report
        loop.run()
        venue.close()
        seen = [(report.kind, report.reason, report.causes) for report in watch.reports]
        assert seen[2] == ("no_row", "last_good", ("feed_went_back",))
        assert seen[3:7] == [("no_row", "last_good", ("feed_stale", "feed_went_back"))] * 4
        assert seen[7:10] == [("no_row", "off", ("feed_off", "feed_went_back"))] * 3
        assert [each[:2] for each in seen[10:]] == [("row", "agent")] * 2
        assert not list(journal.records(kinds={"refused_row"}))  # rows of another feed are none that are wrong
        told = [json.loads(line) for line in log.getvalue().splitlines() if json.loads(line)["event"] == "feed_went_back"]
        assert len(told) == 1
        assert "the server was replaced, or its feed begun again" in told[0]["message"]
        assert replay(journal).different == 0


def test_an_api_that_is_down_and_comes_back(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        with Journal(tmp_path / "j.db") as journal:
            loop, watch = engine(venue, journal, rows=6)

            def break_it(report: Any) -> None:
                if len(watch.reports) == 2:
                    server.script("*", *["503"] * 60)

            watch.on_report = break_it
            loop.run()
            venue.close()
            records = list(journal.records())
            assert [record.body["state"] for record in records if record.kind == "api"] == ["down", "up"]
            assert {report.causes[-1] for report in watch.reports if report.kind == "no_row"} == {"api_down"}
            assert watch.reports[-1].status == "applied"
            assert server.machines(key) == watch.reports[-1].counts[0]
            assert replay(journal).different == 0
            check_record(records)


def test_a_halt_takes_effect_within_a_cycle_and_holds_across_restarts(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        clock = TiedClock(server)

        def session(stop_after: int, **changes: Any) -> Seen:
            venue = mara(server, [key], clock)
            with Journal(tmp_path / "j.db") as journal:
                loop, watch = engine(venue, journal, rows=100)

                def on_report(report: Any) -> None:
                    if changes.get("halt_at") == len(watch.reports):
                        journal.append([("halt", {"why": "smoke"})], at=clock.now())
                    if len(watch.reports) == stop_after:
                        loop.stop("seen enough")

                watch.on_report = on_report
                loop.run()
                venue.close()
                assert replay(journal).different == 0
                return watch

        first = session(5, halt_at=2)
        assert [report.kind for report in first.reports[:3]] == ["row", "row", "halt"]
        assert first.reports[2].at == first.reports[1].at  # not a tick later
        assert {(report.kind, report.reason, report.status) for report in first.reports[2:]} == {("halt", "off", "applied")}
        assert server.machines(key) == OFF
        server.interfere(key, (0, 7, 0, 0, 0))
        second = session(2)
        assert {report.kind for report in second.reports} == {"halt"}
        assert server.machines(key) == OFF
        with Journal(tmp_path / "j.db") as journal:
            journal.append([("resume", {"why": "clear"})], at=clock.now())
        third = session(2)
        assert [(report.kind, report.reason) for report in third.reports] == [("row", "agent")] * 2


def test_somebody_else_at_the_controls_is_noticed(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        venue = mara(server, [key], TiedClock(server))
        answer = venue.set_machines

        def set_machines(site: int, counts: tuple[int, ...]) -> tuple[int, ...]:
            confirmed = answer(site, counts)
            server.interfere(key, (1, 0, 0, 0, 0))
            return confirmed

        venue.set_machines = set_machines  # type: ignore[method-assign]
        loop, watch = engine(venue, journal, rows=1)
        loop.run()
        venue.close()
        assert [report.status for report in watch.reports] == ["unknown"]
        assert watch.reports[0].counts == ((1, 0, 0, 0, 0),)


def test_a_command_of_somebody_else_between_two_rows_is_told(tmp_path: Path) -> None:
    log = io.StringIO()
    with OtherServer(rows=3) as server:
        keys, clock = [server.key(), server.key()], TiedClock(server)
        watch = Seen(clock.monotonic, log)
        watch.on_report = lambda report: server.interfere(keys[1], (0, 3, 0, 0, 0)) if len(watch.reports) == 3 else None
        _, records = run(mara(server, keys, clock, power_w=1_000_000), tmp_path / "j.db", rows=6, watch=watch)
    assert [report.causes for report in watch.reports] == [(), (), (), ("foreign_command",), (), ()]
    assert {(report.reason, report.status) for report in watch.reports} == {
        ("agent", "applied")
    }  # the next row's command puts it right
    (told,) = [json.loads(line) for line in log.getvalue().splitlines() if json.loads(line)["event"] == "foreign_command"]
    assert "somebody else commands the site" in told["message"]
    messages = [record.body["message"] for record in records if record.kind == "reconciliation"]
    assert [message.partition(":")[0] for message in messages] == ["at start", "foreign_command"]
    assert watch.metrics.registry.get_sample_value("gridpilot_live_mismatches_total") == 1.0
    with Journal(tmp_path / "j.db") as journal:
        assert replay(journal).different == 0


def test_a_halt_waits_for_no_poll(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key, clock = server.key(), TiedClock(server)
        venue = mara(server, [key], clock)  # which is asked for prices every minute while no row is due
        loop, watch = engine(venue, journal, rows=50)
        ordered = list[float]()
        sleep = clock.sleep

        def sleep_and_halt(seconds: float) -> None:
            sleep(seconds)
            if len(watch.reports) == 2 and not ordered and clock.monotonic() % 300.0 > 100.0:
                journal.append([("halt", {"why": "smoke"})], at=clock.now())
                ordered.append(clock.monotonic())

        def on_report(report: Any) -> None:
            if report.kind == "halt":
                ordered.append(clock.monotonic())
                loop.stop("seen enough")

        clock.sleep = sleep_and_halt  # type: ignore[method-assign]
        watch.on_report = on_report
        loop.run()
        venue.close()
        assert server.machines(key) == OFF
        assert ordered[1] - ordered[0] <= 4.0  # a fifteenth of a minute; a second at the pace of the real API


def test_who_switches_on_what_is_halted_is_told(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key, clock = server.key(), TiedClock(server)
        venue = mara(server, [key], clock)
        loop, watch = engine(venue, journal, rows=50)

        def on_report(report: Any) -> None:
            if len(watch.reports) == 2:
                journal.append([("halt", {"why": "smoke"})], at=clock.now())
            if len(watch.reports) == 4:
                server.interfere(key, (0, 7, 0, 0, 0))
            if len(watch.reports) == 6:
                loop.stop("seen enough")

        watch.on_report = on_report
        loop.run()
        venue.close()
        seen = [(report.kind, report.causes, report.status) for report in watch.reports[2:]]
        plain = ("halt", ("halted",), "applied")
        assert seen == [plain, plain, ("halt", ("halted", "foreign_command"), "applied"), plain]
        assert server.machines(key) == OFF
        assert replay(journal).different == 0


def test_a_command_of_its_own_that_arrives_late_is_nobody_else_s(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key, clock = server.key(), TiedClock(server)
        watch = Seen(clock.monotonic)
        venue = mara(server, [key], clock)
        late = [(0, 7, 0, 0, 0)]

        def on_report(report: Any) -> None:
            if len(watch.reports) == 2:  # as a change that was given up and is still on its way
                loop.execution._under_way[0].append((late[0], clock.monotonic() + 600.0))
                server.interfere(key, late[0])

        watch.on_report = on_report
        with Journal(tmp_path / "j.db") as journal:
            loop, _ = engine(venue, journal, watch=watch, rows=4)
            loop.run()
            venue.close()
            messages = [record.body["message"] for record in journal.records(kinds={"reconciliation"})]
    assert [report.causes for report in watch.reports] == [()] * 4
    assert messages == ["at start", "a command arrived late"]


def test_two_sites_behind_one_connection(tmp_path: Path) -> None:
    with OtherServer(rows=3, power_w=700_000) as server:
        keys = [server.key(), server.key()]
        watch, _ = run(mara(server, keys, TiedClock(server), power_w=900_000), tmp_path / "j.db", rows=6)
        assert [report.status for report in watch.reports] == ["applied"] * 6
        assert 700_000 < server.peak_w <= 900_000
        assert tuple(server.machines(key) for key in keys) == watch.reports[-1].counts


def test_without_a_limit_or_machines_that_can_be_read_nothing_starts(tmp_path: Path) -> None:
    for endpoint, what in (("GET /sites", "the site"), ("GET /machines", "the machines that run"), ("GET /prices", "prices")):
        with OtherServer(rows=3) as server:
            key = server.key()
            server.script(endpoint, *["500"] * 5000)
            with pytest.raises(LiveError, match=f"cannot start without {what}"):
                run(mara(server, [key], TiedClock(server), timing=quick(tick=0.3, attempts=1)), tmp_path / f"{what}.db")
            assert [counts for _, counts in server.puts] == [(0, 0, 0, 0, 0)]  # nobody looks after what an earlier run left on


def test_a_key_that_is_not_valid_is_told(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, pytest.raises(LiveError, match="401"):
        run(mara(server, ["6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"], TiedClock(server)), tmp_path / "j.db")


def test_machines_of_another_make_begin_a_new_session(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        with Journal(tmp_path / "j.db") as journal:
            loop, watch = engine(venue, journal, rows=40)

            def on_report(report: Any) -> None:
                if len(watch.reports) == 3:
                    server.kinds["hydro_miners"] = (10000, 6000)

            watch.on_report = on_report
            loop.run()
            venue.close()
            assert [record.kind for record in journal.records()].count("session") == 2
            assert server.peak_w <= 1_200_000  # a heavier machine is noticed at the latest an hour later
            assert watch.reports[-1].power_w <= CAP_W
            assert server.power_w(server.machines(key)) <= CAP_W
            assert replay(journal).different == 0


plans = st.lists(st.sampled_from([*sorted({*FAULTS} - {"hang", "endless", "dribble", "deep"}), None, None, None]), max_size=40)
contents = st.sampled_from([{"energy_price": float("nan")}, {"hash_price": -3.0}, {"token_price": 99.0}, None, "junk", b"{"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    prices=plans,
    puts=plans,
    gets=plans,
    bad=st.dictionaries(st.integers(3, 9), contents, max_size=3),
    off_s=st.sampled_from([0.0, 180.0, -180.0]),
    seed=st.integers(0, 10**6),
)
def test_no_schedule_of_faults_exceeds_the_limit_or_breaks_the_record(
    tmp_path_factory: pytest.TempPathFactory,
    prices: list[Any],
    puts: list[Any],
    gets: list[Any],
    bad: dict[int, Any],
    off_s: float,
    seed: int,
) -> None:
    with OtherServer(rows=3, slow_s=0.3, clock_off_s=off_s, seed=seed, order="shuffled", repeat_rows=True) as server:
        key = server.key()
        clock = TiedClock(server)
        clock.advance(0.0)
        for row, content in bad.items():
            server.spoil(row, content)
        venue = mara(server, [key], clock, timing=quick(timeout=0.2))
        with Journal(tmp_path_factory.mktemp("run") / "j.db") as journal:
            loop, watch = engine(venue, journal, rows=7)
            started = len(server.calls)

            def on_report(report: Any) -> None:
                if len(watch.reports) == 1:
                    server.script("GET /prices", *prices)
                    server.script("PUT /machines", *puts)
                    server.script("GET /machines", *gets)
                if len(watch.reports) == 40:
                    loop.stop("enough")

            watch.on_report = on_report
            loop.run()
            venue.close()
            assert len(server.calls) > started
            assert max(server.peak_w, server.asked_peak_w) <= CAP_W
            assert watch.drifted == 0
            assert replay(journal).different == 0
            assert journal.verify().problem is None
            check_record(list(journal.records()))


def test_keys_are_nowhere(tmp_path: Path) -> None:
    log = io.StringIO()
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        server.script("GET /prices", None, "503", "500", None)  # whose pages quote the key
        server.script("PUT /machines", "500", "429", None)
        venue = mara(server, [key], TiedClock(server))
        watch = Seen(venue.clock.monotonic, log)
        venue.observe_calls(watch.metrics.called)
        loop, _ = engine(venue, journal, watch=watch, rows=3)
        loop.run()
        venue.close()
        server._sites.clear()  # the key is not valid any more: refusals quote it too
        venue = mara(server, [key], TiedClock(server))
        loop, _ = engine(venue, journal, watch=watch, rows=3)
        with pytest.raises(LiveError) as refused:
            loop.run()
        venue.close()
        from prometheus_client import generate_latest

        said = [
            log.getvalue(),
            generate_latest(watch.metrics.registry).decode(),
            repr(venue.client),
            str(refused.value),
            repr(vars(venue)),
        ]
        said += [json.dumps([record.body for record in journal.records()])]
        error: BaseException | None = refused.value
        while error is not None:
            said.append(repr(error))
            error = error.__cause__ or error.__context__
        assert log.getvalue().count("cycle") >= 3
        for text in said:
            assert key not in text
    for file in tmp_path.rglob("*"):
        assert key.encode() not in file.read_bytes()


def test_shadow_never_sends(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        watch, records = run(mara(server, [server.key()], TiedClock(server)), tmp_path / "j.db", mode="shadow", rows=5)
        assert server.puts == []
        assert {report.status for report in watch.reports} == {"shadow"}
        assert "intent" not in {record.kind for record in records}
        assert not any(call.startswith("PUT") for call in server.calls)


def test_a_row_that_had_its_decision_does_not_get_another_after_a_restart(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        clock = TiedClock(server)
        first, _ = run(mara(server, [key], clock), tmp_path / "j.db", rows=2)
        second, records = run(mara(server, [key], clock), tmp_path / "j.db", rows=2)
        ats = [format_time(report.at) for watch in (first, second) for report in watch.reports]
        assert len(set(ats)) == 4
        check_record(records)


def test_a_change_that_arrives_after_it_was_given_up_is_seen_and_put_right(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        loop, watch = engine(venue, journal, rows=4)

        def on_report(report: Any) -> None:
            if len(watch.reports) == 2:
                server.script("PUT /machines", "drop")  # so that the next command does not go smoothly
            if len(watch.reports) == 3:
                server.interfere(key, (3, 0, 0, 0, 0))  # what had been given up arrives

        watch.on_report = on_report
        loop.run()
        records = list(journal.records())
        venue.close()
        third = watch.reports[2]
        assert third.status == "applied"
        again = [record.body for record in records if record.kind == "intent" and record.body["attempt"] == 2]
        assert [body["counts"] for body in again] == [[list(each) for each in third.counts]]
        applied = [counts for _, counts in server.puts]
        assert applied[applied.index((3, 0, 0, 0, 0)) + 1] == third.counts[0]  # within its own row
        assert replay(journal).different == 0
        check_record(records)


def test_a_feed_that_began_again_needs_another_journal(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        run(mara(server, [server.key()], TiedClock(server)), tmp_path / "j.db", rows=6)
    with OtherServer(rows=3) as server:
        key = server.key()
        with pytest.raises(LiveError, match=r"rows up to 2025-06-21T12:35:00.*choose another live.journal"):
            run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=6)
        assert not any(any(counts) for _, counts in server.puts)
