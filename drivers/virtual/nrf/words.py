"""Names of UICR words, for faults, records and tests: ``lcs.provisioning``, ``kmu2.perm``, ``net.approtect``, …"""

from __future__ import annotations

import re

from drivers.virtual.nrf.silicon import CoreSilicon, Silicon

KMU_CONFIG, KMU_KEY = 0x400, 0x800
"""Offsets in UICR: slot n has DEST at KMU_CONFIG + 8n, PERM behind it, VALUE of 4 words at KMU_KEY + 16n."""
LCS_SIZE, IMPLEMENTATION_ID, IMPLEMENTATION_ID_WORDS = 8, 8, 8
_NAMES = re.compile(
    r"(net\.)?(approtect|eraseprotect)|secureapprotect|lcs\.(provisioning|secure|decommissioned)"
    r"|implementation_id\.[0-7]|kmu([0-9]|[1-9][0-9]|1[01][0-9]|12[0-7])\.(dest|perm|value[0-3])"
)
EXAMPLES = "lcs.provisioning, implementation_id.0, kmu2.dest, kmu2.value0, kmu2.perm, approtect, net.approtect"


def checked_name(text: str) -> str:
    """The word's name, or its address as 0x and 8 digits; raises ``ValueError`` when no part has such a word."""
    if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", text):
        return f"{int(text, 16):#010x}"
    if _NAMES.fullmatch(text):
        return text
    raise ValueError(f"expected a number of writes, an address or a word such as {EXAMPLES}, got {text!r}")


def names_of(silicon: Silicon, core: CoreSilicon, address: int, value: int) -> tuple[str, ...]:
    """Everything by which this word is known, best name first; ``value`` tells the halves of an LCS word apart."""
    plain = f"{address:#010x}"
    prefix = "" if core is silicon.app else "net."
    protection = {
        core.approtect: "approtect",
        core.eraseprotect: "eraseprotect",
        core.secure_approtect: "secureapprotect",
    }
    if address in protection and address:
        return f"{prefix}{protection[address]}", plain
    if core is silicon.app:
        name = _storage_word(address - silicon.storage, value) or _kmu_word(address - core.uicr)
        return (name, plain) if name else (plain,)
    return (plain,)


def _storage_word(offset: int, value: int) -> str:
    if 0 <= offset < LCS_SIZE:
        low, high = value & 0xFFFF != 0xFFFF, value >> 16 != 0xFFFF
        halves = {(0, True): "lcs.provisioning", (0, False): "lcs.secure", (4, False): "lcs.decommissioned"}
        return halves.get((offset, low), "") if low or high else ""
    index = (offset - IMPLEMENTATION_ID) // 4
    return f"implementation_id.{index}" if 0 <= index < IMPLEMENTATION_ID_WORDS else ""


def _kmu_word(offset: int) -> str:
    if KMU_CONFIG <= offset < KMU_KEY:
        slot, word = divmod(offset - KMU_CONFIG, 8)
        return f"kmu{slot}.{'perm' if word else 'dest'}"
    if KMU_KEY <= offset < KMU_KEY + 0x800:
        slot, word = divmod(offset - KMU_KEY, 16)
        return f"kmu{slot}.value{word // 4}"
    return ""
