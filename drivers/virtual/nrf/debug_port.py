"""The SWD port of a part: debug port registers, access ports, memory access through them.

Sources: Arm Debug Interface ADIv5.2; identification values: nordic-tfm sheet 2.7, 5.3. A part without contact or power
does not acknowledge (``NoAcknowledge``); a refused access is a fault (``TransferFault``). After power-on the port wants
the line reset of the switching sequence before it answers; a reset pin leaves it as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from drivers.virtual.nrf.bus import Bus, BusFault
from drivers.virtual.nrf.chip import NoPower, NordicChip
from drivers.virtual.nrf.core import Core
from drivers.virtual.nrf.cortex import ROM_TABLE
from drivers.virtual.nrf.silicon import AHB_AP_IDR, APB_AP_IDR, CTRL_AP_IDR, DPIDR
from drivers.virtual.nrf.uicr import PowerLostInWrite

T = TypeVar("T")
LINE_RESET_BITS = 50
CTRL_STAT, SELECT = 0x4, 0x8
CSYSPWRUPREQ, CDBGPWRUPREQ, STICKYERR, STKERRCLR = 1 << 30, 1 << 28, 1 << 5, 1 << 2
CSW, TAR, DRW, BD0, CFG, BASE, IDR = 0x00, 0x04, 0x0C, 0x10, 0xF4, 0xF8, 0xFC
DEVICE_ENABLED, SECURE_ENABLED, NON_SECURE = 1 << 6, 1 << 23, 1 << 30
CSW_WRITABLE = 0x7F00_8037
"""Size, increment, HPROT and HNONSEC."""
CSW_RESET = 0x2300_0002
SIZES = {0: 1, 1: 2, 2: 4}
INCREMENT = 0x30
NRF54L_CTRL_AP, NRF54L_CTRL_AP_IDR, NRF54L_TARGETID = 2, 0x3288_0000, 0x001C_0289
OTHER_TARGETID, OTHER_IDR = 0x1000_1927, 0x2477_0011


class NoAcknowledge(Exception):
    """Nobody answers on the wire."""


class TransferFault(Exception):
    """The access was refused."""


class DebugPort:
    """One part's SWD port; every method may be called from any thread."""

    def __init__(self, chip: NordicChip) -> None:
        self._chip = chip
        chip.debug_power_lost = self.power_lost
        self.power_lost()

    def power_lost(self) -> None:
        """The port forgets everything."""
        self._answers = False
        self._select = self._ctrl_stat = 0
        self._csw: defaultdict[int, int] = defaultdict(lambda: CSW_RESET)
        self._tar: defaultdict[int, int] = defaultdict(int)

    def line_reset(self, bits: int) -> None:
        """The switching sequence of the host, with at least 50 high bits."""
        with self._chip.lock:
            if bits >= LINE_RESET_BITS and self._chip.powered and self._chip.has_contact:
                self._answers = True

    # ---- debug port -----------------------------------------------------------------------------------------------

    def read_dp(self, register: int) -> int:
        """DPIDR, CTRL/STAT and its banks, RDBUFF."""
        return self._do(lambda: self._read_dp(register))

    def write_dp(self, register: int, value: int) -> None:
        """ABORT, CTRL/STAT, SELECT."""
        self._do(lambda: self._write_dp(register, value))

    def _read_dp(self, register: int) -> int:
        if register == 0:
            return DPIDR
        if register != CTRL_STAT:
            return 0
        bank = self._select & 0xF
        if bank == 0:
            requests = self._ctrl_stat & (CSYSPWRUPREQ | CDBGPWRUPREQ)
            return self._ctrl_stat | requests << 1
        return {2: self._targetid(), 3: 0x1}.get(bank, 0)

    def _write_dp(self, register: int, value: int) -> None:
        if register == 0:
            if value & STKERRCLR:
                self._ctrl_stat &= ~STICKYERR
        elif register == CTRL_STAT and self._select & 0xF == 0:
            self._ctrl_stat = value & ~(STICKYERR | CSYSPWRUPREQ << 1 | CDBGPWRUPREQ << 1) | self._ctrl_stat & STICKYERR
        elif register == SELECT:
            self._select = value

    def _targetid(self) -> int:
        other = {"nrf54l": NRF54L_TARGETID, "other": OTHER_TARGETID}
        return other.get(self._family, self._chip.apparent.targetid)

    # ---- access ports ---------------------------------------------------------------------------------------------

    def read_ap(self, address: int) -> int:
        """One register; ``address`` has the access port in bits 31:24."""
        return self._do(lambda: self._on_ap(lambda: self._read_ap(address >> 24 & 0xFF, address & 0xFC)))

    def write_ap(self, address: int, value: int) -> None:
        """One register; ``address`` has the access port in bits 31:24."""
        self._do(lambda: self._on_ap(lambda: self._write_ap(address >> 24 & 0xFF, address & 0xFC, value)))

    def _on_ap(self, access: Callable[[], T]) -> T:
        powered = CDBGPWRUPREQ | CSYSPWRUPREQ
        if self._ctrl_stat & powered != powered or self._ctrl_stat & STICKYERR:
            raise TransferFault("the debug domain is not powered up, or an error is sticky")
        try:
            return access()
        except (TransferFault, BusFault):
            self._ctrl_stat |= STICKYERR
            raise

    def _read_ap(self, port: int, register: int) -> int:
        if register == IDR:
            return self._idr(port)
        if port in self._ctrl:
            return self._ctrl[port].ctrl_ap.read(register)
        if port not in self._ahb:
            return 2 if register == BASE else 0
        if register == DRW:
            return self._drw_read(port)
        if BD0 <= register < BD0 + 16:
            address = (self._tar[port] & ~0xF) + register - BD0
            return self._memory(port).read_words(address, 1, self._secure(port))[0]
        return {CSW: self._status(port), TAR: self._tar[port], BASE: ROM_TABLE | 3}.get(register, 0)

    def _write_ap(self, port: int, register: int, value: int) -> None:
        if port in self._ctrl:
            self._ctrl[port].ctrl_ap.write(register, value)
        elif port not in self._ahb:
            return
        elif register == CSW:
            self._csw[port] = value & CSW_WRITABLE
        elif register == TAR:
            self._tar[port] = value
        elif register == DRW:
            self._drw_write(port, value)
        elif BD0 <= register < BD0 + 16:
            address = (self._tar[port] & ~0xF) + register - BD0
            self._memory(port).write_words(address, [value], self._secure(port))

    @property
    def _family(self) -> str:
        """The fault ``wrong_family``, or nothing."""
        return self._chip.faults.lasting.get("wrong_family", "")

    @property
    def _ahb(self) -> dict[int, Core]:
        """Access ports that lead to a core's bus."""
        cores = self._chip.apparent.cores[: 1 if self._family in ("nrf54l", "other") else None]
        return {core.ahb_ap: self._chip.cores[core.name] for core in cores if core.name in self._chip.cores}

    @property
    def _ctrl(self) -> dict[int, Core]:
        """Control access ports; another maker's part has none."""
        if self._family == "nrf54l":
            return {NRF54L_CTRL_AP: self._chip.app}
        cores = () if self._family == "other" else self._chip.apparent.cores
        return {core.ctrl_ap: self._chip.cores[core.name] for core in cores if core.name in self._chip.cores}

    def _idr(self, port: int) -> int:
        if port in self._ahb:
            return OTHER_IDR if self._family == "other" else AHB_AP_IDR
        if port in self._ctrl:
            return NRF54L_CTRL_AP_IDR if self._family == "nrf54l" else CTRL_AP_IDR
        return APB_AP_IDR if port == self._chip.apparent.apb_ap and self._family != "other" else 0

    # ---- memory ---------------------------------------------------------------------------------------------------

    def has_memory(self, port: int) -> bool:
        """Whether this access port leads to a bus."""
        return port in self._ahb

    def read_words(self, port: int, address: int, count: int) -> list[int]:
        """Aligned words."""
        return self._access(port, lambda core, secure: core.bus.read_words(address, count, secure))

    def write_words(self, port: int, address: int, words: Sequence[int]) -> None:
        """Aligned words."""
        self._access(port, lambda core, secure: core.bus.write_words(address, words, secure))

    def read_bytes(self, port: int, address: int, count: int) -> bytes:
        """Bytes."""
        return self._access(port, lambda core, secure: core.bus.read_bytes(address, count, secure))

    def write_bytes(self, port: int, address: int, data: bytes) -> None:
        """Bytes."""
        self._access(port, lambda core, secure: core.bus.write_bytes(address, data, secure))

    def _access(self, port: int, access: Callable[[Core, bool], T]) -> T:
        def checked() -> T:
            self._memory(port)
            return access(self._ahb[port], self._ahb[port].protection.secure_open)

        return self._do(checked)

    def _memory(self, port: int) -> Bus:
        core = self._ahb.get(port)
        if core is None or core.in_reset or not core.protection.open or self._chip.erasing:
            raise TransferFault(f"access port {port} does not reach its bus")
        if self._ctrl_stat & CDBGPWRUPREQ == 0:
            raise TransferFault("the debug domain is not powered up")
        return core.bus

    def _status(self, port: int) -> int:
        protection = self._ahb[port].protection
        status = self._csw[port]
        if not self._ahb[port].in_reset:
            status |= DEVICE_ENABLED * protection.open | SECURE_ENABLED * protection.secure_open
        return status

    def _secure(self, port: int) -> bool:
        return not self._csw[port] & NON_SECURE and self._ahb[port].protection.secure_open

    def _drw_read(self, port: int) -> int:
        size, address = SIZES.get(self._csw[port] & 7, 4), self._tar[port]
        bus = self._memory(port)
        if size == 4:
            value = bus.read_words(address, 1, self._secure(port))[0]
        else:
            value = int.from_bytes(bus.read_bytes(address, size, self._secure(port)), "little") << 8 * (address & 3)
        self._increment(port, size)
        return value

    def _drw_write(self, port: int, value: int) -> None:
        size, address = SIZES.get(self._csw[port] & 7, 4), self._tar[port]
        bus = self._memory(port)
        if size == 4:
            bus.write_words(address, [value], self._secure(port))
        else:
            lane = value.to_bytes(4, "little")[address & 3 :][:size]
            bus.write_bytes(address, lane, self._secure(port))
        self._increment(port, size)

    def _increment(self, port: int, size: int) -> None:
        if self._csw[port] & INCREMENT:
            self._tar[port] = self._tar[port] & ~0x3FF | self._tar[port] + size & 0x3FF  # wraps at 1 KiB

    def _do(self, action: Callable[[], T]) -> T:
        with self._chip.lock:
            self._chip.advance()
            if not self._chip.powered or not self._answers or not self._chip.has_contact:
                raise NoAcknowledge("the part does not acknowledge")
            try:
                return action()
            except BusFault as fault:
                raise TransferFault(str(fault)) from None
            except (NoPower, PowerLostInWrite):
                raise NoAcknowledge("the part lost its power") from None
