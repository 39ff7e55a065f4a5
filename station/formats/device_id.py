"""The 256-bit device id: hardware origin from Chip Probe, SKU-specific half from Final Test, and its text forms.

Source: opentitan-device sheet 4.5, opentitan-appliance sheet 5.6. The 32 raw bytes are the 256-bit number
little-endian; eight 32-bit words, index 0 the least significant.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from station.errors import FormatError

CREATORS = (0x0001, 0x4001, 0xFFFF)
PRODUCTS = (0x0001, 0x0002, 0x0003, 0xFFFF)
CREATOR_NUVOTON = 0x4001
PRODUCT_EARLGREY_A1 = 0x0002
PRODUCT_EARLGREY_A2 = 0x0003
BLIND_DIN = (1 << 64) - 1
BLIND_NUMBERS = (BLIND_DIN, BLIND_DIN >> 8)
"""All ones, and what the CP program makes of an erased probe page: every chip of a blind assembly has the same."""

FORMAT_VERSION = 1

_DIN_FIELDS = (("year", 1), ("week", 2), ("lot", 3), ("wafer", 2), ("x", 3), ("y", 3))


@dataclass(frozen=True, slots=True)
class Din:
    """Device identification number: decimal fields, stored as BCD (year 1 digit, week 2, lot 3, wafer 2, x 3, y 3).

    ``blind`` marks blind assembly: the number is all ones and the fields are 0.
    """

    year: int = 0
    week: int = 0
    lot: int = 0
    wafer: int = 0
    x: int = 0
    y: int = 0
    blind: bool = False

    @classmethod
    def parse(cls, value: int) -> Din:
        """Fields of the 64-bit number; digits above 9, week above 53 or a non-zero top byte raise FormatError."""
        if value == BLIND_DIN:
            return cls(blind=True)
        digits = f"{value:016x}"
        if not 0 <= value < 1 << 64 or not digits.isdecimal() or not digits.startswith("00"):
            raise FormatError(f"expected BCD year, week, lot, wafer, x and y in the device number, saw 0x{digits[:20]}")
        found: dict[str, int] = {}
        end = len(digits)
        for name, width in _DIN_FIELDS:
            found[name] = int(digits[end - width : end])
            end -= width
        din = cls(found["year"], found["week"], found["lot"], found["wafer"], found["x"], found["y"])
        din.pack()
        return din

    def pack(self) -> int:
        """The 64-bit number, year in the lowest digit."""
        if self.blind:
            return BLIND_DIN
        value, shift = 0, 0
        for name, width in _DIN_FIELDS:
            number: int = getattr(self, name)
            highest = 53 if name == "week" else 10**width - 1
            if not 0 <= number <= highest:
                raise FormatError(f"expected {name} from 0 to {highest} in the device number, saw {number}")
            value |= int(str(number), 16) << shift
            shift += 4 * width
        return value


@dataclass(frozen=True, slots=True)
class HardwareOrigin:
    """Lower half of the device id: creator (16 bits), product (16), device number (64), reserved (32)."""

    silicon_creator: int
    product: int
    din_value: int
    reserved: int = 0

    @property
    def is_blind(self) -> bool:
        """Whether the chip was assembled without knowing its die: its number, and so its whole id, is not its own."""
        return self.din_value in BLIND_NUMBERS

    @property
    def din(self) -> Din:
        """The device number's fields; raises FormatError when it is neither BCD nor blind."""
        return Din(blind=True) if self.is_blind else Din.parse(self.din_value)

    @classmethod
    def parse(cls, raw: bytes) -> HardwareOrigin:
        """Read the 16 bytes of a CP device id."""
        if len(raw) != 16:
            raise FormatError(f"expected 16 bytes of hardware origin, saw {len(raw)}: read the id again")
        return cls(*struct.unpack("<HHQI", raw))

    def pack(self) -> bytes:
        """The 16 bytes of the CP device id."""
        try:
            return struct.pack("<HHQI", self.silicon_creator, self.product, self.din_value, self.reserved)
        except struct.error:
            raise FormatError(
                "expected 16, 16, 64 and 32 bits in the hardware origin, saw a number out of range"
            ) from None

    def check_registrable(self) -> None:
        """FormatError unless creator and product are known to the appliance (appliance sheet 1.5)."""
        if self.silicon_creator not in CREATORS or self.product not in PRODUCTS:
            raise FormatError(
                f"expected a known silicon creator and product, saw 0x{self.silicon_creator:04x} and "
                f"0x{self.product:04x}: check the device id"
            )


