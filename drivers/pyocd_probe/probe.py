"""``ports.Probe`` for one Nordic part on SWD: access ports, memory, flash, UICR, erasure and resets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drivers.pyocd_probe.board import Board
from drivers.pyocd_probe.flash import BLOCK, Flash
from drivers.pyocd_probe.link import AP_CSW, AP_IDR, DEVICE_ENABLED, Link
from station.deadline import Deadline, Pace
from station.errors import AdapterLost, BenchError, ConfigError, PartError, StationError
from station.formats.nordic_family import CTRL_AP_IDR, Core, CtrlAp, Memory
from station.model import DebugAccess, DebugPort, EraseWaiver, ResetKind, Segment, Span

SECURE_ENABLED = 1 << 23
DHCSR, AIRCR = 0xE000_EDF0, 0xE000_ED0C
HALT, RELEASE, C_HALT, S_HALT = 0xA05F_0003, 0xA05F_0000, 1 << 1, 1 << 17
SYSRESETREQ = 0x05FA_0004
HALT_SECONDS = 1.0
ADDRESSES = Span(0, 1 << 32)
RETURN_SECONDS = 2.0


class PyocdProbe:
    """The probe of one socket; its cores are those of the board's family."""

    def __init__(self, serial: str, board: Board, link: Link) -> None:
        self.identity = serial
        self._family = board.family
        self._reset_seconds = board.reset_seconds
        self._link = link
        self._flash = {core.name: Flash(link, core) for core in board.family.cores}

    # ---- debug port -----------------------------------------------------------------------------------------------

    def attach(self) -> DebugPort:
        """Power up the debug port and look at its access ports: no reset, no halt, no unlock, whatever is found."""
        dpidr, targetid, access_ports = self._link.attach()
        return DebugPort(dpidr, targetid, access_ports)

    def access(self, core: str) -> DebugAccess:
        """What the core's AHB access port allows now; a core that is switched off is CLOSED."""
        try:
            csw = self._link.read_ap(self._family.core(core).ahb_ap, AP_CSW)
        except PartError:  # the port does not even show its status
            return DebugAccess.CLOSED
        if not csw & DEVICE_ENABLED:
            return DebugAccess.CLOSED
        return DebugAccess.OPEN if csw & SECURE_ENABLED else DebugAccess.NON_SECURE

    def read_ap(self, port: int, register: int) -> int:
        """One 32-bit register of an access port (CTRL-AP)."""
        return self._link.read_ap(port, register)

    def write_ap(self, port: int, register: int, value: int) -> None:
        """Write one 32-bit register of a CTRL-AP; ``ConfigError`` for those that erase the part, and elsewhere.

        Through the registers of another access port every address could be written, those of the flash controller too.
        """
        if port not in {core.ctrl_ap for core in self._family.cores} or register % 4 or not 0 <= register < AP_IDR:
            raise ConfigError(
                f"expected a register of a CTRL-AP of the {self._family.title}, saw {register:#05x} of access port "
                f"{port}; nothing was changed"
            )
        if register in CtrlAp.ERASING:
            raise ConfigError(
                f"register {register:#05x} of access port {port} erases the whole part with all its keys, which takes "
                "a waiver in the journal (erase_all); nothing was changed"
            )
        self._link.write_ap(port, register, value)

    # ---- memory ---------------------------------------------------------------------------------------------------

    def read_words(self, core: str, address: int, count: int) -> list[int]:
        """32-bit words through the core's bus."""
        target = self._core(core, address)
        words: list[int] = []
        with self._bus(target):
            for first in range(0, count, BLOCK // 4):
                words += self._link.read(target.ahb_ap, address + 4 * first, min(BLOCK // 4, count - first))
        return words

    def write_words(self, core: str, address: int, words: Sequence[int]) -> None:
        """Write 32-bit words to RAM or registers; ``ConfigError`` for flash, UICR and what lets them be changed."""
        target = self._core(core, address)
        self._require_harmless(Span(address, 4 * len(words)))
        with self._bus(target):
            for first in range(0, len(words), BLOCK // 4):
                self._link.write(target.ahb_ap, address + 4 * first, list(words[first : first + BLOCK // 4]))
            self._link.flush()

    def halt(self, core: str) -> None:
        """Halt the core, so that it runs no code while its flash changes."""
        target = self._family.core(core)
        with self._bus(target):
            self._link.write(target.ahb_ap, DHCSR, [HALT])
            deadline, pace = Deadline(HALT_SECONDS), Pace(time.sleep)
            while not self._link.read(target.ahb_ap, DHCSR, 1)[0] & S_HALT:
                if deadline.passed:
                    raise PartError(f"expected the {core} core to halt within {HALT_SECONDS:g} s, but it runs on")
                pace.rest()

    # ---- flash and UICR -------------------------------------------------------------------------------------------

    def program(self, core: str, segments: Sequence[Segment]) -> None:
        """Erase the pages that the segments touch, write them, read them back; main flash only."""
        target = self._family.core(core)
        flash = self._flash[core]
        flash.pages_of([segment.span for segment in segments])  # refuses before the core is touched
        with self._bus(target):
            self.halt(core)
            flash.program(segments)

    def erase(self, core: str, spans: Sequence[Span]) -> None:
        """Erase the pages that the spans touch, main flash only; UICR and everything else stays."""
        target = self._family.core(core)
        flash = self._flash[core]
        pages = flash.pages_of(spans)
        with self._bus(target):
            self.halt(core)
            flash.erase(pages)

    def write_once(self, core: str, address: int, words: Sequence[int]) -> None:
        """Write UICR words without erasing (bits go from 1 to 0 only) and read each back; ``PartError`` if it differs.

        ``ConfigError`` outside the core's UICR.
        """
        target = self._core(core, address)
        if not _span(target.uicr).holds(Span(address, 4 * len(words))):
            raise ConfigError(
                f"expected words in the UICR of the {core} core, {target.uicr.start:#010x} to "
                f"{target.uicr.end - 1:#010x}, saw {address:#010x}; nothing was changed"
            )
        with self._bus(target):
            self._flash[core].write_once(address, words)

    def erase_all(self, core: str, waiver: EraseWaiver) -> None:
        """CTRL-AP.ERASEALL of the core: flash, RAM, UICR with OTP and KMU, and the protection; waits until done."""
        if waiver.row < 1 or not waiver.reason:
            raise ConfigError("a whole part is erased only after the journal says why; nothing was changed")
        port = self._family.core(core).ctrl_ap
        with self._link.held():
            idr = self._link.read_ap(port, CtrlAp.IDR)
            if idr != CTRL_AP_IDR:
                raise PartError(
                    f"expected the CTRL-AP of the {core} core at access port {port} (IDR {CTRL_AP_IDR:#010x}), "
                    f"saw {idr:#010x}; nothing was erased"
                )
            self._link.write_ap(port, CtrlAp.ERASEALL, 1)
            deadline, pace = Deadline(CtrlAp.ERASE_SECONDS), Pace(time.sleep, first=0.01, most=0.1)
            while self._link.read_ap(port, CtrlAp.ERASEALLSTATUS):
                if deadline.passed:
                    raise PartError(
                        f"the erasure of the {core} core was begun, but did not end within {CtrlAp.ERASE_SECONDS:g} s: "
                        "the part is neither what it was nor blank, and its keys may be gone; take the supply away, "
                        "put it back, and erase it again",
                        bin="locked",
                    )
                pace.rest()

    # ---- reset ----------------------------------------------------------------------------------------------------

    def reset(self, kind: ResetKind) -> None:
        """Reset the part and let its cores run; the probe's other outputs keep their levels. ``attach`` afterwards.

        A system reset needs an open application core; the pin needs nothing. ``BenchError`` when the part does not come
        back within 2 s.
        """
        app = self._family.app
        if kind is ResetKind.PIN:
            self._link.pulse_reset(self._reset_seconds)
        else:
            with self._bus(app):
                self._link.write(app.ahb_ap, AIRCR, [SYSRESETREQ])
                try:
                    self._link.flush()
                except (PartError, BenchError):
                    pass  # the reset itself may have cut the answer off
            self._link.was_reset()
        self._release()

    def _release(self) -> None:
        """Let every core run that is still held: whether a reset clears a halt depends on the core.

        The halt may be that of a program that died; a port that closed with the reset holds nothing.
        """
        self._await_return()
        for core in self._family.cores:
            try:
                if self.access(core.name) is DebugAccess.CLOSED:
                    continue
                if self._link.read(core.ahb_ap, DHCSR, 1)[0] & C_HALT:
                    self._link.write(core.ahb_ap, DHCSR, [RELEASE])
                    self._link.flush()
            except PartError:
                pass  # it closed meanwhile

    def _await_return(self) -> None:
        """Attach, as soon as the part answers again."""
        deadline, pace = Deadline(RETURN_SECONDS), Pace(time.sleep)
        while True:
            try:
                self._link.attach()
                return
            except AdapterLost:
                raise
            except BenchError:
                if deadline.passed:
                    raise
                pace.rest()

    # ---- helpers --------------------------------------------------------------------------------------------------

    def _require_harmless(self, span: Span) -> None:
        """``ConfigError`` when writing there, on any core's bus, would change flash or UICR, or let others do so."""
        if not ADDRESSES.holds(span):
            raise ConfigError(f"expected addresses of 32 bits, saw {span.start:#x} and on; nothing was changed")
        for core in self._family.cores:
            if any(span.overlaps(_span(memory)) for memory in (core.flash, core.uicr)):
                raise ConfigError(
                    f"expected an address in RAM or a register, saw {span.start:#010x}, which is flash or UICR; "
                    "nothing was changed"
                )
            if any(span.overlaps(_span(memory)) for memory in core.flash_control):
                raise ConfigError(
                    f"expected an address in RAM or a register, saw {span.start:#010x}, where the flash controller of "
                    f"the {core.name} core is told to write or erase, which goes by program, erase, write_once and "
                    "erase_all only; nothing was changed"
                )

    def _core(self, name: str, address: int) -> Core:
        if address % 4:
            raise ConfigError(f"expected an address of whole 32-bit words, saw {address:#010x}")
        return self._family.core(name)

    @contextmanager
    def _bus(self, core: Core) -> Iterator[None]:
        """Accesses through a core's bus; that its port is closed is told from any other refusal."""
        with self._link.held():
            try:
                yield
            except PartError:
                if self._is_closed(core):
                    raise PartError(
                        f"expected the debug port of the {core.name} core to be open, but it is closed: the core is "
                        "protected, or switched off"
                    ) from None
                raise

    def _is_closed(self, core: Core) -> bool:
        try:
            return self.access(core.name) is DebugAccess.CLOSED
        except StationError:
            return False  # what went wrong first says more


def _span(memory: Memory) -> Span:
    return Span(memory.start, memory.length)
