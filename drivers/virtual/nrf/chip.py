"""A whole virtual Nordic part behind its pins: supply, reset pin, SWD, UARTs.

Every public method takes the chip's lock; programs run in threads of their own that take it for each operation, so that
the part works on when nobody looks, and each reset, power cut or close ends them at their next operation.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.virtual.nrf import faults as fault_table
from drivers.virtual.nrf import past
from drivers.virtual.nrf.chip_file import ChipFile
from drivers.virtual.nrf.core import Core
from drivers.virtual.nrf.nvmc import Nvmc
from drivers.virtual.nrf.silicon import SILICON, Silicon
from drivers.virtual.nrf.storage import Storage

ERASE_SECONDS = 0.15
BAUD = 115200
SendUart = Callable[[str, bytes, int], None]
"""Takes the console's name (``app`` or ``net``), the bytes and the rate at which they are on the wire."""


class NoPower(Exception):
    """The part does not answer: it has no power."""


class NordicChip:
    """One part; implements ``Chip``."""

    def __init__(self, silicon: Silicon, folder: Path) -> None:
        self.silicon = silicon
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.faults = fault_table.Faults(fault_table.of(silicon))
        self.file = ChipFile(folder, silicon)
        self.send_uart: SendUart = lambda name, data, baud: None
        self.debug_power_lost: Callable[[], None] = lambda: None
        self._powered = False
        self._pin_reset = False
        self._erase_done: tuple[float, tuple[Core, ...]] | None = None
        self._cut_after_erase = False
        self._threads: list[threading.Thread] = []
        self.net_is_off = True
        self.pcd_command = False
        self.pcd_answer: bool | None = None
        self.cores = {core.name: Core(self, core) for core in silicon.cores}
        self.app = self.cores["app"]
        self.net = self.cores.get("net")
        self.storage = Storage(silicon, self.app.uicr)

    # ---- pins -----------------------------------------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        """Whether the supply is on; a power-cut fault turns it off until ``power(True)``."""
        with self.lock:
            return self._powered

    @property
    def has_contact(self) -> bool:
        """Whether the pads touch the socket."""
        return "no_contact" not in self.faults.lasting

    @property
    def apparent(self) -> Silicon:
        """The chip kind that the part says it is: its own, or that of the fault ``wrong_family``."""
        return SILICON.get(self.faults.lasting.get("wrong_family", ""), self.silicon)

    def power(self, on: bool) -> None:
        """Switch the supply; the part starts at once unless its reset pin is low."""
        with self.lock:
            if not on:
                self.lose_power()
            elif not self._powered and self.has_contact:
                self._powered = True
                self._hard_reset_ends("power")

    def reset_pin(self, low: bool) -> None:
        """The reset pin falls or rises."""
        with self.lock:
            if low == self._pin_reset:
                return
            self._pin_reset = low
            if self._powered and low:
                self._app_in_reset(keep_debug=False)
            elif self._powered:
                self._hard_reset_ends("pin")

    def fault(self, name: str, argument: str = "") -> None:
        """Arm a fault of the table; ``name:argument`` in one text is accepted too."""
        with self.lock:
            name, argument = fault_table.split(name, argument)
            argument = fault_table.check(name, argument, self.faults.known)
            self.faults.arm(name, argument)
            if name in fault_table.FOR_GOOD:
                past.give(self, name, argument)
            if not self.has_contact:
                self.lose_power()
            self.changed.notify_all()

    def state(self) -> Mapping[str, object]:
        """Plain view for tests and the bench's page."""
        with self.lock:
            self.advance()
            high, low = self.file.device_id[1], self.file.device_id[0]
            return {
                "kind": self.silicon.name,
                "label": f"{high:08X}{low:08X}",
                "device_id": [low, high],
                "powered": self._powered,
                "lc_state": self.storage.state_name,
                "lcs": list(self.storage.lcs_words),
                "implementation_id": self.storage.implementation_id.hex(),
                "kmu": {str(slot): self.app.uicr.permission(slot) for slot in range(8)},
                "uicr_writes": self.file.uicr_writes,
                "double_burns": [dict(burn) for burn in self.file.double_burns],
                "second_runs": [dict(run) for run in self.file.second_runs],
                "erase_alls": [dict(erased) for erased in self.file.erase_alls],
                "program": self.app.image.program if self.app.image else "",
                "cores": {name: core.state() for name, core in self.cores.items()},
                "faults": self.faults.armed,
            }

    def close(self) -> None:
        """Stop the programs and release the files."""
        with self.lock:
            self.lose_power()
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()
        self.file.close()

    # ---- what cores, programs and the debug port do (lock held) ---------------------------------------------------

    def start_thread(self, thread: threading.Thread) -> None:
        """Run a program's thread; it is joined by ``close``."""
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def say(self, core: str, data: bytes) -> None:
        """A core's UART sends bytes; faults decide what comes out where."""
        armed = self.faults.lasting
        if not self._powered or armed.get("console_silence", "none") in ("", core):
            return
        if armed.get("console_garbage", "none") in ("", core):
            data = hashlib.shake_128(data).digest(len(data))
        name = {"app": "net", "net": "app"}[core] if "ports_swapped" in armed else core
        self.send_uart(name, data, int(armed.get("wrong_baud", BAUD)))

    def lose_power(self) -> None:
        """Everything volatile is gone, from inside a write as well."""
        self._powered = False
        self._erase_done = None
        self._app_in_reset(keep_debug=False)
        for core in self.cores.values():
            core.ctrl_ap.power_on()
        self.debug_power_lost()

    def stall(self, until: Callable[[], bool], nvmc: Nvmc) -> None:
        """The bus waits for a flash controller; raises ``NoPower`` when power goes meanwhile."""
        while not until():
            self.changed.wait(nvmc.busy_seconds + 1e-4)
        if not self._powered:
            raise NoPower

    def core_requests_reset(self, core: Core) -> None:
        """AIRCR.SYSRESETREQ, from its program or from the debugger."""
        if core is self.app:
            self.system_reset("system")
        elif self._powered and not self._pin_reset and not self.net_is_off:
            core.enter_reset(keep_debug=True)
            core.protection.soft_reset(core.approtect, core.secure_approtect)
            core.leave_reset("system")

    def system_reset(self, cause: str) -> None:
        """A soft reset of the application core; it turns the network core off."""
        self._app_in_reset(keep_debug=True)
        self.app.protection.soft_reset(self.app.approtect, self.app.secure_approtect)
        self._leave_app_reset(cause)

    def hold(self, core: Core, held: bool) -> None:
        """CTRL-AP.RESET is set or cleared."""
        if held and core is self.app:
            self._app_in_reset(keep_debug=True)
        elif held:
            core.enter_reset(keep_debug=True)
        elif core is self.app:
            self.app.protection.soft_reset(self.app.approtect, self.app.secure_approtect)
            self._leave_app_reset("ctrl_ap")
        elif not self.net_is_off and not core.ctrl_ap.held:
            core.protection.soft_reset(core.approtect, core.secure_approtect)
            core.leave_reset("ctrl_ap")

    def force_net_off(self, off: bool) -> None:
        """RESET.NETWORK.FORCEOFF; each time it goes to 0 the network core starts."""
        if self.net is None or off == self.net_is_off:
            return
        self.net_is_off = off
        if off:
            self.net.enter_reset(keep_debug=False)
            self.net.protection.power_down()
        else:
            self.net.protection.power_up(self.net.approtect)
            if not self.net.ctrl_ap.held:
                self.net.leave_reset("forceoff")

    def command_pcd(self) -> None:
        """TF-M leaves the command to lock debugging in the shared RAM."""
        self.pcd_command, self.pcd_answer = True, None

    def answer_pcd(self, done: bool) -> None:
        """The network core's bootloader answers."""
        self.pcd_command, self.pcd_answer = False, done

    # ---- CTRL-AP.ERASEALL -----------------------------------------------------------------------------------------

    @property
    def erasing(self) -> bool:
        """ERASEALLSTATUS of all control access ports."""
        self.advance()
        return self._erase_done is not None or "erase_stuck" in self.faults.lasting

    def ctrl_ap_erases(self, core: Core) -> None:
        """Start: flash and RAM go first, UICR with the keys when the time is over; the network's takes both cores."""
        if self._erase_done is not None or "erase_stuck" in self.faults.lasting:
            return
        cores = (self.app,) if core is self.app else (self.app, core)
        if any(one is not core and one.erase_protected for one in cores):
            return
        cut = self.faults.take("erase_cut")
        if cut == "before":
            self.lose_power()
            return
        for one in cores:
            one.stop_program()
            one.cortex.lock_up()
            one.nvmc.erase_flash()
            one.ram[:] = bytes(len(one.ram))
        if cut == "inside":
            self.lose_power()
            return
        self._erase_done = (time.monotonic() + ERASE_SECONDS, cores)
        self._cut_after_erase = cut == "after"

    def advance(self) -> None:
        """End an ERASEALL whose time is over."""
        if self._erase_done is None or time.monotonic() < self._erase_done[0]:
            return
        cores, self._erase_done = self._erase_done[1], None
        for core in cores:
            core.erase_uicr("CTRL-AP")
            core.protection.opened_by_erase()
        if self._cut_after_erase:
            self.lose_power()

    # ---- reset ----------------------------------------------------------------------------------------------------

    def _app_in_reset(self, keep_debug: bool) -> None:
        self.pcd_command = False
        self.app.enter_reset(keep_debug)
        self.force_net_off(True)

    def _hard_reset_ends(self, cause: str) -> None:
        """A hard reset ends: all protections are looked at anew."""
        self._app_in_reset(keep_debug=False)
        self.app.protection.hard_reset(self.app.approtect, self.app.secure_approtect)
        if self.net is not None:
            self.net.protection.hard_reset(self.net.approtect, self.net.secure_approtect)
            self.net.protection.power_down()
        self._leave_app_reset(cause)

    def _leave_app_reset(self, cause: str) -> None:
        if self._powered and not self._pin_reset and not self.app.ctrl_ap.held:
            self.app.leave_reset(cause)
