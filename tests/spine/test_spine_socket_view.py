"""What a tile is told while a run waits: for an answer, or until a chip has settled."""

from __future__ import annotations

import pytest

from station.plan import Burn, Plan
from station.protocol import PromptView
from station.socket_view import SocketView

PLAN = Plan(look="Look", lock=Burn("Lock", settle=20.0), check="Check")
PROMPT = PromptView(1, "Is it new?", ("Yes", "No"))


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr("station.socket_view.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def told():
    return []


@pytest.fixture
def view(clock, told):
    view = SocketView(1, 0, told.append)
    view.begin(PLAN, typical=10.0)
    view.change(state="running")
    return view


def test_the_clock_stands_while_a_question_is_open(view, clock, told):
    clock.now += 3
    view.change(prompt=PROMPT)
    clock.now += 3600
    assert (view.now.elapsed, view.now.percent) == (3.0, 30)
    view.progress()
    assert (told[-1].elapsed, told[-1].percent) == (3.0, 30)
    view.change(prompt=None)
    clock.now += 2
    assert (view.now.elapsed, view.now.percent) == (5.0, 50)
    view.change(prompt=PROMPT)
    clock.now += 60
    view.finish("bench_fault", prompt=None)
    assert view.now.elapsed == 5.0


def test_the_next_run_begins_at_zero_whatever_was_asked(view, clock):
    view.change(prompt=PROMPT)
    clock.now += 60
    view.begin(PLAN, typical=10.0)
    clock.now += 4
    assert view.now.elapsed == 4.0


def test_settling_is_told_until_the_burn_is_over(view):
    view.burning(PLAN.lock)
    assert not view.now.settling
    view.settling(PLAN.lock)
    assert (view.now.state, view.now.settling, view.now.stop_allowed) == ("burning", True, False)
    view.burning(None)
    assert (view.now.state, view.now.settling) == ("running", False)
    view.settling(PLAN.lock)
    view.finish("fail")
    assert not view.now.settling
    view.settling(PLAN.lock)
    assert view.now.state == "fail", "the run is over"