@dataclass(frozen=True, slots=True)
class SkuSpecific:
    """Upper half of the device id; ids are ASCII capitals, digits or ``_`` with the first letter most significant."""

    package: int
    ast_cfg_version: int
    otp_id: str
    otp_version: int
    sku_id: str
    version: int = FORMAT_VERSION

    @classmethod
    def parse(cls, raw: bytes) -> SkuSpecific:
        """Read the 16 bytes; reserved bits that are not zero raise FormatError."""
        if len(raw) != 16:
            raise FormatError(f"expected 16 SKU-specific bytes, saw {len(raw)}: read the id again")
        package, ast, otp_id, otp_version, gap, sku_id, gap2, version = struct.unpack("<BB2sB3s4s3sB", raw)
        if any(gap + gap2):
            raise FormatError("expected zero in the reserved bits of the SKU-specific half: check the device id")
        found = cls(package, ast, _text(otp_id), otp_version, _text(sku_id), version)
        found.pack()
        return found

    def pack(self) -> bytes:
        """The 16 bytes."""
        otp_id, sku_id = _letters(self.otp_id, 2, "OTP id"), _letters(self.sku_id, 4, "SKU id")
        fields = (self.package, self.ast_cfg_version, self.otp_version, self.version)
        if any(not 0 <= value <= 0xFF for value in fields):
            raise FormatError(f"expected 8-bit package, AST version, OTP version and format version, saw {fields}")
        return struct.pack(
            "<BB2sB3x4s3xB", self.package, self.ast_cfg_version, otp_id, self.otp_version, sku_id, self.version
        )


@dataclass(frozen=True, slots=True)
class DeviceId:
    """A whole device id: hardware origin and the 16 SKU-specific bytes (zeros before Final Test)."""

    origin: HardwareOrigin
    sku_specific: bytes = bytes(16)

    def __post_init__(self) -> None:
        if len(self.sku_specific) != 16:
            raise FormatError(f"expected 16 SKU-specific bytes, saw {len(self.sku_specific)}: check the device id")

    @classmethod
    def parse(cls, raw: bytes) -> DeviceId:
        """Read the 32 raw bytes."""
        if len(raw) != 32:
            raise FormatError(f"expected 32 bytes of device id, saw {len(raw)}: read the id again")
        return cls(HardwareOrigin.parse(raw[:16]), raw[16:])

    @classmethod
    def from_words(cls, words: tuple[int, ...] | list[int]) -> DeviceId:
        """Device id of the eight DEVICE_ID registers, index 0 first."""
        if len(words) != 8 or any(not 0 <= word < 1 << 32 for word in words):
            raise FormatError("expected eight 32-bit words of device id: read the registers again")
        return cls.parse(struct.pack("<8I", *words))

    @classmethod
    def from_hex(cls, text: str) -> DeviceId:
        """Device id of its ``devid`` text: 64 hex digits, most significant first, with or without ``0x``."""
        digits = text.strip().removeprefix("0x")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
            raise FormatError("expected 64 hex digits of device id, most significant first: check the text")
        return cls.parse(bytes.fromhex(digits)[::-1])

    def pack(self) -> bytes:
        """The 32 raw bytes."""
        return self.origin.pack() + self.sku_specific

    @property
    def sku(self) -> SkuSpecific:
        """Fields of the SKU-specific half."""
        return SkuSpecific.parse(self.sku_specific)

    @property
    def cp_id(self) -> bytes:
        """The 16 bytes of the hardware origin."""
        return self.origin.pack()

    @property
    def words(self) -> tuple[int, ...]:
        """Eight 32-bit words, index 0 the least significant."""
        return struct.unpack("<8I", self.pack())

    @property
    def devid_hex(self) -> str:
        """64 hex digits of all 32 bytes reversed, no prefix."""
        return self.pack()[::-1].hex()

    @property
    def registry_hex(self) -> str:
        """Registry key: ``0x``, SKU-specific bytes in array order, reserved always zero, number, product, creator."""
        origin = self.origin
        vendor = f"{origin.product:04x}{origin.silicon_creator:04x}"
        return f"0x{self.sku_specific.hex()}00000000{origin.din_value:016x}{vendor}"

    @property
    def cp_hex(self) -> str:
        """The CP program's text: 32 upper-case hex digits, word 3 first."""
        return self.cp_id[::-1].hex().upper()


def _letters(text: str, width: int, name: str) -> bytes:
    if not re.fullmatch(rf"[A-Z0-9_]{{{width}}}", text):
        raise FormatError(f"expected {width} ASCII capitals or digits as {name}, saw {text[:20]!r}: check the SKU pack")
    return text.encode("ascii")[::-1]


def _text(raw: bytes) -> str:
    return raw[::-1].decode("latin-1")
