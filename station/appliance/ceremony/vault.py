"""What a ceremony asks of the keystore of its machine, software or PKCS#11: make keys, wrap, unwrap, sign, recover."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from station.appliance.ceremony.keys import CHECK_BYTES, CHECK_TEXT, NewKey
from station.appliance.ceremony.transcript import KeyLine
from station.appliance.keystore import Signing
from station.errors import ConfigError
from station.secret import Secret

OAEP_SHA256, OAEP_SHA1 = "RsaOaepSha256", "RsaOaepSha1"
OAEP: Mapping[str, hashes.HashAlgorithm] = {OAEP_SHA256: hashes.SHA256(), OAEP_SHA1: hashes.SHA1()}
"""How the transport key is wrapped, best first. SoftHSM 2.6 does the second one only; OAEP needs no collision-free hash
(RFC 8017, B.1), so it is as good here."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Seeds under way: the AES key wrapped with RSA (``mechanism``), the seeds wrapped with it (RFC 3394)."""

    mechanism: str
    aes_key: bytes
    seeds: Mapping[str, bytes]


class Vault(Signing, Protocol):
    """A keystore that takes new keys; those that are there never change."""

    def make(self, keys: Sequence[NewKey], resumed: bool) -> None:
        """Make those that are not there; ``resumed`` says that an earlier call may have been killed half way."""
        ...

    def add_public(self, label: str, public_key: bytes) -> None:
        """Keep a public key (SPKI DER) of another machine; another one under this label is refused."""
        ...

    def line(self, label: str) -> KeyLine:
        """The key as the transcript shows it."""
        ...

    def unwraps(self) -> tuple[str, ...]:
        """In which ways (keys of ``OAEP``) a transport key may come to this machine, best first."""
        ...

    def check_values(self, delivery: Delivery) -> dict[str, str]:
        """Unwrap the seeds, keep nothing and tell their check values; ``ConfigError`` when they are not for us."""
        ...

    def take(self, delivery: Delivery) -> None:
        """Unwrap the seeds to stay, those that are not there."""
        ...

    def wrap(self, recipient: bytes, ways: Sequence[str]) -> Delivery:
        """Wrap the seeds for the RSA key (SPKI DER) of another machine, in the first way that this keystore can do."""
        ...

    def recover(self, wrapped_seed: bytes, mechanism: str) -> Secret:
        """The RMA seed inside the first layer (``RsaOaep`` or ``RsaPkcs``)."""
        ...

    def open_second_layer(self, sealed: bytes) -> bytes:
        """The first layer inside the second one."""
        ...


def check_value(seed: bytes) -> str:
    """What names a seed in transcripts: the beginning of an HMAC under it."""
    return hmac.digest(seed, CHECK_TEXT, "sha256")[:CHECK_BYTES].hex()


def oaep(way: str) -> padding.OAEP:
    """The padding of a way to wrap the transport key."""
    algorithm = OAEP[way]
    return padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)


def first_way(ways: Sequence[str], able: Sequence[str]) -> str:
    """The first of ``ways`` that both sides can do."""
    found = next((way for way in ways if way in able), None)
    if found is None:
        raise ConfigError(
            f"expected a way to wrap the transport key that both keystores can do ({', '.join(OAEP)}), saw "
            f"{', '.join(ways)[:100] or 'none'} there and {', '.join(able) or 'none'} here: use another HSM"
        )
    return found


def not_for_us() -> ConfigError:
    """The refusal of seeds that do not unwrap."""
    return ConfigError(
        "expected seeds that are wrapped for this machine's spm-rsa-wrap-v0, saw others or damaged ones: export them "
        "again for this machine"
    )
