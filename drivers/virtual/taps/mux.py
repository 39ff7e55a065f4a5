"""The pinmux in front of the TAPs: one selected TAP sees the pads, the others are held in reset."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.tap import Tap


class TapMux:
    """Routes the JTAG pads to the TAP chosen by straps and gates; with none chosen TDO is not driven and reads 0."""

    def __init__(self, clock: Clock, taps: Mapping[str, Tap]) -> None:
        self._clock = clock
        self._taps = dict(taps)
        self._selected: str | None = None

    @property
    def selected(self) -> str | None:
        """Name of the TAP at the pads, or None."""
        return self._selected

    @property
    def tdo(self) -> int:
        """As `Tap.tdo` of the selected TAP; 0 when none is selected."""
        return 0 if self._selected is None else self._taps[self._selected].tdo

    def select(self, name: str | None) -> None:
        """Connect the pads to ``name``; a TAP that loses the pads sees TRST asserted (RTL sheet, row 16)."""
        if name == self._selected:
            return
        if name is not None and name not in self._taps:
            raise ValueError(f"expected one of {sorted(self._taps)}, got {name!r}")
        if self._selected is not None:
            self._taps[self._selected].reset()
        self._selected = name

    def reset(self) -> None:
        """TRST_N at the pads."""
        if self._selected is not None:
            self._taps[self._selected].reset()

    def tick(self, clk: float) -> None:
        """Let wall time pass, in clk, without TCK; only what stands behind the selected TAP is advanced."""
        if self._selected is None:
            self._clock.tick(clk)
        else:
            self._taps[self._selected].tick(clk)

    def clock(self, count: int, tms: int, tdi: int) -> int:
        """As `Tap.clock` of the selected TAP; 0 when none is selected."""
        if self._selected is None:
            self._clock.tck += count
            return 0
        return self._taps[self._selected].clock(count, tms, tdi)

    def shift(self, count: int, tdi: int, last_tms: bool) -> int:
        """As `Tap.shift` of the selected TAP; 0 when none is selected."""
        if self._selected is None:
            self._clock.tck += count
            return 0
        return self._taps[self._selected].shift(count, tdi, last_tms)
