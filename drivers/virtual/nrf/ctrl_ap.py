"""CTRL-AP of one core: the debugger's registers, which answer whatever is locked, and the CPU's side of it."""

from __future__ import annotations

from collections.abc import Callable

from drivers.virtual.nrf.protection import Protection
from drivers.virtual.nrf.silicon import CTRL_AP_IDR

RESET, ERASEALL, ERASEALLSTATUS, APPROTECTSTATUS = 0x000, 0x004, 0x008, 0x00C
APPROTECT_DISABLE, SECUREAPPROTECT_DISABLE, ERASEPROTECT_STATUS, ERASEPROTECT_DISABLE = 0x010, 0x014, 0x018, 0x01C
TXDATA, TXSTATUS, RXDATA, RXSTATUS, IDR = 0x020, 0x024, 0x028, 0x02C, 0x0FC
CPU_RXDATA, CPU_RXSTATUS, CPU_TXDATA, CPU_TXSTATUS = 0x400, 0x404, 0x480, 0x484
CPU_ERASE_LOCK, CPU_ERASE_DISABLE, CPU_LOCK, CPU_DISABLE = 0x500, 0x504, 0x540, 0x544
CPU_SECURE_LOCK, CPU_SECURE_DISABLE, CPU_STATUS = 0x548, 0x54C, 0x600


class CtrlAp:
    """Both sides of one control access port."""

    def __init__(
        self,
        protection: Protection,
        hold: Callable[[bool], None],
        erase_all: Callable[[], None],
        erasing: Callable[[], bool],
        erase_protected: Callable[[], bool],
    ) -> None:
        self._protection = protection
        self._hold = hold
        self._erase_all = erase_all
        self._erasing = erasing
        self._erase_protected = erase_protected
        self.power_on()

    def power_on(self) -> None:
        """Reset values on both sides."""
        self._erase_key = 0
        self._held = False
        self.reset()

    def reset(self) -> None:
        """The CPU's side is reset with its core, the mailbox as well."""
        self._cpu_erase_key = 0
        self._cpu_erase_locked = False
        self._to_cpu: int | None = None
        self._to_debugger: int | None = None

    @property
    def held(self) -> bool:
        """Whether the debugger holds the core in reset."""
        return self._held

    # ---- the debugger's side --------------------------------------------------------------------------------------

    def read(self, register: int) -> int:
        """One register as the debugger reads it."""
        if register == RXDATA:
            value, self._to_debugger = self._to_debugger or 0, None
            return value
        protection = self._protection
        values: dict[int, Callable[[], int]] = {
            RESET: lambda: int(self._held),
            ERASEALLSTATUS: lambda: int(self._erasing()),
            APPROTECTSTATUS: lambda: protection.status,
            APPROTECT_DISABLE: lambda: protection.all.debugger_key,
            SECUREAPPROTECT_DISABLE: lambda: protection.secure.debugger_key,
            ERASEPROTECT_STATUS: lambda: int(not self._erase_protected()),
            ERASEPROTECT_DISABLE: lambda: self._erase_key,
            TXSTATUS: lambda: int(self._to_cpu is not None),
            RXSTATUS: lambda: int(self._to_debugger is not None),
            IDR: lambda: CTRL_AP_IDR,
        }
        return values[register]() if register in values else 0

    def write(self, register: int, value: int) -> None:
        """One register as the debugger writes it."""
        if register == RESET and bool(value & 1) != self._held:
            self._held = bool(value & 1)
            self._hold(self._held)
        elif register == ERASEALL and value & 1 and not self._erase_protected():
            self._erase_all()
        elif register == APPROTECT_DISABLE:
            self._protection.debugger_writes(self._protection.all, value)
        elif register == SECUREAPPROTECT_DISABLE:
            self._protection.debugger_writes(self._protection.secure, value)
        elif register == ERASEPROTECT_DISABLE:
            self._erase_key = value
            self._compare_erase_keys()
        elif register == TXDATA:
            self._to_cpu = value

    # ---- the CPU's side -------------------------------------------------------------------------------------------

    def read_cpu(self, offset: int) -> int:
        """One register of the peripheral; keys cannot be read back."""
        if offset == CPU_RXDATA:
            value, self._to_cpu = self._to_cpu or 0, None
            return value
        if offset == CPU_STATUS:
            return int(self._protection.all.fused_open) | int(self._protection.secure.fused_open) << 1 | 1 << 2
        return {CPU_RXSTATUS: int(self._to_cpu is not None), CPU_TXSTATUS: int(self._to_debugger is not None)}.get(
            offset, 0
        )

    def write_cpu(self, offset: int, value: int) -> None:
        """One register of the peripheral."""
        protection = self._protection
        gates = {CPU_DISABLE: protection.all, CPU_SECURE_DISABLE: protection.secure}
        locks = {CPU_LOCK: protection.all, CPU_SECURE_LOCK: protection.secure}
        if offset in gates:
            protection.cpu_writes(gates[offset], value)
        elif offset in locks and value & 1:
            protection.cpu_locks(locks[offset])
        elif offset == CPU_ERASE_LOCK and value & 1:
            self._cpu_erase_locked = True
        elif offset == CPU_ERASE_DISABLE and not self._cpu_erase_locked:
            self._cpu_erase_key = value
            self._compare_erase_keys()
        elif offset == CPU_TXDATA:
            self._to_debugger = value

    def _compare_erase_keys(self) -> None:
        """Equal keys that are not zero start an ERASEALL even when UICR forbids it."""
        if self._erase_key and self._erase_key == self._cpu_erase_key:
            self._erase_all()
