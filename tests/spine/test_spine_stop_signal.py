"""The signal that ends waits: seen by every waiter, from any thread, once and for good."""

from __future__ import annotations

import threading
import time

from station.stop_signal import StopSignal


def test_a_wait_ends_with_its_time():
    signal = StopSignal()
    signal.wait(0.001)
    signal.wait(0)
    signal.wait(-1)  # a deadline that has passed
    assert not signal.is_set()


def test_every_waiter_goes_on_when_it_is_set():
    signal, gone = StopSignal(), []
    waiters = [threading.Thread(target=lambda n=n: (signal.wait(60), gone.append(n))) for n in range(4)]
    for waiter in waiters:
        waiter.start()
    setters = [threading.Thread(target=signal.set) for _ in range(4)]
    for setter in setters:
        setter.start()
    for thread in (*waiters, *setters):
        thread.join(30)
    assert sorted(gone) == [0, 1, 2, 3]
    assert signal.is_set()


def test_later_waits_end_at_once():
    signal = StopSignal()
    signal.set()
    signal.set()
    began = time.monotonic()
    for _ in range(100):
        signal.wait(60)
    assert time.monotonic() - began < 60, "one of the waits took its time"
