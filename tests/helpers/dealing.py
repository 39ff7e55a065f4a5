"""The order of the tests of a run with several workers: long ones first, a share of them for each worker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, groupby
from typing import Any


def is_long(item: Any) -> bool:
    """Whether a test was given a time of its own."""
    return item.get_closest_marker("timeout") is not None


def dealt(items: list[Any], workers: int, long: Callable[[Any], bool]) -> list[Any]:
    """The same items, so that each of ``workers`` equal slices begins with its share of the modules of long ones.

    Equal slices are what the worksteal scheduler hands out first; what it moves later it takes from their ends.
    """
    shares: list[list[Any]] = [[] for _ in range(workers)]
    modules = groupby(filter(long, items), lambda item: item.path)
    for share, (_, module) in zip(cycle(shares), modules, strict=False):
        share += module
    others = [item for item in items if not long(item)]
    order: list[Any] = []
    for number, share in enumerate(shares):
        size = max((len(items) - len(order)) // (workers - number) - len(share), 0)
        order += share + others[:size]
        del others[:size]
    return order + others
