"""The unlock token of a part that comes back: from its wrapped seed, where the private RMA key is, into a file.

Source: opentitan-appliance sheet 3.3 (recovery), 3.4 (layers) and 6.3 (a registry's record as JSON).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, rsa, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.message import DecodeError

from station.appliance.ceremony.keys import RMA_PRIVATE_KEY
from station.appliance.ceremony.machine import Machine
from station.appliance.ceremony.task import People, Step, Task
from station.appliance.ceremony.transfer import read_file
from station.appliance.ceremony.work import Outcome, attended, require_keys
from station.appliance.files import place, require_private
from station.appliance.hpke_layer import open_layer
from station.appliance.seed_recovery import rma_token, unwrap_seed
from station.errors import ConfigError, FormatError
from station.formats.lc_token import lc_hash
from station.secret import Secret
from station.wire import registry_record_pb2

RSA_BYTES = 384
DIVERSIFIER = b"rma".ljust(48, b"\0")
"""That of the flows (sheet 3.3)."""
MECHANISMS = ("RsaOaep", "RsaPkcs")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is known of a part: its wrapped seed, the bytes of the request, and the token's hash when it is known."""

    wrapped_seed: bytes
    diversifier: bytes = DIVERSIFIER
    mechanism: str = "RsaOaep"
    hashed: bytes | None = None


def recover_token(machine: Machine, people: People, recovery: Recovery, output: Path) -> Outcome:
    """Write the token into a new private file; who did it is in the transcript, the token is not."""
    with attended(machine, people, Task(Step.RMA_TOKEN)) as work:
        with machine.vault() as vault:
            require_keys(vault, [RMA_PRIVATE_KEY])
            token = _token(recovery, vault.open_second_layer, vault.recover)
        work.begin()
        _write(output, token)
        work.note_file("wrapped seed", "received", recovery.wrapped_seed)
        return work.finish(note=f"token written to {output}")


def recover_in_development(folder: Path, recovery: Recovery, output: Path) -> None:
    """The same with the keys that ``appliance init`` has put into the folder ``offline``."""
    rsa_key = _pem(folder / "offline/rma-key.pem")
    if not isinstance(rsa_key, rsa.RSAPrivateKey):
        raise ConfigError(
            f"expected an RSA key at {folder / 'offline/rma-key.pem'}, saw another: the folder is damaged"
        )

    def open_second(sealed: bytes) -> bytes:
        pq, classical = (_pem(folder / f"offline/hpke-{name}-key.pem") for name in ("mlkem", "x25519"))
        assert isinstance(pq, mlkem.MLKEM768PrivateKey)
        assert isinstance(classical, x25519.X25519PrivateKey)
        return open_layer(sealed, MLKEM768X25519PrivateKey(pq, classical))

    def recover(wrapped: bytes, mechanism: str) -> Secret:
        return Secret(unwrap_seed(wrapped, rsa_key, mechanism), "RMA seed")

    _write(output, _token(recovery, open_second, recover))


def read_wrapped_seed(path: Path) -> bytes:
    """A wrapped seed from a file: its bytes, hexadecimal or base64 text, or the JSON of its registry record."""
    raw = read_file(path)
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        seed = raw  # whatever its first byte looks like
    else:
        seed = _from_record(text) if text.startswith("{") else _from_text(text, raw)
    if len(seed) < RSA_BYTES:
        raise ConfigError(f"expected a wrapped seed of {RSA_BYTES} bytes or more in {path}, saw {len(seed)}")
    return seed


def _token(
    recovery: Recovery, open_second: Callable[[bytes], bytes], recover: Callable[[bytes, str], Secret]
) -> Secret:
    wrapped = recovery.wrapped_seed
    try:
        inner = wrapped if len(wrapped) == RSA_BYTES else open_second(wrapped)
    except (InvalidTag, ValueError):
        raise FormatError("expected a seed sealed for these keys, saw another: use the keys of its SKU") from None
    with recover(inner, recovery.mechanism).reveal() as seed:
        token = rma_token(seed, recovery.diversifier)
    if recovery.hashed is not None and lc_hash(token) != recovery.hashed:
        raise FormatError(
            "expected a token with the hash that the part has, saw another: check the seed's part, the diversifier "
            "and the mechanism"
        )
    return Secret(token, "RMA unlock token")


def _write(output: Path, token: Secret) -> None:
    with token.reveal() as raw:
        place(output, raw.hex().encode() + b"\n")


def _from_text(text: str, raw: bytes) -> bytes:
    digits = re.sub(r"\s", "", text)
    try:
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
            return bytes.fromhex(digits)
        return base64.b64decode(digits, validate=True)
    except (binascii.Error, ValueError):
        return raw


def _from_record(text: str) -> bytes:
    """``{"record": {"data": "…"}}`` or what is inside it; the data are a serialized DeviceData."""
    try:
        stored: dict[str, Any] = json.loads(text)
        record = stored.get("record", stored)
        device = registry_record_pb2.DeviceData.FromString(base64.b64decode(record["data"], validate=True))
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError):
        raise ConfigError("expected a registry record as JSON with its data: export it again") from None
    return bytes(device.wrapped_rma_unlock_token)


def _pem(path: Path) -> object:
    require_private(path)
    return load_pem_private_key(path.read_bytes(), None)
