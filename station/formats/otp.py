"""OTP map, scrambling, digests and ECC of Earlgrey A1/A2 (the same for firmware rc4 and e1).

Source: opentitan-device sheet 4.1 and 4.3. Offsets and sizes are in bytes; blocks are 64-bit little-endian.
The ``DEV_`` constants are those of the open-source netlist, silicon integrators use private ones.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from station.errors import FormatError

SIZE = 2048
DIGEST_BYTES = 8
MUBI8_TRUE = 0x96
MUBI8_FALSE = 0x69
ROM_BOOTSTRAP_DISABLED = 0x739
"""Hardened true: with this value in ROM_BOOTSTRAP_DIS the ROM refuses the SPI bootstrap."""

DEV_SECRET0_KEY = 0x3BA121C5E097DDEB7768B4C666E9C3DA
DEV_SECRET1_KEY = 0xEFFA6D736C5EFF49AE7B70F9C46E5A62
DEV_SECRET2_KEY = 0x85A9E830BC059BA9286D6E2856A05CC3
DEV_DIGEST_IV = 0xBEAD91D5FA4E0915
DEV_DIGEST_CONST = 0x0E95F517CB98955B4D5A89AA9109294A
DEV_SECRET_KEYS = {"SECRET0": DEV_SECRET0_KEY, "SECRET1": DEV_SECRET1_KEY, "SECRET2": DEV_SECRET2_KEY}

_MASK64 = (1 << 64) - 1
_MASK128 = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: offset, size and digest offset in bytes; ``granule`` is the write width in bits.

    ``secret``: scrambled and read-locked by its digest; ``sw``: its digest is computed by software.
    """

    name: str
    offset: int
    size: int
    digest_offset: int | None
    granule: int = 32
    secret: bool = False
    sw: bool = False

    @property
    def end(self) -> int:
        """First byte after the partition."""
        return self.offset + self.size

    @property
    def data_size(self) -> int:
        """Bytes without the digest."""
        return self.size if self.digest_offset is None else self.size - DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Item:
    """One named field of a partition: offset from the start of OTP and size, in bytes."""

    name: str
    partition: str
    offset: int
    size: int


PARTITIONS = {
    partition.name: partition
    for partition in (
        Partition("VENDOR_TEST", 0x000, 64, 0x038, sw=True),
        Partition("CREATOR_SW_CFG", 0x040, 368, 0x1A8, sw=True),
        Partition("OWNER_SW_CFG", 0x1B0, 712, 0x470, sw=True),
        Partition("ROT_CREATOR_AUTH_CODESIGN", 0x478, 472, 0x648, sw=True),
        Partition("ROT_CREATOR_AUTH_STATE", 0x650, 40, 0x670, sw=True),
        Partition("HW_CFG0", 0x678, 72, 0x6B8),
        Partition("HW_CFG1", 0x6C0, 16, 0x6C8),
        Partition("SECRET0", 0x6D0, 40, 0x6F0, granule=64, secret=True),
        Partition("SECRET1", 0x6F8, 88, 0x748, granule=64, secret=True),
        Partition("SECRET2", 0x750, 88, 0x7A0, granule=64, secret=True),
        Partition("LIFE_CYCLE", 0x7A8, 88, None),
    )
}
"""In the order of the controller's status bits and digest registers."""


