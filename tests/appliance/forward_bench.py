"""Records that wait in a device store, and how their forwarding is set up."""

from __future__ import annotations

import threading

from registry_bench import device

from station.appliance.registry_settings import ForwardSettings


def settings_for(registry, **changes) -> ForwardSettings:
    return ForwardSettings(**{"url": registry.url, "headers": None, "ca": None, "batch": 10, "seconds": 5.0, **changes})


def fill(store, *numbers: int) -> None:
    for number in numbers:
        store.register(device(number))


def waiting(store) -> list[str]:
    return [record.device_id for record in store.waiting(1000)]


def due_again(store) -> None:
    """Hours have passed."""
    store._database.execute("UPDATE registrations SET next_try_ms = next_try_ms - 10000000 WHERE next_try_ms > 0")


def until(claim) -> None:
    for _ in range(3000):
        if claim():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")
