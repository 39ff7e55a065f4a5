"""The structures that CP and FT firmware exchange with the host, in both directions and both dialects.

Source: opentitan-device sheet 1.4, 2.2 and 7; opentitan-appliance sheet 5.2 and 5.3. Encoders return the bytes to put
on the console; in the ATE dialect they are whole 256-byte frames filled with spaces (``frames_of`` cuts them).
Decoders accept both dialects: bare or quoted numbers, any padding, with or without CRC object.
All byte strings are in wire order: words are little-endian unless a line here says otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from station.errors import FormatError
from station.formats import lc_token
from station.formats.console_text import (
    Message,
    Response,
    ResponseError,
    crc_object,
    dump,
    error_line,
    fields,
    find_response,
    number,
    numbers,
    pad,
    parse_message,
    parse_response,
    response_line,
    text_crc,
)
from station.formats.firmware import RC4, Dialect, FirmwareGeneration

__all__ = [
    "CertgenInputs", "CpProvisioning", "Dialect", "Message", "PersoBlobMessage", "Response", "ResponseError",
    "decode_certgen_inputs", "decode_cp_provisioning", "decode_ft_individualize", "decode_perso_blob",
    "decode_rma_hash", "encode_certgen_inputs", "encode_cp_device_id", "encode_cp_provisioning",
    "encode_dut_perso_blob", "encode_ft_individualize", "encode_perso_blob", "encode_rma_hash", "encode_sha256",
    "encode_with_crc", "error_line", "find_response", "frames_of", "parse_cp_device_id", "parse_message",
    "parse_perso_blob", "parse_response", "parse_sha256", "response_line", "was_hmac_key",
]  # fmt: skip

LC_TOKEN_HASH = 52
PERSO_BLOB = 20535
SHA256_HASH = 98
DUT_BODY = 5120
"""Bytes of the ``body`` array in the DUT's memory."""

ATE_BODY = 65536
"""Bytes of the ``body`` array in the test equipment library."""

KEY_ID = 20


@dataclass(frozen=True, slots=True)
class CpProvisioning:
    """ManufCpProvisioningData as the DUT sees it; the hash fields are 16 bytes, the words are not printed."""

    was_words: tuple[int, ...] = field(repr=False)
    test_unlock_hash: bytes
    test_exit_hash: bytes

    @property
    def was_stored(self) -> bytes:
        """The 32 bytes as they lie in flash: the eight words little-endian."""
        return struct.pack("<8I", *self.was_words)

    @property
    def was_hmac_key(self) -> bytes:
        """The 32 bytes with which the DUT computes its HMAC: the eight words big-endian (appliance sheet 3.5)."""
        return struct.pack(">8I", *self.was_words)


@dataclass(frozen=True, slots=True)
class CertgenInputs:
    """ManufCertgenInputs: two 20-byte key ids in order, and the blob version where the firmware knows it."""

    dice_key_id: bytes
    ext_key_id: bytes
    blob_version: int | None


@dataclass(frozen=True, slots=True)
class PersoBlobMessage:
    """PersoBlob: the object count as sent and exactly ``next_free`` body bytes."""

    num_objs: int
    body: bytes = field(repr=False)  # carries device seeds


# --- host to DUT ------------------------------------------------------------------------------------------------------


def encode_cp_provisioning(was: bytes, unlock_hash: bytes, exit_hash: bytes, dialect: Dialect) -> bytes:
    """ManufCpProvisioningData: ``was`` 32 raw bytes, two 16-byte token hashes; no CRC in either dialect.

    The reference host reads the WAS in big-endian words, the ATE library in little-endian words.
    """
    _require(was, 32, "wafer authentication secret")
    words = struct.unpack(">8I" if dialect is Dialect.HOST else "<8I", was)
    text = dump(
        {
            "wafer_auth_secret": list(words),
            "test_unlock_token_hash": _dwords(unlock_hash, dialect),
            "test_exit_token_hash": _dwords(exit_hash, dialect),
        }
    )
    return _framed(text, dialect)


def was_hmac_key(was: bytes, dialect: Dialect) -> bytes:
    """The HMAC key that a part uses after it received ``was`` (32 bytes) in this dialect (appliance sheet 3.5)."""
    _require(was, 32, "wafer authentication secret")
    return was if dialect is Dialect.HOST else struct.pack(">8I", *struct.unpack("<8I", was))