def _item_table() -> dict[str, Item]:
    rows = {
        "CREATOR_SW_CFG": (
            ("AST_CFG", 0x040, 156), ("AST_INIT_EN", 0x0DC, 4), ("ROM_EXT_SKU", 0x0E0, 4),
            ("SIGVERIFY_SPX_EN", 0x0E4, 4), ("FLASH_DATA_DEFAULT_CFG", 0x0E8, 4),
            ("FLASH_INFO_BOOT_DATA_CFG", 0x0EC, 4), ("FLASH_HW_INFO_CFG_OVERRIDE", 0x0F0, 4),
            ("CREATOR_MANUF_STATE", 0x100, 4), ("ROM_EXEC_EN", 0x104, 4), ("CPUCTRL", 0x108, 4),
            ("DEFAULT_BOOT_DATA_IN_PROD_EN", 0x114, 4), ("RMA_SPIN_EN", 0x118, 4), ("RMA_SPIN_CYCLES", 0x11C, 4),
            ("IMMUTABLE_ROM_EXT_EN", 0x150, 4), ("IMMUTABLE_ROM_EXT_START", 0x154, 4),
            ("IMMUTABLE_ROM_EXT_LENGTH", 0x158, 4), ("IMMUTABLE_ROM_EXT_SHA256", 0x15C, 32),
        ),
        "OWNER_SW_CFG": (
            ("ROM_ERROR_REPORTING", 0x1B0, 4), ("ROM_BOOTSTRAP_DIS", 0x1B4, 4), ("ALERT_CLASS_EN", 0x1B8, 4),
            ("KEYMGR_OTP_MEAS_EN", 0x3B4, 4), ("OWNER_MANUF_STATE", 0x3B8, 4), ("ROM_BANNER_EN", 0x3DC, 4),
        ),
        "ROT_CREATOR_AUTH_CODESIGN": (
            *((f"ECDSA_KEY{n}", 0x478 + 68 * n, 68) for n in range(4)),
            *((f"SPX_KEY{n}", 0x588 + 40 * n, 40) for n in range(4)),
        ),
        "ROT_CREATOR_AUTH_STATE": (
            *((f"ECDSA_KEY{n}_STATE", 0x650 + 4 * n, 4) for n in range(4)),
            *((f"SPX_KEY{n}_STATE", 0x660 + 4 * n, 4) for n in range(4)),
        ),
        "HW_CFG0": (("DEVICE_ID", 0x678, 32), ("MANUF_STATE", 0x698, 32)),
        "HW_CFG1": (
            ("EN_SRAM_IFETCH", 0x6C0, 1), ("EN_CSRNG_SW_APP_READ", 0x6C1, 1), ("DIS_RV_DM_LATE_DEBUG", 0x6C2, 1),
        ),
        "SECRET0": (("TEST_UNLOCK_TOKEN", 0x6D0, 16), ("TEST_EXIT_TOKEN", 0x6E0, 16)),
        "SECRET1": (
            ("FLASH_ADDR_KEY_SEED", 0x6F8, 32), ("FLASH_DATA_KEY_SEED", 0x718, 32), ("SRAM_DATA_KEY_SEED", 0x738, 16),
        ),
        "SECRET2": (
            ("RMA_TOKEN", 0x750, 16), ("CREATOR_ROOT_KEY_SHARE0", 0x760, 32), ("CREATOR_ROOT_KEY_SHARE1", 0x780, 32),
        ),
        "LIFE_CYCLE": (("LC_TRANSITION_CNT", 0x7A8, 48), ("LC_STATE", 0x7D8, 40)),
    }  # fmt: skip
    return {name: Item(name, part, offset, size) for part, items in rows.items() for name, offset, size in items}


ITEMS = _item_table()


def partition_at(offset: int) -> Partition:
    """The partition that holds the byte at ``offset``."""
    for partition in PARTITIONS.values():
        if partition.offset <= offset < partition.end:
            return partition
    raise FormatError(f"expected an OTP offset below 0x{SIZE:x}, saw 0x{offset:x}: check the address")


# --- PRESENT-128 ------------------------------------------------------------------------------------------------------

_SBOX = (0xC, 0x5, 0x6, 0xB, 0x9, 0x0, 0xA, 0xD, 0x3, 0xE, 0xF, 0x8, 0x4, 0x7, 0x1, 0x2)
_INVERSE_SBOX = tuple(_SBOX.index(value) for value in range(16))
_ROUNDS = 32


