"""Where everything is in the fuses.

Source: opentitan-device sheet 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: byte offset and size with its 8-byte digest at the end (none in LIFE_CYCLE)."""

    number: int
    name: str
    offset: int
    size: int
    kind: str  # "software", "hardware", "secret", "life_cycle"

    @property
    def end(self) -> int:
        """First byte behind the partition."""
        return self.offset + self.size

    @property
    def digest(self) -> int:
        """Byte address of the digest."""
        return self.end - 8

    @property
    def granule(self) -> int:
        """Bytes per direct access to the contents."""
        return 8 if self.kind == "secret" else 4


_ROWS = (
    ("VENDOR_TEST", 0x000, 64, "software"),
    ("CREATOR_SW_CFG", 0x040, 368, "software"),
    ("OWNER_SW_CFG", 0x1B0, 712, "software"),
    ("ROT_CREATOR_AUTH_CODESIGN", 0x478, 472, "software"),
    ("ROT_CREATOR_AUTH_STATE", 0x650, 40, "software"),
    ("HW_CFG0", 0x678, 72, "hardware"),
    ("HW_CFG1", 0x6C0, 16, "hardware"),
    ("SECRET0", 0x6D0, 40, "secret"),
    ("SECRET1", 0x6F8, 88, "secret"),
    ("SECRET2", 0x750, 88, "secret"),
    ("LIFE_CYCLE", 0x7A8, 88, "life_cycle"),
)
PARTITIONS = {name: Partition(number, name, *rest) for number, (name, *rest) in enumerate(_ROWS)}  # type: ignore[arg-type]

ITEMS = {
    "FLASH_DATA_DEFAULT_CFG": 0x0E8,
    "MANUF_STATE": 0x100,
    "ROM_EXEC_EN": 0x104,
    "ROM_BOOTSTRAP_DIS": 0x1B4,
    "ROM_BANNER_EN": 0x3DC,
    "DEVICE_ID": 0x678,
    "TEST_UNLOCK_TOKEN": 0x6D0,
    "TEST_EXIT_TOKEN": 0x6E0,
    "RMA_TOKEN": 0x750,
    "CREATOR_ROOT_KEY_SHARE0": 0x760,
    "CREATOR_ROOT_KEY_SHARE1": 0x780,
    "AST_CFG": 0x040,
}
AST_CFG_SIZE = 156


def partition_at(address: int) -> Partition:
    """The partition that holds a byte address; raises ``KeyError`` behind the last one."""
    for partition in PARTITIONS.values():
        if partition.offset <= address < partition.end:
            return partition
    raise KeyError(f"no partition holds OTP address {address:#x}")