def encode_ft_individualize(sku_specific: bytes, dialect: Dialect) -> bytes:
    """ManufFtIndividualizeData: the 16 SKU-specific bytes of the device id, index 0 the least significant word."""
    _require(sku_specific, 16, "SKU-specific half of the device id")
    return _framed(dump({"ft_device_id": list(struct.unpack("<4I", sku_specific))}), dialect)


def encode_rma_hash(token_hash: bytes, dialect: Dialect, with_crc: bool = True) -> bytes:
    """LcTokenHash: 16 bytes; the reference host pads to 52 and sends a padded CRC object, the ATE an unpadded one."""
    text = dump({"hash": _dwords(token_hash, dialect)})
    if dialect is Dialect.HOST:
        text = pad(text, LC_TOKEN_HASH)
    return encode_with_crc(text, dialect) if with_crc else _framed(text, dialect)


def encode_with_crc(text: str, dialect: Dialect) -> bytes:
    """A JSON text followed by the CRC object over all of it, padding included."""
    tail = crc_object(text) if dialect is Dialect.HOST else f'{{"crc": {text_crc(text)}}}'
    return _framed(text + tail, dialect)


def encode_certgen_inputs(
    dice_key_id: bytes,
    ext_key_id: bytes,
    generation: FirmwareGeneration,
    dialect: Dialect,
    blob_version: int | None = None,
) -> bytes:
    """ManufCertgenInputs of one firmware generation: two 20-byte key ids, and the blob version where it is known."""
    _require(dice_key_id, KEY_ID, "DICE key id")
    _require(ext_key_id, KEY_ID, "extension key id")
    version = generation.check_blob_version(generation.blob_version if blob_version is None else blob_version)
    value: dict[str, object] = {"dice_auth_key_key_id": list(dice_key_id), "ext_auth_key_key_id": list(ext_key_id)}
    if generation.sends_blob_version:
        value["blob_version"] = version
    text = dump(value)
    if dialect is Dialect.HOST:
        text = pad(text, generation.certgen_pad(len(text)))
    return _framed(text, dialect)


def encode_perso_blob(num_objs: int, body: bytes, dialect: Dialect) -> bytes:
    """PersoBlob from the host: only the used body bytes; the reference host pads the text to 20535."""
    limit = DUT_BODY if dialect is Dialect.HOST else ATE_BODY
    text = _blob_text(num_objs, body, limit, len(body))
    return _framed(pad(text, PERSO_BLOB) if dialect is Dialect.HOST else text, dialect)


def frames_of(message: bytes, dialect: Dialect) -> list[bytes]:
    """The pieces in which an encoded message is sent: whole, or 256 bytes each; every piece ends a SPI transfer."""
    size = dialect.frame_size or max(len(message), 1)
    return [message[start : start + size] for start in range(0, len(message), size)]


# --- DUT side: what the host sent -------------------------------------------------------------------------------------


def decode_cp_provisioning(data: bytes) -> CpProvisioning:
    """Read ManufCpProvisioningData."""
    names = ("wafer_auth_secret", "test_unlock_token_hash", "test_exit_token_hash")
    value = fields(parse_message(data).value, names)
    return CpProvisioning(
        numbers(value["wafer_auth_secret"], 32, 8, "wafer_auth_secret"),
        _hash(value, "test_unlock_token_hash"),
        _hash(value, "test_exit_token_hash"),
    )


def decode_ft_individualize(data: bytes) -> bytes:
    """Read ManufFtIndividualizeData: 16 bytes, least significant word first."""
    value = fields(parse_message(data).value, ("ft_device_id",))
    return struct.pack("<4I", *numbers(value["ft_device_id"], 32, 4, "ft_device_id"))


def decode_rma_hash(data: bytes, crc_needed: bool = True) -> bytes:
    """Read LcTokenHash: 16 bytes; the firmware insists on the CRC object."""
    message = parse_message(data)
    if crc_needed and message.crc is None:
        raise FormatError("expected a CRC object behind the token hash, saw none: send it with CRC")
    return _hash(fields(message.value, ("hash",)), "hash")


def decode_certgen_inputs(data: bytes, generation: FirmwareGeneration = RC4) -> CertgenInputs:
    """Read ManufCertgenInputs of one firmware generation; a missing or surplus field raises FormatError."""
    value = fields(parse_message(data).value, generation.certgen_fields)
    version = number(value["blob_version"], 16, "blob_version") if generation.sends_blob_version else None
    if version is not None:
        generation.check_blob_version(version)
    key_ids = [bytes(numbers(value[name], 8, KEY_ID, name)) for name in generation.certgen_fields[:2]]
    return CertgenInputs(key_ids[0], key_ids[1], version)


