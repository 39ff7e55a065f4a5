"""The threads that answer calls: how many work, who steps aside, how they end."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from station.appliance.service_crew import Crew

WAIT = 20.0


@contextmanager
def crew_of(at_once: int, most: int = 8):
    crew = Crew(at_once, most)
    crew.start()
    yield crew
    crew.shutdown()
    assert not any(thread.name == "appliance" for thread in threading.enumerate())


class Held:
    """Work that goes on until it is let go."""

    def __init__(self, crew: Crew) -> None:
        self.began, self._go_on = threading.Event(), threading.Event()
        self.future = crew.submit(self._work)

    def _work(self) -> None:
        self.began.set()
        assert self._go_on.wait(WAIT)

    def let_go(self) -> None:
        self._go_on.set()
        self.future.result(WAIT)


def threads() -> int:
    return sum(thread.name == "appliance" for thread in threading.enumerate())


def test_results_and_errors_reach_the_future():
    with crew_of(2) as crew:
        assert crew.submit(lambda a, b: a - b, 5, b=2).result(WAIT) == 3
        with pytest.raises(ZeroDivisionError):
            crew.submit(lambda: 1 / 0).result(WAIT)
        assert crew.submit(str, 7).result(WAIT) == "7"


def test_only_so_many_work_and_one_more_when_one_steps_aside():
    with crew_of(1) as crew:
        first, second = Held(crew), Held(crew)
        assert first.began.wait(WAIT)
        assert not second.began.is_set()
        assert threads() == 1
        assert crew.step_aside()
        assert second.began.wait(WAIT)
        crew.step_back()
        second.let_go()
        first.let_go()
        crew.submit(int).result(WAIT)
        assert threads() == 1


def test_who_steps_aside_while_there_is_one_too_many_adds_none():
    with crew_of(1) as crew:
        held = [Held(crew) for _ in range(2)]
        assert crew.step_aside()
        assert all(one.began.wait(WAIT) for one in held)
        crew.step_back()
        assert crew.step_aside()
        assert threads() == 2
        crew.step_back()
        for one in held:
            one.let_go()


def test_there_is_an_end_to_threads():
    with crew_of(1, most=3) as crew:
        assert [crew.step_aside() for _ in range(4)] == [True, True, False, False]
        assert threads() == 3


def test_cancelled_work_is_not_done():
    with crew_of(1) as crew:
        first, second = Held(crew), Held(crew)
        assert second.future.cancel()
        first.let_go()
        crew.submit(int).result(WAIT)
        assert not second.began.is_set()
