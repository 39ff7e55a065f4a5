"""What the provisioning firmware says, and what this process has seen of it: evidence, never guesswork.

Source: opentitan-device sheet 1.2, 1.3 (texts, letter by letter).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from station.formats.device_id import Din

WANTS_CP_DATA = "Waiting for CP provisioning data ..."
EXPORTS_CP_ID = "Exporting CP device ID ..."
CP_DONE = "CP provisioning done."
WANTS_FT_DATA = "Waiting for FT SRAM provisioning data ..."
WANTS_BOOTSTRAP = "Bootstrap requested."
WANTS_HASH = "Waiting For RMA Unlock Token Hash ..."
WANTS_CERTIFICATES = "Waiting for certificate inputs ..."
EXPORTS_TBS = "Exporting TBS certificates ..."
IMPORTS = "Importing endorsed certificates ..."
IMPORTED = "Finished importing certificates."
PERSONALIZED = "Personalization done."


class Stage(Enum):
    """Where the flash firmware of a part in its mission state stands after a boot."""

    WANTS_BOOTSTRAP = WANTS_BOOTSTRAP
    WANTS_HASH = WANTS_HASH
    WANTS_CERTIFICATES = WANTS_CERTIFICATES
    SHIPPED = "ROM_EXT"
    FAULT = "boot fault"
    SILENT = "silent"


FIRST_WORDS = (Stage.WANTS_BOOTSTRAP, Stage.WANTS_HASH)


@dataclass(slots=True)
class Session:
    """What this process has seen of the firmware since the part was last reset; evidence, never guesswork."""

    stage: Stage | None = None
    exported: bool = False


@dataclass(slots=True)
class Witness:
    """What this process has seen of the part in this run, resets or not."""

    first_boot: Stage | None = None
    hash_sent: bool | None = None  # None: the personalize verb was never entered
    found_failed: bool | None = None  # TestError as it was before this run's first reset took it back
    install_failed: str = ""
    place: Din | None = None
