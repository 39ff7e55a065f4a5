"""A lenient view of X.509 certificates and of bare TBS structures.

Source: RFC 5280; opentitan-appliance sheet 4.3 for why it is lenient: upstream UDS certificates carry an explicit
``critical FALSE`` and a non-minimal key usage, which strict parsers refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from station.errors import FormatError
from station.formats import der_tlv
from station.formats.der_tlv import Tlv, walk

__all__ = [
    "BasicConstraints", "Certificate", "Extension", "Tbs", "Tlv", "name_attributes", "parse_certificate", "parse_tbs",
    "walk",
]  # fmt: skip

OID_SKI = "2.5.29.14"
OID_KEY_USAGE = "2.5.29.15"
OID_BASIC_CONSTRAINTS = "2.5.29.19"
OID_AKI = "2.5.29.35"
OID_SERIAL_NUMBER = "2.5.4.5"

KEY_CERT_SIGN = 5
"""Bit number of keyCertSign in the key usage."""

_VERSION = 0xA0
_UNIQUE_IDS = (0x81, 0x82, 0xA1, 0xA2)
_EXTENSIONS = 0xA3


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: dotted object identifier, critical flag, and the DER inside its octet string."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """Whether the key may sign certificates, and through how many levels (None: no limit)."""

    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True)
class Tbs:
    """The signed part of a certificate; ``issuer``, ``subject`` and ``spki`` are whole DER elements."""

    raw: bytes
    serial: int
    algorithm: str
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    spki: bytes
    extensions: tuple[Extension, ...]

    def extension(self, oid: str) -> Extension | None:
        """The extension with this object identifier, or None."""
        return next((item for item in self.extensions if item.oid == oid), None)

    @property
    def ski(self) -> bytes | None:
        """Subject key identifier."""
        found = self.extension(OID_SKI)
        if found is None:
            return None
        return der_tlv.read(found.value).expect(der_tlv.OCTET_STRING, "subject key identifier").content

    @property
    def aki(self) -> bytes | None:
        """Key identifier of the authority key identifier extension."""
        found = self.extension(OID_AKI)
        if found is None:
            return None
        parts = der_tlv.read(found.value).expect(der_tlv.SEQUENCE, "authority key identifier").children
        return next((part.content for part in parts if part.tag == 0x80), None)

    @property
    def basic_constraints(self) -> BasicConstraints | None:
        """Basic constraints, or None without the extension."""
        found = self.extension(OID_BASIC_CONSTRAINTS)
        if found is None:
            return None
        return _basic_constraints(found.value)

    @property
    def key_usage(self) -> frozenset[int] | None:
        """Bit numbers set in the key usage (5 is keyCertSign), or None without the extension."""
        found = self.extension(OID_KEY_USAGE)
        if found is None:
            return None
        return _key_usage(found.value)

    @property
    def subject_serial(self) -> str | None:
        """The serialNumber attribute of the subject, or None."""
        return name_attributes(self.subject).get(OID_SERIAL_NUMBER)

    @property
    def issuer_serial(self) -> str | None:
        """The serialNumber attribute of the issuer, or None."""
        return name_attributes(self.issuer).get(OID_SERIAL_NUMBER)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A whole certificate: the signed part, the outer algorithm and the signature (DER of r and s for ECDSA)."""

    raw: bytes
    tbs: Tbs
    algorithm: str
    signature: bytes


def parse_certificate(der: bytes) -> Certificate:
    """Read one certificate; nothing may follow it."""
    parts = der_tlv.read(der, "a certificate").expect(der_tlv.SEQUENCE, "a certificate").children
    if len(parts) != 3:
        raise FormatError(f"expected TBS, algorithm and signature in a certificate, saw {len(parts)} parts")
    algorithm = _algorithm(parts[1])
    tbs = parse_tbs(parts[0].raw)
    if tbs.algorithm != algorithm:
        raise FormatError(f"expected the same signature algorithm inside and outside, saw {tbs.algorithm}, {algorithm}")
    return Certificate(der, tbs, algorithm, der_tlv.read_octets_aligned(parts[2], "signature"))


@lru_cache(maxsize=128)
def parse_tbs(der: bytes) -> Tbs:
    """Read a bare TBS certificate, as the part exports it; remembered, because who signs one verifies it next."""
    parts = list(der_tlv.read(der, "a TBS certificate").expect(der_tlv.SEQUENCE, "a TBS certificate").children)
    if parts and parts[0].tag == _VERSION:
        _check_version(parts.pop(0))
    if len(parts) < 6:
        raise FormatError(f"expected six fields or more in a TBS certificate, saw {len(parts)}: the DER is damaged")
    serial, algorithm, issuer, validity, subject, spki, *rest = parts
    not_before, not_after = _validity(validity)
    return Tbs(
        raw=der,
        serial=der_tlv.read_integer(serial, "serial number"),
        algorithm=_algorithm(algorithm),
        issuer=issuer.expect(der_tlv.SEQUENCE, "issuer").raw,
        not_before=not_before,
        not_after=not_after,
        subject=subject.expect(der_tlv.SEQUENCE, "subject").raw,
        spki=spki.expect(der_tlv.SEQUENCE, "public key").raw,
        extensions=_extensions([part for part in rest if part.tag not in _UNIQUE_IDS]),
    )


