"""``ports.Pins`` and ``ports.Presence``: banks A and B through MPSSE, D by bit-bang, C by modem status."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pyftdi.ftdi import Ftdi

from drivers.ftdi.adapter import Adapter
from drivers.ftdi.board import Board, Signal
from drivers.ftdi.mpsse import MpsseChannel
from station.errors import BenchError, nearest
from station.model import Contact

MODEM_BITS = {3: 0x10, 5: 0x20, 6: 0x80, 7: 0x40}  # CTS, DSR, DCD, RI in the status byte, set while the pin is low
SAMPLES_WANTED = 1


class BitBangBank:
    """A bank in asynchronous bit-bang mode, opened so that its outputs keep or take their levels without a pulse."""

    def __init__(self, adapter: Adapter, bank: str, outputs: int, idle: int) -> None:
        self.lock = threading.RLock()
        self._adapter = adapter
        self._bank = bank
        self._ftdi = adapter.open_channel(bank)
        with adapter.errors(bank):
            if self._ftdi.read_data_bytes(SAMPLES_WANTED, attempt=2):
                # a channel that answers samples is in bit-bang mode already: keep its levels
                self._ftdi.resumed_in(Ftdi.BitMode.BITBANG)
                self._levels = self._ftdi.read_pins() & outputs
            else:
                self._levels = idle & outputs
                self._ftdi.set_bitmode(0, Ftdi.BitMode.BITBANG)
            self._ftdi.write_data(bytes((self._levels,)))  # the latch first, then the direction
            self._ftdi.set_bitmode(outputs, Ftdi.BitMode.BITBANG)

    def drive(self, mask: int, levels: int) -> None:
        """Set the pins of ``mask``, all in one transfer."""
        with self.lock, self._adapter.errors(self._bank):
            self._levels = (self._levels & ~mask) | (levels & mask)
            self._ftdi.write_data(bytes((self._levels,)))

    def sample(self) -> int:
        """Levels of all eight pins, in one control transfer."""
        with self.lock, self._adapter.errors(self._bank):
            return int(self._ftdi.read_pins())


class ModemBank:
    """The modem inputs of the UART's bank, read by control requests beside whoever owns the UART."""

    def __init__(self, adapter: Adapter, bank: str) -> None:
        self._adapter = adapter
        self._bank = bank
        self._ftdi = adapter.watch_channel(bank)

    def drive(self, mask: int, levels: int) -> None:
        """Modem inputs cannot be driven; the board file's check lets no output come here."""
        raise BenchError(f"bank {self._bank} has inputs only")

    def sample(self) -> int:
        """Pin levels rebuilt from the modem status."""
        with self._adapter.errors(self._bank):
            status = self._ftdi.poll_modem_status()
        return sum(1 << bit for bit, flag in MODEM_BITS.items() if not status & flag)


Bank = MpsseChannel | BitBangBank | ModemBank


class FtdiPins:
    """Signals by name; True means asserted."""

    def __init__(self, board: Board, banks: Mapping[str, Bank]) -> None:
        self.reset_seconds = board.reset_seconds
        self._outputs = {s.name: s for s in board.signals.values() if s.output}
        self._inputs = {bank: board.of_bank(bank, output=False) for bank in banks}
        self._banks = banks

    def drive(self, levels: Mapping[str, bool]) -> None:
        """Set outputs, all of one bank in one transfer, banks in alphabetical order."""
        changes: dict[str, tuple[int, int]] = {}
        for name, asserted in levels.items():
            signal = self._output(name)
            mask, value = changes.get(signal.bank, (0, 0))
            changes[signal.bank] = (mask | signal.mask, value | signal.level(asserted))
        for bank in sorted(changes):
            self._banks[bank].drive(*changes[bank])

    def sample(self) -> Mapping[str, bool]:
        """All inputs, one exchange per bank that has any."""
        return {name: level for bank in self._inputs for name, level in self.sample_bank(bank).items()}

    def sample_bank(self, bank: str) -> dict[str, bool]:
        """The inputs of one bank."""
        signals = self._inputs[bank]
        if not signals:
            return {}
        levels = self._banks[bank].sample()
        return {signal.name: signal.asserted(levels) for signal in signals}

    def bank_of(self, name: str) -> str:
        """Which bank an input is on; an empty text when the board lacks it."""
        return next((bank for bank, signals in self._inputs.items() if any(s.name == name for s in signals)), "")

    def _output(self, name: str) -> Signal:
        try:
            return self._outputs[name]
        except KeyError:
            raise BenchError(f"the board drives no signal called {name!r}{nearest(name, self._outputs)}") from None


class FtdiPresence:
    """Presence switch, lid switch and power-good; a sensor that the board lacks counts as good."""

    SENSORS = ("presence", "lid_closed", "power_good")

    def __init__(self, pins: FtdiPins) -> None:
        self._pins = pins
        self._banks = sorted({pins.bank_of(name) for name in self.SENSORS} - {""})

    def contact(self) -> Contact:
        """Read the sensors now."""
        levels: dict[str, bool] = {}
        for bank in self._banks:
            levels |= self._pins.sample_bank(bank)
        return Contact(*(levels.get(name, True) for name in self.SENSORS))
