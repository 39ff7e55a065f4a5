"""One virtual socket: sensors, supply, board wiring between an FT4232H's 32 pins and a chip's pads."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from drivers.virtual.mpsse import REVERSED, TMS
from drivers.virtual.pads import ChipPads
from drivers.virtual.place import Place

BANKS = "ABCD"

CHIP_INPUTS = {
    ("A", 4): "trst_n",
    ("A", 5): "tap_strap0",
    ("A", 6): "tap_strap1",
    ("A", 7): "por_n",
    ("B", 4): "sw_strap0",
    ("B", 5): "sw_strap1",
    ("B", 6): "sw_strap2",
    ("D", 0): "dft_strap0",
    ("D", 1): "dft_strap1",
}
CHIP_OUTPUTS = {
    ("B", 7): "tx_ready",
    ("D", 2): "rx_ready",
    ("D", 3): "test_start",
    ("D", 4): "test_done",
    ("D", 5): "test_error",
}
PRESENCE, LID = ("D", 6), ("D", 7)
CHIP_SELECT = ("B", 3)

PULLED_UP = frozenset((("A", 2), ("A", 3), ("A", 4), ("B", 3)))
"""Nets with a pull-up on the board; all others have a pull-down, reset among them: a dead adapter holds reset."""

EDGES_KEPT = 4096


class Edge(NamedTuple):
    """One change of a net that the adapter drives."""

    time: float
    signal: str
    level: bool


class VirtualSocket(Place[ChipPads]):
    """What sits between adapter and chip; every method may be called from any thread."""

    def __init__(self, number: int, open_chip: Callable[[Path], ChipPads]) -> None:
        super().__init__(number, open_chip)
        self.edges: deque[Edge] = deque(maxlen=EDGES_KEPT)
        self.edge_counts: Counter[str] = Counter()
        self._value = dict.fromkeys(BANKS, 0)
        self._direction = dict.fromkeys(BANKS, 0)
        self._nets = {name: place in PULLED_UP for place, name in CHIP_INPUTS.items()}
        self._selected = False

    def _seat(self, chip: ChipPads) -> None:
        chip.set_inputs(dict(self._nets))
        chip.spi_select(self._selected)

    def state(self) -> dict[str, object]:
        """Sensors, nets and the chip's own view."""
        with self._lock:
            return {**super().state(), "nets": dict(self._nets), "edges": dict(self.edge_counts)}

    # ---- what the adapter sees ------------------------------------------------------------------------------------

    def drive(self, bank: str, value: int, direction: int) -> None:
        """The adapter's pins of one bank change; edges of the chip's static inputs are recorded and passed on."""
        with self._lock:
            self._value[bank], self._direction[bank] = value, direction
            changed: dict[str, bool] = {}
            for place, name in CHIP_INPUTS.items():
                if place[0] == bank and self._net(place) != self._nets[name]:
                    self._nets[name] = changed[name] = self._net(place)
            self._record(changed)
            if changed and self._chip is not None:
                self._chip.set_inputs(changed)
            if bank == CHIP_SELECT[0]:
                self._select(not self._net(CHIP_SELECT))

    def _net(self, place: tuple[str, int]) -> bool:
        bank, bit = place
        if self._direction[bank] >> bit & 1:
            return bool(self._value[bank] >> bit & 1)
        return place in PULLED_UP

    def _record(self, changed: Mapping[str, bool]) -> None:
        now = time.monotonic()
        for name, level in changed.items():
            self.edges.append(Edge(now, name, level))
            self.edge_counts[name] += 1

    def _select(self, selected: bool) -> None:
        if selected != self._selected:
            self._selected = selected
            if self._chip is not None:
                self._chip.spi_select(selected)

    def sample(self, bank: str) -> int:
        """Levels of the eight pins of one bank: what is driven, what the chip and the sensors say, else the pulls."""
        with self._lock:
            chip = self._chip.outputs() if self._chip is not None else {}
            direction = self._direction[bank]
            levels = 0
            for bit in range(8):
                place = (bank, bit)
                if direction >> bit & 1:
                    high = bool(self._value[bank] >> bit & 1)
                elif place in CHIP_OUTPUTS:
                    high = bool(chip.get(CHIP_OUTPUTS[place], False))
                else:
                    high = self._sensor(place)
                levels |= high << bit
            return levels

    def _sensor(self, place: tuple[str, int]) -> bool:
        if place == PRESENCE:
            return self._chip is None  # a switch to ground: low with a part
        if place == LID:
            return not self.lid_closed
        return place in PULLED_UP

    def jtag(self, count: int, tdi: int, tms: int | None) -> int:
        """Clock the selected TAP; without a part TDO is pulled up."""
        chip = self._chip
        if chip is None:
            return (1 << count) - 1
        if tms is None:
            if self._value["A"] & TMS:
                return chip.jtag(count, (1 << count) - 1, tdi)
            return chip.jtag_shift(count, tdi, False)
        return chip.jtag(count, tms, tdi)

    def spi(self, data: bytes) -> bytes:
        """Clock bytes on the SPI bus; without a selected part MISO is pulled down."""
        chip = self._chip
        return chip.spi(data) if chip is not None and self._selected else bytes(len(data))

    def uart_take(self) -> bytes:
        """What the part has sent on its UART."""
        chip = self._chip
        return chip.uart_take() if chip is not None else b""

    def uart_give(self, data: bytes) -> None:
        """Bytes towards the part's UART."""
        chip = self._chip
        if chip is not None:
            chip.uart_give(data)


