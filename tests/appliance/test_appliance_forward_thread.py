"""The thread that forwards: how long it waits, what it survives, how it ends."""

from __future__ import annotations

import pytest
from forward_bench import fill, settings_for, until, waiting

from station.appliance import forwarding
from station.appliance.forwarding import Forwarder, forwarder_of
from station.appliance.registry_http import PostFailed


def test_the_wait_doubles_with_jitter_up_to_five_minutes(store):
    drawn = [0.0]
    forwarder = Forwarder(store, None, 10, lambda: drawn[0])
    least = [forwarder._jittered(1.0, 300.0, failures) for failures in range(1, 12)]
    assert least == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150]
    drawn[0] = 1.0
    assert [forwarder._jittered(1.0, 300.0, failures) for failures in (1, 2, 9, 5000)] == [1, 2, 256, 300]


def test_the_thread_forwards_what_comes_and_goes_on_after_failures(store, registry, monkeypatch):
    monkeypatch.setattr(forwarding, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(forwarding, "LONGEST_SECONDS", 0.05)
    fill(store, *range(5))
    registry.answer = registry.says(b"", 503)
    forwarder = forwarder_of(store, settings_for(registry))
    forwarder.start()
    until(lambda: len(registry.bodies) >= 3)
    registry.answer = registry.good
    until(lambda: not waiting(store))
    fill(store, 5)  # wakes it: its own looks are five seconds apart
    until(lambda: not waiting(store))
    assert sorted(set(registry.accepted)) == [f"0x{number:04}" for number in range(6)]
    forwarder.close()
    assert not forwarder._thread.is_alive()


def test_a_fault_in_the_program_does_not_end_the_thread(store, registry, monkeypatch, caplog):
    monkeypatch.setattr(forwarding, "FIRST_SECONDS", 0.01)
    real, calls = store.untried, []

    def untried(*arguments, **named):
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        return real(*arguments, **named)

    monkeypatch.setattr(store, "untried", untried)
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry))
    forwarder.start()
    until(lambda: not waiting(store))
    forwarder.close()
    assert "an error in the program (ZeroDivisionError)" in caplog.text


def test_closing_cuts_a_post_in_progress_and_loses_nothing(store, registry):
    registry.answer = registry.is_silent
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry, seconds=600.0))
    forwarder.start()
    until(lambda: registry.running == 1)
    forwarder.close()
    assert not forwarder._thread.is_alive()
    assert waiting(store) == ["0x0001"]
    assert store.backlog().failed == 0
    with pytest.raises(PostFailed, match="the appliance ends"):
        forwarder._registry.post(b"{}")
