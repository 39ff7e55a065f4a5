"""Keys and certificates that the chip makes itself: UDS, CDI_0, CDI_1.

Source: opentitan-device sheet 7.1; opentitan-appliance sheet 4.3. Keys follow from the root key shares in OTP and the
attestation seeds in flash, so the same chip makes the same keys on every boot.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine
from drivers.virtual.earlgrey.flash import ATTESTATION_PAGE
from drivers.virtual.earlgrey.partitions import AST_CFG_SIZE
from station.formats import dice_build
from station.formats.dice import assemble_certificate

SEED_SIZE = 40
NAMES = ("UDS", "CDI_0", "CDI_1")
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_MEASURED_PARTITIONS = ("CREATOR_SW_CFG", "OWNER_SW_CFG", "ROT_CREATOR_AUTH_CODESIGN", "ROT_CREATOR_AUTH_STATE")


@dataclass(frozen=True, slots=True)
class DiceKey:
    """One P-256 key of the chain with its 20-byte key id."""

    name: str
    private: ec.EllipticCurvePrivateKey

    @property
    def point(self) -> bytes:
        """The public key as uncompressed point."""
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def spki(self) -> bytes:
        """The public key as SubjectPublicKeyInfo."""
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> bytes:
        """First 20 bytes of the digest of the point, made a positive number without leading zeros."""
        digest = bytearray(hashlib.sha256(self.point).digest()[:20])
        digest[0] = digest[0] & 0x7F | 0x40
        return bytes(digest)

    def certify(self, tbs: bytes) -> bytes:
        """A certificate of ``tbs`` signed with this key (RFC 6979, so a repeated run gives the same bytes)."""
        signature = self.private.sign(tbs, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return assemble_certificate(tbs, signature)


def derive_keys(machine: Machine) -> Mapping[str, DiceKey]:
    """The three keys; raises `FirmwareError` while the attestation seeds are missing."""
    page = machine.info_page(ATTESTATION_PAGE)
    secret = machine.root_key()
    keys = {}
    for number, name in enumerate(NAMES):
        seed = page[SEED_SIZE * number : SEED_SIZE * (number + 1)]
        if seed == b"\xff" * SEED_SIZE:
            raise FirmwareError(f"no attestation seed for {name}")
        scalar = int.from_bytes(hmac.digest(secret, name.encode() + seed, "sha512"), "big") % (_ORDER - 1) + 1
        keys[name] = DiceKey(name, ec.derive_private_key(scalar, ec.SECP256R1()))
    return keys


def uds_tbs(machine: Machine, keys: Mapping[str, DiceKey], issuer: bytes, ca_key_id: bytes) -> bytes:
    """TBS of the UDS certificate with the digests of the four measured OTP partitions."""
    digests = tuple(_partition_digest(machine, name) for name in _MEASURED_PARTITIONS)
    measured = dice_build.Measurements(model="Device", layer=0, digests=digests)
    return dice_build.uds_tbs(keys["UDS"].spki, keys["UDS"].key_id, issuer, ca_key_id, measured)


def cdi_certificate(keys: Mapping[str, DiceKey], number: int, measurement: bytes) -> bytes:
    """The complete certificate of CDI_0 (signed by UDS) or CDI_1 (signed by CDI_0)."""
    parent, key = keys[NAMES[number]], keys[NAMES[number + 1]]
    model = ("ROM_EXT", "Owner")[number]
    measured = dice_build.Measurements(model=model, layer=number + 1, digests=(measurement,))
    return parent.certify(dice_build.cdi_tbs(key.spki, key.key_id, parent.key_id, measured))


def _partition_digest(machine: Machine, name: str) -> bytes:
    content = machine.software_content(name)
    return hashlib.sha256(content[AST_CFG_SIZE:] if name == "CREATOR_SW_CFG" else content).digest()
