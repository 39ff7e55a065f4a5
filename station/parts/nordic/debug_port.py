"""The debug port of a Nordic part: which family it is, what is open, the network core let out of its reset.

Everything is judged by IDR and CSW, never by one flag (nordic-tfm sheet 2.7, 6). Nothing here resets or halts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from station.deadline import Deadline, Pace
from station.errors import PartError
from station.formats.nordic_family import (
    CTRL_AP_IDR,
    CTRL_AP_IDR_NRF54L,
    FAMILIES,
    NETWORK_FORCEOFF,
    NETWORK_FORCEOFF_UNLOCK,
    TARGETID_MASK,
    CtrlAp,
    Ficr,
    NordicFamily,
)
from station.model import DebugAccess, DebugPort
from station.ports import Probe

NOT_PROTECTED = 1 << 0
"""Bit 0 of ERASEPROTECT.STATUS: 0 while the erasure of the part is refused (pyOCD:target_nRF91.py)."""
REVISION_SHIFT, LAST_NRF9160_REVISION = 28, 2
"""nRF9160 and nRF91x1 share their TARGETID but for its revision."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the debug port showed: the application core's access, and whether the erasure of any core is refused."""

    port: DebugPort
    app: DebugAccess
    erase_protected: bool

    @property
    def is_open(self) -> bool:
        """Whether everything of the application core can be read."""
        return self.app is DebugAccess.OPEN


class NordicDebugPort:
    """One part on its probe."""

    def __init__(self, probe: Probe, family: NordicFamily, pause: Callable[[float], None] = time.sleep) -> None:
        self._probe = probe
        self._family = family
        self._pause = pause

    def look(self) -> Look:
        """Attach, and see who is there; ``PartError`` in bin ``wrong_part`` when it is another family.

        An erasure that somebody has begun is awaited; ``PartError`` in bin ``locked`` when it does not end.
        """
        port = self._probe.attach()
        self._check_family(port)
        self._await_erasures()
        statuses = [self._probe.read_ap(core.ctrl_ap, CtrlAp.ERASEPROTECT_STATUS) for core in self._family.cores]
        return Look(port, self._probe.access("app"), not all(status & NOT_PROTECTED for status in statuses))

    def device_id(self) -> str:
        """FICR.INFO.DEVICEID, 16 hex digits, high word first; checks FICR.INFO.PART. Needs an open port."""
        low, high, part = self._probe.read_words("app", self._family.app.ficr.start + Ficr.DEVICEID, 3)
        if part not in self._family.part_numbers:
            raise self._wrong_part(f"part number {part:#06x} in FICR")
        if (low, high) in ((0, 0), (0xFFFF_FFFF, 0xFFFF_FFFF)):
            raise PartError("expected a device id in FICR, but it reads blank", "wrong_part")
        return f"{high:08x}{low:08x}"

    def release_network(self) -> DebugAccess:
        """Let the network core run, if it is off, and say what its port allows.

        Never off and on again: a core whose UICR closes it would close with that. Erratum 161 wants the detour.
        """
        if self._probe.read_words("app", NETWORK_FORCEOFF, 1)[0] & 1:
            for address, value in (
                (NETWORK_FORCEOFF_UNLOCK, 1), (NETWORK_FORCEOFF, 0), (NETWORK_FORCEOFF, 1), (NETWORK_FORCEOFF, 0),
                (NETWORK_FORCEOFF_UNLOCK, 0),
            ):  # fmt: skip
                self._probe.write_words("app", address, [value])
        return self._probe.access("net")

    def open_cores(self) -> list[str]:
        """Names of the cores whose port allows anything; attaches first."""
        self.look()
        return [core.name for core in self._family.cores if self._probe.access(core.name) is not DebugAccess.CLOSED]

    def prove_closed(self) -> Mapping[str, str]:
        """What shows that every port is closed: the status of each core, and a read that was refused.

        ``PartError`` in bin ``debug_open`` when one is open, whatever it says of itself. A network core that is
        switched off shows the same as one whose port is closed: ``NetworkCore.lock`` tells them apart in time.
        """
        if still := self.open_cores():
            ports = " and the ".join(still)
            raise PartError(f"expected closed debug ports, but that of the {ports} core is open", "debug_open")
        try:
            self._probe.read_words("app", self._family.app.flash.start, 1)
        except PartError as refused:
            return {**{core.name: str(DebugAccess.CLOSED) for core in self._family.cores}, "read": str(refused)}
        raise PartError(
            "the debug port says that it is closed, but a word of flash can be read through it", "debug_open"
        )

    def _await_erasures(self) -> None:
        """A station that was killed may have left one under way: until it ends, no bus of the part can be reached."""
        deadline, pace = Deadline(CtrlAp.ERASE_SECONDS), Pace(self._pause, first=0.01, most=0.1)
        for core in self._family.cores:
            while self._probe.read_ap(core.ctrl_ap, CtrlAp.ERASEALLSTATUS):
                if deadline.passed:
                    raise PartError(
                        f"the erasure of the {core.name} core was begun before, and has not ended within "
                        f"{CtrlAp.ERASE_SECONDS:g} s: the part is neither what it was nor blank, and its keys may be "
                        "gone; take the supply away, put it back, and erase it with the recipe that recovers it",
                        "locked",
                    )
                pace.rest()

    def _check_family(self, port: DebugPort) -> None:
        idrs = port.access_ports
        if CTRL_AP_IDR_NRF54L in idrs.values():
            raise self._wrong_part("a part of the nRF54L series, which this station does not provision: its keys live "
                                   "elsewhere and its vendor's tool does that (docs/out-of-scope.md)")  # fmt: skip
        if port.targetid & TARGETID_MASK != self._family.targetid:
            known = [one.title for one in FAMILIES.values() if one.targetid == port.targetid & TARGETID_MASK]
            raise self._wrong_part(f"TARGETID {port.targetid:#010x}{f' ({known[0]})' if known else ''}")
        if idrs.get(self._family.app.ctrl_ap) != CTRL_AP_IDR:
            seen = idrs.get(self._family.app.ctrl_ap, 0)
            raise self._wrong_part(f"IDR {seen:#010x} where its CTRL-AP should be")
        newer = port.targetid >> REVISION_SHIFT > LAST_NRF9160_REVISION
        if self._family.name.startswith("nrf91") and newer != self._family.hardened:
            raise self._wrong_part(f"revision {port.targetid >> REVISION_SHIFT} of the nRF91, which is another family")

    def _wrong_part(self, seen: str) -> PartError:
        return PartError(f"expected a part of the family {self._family.title}, saw {seen}", "wrong_part")
