"""Nordic families whose TF-M provisioning this station carries out: where everything lies, as frozen data.

All addresses are those of the secure alias as a debugger sees them, all lengths in bytes, all words 32 bits
little-endian. Source: nordic-tfm sheet 1.9, 2.1, 2.2, 2.3, 2.5, 2.7 (from nrfx MDK headers and sdk-nrf).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from station.errors import FormatError, nearest

PAGE_APP, PAGE_NET = 0x1000, 0x800
APPROTECT_OPEN_HARDENED = 0x50FA50FA
ERASED = 0xFFFF_FFFF
CLOSED = 0x0000_0000
CTRL_AP_IDR = 0x1288_0000
AHB_AP_IDR = 0x8477_0001
DPIDR_M33 = 0x6BA0_2477
TARGETID_MASK = 0x0FFF_FFFF
"""TARGETID without its revision in bits 31:28."""
CTRL_AP_IDR_NRF54L = 0x3288_0000
"""The nRF54L series is recognised only to be refused in words."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory: first address, bytes, and the bytes of a flash page (0 where nothing is erased by pages)."""

    start: int
    length: int
    page: int = 0

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.length


class Nvmc:
    """Register offsets and CONFIG values of the flash controller.

    ERASEPAGE and ERASEUICR belong to Nordic's other families; the parts here have nothing at these places.
    """

    READY, CONFIG, ERASEPAGE, ERASEALL, ERASEUICR, ERASEPAGEPARTIALCFG = 0x400, 0x504, 0x508, 0x50C, 0x514, 0x51C
    CONFIGNS, WRITEUICRNS = 0x584, 0x588
    READ_ONLY, WRITE, ERASE = 0, 1, 2
    CHANGING = ((CONFIG, ERASEPAGEPARTIALCFG), (CONFIGNS, WRITEUICRNS))
    """First and last register of what lets flash and UICR be written or erased."""


SECURE_ALIAS = 1 << 28
"""The address bit in which the secure and the non-secure alias of a peripheral differ."""


@dataclass(frozen=True, slots=True)
class Core:
    """One core with its access ports and memories; ``secure_approtect`` is 0 where the core has no such word."""

    name: str
    ahb_ap: int
    ctrl_ap: int
    flash: Memory
    ram: Memory
    ficr: Memory
    uicr: Memory
    nvmc: int
    approtect: int
    eraseprotect: int
    secure_approtect: int = 0

    @property
    def flash_control(self) -> tuple[Memory, ...]:
        """The registers of its flash controller that let flash and UICR be written or erased, at both aliases."""
        return tuple(
            Memory((self.nvmc ^ alias) + first, last + 4 - first)
            for alias in (0, SECURE_ALIAS)
            for first, last in Nvmc.CHANGING
        )


@dataclass(frozen=True, slots=True)
class NordicFamily:
    """One family.

    ``open_word``: the APPROTECT value that keeps the debug port open; every other value closes it, the erased one
    included unless it is this one. ``hardened``: software takes part in opening (CTRL-AP DISABLE keys).
    ``storage``: base of bl_storage in UICR.OTP. ``huk_slots``: KMU slots of MKEK and MEXT with the DEST word each gets;
    ``identity_slots``: those of the encrypted identity key.
    """

    name: str
    title: str
    targetid: int
    part_numbers: tuple[int, ...]
    cores: tuple[Core, ...]
    open_word: int
    hardened: bool
    storage: int
    huk_slots: Mapping[int, int]
    identity_slots: tuple[int, ...]

    @property
    def app(self) -> Core:
        """The application core."""
        return self.cores[0]

    @property
    def net(self) -> Core | None:
        """The network core, where there is one."""
        return self.cores[1] if len(self.cores) > 1 else None

    def core(self, name: str) -> Core:
        """A core by its name."""
        for core in self.cores:
            if core.name == name:
                return core
        known = [core.name for core in self.cores]
        raise FormatError(f"{self.title} has the cores {', '.join(known)}, not {name!r}{nearest(name, known)}")


KMU_CONFIG, KMU_KEY = 0x00FF_8400, 0x00FF_8800
"""Slot n: DEST at KMU_CONFIG + 8n, PERM at +4; VALUE of 4 words at KMU_KEY + 16n (UICR, written through NVMC)."""
KMU_SLOTS = 128
KMU_SELECT, KMU_STATUS = 0x500, 0x40C
"""Offsets in the block that KMU and NVMC share: SELECTKEYSLOT takes the slot's number plus one, 0 for none."""
KMU_UNREADABLE = 0xDEAD_DEAD
PERM_HUK, PERM_IDENTITY = 0xFFFF_FFFC, 0xFFFF_FFFA


