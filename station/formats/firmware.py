"""Firmware generations as frozen data: what differs between the CP and FT firmware releases.

Source: opentitan-device sheet sections 0, 2.2 and 7; opentitan-appliance sheet 5.2 and 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from station.errors import FormatError, nearest

CERTGEN_KEY_IDS = ("dice_auth_key_key_id", "ext_auth_key_key_id")


class Dialect(Enum):
    """How a host writes console messages; parts accept both."""

    HOST = "host"
    """Reference host (device sheet 1.2, 1.3, 2.2): bare u64, padding inside the object, WAS words big-endian."""

    ATE = "ate"
    """Test equipment library (appliance sheet 5.2, 5.3): quoted u64, 256-byte frames, all words little-endian."""

    @property
    def quoted_u64(self) -> bool:
        """True when 64-bit numbers travel as quoted decimal strings."""
        return self is Dialect.ATE

    @property
    def frame_size(self) -> int | None:
        """Bytes per message frame, or None when a message is one piece of any length."""
        return 256 if self is Dialect.ATE else None


@dataclass(frozen=True, slots=True)
class FirmwareGeneration:
    """One release line of the provisioning firmware."""

    name: str
    blob_versions: tuple[int, ...]
    """Perso blob versions that the firmware can be asked for."""

    blob_version: int
    """The version used when a SKU does not say."""

    certgen_fields: tuple[str, ...]
    """Field names of ManufCertgenInputs in order."""

    certgen_minimum: int
    """Padded size of ManufCertgenInputs in characters; the exact size for RC4."""

    console_timeout_s: float
    """Default wait of the FT console."""

    hook_capacity: int
    """Bytes of concatenated certificates that the host's extension hook may return."""

    dice_page_data: int
    """Bytes of certificate data in a DICE flash page before its tail."""

    dialect: Dialect
    """Frame dialect that the station uses towards this firmware."""

    @property
    def quoted_u64(self) -> bool:
        """True when 64-bit numbers are sent quoted."""
        return self.dialect.quoted_u64

    @property
    def sends_blob_version(self) -> bool:
        """True when ManufCertgenInputs has the third field ``blob_version``."""
        return "blob_version" in self.certgen_fields

    def certgen_pad(self, length: int) -> int:
        """Padded length for certgen inputs of ``length`` characters: the constant, or the text itself when longer."""
        return max(self.certgen_minimum, length)

    def check_blob_version(self, version: int) -> int:
        """``version`` when this generation can produce it, else FormatError."""
        if version not in self.blob_versions:
            known = " or ".join(map(str, self.blob_versions))
            raise FormatError(
                f"expected blob version {known} for firmware {self.name}, saw {version}: change the SKU pack"
            )
        return version


RC4 = FirmwareGeneration(
    name="rc4",
    blob_versions=(0,),
    blob_version=0,
    certgen_fields=CERTGEN_KEY_IDS,
    certgen_minimum=210,
    console_timeout_s=20.0,
    hook_capacity=5120,
    dice_page_data=2016,
    dialect=Dialect.ATE,
)
"""Tag Earlgrey-A2-Orchestrator-RC4 of 2025-11, the revision pinned by the reference appliance."""

E1 = FirmwareGeneration(
    name="e1",
    blob_versions=(0, 1),
    blob_version=0,
    certgen_fields=(*CERTGEN_KEY_IDS, "blob_version"),
    certgen_minimum=215,
    console_timeout_s=30.0,
    hook_capacity=5120,
    dice_page_data=2000,
    dialect=Dialect.ATE,
)
"""Branch earlgrey_1.0.0 of 2026-08, the product branch for A1 and A2 silicon."""

GENERATIONS = {generation.name: generation for generation in (RC4, E1)}


def generation(name: str) -> FirmwareGeneration:
    """The generation called ``name`` in a SKU pack."""
    try:
        return GENERATIONS[name]
    except KeyError:
        raise FormatError(
            f"expected firmware generation rc4 or e1, saw {name!r}{nearest(name, GENERATIONS)}: change the SKU pack"
        ) from None
