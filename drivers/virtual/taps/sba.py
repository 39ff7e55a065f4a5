"""System bus access of the debug module: sbcs, sbaddress0, sbdata0 (device sheet 5.1, RTL sheet section 4)."""

from __future__ import annotations

from drivers.virtual.taps.bus import Bus, BusError
from drivers.virtual.taps.clock import Clock

SBCS_STATIC = 0x20000407  # version 1, 32 address bits, access 8/16/32
SBCS_INACTIVE = 0x00040000  # what is read while dmactive is 0
WORD = 0xFFFFFFFF
ACCESS_WORD = 2
SBERROR_BUS, SBERROR_ALIGNMENT, SBERROR_SIZE = 2, 3, 4
BUSY_ERROR, BUSY = 1 << 22, 1 << 21
READ_ON_ADDRESS, AUTOINCREMENT, READ_ON_DATA = 1 << 20, 1 << 16, 1 << 15
OVERHEAD_CLK = 2.0  # with it a write may follow after 45 TCK while the latency is at most 45 x ratio - 2


class SystemBusAccess:
    """One access at a time; its effects become visible when the bus has answered."""

    def __init__(self, bus: Bus, clock: Clock, latency: float = 0.0) -> None:
        self.enabled = True
        self.latency = latency
        self._bus = bus
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """State while dmactive is 0; an access in flight is forgotten."""
        self._mode = ACCESS_WORD << 17
        self._busy_error = False
        self._error = 0
        self._address = 0
        self._data = 0
        self._due: float | None = None
        self._outcome: tuple[int | None, int] = (None, 0)

    @property
    def busy(self) -> bool:
        """An access has not been answered yet."""
        if self._due is None:
            return False
        if self._clock.now < self._due:
            return True
        self._finish()
        return False

    def read_status(self) -> int:
        """sbcs; may be read at any time."""
        busy = BUSY if self.busy else 0
        return SBCS_STATIC | self._mode | busy | (BUSY_ERROR if self._busy_error else 0) | self._error << 12

    def write_status(self, value: int) -> bool:
        """sbcs: mode bits, write-one-to-clear errors; False while busy, which also sets sbbusyerror."""
        if self.busy:
            self._busy_error = True
            return False
        self._mode = value & (READ_ON_ADDRESS | 7 << 17 | AUTOINCREMENT | READ_ON_DATA)
        if value & BUSY_ERROR:
            self._busy_error = False
        if value & 7 << 12:
            self._error = 0
        return True

    def read_address(self) -> int:
        """sbaddress0; never refused."""
        if self._due is not None and self._clock.now >= self._due:
            self._finish()
        return self._address

    def write_address(self, value: int) -> bool:
        """sbaddress0; starts a read when readonaddr is set; False while busy or sbbusyerror is set."""
        if self._refused():
            return False
        self._address = value
        if self._mode & READ_ON_ADDRESS and not self._error:
            self._start(write=False)
        return True

    def read_data(self) -> int | None:
        """sbdata0; starts the next read when readondata is set; None while busy or sbbusyerror is set."""
        if self._refused():
            return None
        value = self._data
        if self._mode & READ_ON_DATA and not self._error:
            self._start(write=False)
        return value

    def write_data(self, value: int) -> bool:
        """sbdata0; starts a write unless sberror is set; False while busy or sbbusyerror is set."""
        if self._refused():
            return False
        self._data = value
        if not self._error:
            self._start(write=True)
        return True

    def _refused(self) -> bool:
        if (self._due is not None and self.busy) or self._busy_error:
            self._busy_error = True
            return True
        return False

    def _start(self, write: bool) -> None:
        access = self._mode >> 17 & 7
        address = self._address
        self._due = self._clock.now + self.latency + OVERHEAD_CLK
        # the alignment check comes last in the debug module and wins over the size check
        if address & (1 << access) - 1 & WORD:
            self._outcome = (None, SBERROR_ALIGNMENT)
        elif access > ACCESS_WORD:
            self._outcome = (None, SBERROR_SIZE)
        else:
            self._outcome = self._transfer(write, address, 1 << access)

    def _transfer(self, write: bool, address: int, size: int) -> tuple[int | None, int]:
        """Access the bus: (read data or None, error code)."""
        try:
            if not self.enabled:
                raise BusError("system bus access is closed by the life cycle gate")
            if write:
                self._bus.write(address, size, self._data & (1 << 8 * size) - 1)
                return None, 0
            # the whole word is read and shifted, neighbours stay in the upper bytes
            return self._bus.read(address & ~3, 4) >> 8 * (address & 3), 0
        except BusError:
            return (None if write else WORD), SBERROR_BUS

    def _finish(self) -> None:
        self._due = None
        data, error = self._outcome
        if data is not None:
            self._data = data
        if error:
            self._error = error
        if error not in (SBERROR_ALIGNMENT, SBERROR_SIZE) and self._mode & AUTOINCREMENT:
            self._address = self._address + (1 << (self._mode >> 17 & 7)) & WORD
