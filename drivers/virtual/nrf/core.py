"""One core of a virtual Nordic part: its memories, protection, debug face, and the program that its flash holds.

Every method is called with the chip's lock held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.virtual.nrf import thumb
from drivers.virtual.nrf.bus import KMU_ERROR, KMU_PUSHED, KMU_REVOKED, Bus
from drivers.virtual.nrf.cortex import Cortex
from drivers.virtual.nrf.ctrl_ap import CtrlAp
from drivers.virtual.nrf.ficr import factory_information
from drivers.virtual.nrf.firmware import PROGRAMS
from drivers.virtual.nrf.firmware.machine import FirmwareStopped, Machine
from drivers.virtual.nrf.image_format import Image, recognise
from drivers.virtual.nrf.nvmc import Nvmc
from drivers.virtual.nrf.protection import Protection
from drivers.virtual.nrf.silicon import WORD, CoreSilicon
from drivers.virtual.nrf.uicr import PERM_PUSH, Uicr

if TYPE_CHECKING:
    from drivers.virtual.nrf.chip import NordicChip

RUNNING_OFFSET = 0x400
"""Where a running program is when the debugger halts it."""
STACK_WORD, RESET_WORD = 0, 4


class Core:
    """One core; ``epoch`` counts its resets, so that a program of an earlier boot ends at its next operation."""

    def __init__(self, chip: NordicChip, silicon: CoreSilicon) -> None:
        self.chip = chip
        self.silicon = silicon
        self.is_net = silicon is chip.silicon.net
        self.uicr = Uicr(chip.silicon, silicon, chip.file, chip.faults, chip.lose_power)
        self.nvmc = Nvmc(silicon, chip.file.flash(silicon), self.uicr, chip.faults, self)
        self.ram = bytearray(silicon.ram_size)
        self.protection = Protection(chip.silicon, bool(silicon.secure_approtect))
        self.cortex = Cortex(self._debugger_runs, lambda: chip.core_requests_reset(self))
        self.ctrl_ap = CtrlAp(
            self.protection,
            hold=lambda held: chip.hold(self, held),
            erase_all=lambda: chip.ctrl_ap_erases(self),
            erasing=lambda: chip.erasing,
            erase_protected=lambda: self.erase_protected,
        )
        self.bus = Bus(self)
        self.epoch = 0
        self.image: Image | None = None
        self.cause = ""
        self.idle = ""
        """Why the program does nothing any more (``done``, ``failed``, ``panic``, ``hang``); empty while it works."""
        self._in_reset = True
        self._started = False
        self._entry = 0

    # ---- reset and start ------------------------------------------------------------------------------------------

    @property
    def approtect(self) -> int:
        """UICR.APPROTECT."""
        return self.uicr.raw(self.silicon.approtect - self.silicon.uicr)

    @property
    def secure_approtect(self) -> int:
        """UICR.SECUREAPPROTECT; that of a core without it is all ones."""
        place = self.silicon.secure_approtect
        return self.uicr.raw(place - self.silicon.uicr) if place else WORD

    @property
    def ficr(self) -> bytes:
        """What the factory wrote; with the fault ``wrong_family`` that of another chip kind."""
        return factory_information(self.chip.apparent, self.silicon, self.chip.file.device_id)

    @property
    def erase_protected(self) -> bool:
        """UICR.ERASEPROTECT forbids ERASEALL."""
        return self.uicr.raw(self.silicon.eraseprotect - self.silicon.uicr) != WORD

    @property
    def in_reset(self) -> bool:
        """Held in reset: nothing runs, its bus does not answer."""
        return self._in_reset

    def enter_reset(self, keep_debug: bool) -> None:
        """Everything volatile but RAM and the debug port's protection is gone."""
        self._in_reset = True
        self.stop_program()
        self.cortex.reset(keep_debug)
        self.nvmc.reset()
        self.uicr.reset()
        self.ctrl_ap.reset()
        self.bus.reset()

    def leave_reset(self, cause: str) -> None:
        """Run what is in flash."""
        self._in_reset = False
        self.cause = cause
        flash = self.nvmc.read(STACK_WORD, 8)
        self._entry = int.from_bytes(flash[RESET_WORD:], "little")
        if self.cortex.start(int.from_bytes(flash[:RESET_WORD], "little"), self._entry):
            self._start_program()

    def stop_program(self) -> None:
        """End this boot's program."""
        self.epoch += 1
        self._started = False
        self.image = None
        self.idle = ""
        self.chip.changed.notify_all()

    def become_idle(self, how: str) -> None:
        """The program has nothing more to do."""
        self.idle = how
        self.chip.changed.notify_all()

    def _start_program(self) -> None:
        self._started = True
        self.cortex.registers[15] = self.silicon.flash + RUNNING_OFFSET
        self.image = recognise(self.nvmc.read)
        if self.image is None or self.image.option("family") != self.chip.silicon.name or not self._is_for_this_core():
            self.image = None
            self._run_thumb()
            return
        options = self.image.descriptor
        self.protection.start_up_code(
            self.approtect,
            self.secure_approtect,
            bool(options.get("approtect_lock")),
            bool(options.get("secure_approtect_lock")),
        )
        work = PROGRAMS.get(self.image.program)
        if work is None:
            self.idle = "done"
            return
        machine = Machine(self, self.image)
        name = f"virtual {self.chip.silicon.name} {self.silicon.name} {self.image.program}"
        self.chip.start_thread(threading.Thread(target=_until_stopped, args=(work, machine), name=name, daemon=True))

    def _run_thumb(self) -> None:
        """No behavioural image: the code itself, if it is as simple as the firmware of a recovery."""
        flash = self.silicon.flash
        if thumb.rests(self._entry, lambda at, size: self.nvmc.read(at - flash, size), self.bus.cpu_writes):
            self.idle = "done"
        else:
            self.cortex.lock_up()

    def _is_for_this_core(self) -> bool:
        return self.image is not None and self.image.program.endswith("_net") == self.is_net

    def _debugger_runs(self) -> None:
        """The debugger lets the core go: the program goes on where it was, and nowhere else."""
        place = self.cortex.registers[15]
        if not self._started and place == self._entry & ~1:
            self._start_program()
        elif place != self.silicon.flash + RUNNING_OFFSET:
            self.stop_program()
            self.cortex.lock_up()
        self.chip.changed.notify_all()

    # ---- what the models ask of their core ------------------------------------------------------------------------

    def stall(self, until: Callable[[], bool]) -> None:
        """Wait for the flash controller; raises what the chip raises when power goes meanwhile."""
        self.chip.stall(until, self.nvmc)

    def flash_changed(self, offset: int, length: int) -> None:
        """A core whose code changes under its feet runs garbage; a halted one when it goes on."""
        if self.image is not None and offset < self.image.length:
            self.stop_program()
            self.cortex.lock_up()

    def erase_all(self, by: str) -> bool:
        """NVMC.ERASEALL of this core."""
        if self.erase_protected:
            return False
        self.nvmc.erase_flash()
        self.erase_uicr(f"NVMC ({by})")
        return True

    def erase_uicr(self, by: str) -> None:
        """All keys, protection words and one-time words are gone."""
        self.uicr.erase()
        self.chip.file.add_erase_all(self.silicon.name, by)

    def push_key_slot(self) -> int:
        """TASKS_PUSH_KEYSLOT: the offset of the event that it raises."""
        slot = self.uicr.selected - 1
        if slot < 0 or not self.uicr.permission(slot) & PERM_PUSH:
            return KMU_ERROR
        return KMU_REVOKED if self.uicr.revoked(slot) else KMU_PUSHED

    # ---- the network core's power, as the application core sees it ------------------------------------------------

    @property
    def controls_net(self) -> bool:
        """Whether this core has RESET.NETWORK.FORCEOFF."""
        return not self.is_net and self.chip.net is not None

    @property
    def net_is_off(self) -> bool:
        """FORCEOFF."""
        return self.chip.net_is_off

    def force_net_off(self, off: bool) -> None:
        """Write FORCEOFF."""
        self.chip.force_net_off(off)

    def state(self) -> dict[str, object]:
        """What a test wants to know."""
        return {
            "state": self._run_state(),
            "image": self.image.program if self.image else self._flash_holds(),
            "reset_cause": self.cause,
            "approtect": self.approtect,
            "secureapprotect": self.secure_approtect,
            "eraseprotect": self.uicr.raw(self.silicon.eraseprotect - self.silicon.uicr),
            "debug_open": self.protection.open and not self._in_reset,
            "secure_debug_open": self.protection.secure_open and not self._in_reset,
            "page_erases": self.nvmc.page_erases,
        }

    def _run_state(self) -> str:
        if self.is_net and self.chip.net_is_off:
            return "off"
        if self._in_reset:
            return "reset"
        if self.cortex.halted:
            return "halted"
        if self.cortex.locked_up:
            return "locked_up"
        return self.idle or "running"

    def _flash_holds(self) -> str:
        content = self.chip.file.flash(self.silicon).content
        image = recognise(lambda at, length: bytes(content[at : at + length]))
        if image is not None:
            return image.program
        return "" if content.count(0xFF) == len(content) else "unknown"


def _until_stopped(work: Callable[[Machine], None], machine: Machine) -> None:
    try:
        work(machine)
    except FirmwareStopped:
        return
