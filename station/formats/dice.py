"""DICE certificates: assembly from a TBS and a signature, the chain check, TcbInfo, and the key id rules.

Source: opentitan-device sheet 7.1; opentitan-appliance sheet 4.1 and 4.3. Signatures are checked with ``cryptography``
primitives over the raw TBS bytes; the structure is read with the own lenient reader.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from station.errors import FormatError
from station.formats import der, der_tlv
from station.formats.der import Certificate, Tbs

OID_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
OID_ECDSA_SHA384 = "1.2.840.10045.4.3.3"
OID_ECDSA_SHA512 = "1.2.840.10045.4.3.4"
OID_DICE_TCB_INFO = "2.23.133.5.4.1"
OID_SHA256 = "2.16.840.1.101.3.4.2.1"
KEY_ID_BYTES = 20
KNOWN_CRITICAL = frozenset({der.OID_BASIC_CONSTRAINTS, der.OID_KEY_USAGE, OID_DICE_TCB_INFO})
"""Critical extensions that the chain check understands."""

_HASHES: dict[str, hashes.HashAlgorithm] = {
    OID_ECDSA_SHA256: hashes.SHA256(),
    OID_ECDSA_SHA384: hashes.SHA384(),
    OID_ECDSA_SHA512: hashes.SHA512(),
}

MLDSA_OIDS = {
    "ML-DSA-44": "2.16.840.1.101.3.4.3.17",
    "ML-DSA-65": "2.16.840.1.101.3.4.3.18",
    "ML-DSA-87": "2.16.840.1.101.3.4.3.19",
}
"""Signature algorithms by parameter set."""

_MldsaKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
_MLDSA: dict[str, tuple[type[object], int]] = {  # kind of the public key, bytes of the signature
    MLDSA_OIDS["ML-DSA-44"]: (mldsa.MLDSA44PublicKey, 2420),
    MLDSA_OIDS["ML-DSA-65"]: (mldsa.MLDSA65PublicKey, 3309),
    MLDSA_OIDS["ML-DSA-87"]: (mldsa.MLDSA87PublicKey, 4627),
}


@dataclass(frozen=True, slots=True)
class FwId:
    """One measurement: dotted object identifier of the hash, and the digest."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """The DICE TcbInfo extension; absent fields are None or empty. Flag bit 3 is debug."""

    vendor: str | None
    model: str | None
    svn: int | None
    layer: int | None
    fwids: tuple[FwId, ...]
    flags: frozenset[int]

    @property
    def debug(self) -> bool:
        """True when the part was open for debugging."""
        return 3 in self.flags


def assemble_certificate(tbs: bytes, signature: bytes, oid: str = OID_ECDSA_SHA256) -> bytes:
    """A certificate of the verbatim TBS bytes, the algorithm without parameters, and the signature.

    ECDSA signatures are DER (r, s), ML-DSA signatures raw. The algorithm inside the TBS must be the same; nothing is
    rewritten.
    """
    inside = der.parse_tbs(tbs).algorithm
    if inside != oid:
        raise FormatError(f"expected signature algorithm {oid} in the TBS, saw {inside}: check the CA of the SKU")
    if oid in _MLDSA:
        _check_signature_length(signature, _MLDSA[oid][1])
    else:
        _check_signature_form(signature)
    return der_tlv.sequence(tbs, der_tlv.sequence(der_tlv.oid(oid)), der_tlv.bits(signature))


def verify_signature(certificate: Certificate, issuer_spki: bytes) -> None:
    """FormatError unless the issuer's key (SPKI DER: elliptic curve or ML-DSA) signed the certificate's TBS."""
    algorithm = certificate.algorithm
    if algorithm not in _HASHES and algorithm not in _MLDSA:
        raise FormatError(f"expected an ECDSA or ML-DSA signature, saw algorithm {algorithm}: not supported")
    key = _public_key(issuer_spki)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _HASHES:
            key.verify(certificate.signature, certificate.tbs.raw, ec.ECDSA(_HASHES[algorithm]))
        elif isinstance(key, _MldsaKey) and algorithm in _MLDSA and isinstance(key, _MLDSA[algorithm][0]):
            key.verify(certificate.signature, certificate.tbs.raw)
        else:
            raise FormatError(f"expected an issuer key of algorithm {algorithm}, saw one of another kind: wrong CA")
    except InvalidSignature:
        raise FormatError("expected a certificate signed by its issuer, saw a wrong signature: endorse again") from None


def verify_chain(
    certificates: Sequence[bytes | Certificate],
    at: datetime | None = None,
    known_critical: Collection[str] = KNOWN_CRITICAL,
    signed: int = 0,
) -> tuple[Certificate, ...]:
    """Check a chain given root first (root, ICA, UDS, CDI_0, CDI_1; any length from 1) and return its certificates.

    Checked: the root signs itself, names link, key ids link where present, every issuer is a CA with keyCertSign and
    enough path length, no unknown critical extension, every signature, and the validity when ``at`` is given. The
    signatures of the first ``signed`` certificates are not checked again: the caller has verified those very bytes.
    """
    if not certificates:
        raise FormatError("expected at least a root certificate in the chain, saw none: check the SKU pack")
    chain = tuple(item if isinstance(item, Certificate) else der.parse_certificate(item) for item in certificates)
    issuers = (chain[0], *chain[:-1])
    for depth, (certificate, issuer) in enumerate(zip(chain, issuers, strict=True)):
        _check_link(certificate.tbs, issuer.tbs, depth)
        below = len(chain) - 1 - depth
        if below or depth == 0:
            _check_authority(certificate.tbs, depth, max(below - 1, 0))
        _check_critical(certificate.tbs, depth, known_critical)
        _check_validity(certificate.tbs, depth, at)
        if depth >= signed:
            verify_signature(certificate, issuer.tbs.spki)
    return chain


def tcb_info(tbs: Tbs) -> TcbInfo:
    """Read the DICE TcbInfo extension of a certificate."""
    extension = tbs.extension(OID_DICE_TCB_INFO)
    if extension is None:
        raise FormatError("expected a DICE TcbInfo extension, saw none: this is not a DICE certificate")
    parts = {part.tag: part for part in der_tlv.read(extension.value).expect(der_tlv.SEQUENCE, "TcbInfo").children}
    flags = parts.get(0x87)
    return TcbInfo(
        vendor=_text(parts.get(0x80)),
        model=_text(parts.get(0x81)),
        svn=_number(parts.get(0x83)),
        layer=_number(parts.get(0x84)),
        fwids=tuple(_fwid(item) for item in parts[0xA6].children) if 0xA6 in parts else (),
        flags=frozenset() if flags is None else der.bit_numbers(*der_tlv.read_bits(flags, "TcbInfo flags")),
    )


def check_key_ids(tbs: Tbs) -> bytes:
    """The 20-byte key id of a DICE certificate; serial, subject serialNumber and SKI must all be that id.

    The serial is the id as a big-endian number, the subject carries it as lower-case hex (device sheet 7.1).
    """
    ski = tbs.ski
    if ski is None or len(ski) != KEY_ID_BYTES:
        raise FormatError(f"expected a subject key id of {KEY_ID_BYTES} bytes, saw another one: the part is suspect")
    if tbs.serial != int.from_bytes(ski, "big"):
        raise FormatError("expected the key id as serial number, saw another number: the part is suspect")
    if tbs.subject_serial != ski.hex():
        raise FormatError("expected the key id as subject serialNumber, saw another text: the part is suspect")
    return ski


def check_device_links(tbs_list: Sequence[Tbs]) -> None:
    """FormatError unless each DICE certificate names the key id of the one before it (UDS, CDI_0, CDI_1)."""
    key_ids = [check_key_ids(tbs) for tbs in tbs_list]
    for parent, tbs in zip(key_ids, tbs_list[1:], strict=False):
        if tbs.aki != parent or tbs.issuer_serial != parent.hex():
            raise FormatError("expected each DICE certificate to name its parent's key id, saw another: part suspect")


def _check_signature_form(signature: bytes) -> None:
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        raise FormatError("expected a DER signature of two numbers, saw other bytes: ask the appliance again") from None
    if r <= 0 or s <= 0:
        raise FormatError("expected positive numbers in the signature, saw another: ask the appliance again")


def _check_signature_length(signature: bytes, length: int) -> None:
    if len(signature) != length:
        raise FormatError(f"expected a signature of {length} bytes, saw {len(signature)}: ask the appliance again")


@lru_cache(maxsize=64)
def _public_key(spki: bytes) -> ec.EllipticCurvePublicKey | _MldsaKey:
    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError("expected a public key that can be read, saw another: the certificate is damaged") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | _MldsaKey):
        raise FormatError("expected an elliptic curve or ML-DSA key, saw another kind: not supported")
    return key


def _check_link(tbs: Tbs, issuer: Tbs, depth: int) -> None:
    if tbs.issuer != issuer.subject:
        raise FormatError(f"expected certificate {depth} to name the subject above it as issuer, saw another name")
    if tbs.aki is not None and issuer.ski is not None and tbs.aki != issuer.ski:
        raise FormatError(f"expected certificate {depth} to name the key id above it, saw another: wrong CA or order")


def _check_authority(tbs: Tbs, depth: int, below: int) -> None:
    constraints, usage = tbs.basic_constraints, tbs.key_usage
    if constraints is None or not constraints.ca:
        raise FormatError(f"expected certificate {depth} to be a CA, saw that it is not: check the chain's order")
    if constraints.path_length is not None and constraints.path_length < below:
        raise FormatError(f"expected path length {below} or more in certificate {depth}, saw {constraints.path_length}")
    if usage is not None and der.KEY_CERT_SIGN not in usage:
        raise FormatError(f"expected keyCertSign in certificate {depth}, saw another key usage: wrong CA")


def _check_critical(tbs: Tbs, depth: int, known: Collection[str]) -> None:
    unknown = [item.oid for item in tbs.extensions if item.critical and item.oid not in known]
    if unknown:
        raise FormatError(f"expected known critical extensions in certificate {depth}, saw {', '.join(unknown)[:120]}")


def _check_validity(tbs: Tbs, depth: int, at: datetime | None) -> None:
    if at is not None and not tbs.not_before <= at <= tbs.not_after:
        raise FormatError(
            f"expected certificate {depth} to be valid at {at:%Y-%m-%d}, saw {tbs.not_before:%Y-%m-%d} to "
            f"{tbs.not_after:%Y-%m-%d}: check the station's clock and the CA"
        )


def _text(part: der_tlv.Tlv | None) -> str | None:
    if part is None:
        return None
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("expected UTF-8 text in TcbInfo, saw other bytes: the part is suspect") from None


def _number(part: der_tlv.Tlv | None) -> int | None:
    if part is None:
        return None
    if not part.content:
        raise FormatError("expected a number in TcbInfo, saw no bytes: the part is suspect")
    return int.from_bytes(part.content, "big", signed=True)


def _fwid(part: der_tlv.Tlv) -> FwId:
    inside = part.expect(der_tlv.SEQUENCE, "firmware id").children
    if len(inside) != 2:
        raise FormatError("expected hash algorithm and digest in a firmware id, saw something else")
    digest = inside[1].expect(der_tlv.OCTET_STRING, "firmware digest").content
    return FwId(der_tlv.read_oid(inside[0], "firmware hash algorithm"), digest)
