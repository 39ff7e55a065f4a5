"""The personalisation blob: typed objects between firmware, host, appliance and registry, in two versions.

Source: opentitan-device sheet 7.2 to 7.5; opentitan-appliance sheet 3.6 and 5.4. All headers are big-endian; a size
counts its own header. Version 0 packs type and size into 16 bits, version 1 into 32; a version 1 blob starts with the
marker ``F0 04 00 01``, which counts as an object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from station.errors import FormatError

MAX_BLOB = 65536
"""Largest blob of the wire contract."""

MAX_DUT_BODY = 5120
"""Largest blob that the firmware holds."""

DEV_SEED_BYTES = 128
DICE_NAMES = ("UDS", "CDI_0", "CDI_1")
MARKER_V1 = bytes.fromhex("f0040001")


class TYPES(IntEnum):
    """Object types (4 bits in version 0, 8 bits in version 1)."""

    X509_TBS = 0
    X509_CERT = 1
    DEV_SEED = 2
    CWT_CERT = 3
    WAS_TBS_HMAC = 4
    DEVICE_ID = 5
    GENERIC_SEED = 6
    PERSO_SHA256_HASH = 7
    BLOB_VERSION = 15


_KNOWN: Mapping[int, TYPES] = {kind.value: kind for kind in TYPES if kind is not TYPES.BLOB_VERSION}
CERT_TYPES = (TYPES.X509_TBS, TYPES.X509_CERT, TYPES.CWT_CERT)
_FIXED_SIZES = {TYPES.WAS_TBS_HMAC: 32, TYPES.DEVICE_ID: 32, TYPES.PERSO_SHA256_HASH: 32}
_LARGEST = {TYPES.DEV_SEED: DEV_SEED_BYTES, TYPES.GENERIC_SEED: 128}


@dataclass(frozen=True, slots=True)
class PersoObject:
    """An object that is not a certificate: device id, HMAC, hash or seed."""

    type: TYPES
    payload: bytes

    def __repr__(self) -> str:  # seeds are secrets, and the rest is long
        return f"PersoObject({self.type.name}, {len(self.payload)} bytes)"


@dataclass(frozen=True, slots=True)
class CertObject:
    """A named certificate or TBS: X.509 DER or CWT."""

    type: TYPES
    name: str
    body: bytes

    def __repr__(self) -> str:
        return f"CertObject({self.type.name}, {self.name!r}, {len(self.body)} bytes)"


AnyObject = PersoObject | CertObject


@dataclass(frozen=True, slots=True)
class PersoBlob:
    """A parsed blob: its version (0 or 1) and its objects in order, without the version marker."""

    version: int
    objects: tuple[AnyObject, ...]

    @property
    def num_objs(self) -> int:
        """The count that goes with the blob; the marker of version 1 counts."""
        return len(self.objects) + self.version

    def certs(self, kind: TYPES) -> tuple[CertObject, ...]:
        """The certificate objects of one type, in order."""
        return tuple(item for item in self.objects if isinstance(item, CertObject) and item.type is kind)

    def payload(self, kind: TYPES) -> bytes | None:
        """The payload of the one object of this type, or None; two of them raise FormatError."""
        found = [item.payload for item in self.objects if isinstance(item, PersoObject) and item.type is kind]
        if len(found) > 1:
            raise FormatError(f"expected one {kind.name} in the perso blob, saw {len(found)}: the part is suspect")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Header widths of one version, in bytes, and where the upper field starts, in bits."""

    width: int
    shift: int

    def split(self, header: bytes) -> tuple[int, int]:
        value = int.from_bytes(header, "big")
        return value >> self.shift, value & ((1 << self.shift) - 1)

    def join(self, upper: int, size: int, what: str) -> bytes:
        if upper >> (8 * self.width - self.shift) or size >> self.shift:
            raise FormatError(f"expected {what} that fits its header, saw {size} bytes: use another blob version")
        return (upper << self.shift | size).to_bytes(self.width, "big")


_LAYOUTS = {0: _Layout(2, 12), 1: _Layout(4, 24)}


def _layout(version: int) -> _Layout:
    if version not in _LAYOUTS:
        raise FormatError(f"expected perso blob version 0 or 1, saw {version}: check the SKU pack")
    return _LAYOUTS[version]


def version_of(body: bytes) -> int:
    """0 or 1, from the first header."""
    if not body:
        raise FormatError("expected a perso blob, saw it empty: see the console transcript")
    if len(body) > MAX_BLOB:
        raise FormatError(f"expected a perso blob of at most {MAX_BLOB} bytes, saw {len(body)}: it exceeds max size")
    if len(body) < 2:
        raise FormatError("expected a perso blob header, saw one byte: unknown or invalid blob version")
    if body[0] >> 4 != TYPES.BLOB_VERSION or body[:2] == b"\xff\xff":
        return 0
    if body[:4] != MARKER_V1:
        raise FormatError(
            f"expected blob version 1 in the marker, saw {body[:4].hex()}: unknown or invalid blob version"
        )
    return 1


