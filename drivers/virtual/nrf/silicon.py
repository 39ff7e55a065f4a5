"""What silicon the virtual bench has: one frozen description per chip kind.

It is the bench's own map, written down apart from the station's families, so that a wrong address there meets silicon
that does not have it. Sources: nordic-tfm sheet 1.9, 2.1, 2.2, 2.3, 2.5, 2.7 (nrfx MDK headers and SVD files).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WORD = 0xFFFF_FFFF
AHB_AP_IDR, APB_AP_IDR, CTRL_AP_IDR = 0x8477_0001, 0x5477_0002, 0x1288_0000
DPIDR = 0x6BA0_2477
UNPROTECTED = 0x50FA_50FA
PROTECTED = 0x0000_0000
NVM_SIZE = 0x1000
"""Bytes of each UICR and each FICR."""


@dataclass(frozen=True, slots=True)
class CoreSilicon:
    """One core with its access ports and memories; addresses of the secure alias, 0 where a register is missing."""

    name: str
    ahb_ap: int
    ctrl_ap: int
    flash: int
    flash_size: int
    page: int
    ram: int
    ram_size: int
    ficr: int
    uicr: int
    nvmc: int
    ctrl_ap_registers: int
    approtect: int
    secure_approtect: int
    eraseprotect: int


@dataclass(frozen=True, slots=True)
class Silicon:
    """One chip kind.

    ``hardened``: UICR opens the debug port only together with software. ``disable_keys``: that software writes a key
    that must equal the debugger's (nRF53), else the value 0x5A (nRF91x1). ``storage``: bl_storage in UICR.OTP.
    """

    name: str
    title: str
    targetid: int
    part: int
    variant: str
    hwrevision: str
    cores: tuple[CoreSilicon, ...]
    apb_ap: int | None
    hardened: bool
    disable_keys: bool
    storage: int
    otp: int
    otp_words: int
    huk_slots: Mapping[int, int]
    identity_slots: tuple[int, int]

    @property
    def app(self) -> CoreSilicon:
        """The application core."""
        return self.cores[0]

    @property
    def net(self) -> CoreSilicon | None:
        """The network core, where there is one."""
        return self.cores[1] if len(self.cores) > 1 else None


_NRF5340 = Silicon(
    name="nrf5340", title="nRF5340", targetid=0x1007_0289, part=0x5340, variant="QKAA", hwrevision="ENGD",
    cores=(
        CoreSilicon(
            "app", ahb_ap=0, ctrl_ap=2, flash=0, flash_size=0x10_0000, page=0x1000, ram=0x2000_0000, ram_size=0x8_0000,
            ficr=0x00FF_0000, uicr=0x00FF_8000, nvmc=0x5003_9000, ctrl_ap_registers=0x5000_6000,
            approtect=0x00FF_8000, secure_approtect=0x00FF_801C, eraseprotect=0x00FF_8020,
        ),
        CoreSilicon(
            "net", ahb_ap=1, ctrl_ap=3, flash=0x0100_0000, flash_size=0x4_0000, page=0x800, ram=0x2100_0000,
            ram_size=0x1_0000, ficr=0x01FF_0000, uicr=0x01FF_8000, nvmc=0x4108_0000, ctrl_ap_registers=0x4100_6000,
            approtect=0x01FF_8000, secure_approtect=0, eraseprotect=0x01FF_8004,
        ),
    ),
    apb_ap=None, hardened=True, disable_keys=True, storage=0x00FF_8100, otp=0x00FF_8100, otp_words=0xC0,
    huk_slots={2: 0x5084_5400, 3: 0x5084_5410, 4: 0x5084_5400, 5: 0x5084_5410}, identity_slots=(6, 7),
)  # fmt: skip


def _nrf91(name: str, title: str, targetid: int, part: int, variant: str, hwrevision: str, hardened: bool) -> Silicon:
    app = CoreSilicon(
        "app", ahb_ap=0, ctrl_ap=4, flash=0, flash_size=0x10_0000, page=0x1000, ram=0x2000_0000, ram_size=0x4_0000,
        ficr=0x00FF_0000, uicr=0x00FF_8000, nvmc=0x5003_9000, ctrl_ap_registers=0x5000_6000,
        approtect=0x00FF_8000, secure_approtect=0x00FF_802C, eraseprotect=0x00FF_8030,
    )  # fmt: skip
    return Silicon(
        name=name, title=title, targetid=targetid, part=part, variant=variant, hwrevision=hwrevision, cores=(app,),
        apb_ap=3, hardened=hardened, disable_keys=False, storage=0x00FF_8108, otp=0x00FF_8108, otp_words=0xBE,
        huk_slots={2: 0x5084_1400, 4: 0x5084_1400}, identity_slots=(6, 7),
    )  # fmt: skip


SILICON: Mapping[str, Silicon] = {
    silicon.name: silicon
    for silicon in (
        _NRF5340,
        _nrf91("nrf9160", "nRF9160", 0x2009_0289, 0x9160, "SIAA", "B1A0", hardened=False),
        _nrf91("nrf91x1", "nRF9161", 0x3009_0289, 0x9120, "LACA", "A0A0", hardened=True),
    )
}
"""TARGETID carries the revision in bits 31:28; on nRF91 a revision above 2 is the hardened die."""
