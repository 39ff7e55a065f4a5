"""Where and how the firmware keeps certificates in flash info pages.

Source: opentitan-device sheet 7.4 (alignment, version object, page digest), 0 (tail of RC4 and E1 pages).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from drivers.virtual.earlgrey.chip_file import INFO_PAGE
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine
from station.formats.perso_blob import MARKER_V1, CertObject, build

_DIGEST = 32
_KEY_IDS = 16  # E1 pages carry key ids between data and digest


def store(machine: Machine, page: tuple[int, int], certificates: Sequence[CertObject], version: int) -> None:
    """Erase a page and write certificates, each aligned to 8 bytes, with the digest at its end."""
    data = _aligned(MARKER_V1) if version else b""
    for certificate in certificates:
        data += _aligned(build([certificate], version)[len(MARKER_V1) * version :])
    room = INFO_PAGE - _DIGEST - _KEY_IDS * version
    if len(data) > room:
        raise FirmwareError(f"the certificates need {len(data)} bytes, a page holds {room}")
    content = data.ljust(INFO_PAGE - _DIGEST, b"\xff")
    machine.rewrite_info_page(page, content + hashlib.sha256(content).digest())


def is_intact(content: bytes) -> bool:
    """Whether the digest at the end of a page fits."""
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


def _aligned(raw: bytes) -> bytes:
    return raw.ljust(-(-len(raw) // 8) * 8, b"\xff")