def decode_perso_blob(data: bytes, limit: int = DUT_BODY) -> PersoBlobMessage:
    """Read PersoBlob from the host; ``limit`` is the size of the receiver's body array."""
    return _blob(parse_message(data).value, limit)


# --- DUT to host ------------------------------------------------------------------------------------------------------


def encode_cp_device_id(cp_id: bytes) -> bytes:
    """ManufCpProvisioningDataOut: the 16 bytes of the CP device id as four words, with CRC."""
    _require(cp_id, 16, "CP device id")
    return response_line(dump({"cp_device_id": list(struct.unpack("<4I", cp_id))}))


def encode_dut_perso_blob(num_objs: int, body: bytes) -> bytes:
    """PersoBlob from the DUT: all 5120 array bytes, padded to 20535, without CRC."""
    return response_line(pad(_blob_text(num_objs, body, DUT_BODY, DUT_BODY), PERSO_BLOB), with_crc=False)


def encode_sha256(digest: bytes) -> bytes:
    """SerdesSha256Hash: 32 bytes as little-endian words, padded to 98, without CRC."""
    _require(digest, 32, "digest")
    return response_line(pad(dump({"data": list(struct.unpack("<8I", digest))}), SHA256_HASH), with_crc=False)


def parse_cp_device_id(line: bytes | str) -> bytes:
    """The 16 bytes of the CP device id; index 0 is the hardware origin."""
    return _answer(line, "cp_device_id", lambda item: struct.pack("<4I", *numbers(item, 32, 4, "cp_device_id")))


def parse_sha256(line: bytes | str) -> bytes:
    """The 32 bytes of the certificate hash in wire order: the host's SHA-256 reversed (device sheet 1.3 step 17)."""
    return _answer(line, "data", lambda item: struct.pack("<8I", *numbers(item, 32, 8, "data")))


def parse_perso_blob(line: bytes | str, limit: int = ATE_BODY) -> PersoBlobMessage:
    """The DUT's PersoBlob: object count and the first ``next_free`` body bytes."""
    return _blob(parse_response(line).value, limit)


# --- shared -----------------------------------------------------------------------------------------------------------


def _framed(text: str, dialect: Dialect) -> bytes:
    data = text.encode("ascii")
    size = dialect.frame_size
    return data if size is None else data.ljust(-(-len(data) // size) * size, b" ")


def _require(data: bytes, size: int, what: str) -> None:
    if len(data) != size:
        raise FormatError(f"expected {size} bytes of {what}, saw {len(data)}: check where it comes from")


def _dwords(token_hash: bytes, dialect: Dialect) -> list[int] | list[str]:
    pair = lc_token.dwords_of(token_hash)
    return [str(value) for value in pair] if dialect.quoted_u64 else list(pair)


def _hash(value: Mapping[str, object], name: str) -> bytes:
    return struct.pack("<2Q", *numbers(value[name], 64, 2, name))


def _answer(line: bytes | str, name: str, read: Callable[[object], bytes]) -> bytes:
    return read(fields(parse_response(line).value, (name,))[name])


def _blob_text(num_objs: int, body: bytes, limit: int, array: int) -> str:
    if len(body) > limit or not 0 <= num_objs < 1 << 32:
        raise FormatError(f"expected a perso blob of at most {limit} bytes, saw {len(body)}: remove certificates")
    return dump({"num_objs": num_objs, "next_free": len(body), "body": list(body.ljust(array, b"\0"))})


def _blob(value: object, limit: int) -> PersoBlobMessage:
    found = fields(value, ("num_objs", "next_free", "body"))
    used = number(found["next_free"], 32, "next_free")
    body = found["body"]
    if not isinstance(body, list) or not used <= len(body) <= limit:
        seen = f"{len(body)} for next_free {used}" if isinstance(body, list) else "no array"
        raise FormatError(f"expected next_free to {limit} bytes in the perso blob, saw {seen}: see the transcript")
    return PersoBlobMessage(
        number(found["num_objs"], 32, "num_objs"), bytes(numbers(body, 8, len(body), "body"))[:used]
    )
