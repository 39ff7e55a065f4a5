"""What a behavioural program sees of its core; each operation takes the chip's lock and ends the program after a reset.

Text leaves at the rate of the UART, and every UICR word takes its time, so that a run goes on (and can be cut) while no
station is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from drivers.virtual.nrf.image_format import Image
from drivers.virtual.nrf.silicon import Silicon
from drivers.virtual.nrf.storage import Storage
from drivers.virtual.nrf.uicr import PowerLostInWrite

if TYPE_CHECKING:
    from drivers.virtual.nrf.core import Core

T = TypeVar("T")
BYTE_SECONDS = 10 / 115200
UICR_SECONDS = 43e-6


class FirmwareStopped(Exception):
    """The core was reset, lost power or was closed: the program ends here."""


class Machine:
    """One boot of one image; used from the program's own thread only."""

    def __init__(self, core: Core, image: Image) -> None:
        self._core = core
        self._chip = core.chip
        self._epoch = core.epoch
        self._booted = time.monotonic()
        self.image = image
        self.cause = core.cause

    # ---- time and control -----------------------------------------------------------------------------------------

    @property
    def silicon(self) -> Silicon:
        """The chip kind."""
        return self._chip.silicon

    @property
    def storage(self) -> Storage:
        """OTP as firmware reads it; use inside ``do``."""
        return self._chip.storage

    @property
    def uptime(self) -> float:
        """Seconds since reset."""
        return time.monotonic() - self._booted

    def do(self, action: Callable[[], T]) -> T:
        """Carry out one action under the chip's lock, unless this boot is over."""
        with self._chip.lock:
            self._wait(lambda: True)
            try:
                return action()
            except PowerLostInWrite:
                raise FirmwareStopped from None

    def pause(self, seconds: float) -> None:
        """Real time passes; a reset ends it."""
        end = time.monotonic() + seconds
        with self._chip.lock:
            while self._alive and (left := end - time.monotonic()) > 0:
                self._chip.changed.wait(left)
            self._wait(lambda: True)

    def finish(self, how: str) -> None:
        """The program has nothing more to do: ``done``, ``failed``, ``panic`` or ``hang``."""
        self.do(lambda: self._core.become_idle(how))
        raise FirmwareStopped

    def system_reset(self) -> None:
        """AIRCR.SYSRESETREQ; does not return."""
        self.do(lambda: self._chip.core_requests_reset(self._core))
        raise FirmwareStopped

    def start_net(self) -> None:
        """Clear FORCEOFF."""
        self.do(lambda: self._chip.force_net_off(False))

    def restart_net(self) -> None:
        """Set and clear FORCEOFF."""
        self.do(lambda: self._chip.force_net_off(True))
        self.start_net()

    def net_program(self) -> str:
        """What the network core runs, and nothing while it is off."""
        net = self._chip.net
        return self.do(lambda: net.image.program if net is not None and net.image is not None else "")

    @property
    def _alive(self) -> bool:
        return self._core.epoch == self._epoch

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Lock held: a halted core waits for its debugger."""
        self._chip.changed.wait_for(lambda: not self._alive or (ready() and not self._core.cortex.halted))
        if not self._alive:
            raise FirmwareStopped

    # ---- words and text -------------------------------------------------------------------------------------------

    def option(self, name: str) -> Any:
        """An option that the image was built with."""
        return self.image.option(name)

    def print(self, text: str = "") -> None:
        """One line on this core's console."""
        data = text.encode("ascii", errors="replace") + b"\r\n"
        self.send(data)

    def send(self, data: bytes, core: str = "") -> None:
        """Bytes on this core's console, or on another one's."""
        name = core or self._core.silicon.name
        self.do(lambda: self._chip.say(name, data))
        self.pause(len(data) * BYTE_SECONDS)

    def read_uicr(self, address: int) -> int:
        """A UICR word as it is stored."""
        return self.do(lambda: self._core.uicr.raw(address - self._core.silicon.uicr))

    def write_uicr(self, address: int, value: int) -> None:
        """Program a UICR word as nrfx does: CONFIG=Wen, word, CONFIG=Ren."""
        who = self.image.program
        self.do(lambda: self._core.uicr.write(address - self._core.silicon.uicr, value, who))
        self.pause(UICR_SECONDS)

    def select_slot(self, slot: int | None) -> None:
        """KMU.SELECTKEYSLOT; None for no slot."""
        self.do(lambda: self._core.uicr.select(0 if slot is None else slot + 1))

    def permission(self, slot: int) -> int:
        """PERM of a key slot."""
        return self.do(lambda: self._core.uicr.permission(slot))

    def key_slot(self, slot: int) -> bytes:
        """What the KMU pushes to the crypto cell from a slot."""
        return self.do(lambda: self._core.uicr.value(slot))

    @property
    def core(self) -> Core:
        """The core; use inside ``do``."""
        return self._core

    # ---- faults ---------------------------------------------------------------------------------------------------

    def take_fault(self, name: str) -> str | None:
        """The argument of a one-time fault, which is disarmed; None when it is not armed."""
        return self.do(lambda: self._chip.faults.take(name))

    def takes(self, name: str, argument: str) -> bool:
        """Whether a one-time fault is armed with this argument."""
        return self.do(lambda: self._chip.faults.takes(name, argument))

    def note_second_run(self) -> None:
        """The provisioning image meets a part that is not in ASSEMBLY."""
        self.do(lambda: self._chip.file.add_second_run(self._chip.storage.lcs_words, self.cause))