def _byte_tables(substitution: Sequence[int], inverse: bool) -> list[list[int]]:
    """Per byte position and value, where its bits go: substitution then permutation, or (inverse) permutation alone."""
    tables = []
    for position in range(8):
        table = []
        for value in range(256):
            source = value if inverse else substitution[value & 15] | substitution[value >> 4] << 4
            moved = 0
            for bit in range(8):
                index = 8 * position + bit
                target = (4 * index if inverse else 16 * index) % 63 if index != 63 else 63
                moved |= (source >> bit & 1) << target
            table.append(moved)
        tables.append(table)
    return tables


_FORWARD = _byte_tables(_SBOX, inverse=False)
_BACKWARD = _byte_tables(_INVERSE_SBOX, inverse=True)
_INVERSE_BYTE = bytes(_INVERSE_SBOX[value & 15] | _INVERSE_SBOX[value >> 4] << 4 for value in range(256))


def _round_keys(key: int) -> list[int]:
    if not 0 <= key <= _MASK128:
        raise FormatError("expected a 128-bit PRESENT key, saw a number out of range")
    keys = []
    for counter in range(1, _ROUNDS + 1):
        keys.append(key >> 64)
        key = (key << 61 | key >> 67) & _MASK128
        top = _SBOX[key >> 124] << 4 | _SBOX[key >> 120 & 15]
        key = (key & ((1 << 120) - 1)) | top << 120
        key ^= counter << 62
    return keys


def present_encrypt(key: int, block: int) -> int:
    """PRESENT with a 128-bit key and 32 round keys on one 64-bit block."""
    _require_block(block)
    *rounds, last = _round_keys(key)
    t0, t1, t2, t3, t4, t5, t6, t7 = _FORWARD
    for round_key in rounds:
        b0, b1, b2, b3, b4, b5, b6, b7 = (block ^ round_key).to_bytes(8, "little")
        block = t0[b0] | t1[b1] | t2[b2] | t3[b3] | t4[b4] | t5[b5] | t6[b6] | t7[b7]
    return block ^ last


def present_decrypt(key: int, block: int) -> int:
    """The inverse of ``present_encrypt``."""
    _require_block(block)
    *rounds, last = _round_keys(key)
    block ^= last
    for round_key in reversed(rounds):
        moved = 0
        for table, value in zip(_BACKWARD, block.to_bytes(8, "little"), strict=True):
            moved |= table[value]
        block = int.from_bytes(moved.to_bytes(8, "little").translate(_INVERSE_BYTE), "little") ^ round_key
    return block


def _require_block(block: int) -> None:
    if not 0 <= block <= _MASK64:
        raise FormatError("expected a 64-bit block, saw a number out of range")


# --- scrambling and digests -------------------------------------------------------------------------------------------


def scramble(data: bytes, key: int) -> bytes:
    """Scrambled form of a secret partition's data: each 64-bit block encrypted on its own."""
    return _pack_blocks([present_encrypt(key, block) for block in _blocks(data)])


def descramble(data: bytes, key: int) -> bytes:
    """The inverse of ``scramble``."""
    return _pack_blocks([present_decrypt(key, block) for block in _blocks(data)])


def hw_digest(
    data: bytes, secret_key: int | None = None, iv: int = DEV_DIGEST_IV, const: int = DEV_DIGEST_CONST
) -> int:
    """64-bit hardware digest of a partition's data (a multiple of 8 bytes, without the digest itself).

    With ``secret_key`` the data is plain and is scrambled first. Davies-Meyer over pairs of blocks, the first block in
    the key's lower half; an odd last block is used twice; a final step uses the constant as key.
    """
    blocks = _blocks(data if secret_key is None else scramble(data, secret_key))
    if len(blocks) % 2:
        blocks.append(blocks[-1])
    state = iv
    for even, odd in zip(blocks[::2], blocks[1::2], strict=True):
        state ^= present_encrypt(even | odd << 64, state)
    return state ^ present_encrypt(const, state)


