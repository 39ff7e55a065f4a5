"""A debug probe on plain memory, and a console that says what it is given: for the verbs of a Nordic part alone."""

from __future__ import annotations

from station.errors import ConfigError, PartError
from station.formats.nordic_family import (
    CTRL_AP_IDR,
    KMU_SELECT,
    NETWORK_FORCEOFF,
    CtrlAp,
    Ficr,
    family,
)
from station.model import DebugAccess, DebugPort


class MemoryProbe:
    """Words by address; ``calls`` says what was asked, ``writes`` what was written."""

    identity = "FAKE"

    def __init__(self, name="nrf5340", revision=1):
        self.family = family(name)
        self.words = {}
        self.calls, self.writes = [], []
        self.app, self.net_access = DebugAccess.OPEN, DebugAccess.OPEN
        self.targetid = revision << 28 | self.family.targetid
        self.aps = {core.ctrl_ap: CTRL_AP_IDR for core in self.family.cores}
        self.erase_status, self.erasing = 1, []
        self.slots_need_selection = True
        start = self.family.app.ficr.start
        self.words |= {start + Ficr.DEVICEID: 0x11223344, start + Ficr.DEVICEID + 4: 0x55667788,
                       start + Ficr.PART: self.family.part_numbers[0]}  # fmt: skip

    def attach(self):
        self.calls.append("attach")
        return DebugPort(0x6BA02477, self.targetid, self.aps)

    def access(self, core):
        return self.app if core == "app" else self.net_access

    def read_ap(self, port, register):
        if register == CtrlAp.ERASEALLSTATUS:
            return self.erasing.pop(0) if self.erasing else 0
        return self.erase_status

    def write_ap(self, port, register, value):
        self.writes.append((f"ap{port}", register, value))

    def read_words(self, core, address, count):
        if self.access(core) is not DebugAccess.OPEN:
            raise PartError("closed")
        if address % 4:
            raise ConfigError(f"expected an address at a multiple of 4, saw {address:#010x}")
        kmu = range(0x00FF_8400, 0x00FF_8800)
        if address in kmu and self.slots_need_selection:
            selected = self.words.get(self.family.app.nvmc + KMU_SELECT, 0)
            assert selected == (address - kmu.start) // 8 + 1, "a slot is read while it is selected"
        default = 1 if address == NETWORK_FORCEOFF else 0xFFFF_FFFF
        return [self.words.get(address + 4 * n, default) for n in range(count)]

    def write_words(self, core, address, words):
        self.writes += [(core, address + 4 * n, word) for n, word in enumerate(words)]
        self.words |= {address + 4 * n: word for n, word in enumerate(words)}

    def write_once(self, core, address, words):
        self.calls.append(f"write_once {address:#010x}")
        self.write_words(core, address, words)

    def halt(self, core):
        self.calls.append(f"halt {core}")

    def program(self, core, segments):
        self.calls.append(f"program {core}")
        for segment in segments:
            for at, byte in enumerate(segment.data, segment.address):
                shift = 8 * (at % 4)
                word = self.words.get(at - at % 4, 0xFFFF_FFFF)
                self.words[at - at % 4] = word & ~(0xFF << shift) | byte << shift

    def erase(self, core, spans):
        self.calls.append(f"erase {core}")

    def erase_all(self, core, waiver):
        self.calls.append(f"erase_all {core}")

    def reset(self, kind):
        self.calls.append(f"reset {kind}")