def parse(body: bytes, num_objs: int | None = None, *, check_der: bool = True, skip_unknown: bool = False) -> PersoBlob:
    """Read all objects; with ``num_objs`` the count must match (version 1: with or without the marker).

    A zero size (followed by zeros only) or an erased-flash header (followed by 0xFF only) ends the blob.
    ``check_der`` wants each X.509 body to be as long as its outer header says. ``skip_unknown`` skips unknown types as
    the appliance does; otherwise they raise FormatError.
    """
    version = version_of(body)
    layout = _layout(version)
    found: list[AnyObject] = []
    skipped = 0
    position = len(MARKER_V1) if version else 0
    while position < len(body) and not _is_end(body, position, layout):
        kind, size = _object_header(body, position, layout)
        content = body[position + layout.width : position + size]
        position += size
        if kind in _KNOWN:
            found.append(_object(_KNOWN[kind], content, layout, check_der))
        elif skip_unknown:
            skipped += 1
        else:
            raise FormatError(f"expected a known perso object type, saw {kind}: check the firmware generation")
    total = len(found) + skipped
    if num_objs is not None and num_objs not in (total, total + version):
        raise FormatError(f"expected {num_objs} objects in the perso blob, saw {total + version}: see the transcript")
    return PersoBlob(version, tuple(found))


def build(objects: Sequence[AnyObject], version: int, limit: int = MAX_BLOB) -> bytes:
    """The blob's bytes: the marker of version 1, then the objects in the order given."""
    layout = _layout(version)
    body = (MARKER_V1 if version else b"") + b"".join(_packed(item, layout) for item in objects)
    if len(body) > limit:
        raise FormatError(f"expected a perso blob of at most {limit} bytes, saw {len(body)}: remove certificates")
    return body


def was_message(objects: Sequence[AnyObject]) -> bytes:
    """What the wafer authentication HMAC covers: every X.509 TBS, in blob order."""
    return b"".join(item.body for item in objects if isinstance(item, CertObject) and item.type is TYPES.X509_TBS)


def with_endorsed(objects: Sequence[AnyObject], endorsed: Mapping[str, bytes]) -> tuple[AnyObject, ...]:
    """The objects with each TBS replaced in place by the endorsed certificate of the same name."""
    found: list[AnyObject] = []
    for item in objects:
        if isinstance(item, CertObject) and item.type is TYPES.X509_TBS:
            if item.name not in endorsed:
                raise FormatError(
                    f"expected an endorsed certificate for {item.name!r}, saw none: ask the appliance again"
                )
            found.append(replace(item, type=TYPES.X509_CERT, body=endorsed[item.name]))
        else:
            found.append(item)
    return tuple(found)


def certs_hash(objects: Sequence[AnyObject]) -> bytes:
    """SHA-256 over every final certificate and every device seed, in blob order (device sheet 7.5).

    On the console the same 32 bytes travel reversed.
    """
    digest = hashlib.sha256()
    for item in objects:
        if isinstance(item, CertObject) and item.type is not TYPES.X509_TBS:
            digest.update(item.body)
        elif isinstance(item, PersoObject) and item.type is TYPES.DEV_SEED:
            digest.update(item.payload)
    return digest.digest()


def appliance_certs_hash(objects: Sequence[AnyObject], cwt_order: Sequence[str], x509_order: Sequence[str]) -> bytes:
    """The appliance's hash (appliance sheet 3.6): CWTs, then X.509 in SKU order, then seeds; digest byte-reversed.

    Labels that the blob lacks are skipped.
    """
    digest = hashlib.sha256()
    for kind, order in ((TYPES.CWT_CERT, cwt_order), (TYPES.X509_CERT, x509_order)):
        bodies = {item.name: item.body for item in objects if isinstance(item, CertObject) and item.type is kind}
        for label in order:
            digest.update(bodies.get(label, b""))
    for item in objects:
        if isinstance(item, PersoObject) and item.type is TYPES.DEV_SEED:
            digest.update(item.payload)
    return digest.digest()[::-1]


def pack_endorsed(
    endorsed: Sequence[CertObject], ca_certs: Sequence[CertObject], version: int, limit: int = MAX_DUT_BODY
) -> tuple[bytes, int]:
    """The blob returned to the part and its object count: endorsed certificates (UDS first), then CA certificates."""
    if not endorsed:
        raise FormatError("expected at least one endorsed certificate for the part, saw none: ask the appliance again")
    return _packed_certs([*endorsed, *ca_certs], version, limit)


