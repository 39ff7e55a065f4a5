"""Physical memory protection of the virtual hart: 16 entries, mseccfg, reset values of the product (RTL sheet 5)."""

from __future__ import annotations

CSR_PMPCFG0, CSR_PMPADDR0 = 0x3A0, 0x3B0
CSR_MSECCFG, CSR_MSECCFGH = 0x747, 0x757
READ, WRITE, EXECUTE = 1, 2, 4
LOCK = 0x80
MODE_OFF, MODE_TOR, MODE_NA4, MODE_NAPOT = 0, 1, 2, 3
MACHINE_MODE_LOCKDOWN, WHITELIST, RULE_LOCK_BYPASS = 1, 2, 4

_RESET_CONFIG = {2: 0x9D, 11: 0x8B, 13: 0x9F}
_RESET_ADDRESS = {2: 0x20FF, 10: 0x10000000, 11: 0x10804000, 13: 0x41FF}


class Pmp:
    """Checks machine-mode accesses; the lowest matching entry decides."""

    def __init__(self) -> None:
        self.config = [_RESET_CONFIG.get(i, 0) for i in range(16)]
        self.address = [_RESET_ADDRESS.get(i, 0) for i in range(16)]
        self.mseccfg = WHITELIST | RULE_LOCK_BYPASS
        self._ranges: list[tuple[int, int, int]] | None = None

    def read(self, csr: int) -> int | None:
        """Value of a protection CSR, or None when ``csr`` is not one."""
        if CSR_PMPCFG0 <= csr < CSR_PMPCFG0 + 4:
            first = 4 * (csr - CSR_PMPCFG0)
            return int.from_bytes(bytes(self.config[first : first + 4]), "little")
        if CSR_PMPADDR0 <= csr < CSR_PMPADDR0 + 16:
            return self.address[csr - CSR_PMPADDR0]
        if csr == CSR_MSECCFG:
            return self.mseccfg
        return 0 if csr == CSR_MSECCFGH else None

    def write(self, csr: int, value: int) -> bool:
        """Write a protection CSR with its locks; False when ``csr`` is not one."""
        if CSR_PMPCFG0 <= csr < CSR_PMPCFG0 + 4:
            for i in range(4):
                self._write_config(4 * (csr - CSR_PMPCFG0) + i, value >> 8 * i & 0xFF)
        elif CSR_PMPADDR0 <= csr < CSR_PMPADDR0 + 16:
            self._write_address(csr - CSR_PMPADDR0, value)
        elif csr == CSR_MSECCFG:
            self._write_mseccfg(value)
        elif csr != CSR_MSECCFGH:
            return False
        self._ranges = None
        return True

    def allows(self, address: int, kind: int) -> bool:
        """May machine mode access the word at ``address`` for ``kind`` (READ, WRITE or EXECUTE bits)?"""
        for low, high, config in self._rules():
            if low <= address < high:
                enforced = config & LOCK or self.mseccfg & MACHINE_MODE_LOCKDOWN
                return not enforced or config & kind == kind
        return not self.mseccfg & WHITELIST

    def _locked(self, entry: int) -> bool:
        return bool(self.config[entry] & LOCK) and not self.mseccfg & RULE_LOCK_BYPASS

    def _write_config(self, entry: int, value: int) -> None:
        if self._locked(entry):
            return
        value &= 0x9F
        if not value & READ and not self.mseccfg & MACHINE_MODE_LOCKDOWN:
            value &= ~WRITE
        self.config[entry] = value

    def _write_address(self, entry: int, value: int) -> None:
        next_is_tor = entry < 15 and self.config[entry + 1] >> 3 & 3 == MODE_TOR
        if not self._locked(entry) and not (next_is_tor and self._locked(entry + 1)):
            self.address[entry] = value

    def _write_mseccfg(self, value: int) -> None:
        sticky = self.mseccfg & (MACHINE_MODE_LOCKDOWN | WHITELIST)
        bypass = value & RULE_LOCK_BYPASS
        if not self.mseccfg & RULE_LOCK_BYPASS and any(config & LOCK for config in self.config):
            bypass = 0
        self.mseccfg = sticky | value & (MACHINE_MODE_LOCKDOWN | WHITELIST) | bypass

    def _rules(self) -> list[tuple[int, int, int]]:
        if self._ranges is None:
            self._ranges = [self._range(i) for i in range(16) if self.config[i] >> 3 & 3]
        return self._ranges

    def _range(self, entry: int) -> tuple[int, int, int]:
        config, address = self.config[entry], self.address[entry]
        mode = config >> 3 & 3
        if mode == MODE_TOR:
            return (self.address[entry - 1] << 2 if entry else 0), address << 2, config
        if mode == MODE_NA4:
            return address << 2, (address << 2) + 4, config
        size = (address ^ (address + 1)) + 1 << 2  # trailing ones give the power-of-two size
        base = (address & ~(address ^ (address + 1))) << 2
        return base, base + size, config
