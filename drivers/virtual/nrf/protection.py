"""Who may debug one core: UICR at reset, the keys on both sides of CTRL-AP, what software forces (sheet 2.2, 2.7).

Three kinds of silicon. nRF5340: open when UICR says so *and* the CPU has written the key that the debugger's side has.
nRF91x1: open when UICR says so and software has not forced protection but released it (0x5A). nRF9160: UICR alone,
looked at by hard resets only. Once open, a port stays open until a hard reset (pin, power, watchdog), except where
software forces protection and where the core's own power was off.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.nrf.silicon import PROTECTED, UNPROTECTED, WORD, Silicon

SOFTWARE_UNPROTECTED = 0x5A


@dataclass(slots=True)
class Gate:
    """One of the two protections of a core: all debugging, or secure debugging."""

    fused_open: bool = False
    """What UICR said at the last reset that looked at it."""
    cpu_key: int = 0
    debugger_key: int = UNPROTECTED
    locked: bool = False
    erased: bool = False
    """ERASEALL through CTRL-AP has opened it until the next hard reset."""
    is_open: bool = False


class Protection:
    """Both gates of one core; the network core has no secure gate of its own."""

    def __init__(self, silicon: Silicon, has_secure: bool) -> None:
        self._silicon = silicon
        self._has_secure = has_secure
        self.all = Gate()
        self.secure = Gate()
        self.gates = (self.all, self.secure)

    @property
    def software_releases(self) -> bool:
        """Whether software opens the port by releasing it (nRF91x1), not by a key that the debugger has too."""
        return self._silicon.hardened and not self._silicon.disable_keys

    @property
    def open(self) -> bool:
        """Whether the core can be debugged at all."""
        return self.all.is_open

    @property
    def secure_open(self) -> bool:
        """Whether secure accesses are allowed, too."""
        return self.all.is_open and (self.secure.is_open or not self._has_secure)

    @property
    def status(self) -> int:
        """APPROTECTSTATUS: bit 0 and bit 1 are set where the port is open."""
        return int(self.open) | int(self.secure.is_open if self._has_secure else self.open) << 1

    def hard_reset(self, approtect: int, secure_approtect: int) -> None:
        """Pin reset, brown-out, power-on, watchdog: all that was opened is forgotten, UICR is looked at."""
        for gate, word in ((self.all, approtect), (self.secure, secure_approtect)):
            gate.erased = False
            self._begin(gate, word)
            gate.is_open = gate.fused_open and not self._silicon.hardened

    def soft_reset(self, approtect: int, secure_approtect: int) -> None:
        """System reset, CTRL-AP reset: what is open stays open."""
        for gate, word in ((self.all, approtect), (self.secure, secure_approtect)):
            if self._silicon.hardened:
                self._begin(gate, word)
            gate.is_open = gate.is_open or gate.erased

    def power_up(self, approtect: int) -> None:
        """The core's own power comes back (FORCEOFF): closed, unless ERASEALL opened it and UICR is not protected."""
        self._begin(self.all, approtect)
        self.all.is_open = self.all.erased and approtect != PROTECTED

    def power_down(self) -> None:
        """The core's own power goes."""
        self.all.is_open = False

    def opened_by_erase(self) -> None:
        """ERASEALL through CTRL-AP is done: nRF5340 is open at once, nRF91x1 after a soft reset, nRF9160 a hard one."""
        for gate in self.gates:
            gate.erased = self._silicon.hardened
            gate.is_open = gate.is_open or (gate.erased and self._silicon.disable_keys)

    def close(self) -> None:
        """Both gates are shut at once: the part comes from elsewhere."""
        for gate in self.gates:
            gate.is_open = gate.erased = gate.fused_open = False

    def close_secure(self) -> None:
        """Only non-secure debugging is left, at once."""
        self.secure.is_open = self.secure.erased = self.secure.fused_open = False

    def cpu_writes(self, gate: Gate, value: int) -> None:
        """Software writes DISABLE."""
        if not gate.locked:
            gate.cpu_key = value
            self.compare(gate)

    def cpu_locks(self, gate: Gate) -> None:
        """Software writes LOCK (nRF5340: DISABLE cannot be written any more) or FORCEPROTECT (nRF91x1: closed)."""
        gate.locked = True
        if self.software_releases:
            gate.is_open = gate.erased = False

    def cpu_locks_all(self) -> None:
        """Software locks both gates."""
        for gate in self.gates:
            self.cpu_locks(gate)

    def debugger_writes(self, gate: Gate, value: int) -> None:
        """The debugger writes its DISABLE key."""
        gate.debugger_key = value
        self.compare(gate)

    def compare(self, gate: Gate) -> None:
        """Open the gate when the keys agree and UICR lets them."""
        if not self._silicon.hardened:
            return
        wanted = gate.debugger_key if self._silicon.disable_keys else SOFTWARE_UNPROTECTED
        if gate.fused_open and gate.cpu_key and gate.cpu_key == wanted:
            gate.is_open = True

    def start_up_code(self, approtect: int, secure_approtect: int, lock: bool, secure_lock: bool) -> None:
        """What the MDK's SystemInit does: take the words from UICR, or lock, as the image was built."""
        for gate, word, locks in ((self.all, approtect, lock), (self.secure, secure_approtect, secure_lock)):
            if locks:
                self.cpu_locks(gate)
            else:
                released = word == UNPROTECTED
                self.cpu_writes(gate, word if self._silicon.disable_keys else SOFTWARE_UNPROTECTED * released)

    def _begin(self, gate: Gate, word: int) -> None:
        gate.fused_open = word == (UNPROTECTED if self._silicon.hardened else WORD)
        gate.cpu_key = 0
        gate.locked = False
