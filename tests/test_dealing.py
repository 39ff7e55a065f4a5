"""The order in which several workers take the tests: none is lost, and every worker begins with long ones."""

from __future__ import annotations

from dataclasses import dataclass

from dealing import dealt
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True)
class Item:
    number: int
    path: int
    long: bool


def dealt_to(workers: int, items: list[Item]) -> list[Item]:
    return dealt(items, workers, lambda item: item.long)


@given(st.lists(st.booleans()), st.integers(1, 9))
def test_every_test_is_there_once(longs, workers):
    items = [Item(number, number // 3, long) for number, long in enumerate(longs)]
    assert sorted(dealt_to(workers, items), key=lambda item: item.number) == items


def test_each_slice_begins_with_its_share_and_keeps_modules_together():
    items = [Item(number, number // 2, number in (2, 3, 10, 12, 13)) for number in range(16)]
    order = [item.number for item in dealt_to(2, items)]
    assert order[:8] == [2, 3, 12, 13, 0, 1, 4, 5]
    assert order[8:] == [10, 6, 7, 8, 9, 11, 14, 15]