class CtrlAp:
    """Register offsets of a CTRL-AP as the debugger sees them."""

    RESET, ERASEALL, ERASEALLSTATUS, APPROTECTSTATUS = 0x000, 0x004, 0x008, 0x00C
    APPROTECT_DISABLE, SECUREAPPROTECT_DISABLE = 0x010, 0x014
    ERASEPROTECT_STATUS, ERASEPROTECT_DISABLE, IDR = 0x018, 0x01C, 0x0FC
    ERASING = (ERASEALL, ERASEPROTECT_DISABLE)
    """What erases the whole part when it is written; ERASEPROTECT.DISABLE does together with the firmware's key."""
    ERASE_SECONDS = 30.0
    """An erasure takes a fraction of a second; one that ERASEALLSTATUS calls busy after this does not end any more."""


class Ficr:
    """Word offsets in the application core's FICR."""

    CONFIGID, DEVICEID, PART, VARIANT, PACKAGE, RAM, FLASH = 0x200, 0x204, 0x20C, 0x210, 0x214, 0x218, 0x21C


NETWORK_FORCEOFF = 0x5000_5614
"""RESET.NETWORK.FORCEOFF of the nRF5340 application core: 1 (reset value) holds the network core off."""
NETWORK_FORCEOFF_UNLOCK = 0x5000_5618
"""Erratum 161: 1 before the sequence FORCEOFF 0, 1, 0; then 0."""

_NRF5340 = NordicFamily(
    name="nrf5340",
    title="nRF5340",
    targetid=0x0007_0289,
    part_numbers=(0x5340,),
    cores=(
        Core(
            "app", ahb_ap=0, ctrl_ap=2,
            flash=Memory(0x0000_0000, 0x10_0000, PAGE_APP), ram=Memory(0x2000_0000, 0x8_0000),
            ficr=Memory(0x00FF_0000, 0x1000), uicr=Memory(0x00FF_8000, 0x1000), nvmc=0x5003_9000,
            approtect=0x00FF_8000, secure_approtect=0x00FF_801C, eraseprotect=0x00FF_8020,
        ),
        Core(
            "net", ahb_ap=1, ctrl_ap=3,
            flash=Memory(0x0100_0000, 0x4_0000, PAGE_NET), ram=Memory(0x2100_0000, 0x1_0000),
            ficr=Memory(0x01FF_0000, 0x1000), uicr=Memory(0x01FF_8000, 0x1000), nvmc=0x4108_0000,
            approtect=0x01FF_8000, eraseprotect=0x01FF_8004,
        ),
    ),
    open_word=APPROTECT_OPEN_HARDENED,
    hardened=True,
    storage=0x00FF_8100,
    huk_slots={2: 0x5084_5400, 3: 0x5084_5410, 4: 0x5084_5400, 5: 0x5084_5410},
    identity_slots=(6, 7),
)  # fmt: skip


def _nrf91(name: str, title: str, part_numbers: tuple[int, ...], open_word: int, hardened: bool) -> NordicFamily:
    app = Core(
        "app", ahb_ap=0, ctrl_ap=4,
        flash=Memory(0x0000_0000, 0x10_0000, PAGE_APP), ram=Memory(0x2000_0000, 0x4_0000),
        ficr=Memory(0x00FF_0000, 0x1000), uicr=Memory(0x00FF_8000, 0x1000), nvmc=0x5003_9000,
        approtect=0x00FF_8000, secure_approtect=0x00FF_802C, eraseprotect=0x00FF_8030,
    )  # fmt: skip
    return NordicFamily(
        name=name, title=title, targetid=0x0009_0289, part_numbers=part_numbers, cores=(app,), open_word=open_word,
        hardened=hardened, storage=0x00FF_8108, huk_slots={2: 0x5084_1400, 4: 0x5084_1400}, identity_slots=(6, 7),
    )  # fmt: skip


FAMILIES: Mapping[str, NordicFamily] = {
    family.name: family
    for family in (
        _NRF5340,
        _nrf91("nrf9160", "nRF9160", (0x9160,), ERASED, hardened=False),
        _nrf91(
            "nrf91x1",
            "nRF9161, nRF9151, nRF9131",
            (0x9120, 0x9161, 0x9151, 0x9131),
            APPROTECT_OPEN_HARDENED,
            hardened=True,
        ),
    )
}
"""nRF9160 and nRF91x1 share their TARGETID; FICR.PART tells them apart, and TARGETID's revision (above 2: nRF91x1)."""


def family(name: str) -> NordicFamily:
    """A family by its name; ``FormatError`` with a hint when there is none."""
    try:
        return FAMILIES[name]
    except KeyError:
        known = ", ".join(FAMILIES)
        raise FormatError(f"expected one of the families {known}, saw {name!r}{nearest(name, FAMILIES)}") from None
