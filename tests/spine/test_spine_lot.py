"""What the lot card counts: one lot or today, one wafer on the map, and no part that has no result yet."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from fake_station import World
from spine_bench import Bench
from spine_help import BINS

from station.config import LotLimits
from station.journal_rows import Context, Row
from station.lot import LotBook, day_began
from station.protocol import Lot, Start, Stop

NOON = datetime(2026, 3, 10, 12).timestamp()
HOUR = 3600.0


def book(lot="", wafer="", kind="wafer", **limits):
    made = LotBook(lot, wafer, kind, BINS, LotLimits(**limits))
    if not lot:
        made.start_of_day(NOON)
    return made


def verdict(label, kind="pass", seconds=NOON, lot="L1", wafer="W1", x=-1, y=-1):
    bin_id = {"pass": "pass", "fail": "otp", "hold": "hold", "quarantine": "quarantine", "bench": "bench"}[kind]
    context = Context(label=label, label_kind="die", recipe="fake-cp", lot=lot, wafer=wafer, x=x, y=y)
    return Row(1, int(seconds * 1e6), 0, "", context, "verdict", "", {"kind": kind, "bin_id": bin_id}, "")


def fed(made, *rows):
    for row in rows:
        made.feed(row)
    return made.event()


@pytest.mark.parametrize(
    ("moment", "hour", "began"),
    [((10, 12), 0, (10, 0)), ((10, 5, 59), 6, (9, 6)), ((10, 6), 6, (10, 6)), ((10, 0), 0, (10, 0))],
)
def test_a_day_begins_at_its_hour(moment, hour, began):
    day = datetime(2026, 3, *moment).timestamp()
    assert day_began(day, hour) == datetime(2026, 3, *began).timestamp()


def test_a_lot_counts_nothing_but_itself():
    shown = fed(book("L1"), verdict("a"), verdict("b", "fail", lot="L2"), verdict("c", lot=""))
    assert (shown.passed, shown.failed, shown.since, len(shown.cells)) == (1, 0, 0.0, 1)
    assert shown.yield_line == (1.0,)


def test_without_a_lot_today_counts_and_tomorrow_begins_anew():
    made = book(consecutive_fails=2, lot_size=100)
    today = fed(made, verdict("a", "fail", lot="L1"), verdict("b", "fail", lot="L2"))
    assert (today.failed, today.since, today.to_go) == (2, day_began(NOON, 0), -1)
    tomorrow = fed(made, verdict("c", "quarantine", NOON + 24 * HOUR))
    assert (tomorrow.failed, tomorrow.quarantined, tomorrow.since) == (0, 1, day_began(NOON + 24 * HOUR, 0))
    assert tomorrow.yield_line == (0.0,) and len(tomorrow.cells) == 1
    assert "2 parts failed in a row" in made.stopped, "midnight mends no bench"


def test_a_map_is_of_one_wafer():
    made = book("L1", "W2")
    made.feed_all([verdict("a", wafer="W1", x=3, y=4), verdict("b", wafer="W2", x=5, y=6)])
    chosen = made.event()
    assert [(cell.x, cell.y) for cell in chosen.cells] == [(5, 6)] and chosen.map_name == "W2"
    followed = fed(made, verdict("c", wafer="W3", x=3, y=4))
    assert [(cell.x, cell.y) for cell in followed.cells] == [(3, 4)] and followed.map_name == "W3"
    assert followed.passed == 3, "the lot is more than its wafer"
    anywhere = fed(book(), verdict("a", lot="L1"), verdict("b", lot="L2", x=1, y=1))
    assert len(anywhere.cells) == 1 and anywhere.map_name == "L2 W1"


def test_the_places_of_a_tray_are_counted_per_tray():
    made = book("L1", "T2", kind="tray")
    made.feed_all([verdict(f"a{n}", wafer="T1") for n in range(12)])
    shown = fed(made, verdict("b", wafer="T2"), verdict("c", wafer="T2"))
    assert [(cell.x, cell.y) for cell in shown.cells] == [(0, 0), (1, 0)]


def test_a_part_on_hold_is_in_no_yield_until_it_is_finished():
    made = book("L1", yield_limit=0.9, yield_minimum_parts=2)
    held = fed(made, verdict("a", "hold"))
    assert (held.held, held.first_pass_yield, held.yield_line) == (1, 0.0, ())
    two = fed(made, verdict("b"), verdict("c", "hold"))
    assert (two.first_pass_yield, two.yield_line) == (1.0, (1.0,)) and not made.stopped
    done = fed(made, verdict("a", "pass"), verdict("c", "fail"))
    assert (done.passed, done.failed, done.held, done.yield_line) == (2, 1, 0, (1.0, 1.0, 0.6667))
    again = fed(made, verdict("c", "pass"))
    assert again.first_pass_yield == pytest.approx(2 / 3), "a retest is no first pass"
    assert "is below the limit" in made.stopped


def hold(bench, label):
    """Stop the run behind its first burn."""
    bench.world.set(name_seconds=30.0)
    state = bench.load(label)
    bench.bench.handle(Start(1, state.epoch))
    bench.watcher.wait(1, "the first burn", lambda now: any(s.id == "name" for s in now.steps), 20.0)
    bench.bench.handle(Stop(1))
    assert bench.verdict().state == "hold"
    bench.world.set(name_seconds=0.0)
    bench.take_out()


def test_window_and_history_agree_on_parts_on_hold(bench):
    bench.ready(lot="LOT1")
    hold(bench, "LOT1/D1")
    (row,) = bench.query("yield").rows
    assert row == ("fake-cp", "LOT1", 0, 0, None, 1) and bench.last(Lot).first_pass_yield == 0.0
    bench.go("LOT1/D2")
    bench.take_out()
    (row,) = bench.query("yield").rows
    assert row == ("fake-cp", "LOT1", 1, 1, 1.0, 1) and bench.last(Lot).first_pass_yield == 1.0
    bench.go("LOT1/D1")
    (row,) = bench.query("yield").rows
    assert row == ("fake-cp", "LOT1", 2, 2, 1.0, 0) and bench.last(Lot).first_pass_yield == 1.0


def test_the_card_without_a_lot_leaves_out_yesterday(folder):
    real = time.time
    first = Bench(folder)
    first.bench.journal._clock = lambda: real() - 48 * HOUR
    first.ready()
    first.go("LOT1/D1")
    first.close()
    second = Bench(folder)
    try:
        World(folder).remove(1)
        second.ready()
        assert second.last(Lot).passed == 0
        second.go("LOT1/D2")
        assert (second.last(Lot).passed, second.last(Lot).since) == (1, day_began(real(), 0))
        second.choose("LOT1")
        assert (second.last(Lot).passed, second.last(Lot).since) == (2, 0.0)
    finally:
        second.close()


def test_a_restart_after_midnight_does_not_forget_that_parts_failed_in_a_row(folder):
    real = time.time
    first = Bench(folder)
    first.bench.journal._clock = lambda: real() - 24 * HOUR
    first.ready()
    for label, bin_id in (("D1", ""), ("D2", "otp"), ("D3", "otp")):
        first.world.set(reject=bin_id)
        first.go(label)
        first.take_out()
    assert "2 parts failed in a row" in first.bench.book.stopped
    first.close()
    second = Bench(folder)
    try:
        second.ready()
        assert second.last(Lot).failed == 0, "that was yesterday"
        assert "2 parts failed in a row" in second.bench.book.stopped
    finally:
        second.close()
