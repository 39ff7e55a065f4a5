"""The one time base of a virtual chip: clocks of the block behind the TAPs, advanced by TCK and by wall time."""

from __future__ import annotations


class Clock:
    """Time in ``clk`` cycles; every TCK cycle is worth ``clk_per_tck`` of them, ``tick`` adds wall time."""

    __slots__ = ("clk_per_tck", "extra", "tck")

    def __init__(self, clk_per_tck: float = 4.0) -> None:
        self.clk_per_tck = clk_per_tck
        self.tck = 0
        self.extra = 0.0

    @property
    def now(self) -> float:
        """Clock cycles since power-on."""
        return self.tck * self.clk_per_tck + self.extra

    def tick(self, clk: float) -> None:
        """Let ``clk`` cycles pass without TCK (wall time between two transfers)."""
        self.extra += clk

    def set_ratio(self, clk_per_tck: float) -> None:
        """Change how many clk one TCK cycle lasts, from now on."""
        now = self.now
        self.clk_per_tck = clk_per_tck
        self.extra = now - self.tck * clk_per_tck