class BankWires:
    """Pins of a bank without clocked functions (UART and bit-bang channels)."""

    def __init__(self, socket: VirtualSocket, bank: str) -> None:
        self._socket = socket
        self._bank = bank

    def drive(self, value: int, direction: int) -> None:
        """New levels and directions."""
        self._socket.drive(self._bank, value, direction)

    def sample(self) -> int:
        """Levels of all eight pins."""
        return self._socket.sample(self._bank)

    def clock(self, count: int, tdi: int, tms: int | None) -> int:
        """Nothing is clocked here."""
        return 0

    def clock_bytes(self, data: bytes) -> bytes:
        """Nothing is clocked here."""
        return bytes(len(data))


class JtagWires(BankWires):
    """Bank A: TCK, TDI, TDO, TMS on bits 0 to 3."""

    def __init__(self, socket: VirtualSocket, bank: str) -> None:
        super().__init__(socket, bank)
        self._tms = 0

    def drive(self, value: int, direction: int) -> None:
        """New levels and directions."""
        self._tms = value & TMS
        super().drive(value, direction)

    def clock(self, count: int, tdi: int, tms: int | None) -> int:
        """Clock the TAP; TMS stays at its last level where none is given."""
        if tms is not None:
            self._tms = tms >> (count - 1) & 1
            return self._socket.jtag(count, tdi, tms)
        return self._socket.jtag(count, tdi, (1 << count) - 1 if self._tms else None)

    def clock_bytes(self, data: bytes) -> bytes:
        """Most significant bit first through the TAP."""
        bits = int.from_bytes(data.translate(REVERSED), "little")
        return self.clock(8 * len(data), bits, None).to_bytes(len(data), "little").translate(REVERSED)


class SpiWires(BankWires):
    """Bank B: SCK, MOSI, MISO, CS on bits 0 to 3; bits outside whole bytes are kept until a byte is full."""

    def __init__(self, socket: VirtualSocket, bank: str) -> None:
        super().__init__(socket, bank)
        self._bits = 0
        self._count = 0

    def drive(self, value: int, direction: int) -> None:
        """New levels and directions; a chip-select edge ends a partial byte."""
        self._bits = self._count = 0
        super().drive(value, direction)

    def clock(self, count: int, tdi: int, tms: int | None) -> int:
        """Clock bits in time order; MISO of a partial byte reads low."""
        result = 0
        for cycle in range(count):
            self._bits = self._bits << 1 | (tdi >> cycle & 1)
            self._count += 1
            if self._count == 8:
                answer = self._socket.spi(bytes((self._bits & 0xFF,)))[0]
                if cycle >= 7:
                    result |= REVERSED[answer] << (cycle - 7)
                self._bits = self._count = 0
        return result

    def clock_bytes(self, data: bytes) -> bytes:
        """Whole bytes, most significant bit first."""
        if self._count:
            bits = int.from_bytes(data.translate(REVERSED), "little")
            return self.clock(8 * len(data), bits, None).to_bytes(len(data), "little").translate(REVERSED)
        return self._socket.spi(data)