def pack_registry(
    dut_certs: Sequence[CertObject], endorsed: Sequence[CertObject], seeds: Sequence[PersoObject], version: int
) -> tuple[bytes, int]:
    """The blob for the registry and its object count: the part's certificates, the endorsed ones, then the seeds."""
    return _packed_certs([*dut_certs, *endorsed, *seeds], version, MAX_BLOB)


def _packed_certs(objects: Sequence[AnyObject], version: int, limit: int) -> tuple[bytes, int]:
    if any(not _content(item) for item in objects):
        raise FormatError("expected certificates and seeds with content, saw an empty one")
    return build(objects, version, limit), len(objects) + version


def _content(item: AnyObject) -> bytes:
    return item.body if isinstance(item, CertObject) else item.payload


def _is_end(body: bytes, position: int, layout: _Layout) -> bool:
    header = body[position : position + layout.width]
    if header == b"\xff" * layout.width:
        if body[position:].strip(b"\xff"):
            raise FormatError("expected only erased flash after the last perso object, saw more data")
        return True
    if len(header) < layout.width:
        if any(header):
            raise FormatError(f"expected a perso object header, saw {len(header)} bytes: the blob is cut off")
        return True
    if layout.split(header)[1]:
        return False
    if any(body[position:]):
        raise FormatError("expected only zeros after the last perso object, saw more data: see the transcript")
    return True


def _object_header(body: bytes, position: int, layout: _Layout) -> tuple[int, int]:
    kind, size = layout.split(body[position : position + layout.width])
    left = len(body) - position
    if size > left:
        raise FormatError(f"object size {size} exceeds remaining buffer {left}: the perso blob is cut off")
    if size < layout.width:
        raise FormatError(f"expected a perso object of at least {layout.width} bytes, saw {size}: see the transcript")
    return kind, size


def _object(kind: TYPES, content: bytes, layout: _Layout, check_der: bool) -> AnyObject:
    if kind in CERT_TYPES:
        return _cert(kind, content, layout, check_der)
    _check_payload(kind, content)
    return PersoObject(kind, content)


def _check_payload(kind: TYPES, content: bytes) -> None:
    size, most = _FIXED_SIZES.get(kind), _LARGEST.get(kind)
    if size is not None and len(content) != size:
        raise FormatError(f"expected {size} bytes of {kind.name}, saw {len(content)}: the part is suspect")
    if most is not None and not 0 < len(content) <= most:
        raise FormatError(f"expected 1 to {most} bytes of {kind.name}, saw {len(content)}: the part is suspect")


def _cert(kind: TYPES, content: bytes, layout: _Layout, check_der: bool) -> CertObject:
    if len(content) < layout.width:
        raise FormatError(f"expected a certificate header of {layout.width} bytes, saw {len(content)}")
    name_length, size = layout.split(content[: layout.width])
    if size != len(content):
        raise FormatError(f"expected a wrapped certificate of {len(content)} bytes, saw its header say {size}")
    if layout.width + name_length > size:
        raise FormatError(f"expected a certificate name inside the object, saw {name_length} of {size} bytes")
    name = content[layout.width : layout.width + name_length]
    if any(not 0x20 <= byte <= 0x7E for byte in name):
        raise FormatError("expected an ASCII certificate name in the perso blob, saw other bytes: see the transcript")
    body = content[layout.width + name_length :]
    if check_der and kind is not TYPES.CWT_CERT:
        _check_outer_length(body)
    return CertObject(kind, name.decode("ascii"), body)


def _check_outer_length(body: bytes) -> None:
    """Firmware rule: ``30 82 hi lo`` and nothing behind the outer sequence."""
    if body[:2] != b"\x30\x82" or len(body) != int.from_bytes(body[2:4], "big") + 4:
        raise FormatError(
            f"expected an X.509 body of the length its header says, saw {len(body)} bytes: see the transcript"
        )


def _packed(item: AnyObject, layout: _Layout) -> bytes:
    if isinstance(item, PersoObject):
        if item.type in CERT_TYPES or item.type is TYPES.BLOB_VERSION:
            raise FormatError(f"expected a plain perso object, saw {item.type.name}")
        _check_payload(item.type, item.payload)
        content = item.payload
    else:
        content = _packed_cert(item, layout)
    return layout.join(item.type, layout.width + len(content), item.type.name) + content


def _packed_cert(item: CertObject, layout: _Layout) -> bytes:
    if item.type not in CERT_TYPES:
        raise FormatError(f"expected a certificate object, saw {item.type.name}")
    if any(not 0x20 <= ord(letter) <= 0x7E for letter in item.name):
        raise FormatError(f"expected an ASCII certificate name, saw {item.name[:40]!r}")
    size = layout.width + len(item.name) + len(item.body)
    return layout.join(len(item.name), size, f"certificate {item.name!r}") + item.name.encode("ascii") + item.body
