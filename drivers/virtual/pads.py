"""The seam between the virtual bench and a virtual chip: its supply, its records, and the pads of an Earlgrey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

PAD_INPUTS = (
    "por_n",
    "trst_n",
    "tap_strap0",
    "tap_strap1",
    "sw_strap0",
    "sw_strap1",
    "sw_strap2",
    "dft_strap0",
    "dft_strap1",
)
"""Static pads the adapter drives into the chip."""

PAD_OUTPUTS = ("tx_ready", "rx_ready", "test_start", "test_done", "test_error")
"""Static pads the chip drives."""


class Chip(Protocol):
    """What the bench's hands need of any chip; a read-only ``powered``, cheaper than ``state``, is optional."""

    def power(self, on: bool) -> None:
        """Off: volatile state is gone; on: the chip may start."""
        ...

    def fault(self, name: str, argument: str = "") -> None:
        """Arm a fault of the chip's catalogue; an unknown name raises ValueError with a hint."""
        ...

    def state(self) -> Mapping[str, object]:
        """Plain JSON view for tests: lc_state, double_burns, powered, program, faults, …"""
        ...

    def close(self) -> None:
        """Stop the chip's threads; its state is in its files."""
        ...


@runtime_checkable
class ChipPads(Chip, Protocol):
    """Pad-level face of a virtual chip; levels are electrical (True = high).

    Two read-only properties are optional: ``powered`` (bool, cheaper than ``state()``; power-good follows it) and
    ``tdo`` (0 or 1 while TCK is low; only remote_bitbang needs it).
    """

    def set_inputs(self, levels: Mapping[str, bool]) -> None:
        """New levels of some or all of ``PAD_INPUTS``; pads not named keep theirs."""
        ...

    def outputs(self) -> Mapping[str, bool]:
        """Levels of ``PAD_OUTPUTS``; all low while unpowered or in reset."""
        ...

    def jtag(self, count: int, tms: int, tdi: int) -> int:
        """Clock ``count`` TCK cycles with bit i of ``tms`` and ``tdi`` in cycle i.

        Returns TDO sampled just before each rising edge, bit i for cycle i; 0 where undriven or unpowered.
        """
        ...

    def jtag_shift(self, count: int, tdi: int, last_tms: bool) -> int:
        """Fast path: TMS low for all cycles but the last; equal to ``jtag`` with such a ``tms``."""
        ...

    def spi(self, mosi: bytes) -> bytes:
        """Full duplex bytes, most significant bit first, while selected."""
        ...

    def spi_select(self, selected: bool) -> None:
        """Chip select falls (True) or rises (False)."""
        ...

    def uart_take(self) -> bytes:
        """What the chip has sent since the last call."""
        ...

    def uart_give(self, data: bytes) -> None:
        """Bytes that arrive at the chip's UART."""
        ...

    def power(self, on: bool) -> None:
        """Off: volatile state is gone; on: the chip stays in reset until ``por_n`` was low and goes high."""
        ...