def sw_digest(data: bytes) -> int:
    """64-bit software digest: the low half of SHA-256 read as a big-endian number.

    CREATOR_SW_CFG is hashed without AST_CFG: see ``sw_digest_data``.
    """
    return int.from_bytes(hashlib.sha256(data).digest()[-DIGEST_BYTES:], "big")


def sw_digest_data(name: str, data: bytes) -> bytes:
    """What ``sw_digest`` covers of a software partition's data (without digest): AST_CFG is left out."""
    partition = PARTITIONS.get(name)
    if partition is None or not partition.sw or len(data) != partition.data_size:
        raise FormatError(f"expected the data of a software partition, saw {len(data)} bytes for {name[:40]!r}")
    ast = ITEMS["AST_CFG"]
    return data[ast.size :] if name == ast.partition else data


def _blocks(data: bytes) -> list[int]:
    if not data or len(data) % 8:
        raise FormatError(
            f"expected whole 64-bit blocks of OTP data, saw {len(data)} bytes: check the partition's size"
        )
    return list(struct.unpack(f"<{len(data) // 8}Q", data))


def _pack_blocks(blocks: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(blocks)}Q", *blocks)


# --- ECC and memory files ---------------------------------------------------------------------------------------------

_HAMMING_POSITIONS = [position for position in range(1, 22) if position & (position - 1)]
"""Where the 16 data bits sit in the Hamming code; the powers of two are check bits 16 to 20."""

_VMEM_LINE = re.compile(r"@([0-9a-fA-F]{6}) ([0-9a-fA-F]{6})\Z")


def ecc_encode(value: int) -> int:
    """22-bit word of a 16-bit value: 16 data bits, five Hamming bits, one bit of overall parity."""
    if not 0 <= value < 1 << 16:
        raise FormatError("expected a 16-bit OTP word, saw a number out of range")
    word = value | _hamming(value) << 16
    return word | (word.bit_count() & 1) << 21


def ecc_decode(word: int) -> tuple[int, bool]:
    """The 16-bit value of a 22-bit word and whether one bit was corrected; two wrong bits raise FormatError."""
    if not 0 <= word < 1 << 22:
        raise FormatError("expected a 22-bit OTP word, saw a number out of range")
    syndrome = _hamming(word & 0xFFFF) ^ (word >> 16 & 0x1F)
    odd = word.bit_count() & 1
    if not odd:
        if syndrome:
            raise FormatError("expected an OTP word with at most one wrong bit, saw two: the part is damaged")
        return word & 0xFFFF, False
    if syndrome in _HAMMING_POSITIONS:
        return (word ^ 1 << _HAMMING_POSITIONS.index(syndrome)) & 0xFFFF, True
    if syndrome & (syndrome - 1):
        raise FormatError("expected an OTP word with at most one wrong bit, saw more: the part is damaged")
    return word & 0xFFFF, True


def _hamming(value: int) -> int:
    check = 0
    for bit, position in enumerate(_HAMMING_POSITIONS):
        if value >> bit & 1:
            check ^= position
    return check


def vmem_line(address: int, word: int) -> str:
    """One line of a memory file: 16-bit-word address and 22-bit word, six hex digits each."""
    if not 0 <= address < SIZE // 2 or not 0 <= word < 1 << 22:
        raise FormatError("expected a word address below 1024 and a 22-bit word for a memory file")
    return f"@{address:06x} {word:06x}"


def parse_vmem_line(line: str) -> tuple[int, int]:
    """Address and 22-bit word of one line of a memory file."""
    match = _VMEM_LINE.match(line.strip())
    if not match or int(match[1], 16) >= SIZE // 2 or int(match[2], 16) >> 22:
        raise FormatError("expected '@address word' in six hex digits each, saw another line")
    return int(match[1], 16), int(match[2], 16)
