"""Which refusals have an audit line."""

from __future__ import annotations

from access_bench import Clock

from station.appliance import audit_repeats
from station.appliance.audit_repeats import EACH, WINDOW_SECONDS, Repeats


def noted(repeats: Repeats, number: int, certificate: str = "a", code: str = "NOT_FOUND") -> list[int | None]:
    return [repeats.note(certificate, code) for _ in range(number)]


def test_the_first_of_a_minute_then_every_doubling():
    answers = noted(Repeats(Clock()), 16 * EACH)
    assert answers[:EACH] == [0] * EACH
    told = {place + 1: answer for place, answer in enumerate(answers) if place >= EACH and answer is not None}
    assert told == {EACH * doubled: EACH * doubled // 2 - 1 for doubled in (2, 4, 8, 16)}


def test_nothing_is_lost_when_it_goes_on_later():
    clock = Clock()
    repeats = Repeats(clock)
    noted(repeats, EACH + 30)
    clock.now += WINDOW_SECONDS
    assert noted(repeats, EACH + 1) == [30, *[0] * (EACH - 1), None]


def test_certificates_and_codes_count_on_their_own():
    repeats = Repeats(Clock())
    assert noted(repeats, EACH + 1)[-1] is None
    assert noted(repeats, 1, certificate="b") == noted(repeats, 1, code="INTERNAL") == [0]


def test_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(audit_repeats, "MOST", 3)
    repeats = Repeats(Clock())
    noted(repeats, EACH + 1)
    for name in "bcd":
        noted(repeats, 1, certificate=name)
    assert len(repeats._refused) == 3
    assert noted(repeats, 1) == [0]
