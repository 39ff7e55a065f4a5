"""TBS certificates of the DICE chain (UDS, CDI_0, CDI_1), built from public keys, key ids and measurements.

Source: opentitan-device sheet 7.1; opentitan-appliance sheet 4.3. With ``quirks`` the result carries what upstream
templates carry: an explicit ``critical FALSE`` in AKI and SKI, and the key usage in a non-minimal bit string.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from station.errors import FormatError
from station.formats import der, der_tlv, dice
from station.formats.der_tlv import element, sequence

NOT_BEFORE = "20180322235959Z"
NOT_AFTER = "99991231235959Z"
OID_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
OID_P256 = "1.2.840.10045.3.1.7"
FLAG_DEBUG = 3

_TRUE = element(der_tlv.BOOLEAN, b"\xff")
_FALSE = element(der_tlv.BOOLEAN, b"\x00")


@dataclass(frozen=True, slots=True)
class Measurements:
    """What TcbInfo says: model, layer, security version, SHA-256 digests (32 bytes each) and the debug flag."""

    model: str
    layer: int
    digests: tuple[bytes, ...]
    svn: int = 0
    debug: bool = False
    vendor: str = "OpenTitan"


def spki_p256(x: int, y: int) -> bytes:
    """SubjectPublicKeyInfo of an uncompressed P-256 point."""
    if not (0 <= x < 1 << 256 and 0 <= y < 1 << 256):
        raise FormatError("expected 256-bit coordinates of a P-256 point, saw a number out of range")
    point = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
    algorithm = sequence(der_tlv.oid(OID_EC_PUBLIC_KEY), der_tlv.oid(OID_P256))
    return sequence(algorithm, der_tlv.bits(point))


def serial_name(key_id: bytes) -> bytes:
    """The name of a DICE key: one serialNumber attribute with the key id in lower-case hex."""
    attribute = sequence(der_tlv.oid(der.OID_SERIAL_NUMBER), element(der_tlv.PRINTABLE_STRING, key_id.hex().encode()))
    return sequence(element(der_tlv.SET, attribute))


def uds_tbs(
    spki: bytes, key_id: bytes, ca_name: bytes, ca_key_id: bytes, measured: Measurements, *, quirks: bool = True
) -> bytes:
    """TBS of the UDS certificate: issued by the DICE CA (``ca_name`` is the DER of its subject)."""
    return build_tbs(spki, key_id, ca_name, ca_key_id, measured, quirks=quirks)


def cdi_tbs(spki: bytes, key_id: bytes, parent_key_id: bytes, measured: Measurements, *, quirks: bool = True) -> bytes:
    """TBS of CDI_0 (parent UDS) or CDI_1 (parent CDI_0): issued by the part itself."""
    return build_tbs(spki, key_id, serial_name(parent_key_id), parent_key_id, measured, quirks=quirks)


def build_tbs(
    spki: bytes, key_id: bytes, issuer: bytes, issuer_key_id: bytes, measured: Measurements, *, quirks: bool = True
) -> bytes:
    """A DICE TBS: serial and subject are the key id, ``issuer`` is a name's DER, both key ids are 20 bytes."""
    for name, value in (("key id", key_id), ("issuer key id", issuer_key_id)):
        if len(value) != dice.KEY_ID_BYTES:
            raise FormatError(f"expected {dice.KEY_ID_BYTES} bytes of {name}, saw {len(value)}")
    return sequence(
        element(0xA0, der_tlv.integer(2)),
        der_tlv.integer(int.from_bytes(key_id, "big")),
        sequence(der_tlv.oid(dice.OID_ECDSA_SHA256)),
        der_tlv.read(issuer, "an issuer name").expect(der_tlv.SEQUENCE, "an issuer name").raw,
        sequence(*(element(der_tlv.GENERALIZED_TIME, time.encode()) for time in (NOT_BEFORE, NOT_AFTER))),
        serial_name(key_id),
        der_tlv.read(spki, "a public key").expect(der_tlv.SEQUENCE, "a public key").raw,
        element(0xA3, sequence(*_extensions(key_id, issuer_key_id, measured, quirks))),
    )


def tcb_info_der(measured: Measurements) -> bytes:
    """The value of the TcbInfo extension."""
    digests: Sequence[bytes] = measured.digests
    if any(len(digest) != 32 for digest in digests):
        raise FormatError("expected SHA-256 digests of 32 bytes as measurements, saw another length")
    fwids = (sequence(der_tlv.oid(dice.OID_SHA256), element(der_tlv.OCTET_STRING, digest)) for digest in digests)
    return sequence(
        element(0x80, measured.vendor.encode()),
        element(0x81, measured.model.encode()),
        der_tlv.integer(measured.svn, 0x83),
        der_tlv.integer(measured.layer, 0x84),
        element(0xA6, *fwids),
        # four named flags, debug the last: four unused bits
        der_tlv.bits(bytes((0x80 >> FLAG_DEBUG if measured.debug else 0,)), 4, 0x87),
    )


def _extensions(key_id: bytes, issuer_key_id: bytes, measured: Measurements, quirks: bool) -> list[bytes]:
    usage = der_tlv.bits(b"\x04\x00", 7) if quirks else der_tlv.bits(b"\x04", 2)
    plain = _FALSE if quirks else b""
    return [
        _extension(der.OID_BASIC_CONSTRAINTS, _TRUE, sequence(_TRUE)),
        _extension(der.OID_KEY_USAGE, _TRUE, usage),
        _extension(der.OID_AKI, plain, sequence(element(0x80, issuer_key_id))),
        _extension(der.OID_SKI, plain, element(der_tlv.OCTET_STRING, key_id)),
        _extension(dice.OID_DICE_TCB_INFO, _TRUE, tcb_info_der(measured)),
    ]


def _extension(oid: str, critical: bytes, value: bytes) -> bytes:
    return sequence(der_tlv.oid(oid), critical, element(der_tlv.OCTET_STRING, value))