def name_attributes(name: bytes) -> dict[str, str]:
    """Attributes of a name by dotted object identifier; a repeated attribute keeps its last value."""
    found = {}
    for group in der_tlv.read(name, "a name").expect(der_tlv.SEQUENCE, "a name").children:
        for pair in group.expect(der_tlv.SET, "a name part").children:
            attribute = pair.expect(der_tlv.SEQUENCE, "a name attribute").children
            if len(attribute) != 2:
                raise FormatError("expected type and value in a name attribute, saw something else: the DER is damaged")
            text = attribute[1].content.decode("utf-8", "replace")
            found[der_tlv.read_oid(attribute[0], "name attribute")] = text
    return found


def bit_numbers(data: bytes, unused: int) -> frozenset[int]:
    """Numbers of the bits that are set; bit 0 is the most significant bit of the first byte."""
    usable = 8 * len(data) - unused
    return frozenset(number for number in range(usable) if data[number // 8] >> (7 - number % 8) & 1)


@lru_cache(maxsize=64)
def _basic_constraints(value: bytes) -> BasicConstraints:
    """There are few different ones, and each is asked for once per certificate below it."""
    parts = list(der_tlv.read(value).expect(der_tlv.SEQUENCE, "basic constraints").children)
    ca = bool(parts) and parts[0].tag == der_tlv.BOOLEAN and der_tlv.read_boolean(parts.pop(0), "CA flag")
    length = der_tlv.read_integer(parts.pop(0), "path length") if parts else None
    if parts or (length is not None and length < 0):
        raise FormatError("expected a CA flag and a path length in basic constraints, saw more: the DER is damaged")
    return BasicConstraints(ca, length)


@lru_cache(maxsize=64)
def _key_usage(value: bytes) -> frozenset[int]:
    return bit_numbers(*der_tlv.read_bits(der_tlv.read(value).expect(der_tlv.BIT_STRING, "key usage"), "key usage"))


def _check_version(part: Tlv) -> None:
    numbers = part.children
    if len(numbers) != 1 or der_tlv.read_integer(numbers[0], "version") != 2:
        raise FormatError("expected an X.509 version 3 certificate, saw another version: check the file")


def _algorithm(part: Tlv) -> str:
    inside = part.expect(der_tlv.SEQUENCE, "signature algorithm").children
    if not inside:
        raise FormatError("expected an algorithm identifier, saw an empty one: the DER is damaged")
    return der_tlv.read_oid(inside[0], "signature algorithm")


def _validity(part: Tlv) -> tuple[datetime, datetime]:
    times = part.expect(der_tlv.SEQUENCE, "validity").children
    if len(times) != 2:
        raise FormatError(f"expected two times as validity, saw {len(times)}: the DER is damaged")
    return _time(times[0]), _time(times[1])


def _time(part: Tlv) -> datetime:
    text = part.content.decode("latin-1")
    if part.tag == der_tlv.UTC_TIME and len(text) == 13:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif part.tag != der_tlv.GENERALIZED_TIME:
        raise FormatError(f"expected a certificate time, saw tag 0x{part.tag:02x}: the DER is damaged")
    try:
        if len(text) != 15 or not text[:14].isascii() or not text[:14].isdecimal() or text[14] != "Z":
            raise ValueError
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise FormatError(f"expected a certificate time YYYYMMDDhhmmssZ, saw {text[:20]!r}") from None


def _extensions(parts: Sequence[Tlv]) -> tuple[Extension, ...]:
    if not parts:
        return ()
    if len(parts) > 1 or parts[0].tag != _EXTENSIONS:
        raise FormatError("expected extensions at the end of the TBS certificate, saw another field")
    inside = der_tlv.read(parts[0].content, "extensions").expect(der_tlv.SEQUENCE, "extensions").children
    found = tuple(_extension(part) for part in inside)
    if len({item.oid for item in found}) != len(found):
        raise FormatError("expected each extension once, saw one twice: the certificate is suspect")
    return found


def _extension(part: Tlv) -> Extension:
    inside = part.expect(der_tlv.SEQUENCE, "an extension").children
    if len(inside) not in (2, 3):
        raise FormatError(f"expected two or three fields in an extension, saw {len(inside)}: the DER is damaged")
    critical = len(inside) == 3 and der_tlv.read_boolean(inside[1], "critical flag")
    value = inside[-1].expect(der_tlv.OCTET_STRING, "extension value").content
    return Extension(der_tlv.read_oid(inside[0], "extension"), critical, value)
