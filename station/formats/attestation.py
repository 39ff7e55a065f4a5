"""Initial attestation tokens of TF-M: profiles, claims, the key that signed, and what must agree with what.

Sources: nordic-tfm sheet 4, RFC 9783 section 4 (claims of ``tag:psacertified.org,2023:psa#tfm``), the claims of
``PSA_IOT_PROFILE_1`` and ``http://arm.com/psa/2.0.0`` as sdk-tfm:secure_fw/partitions/initial_attestation sends them.
A token proves that one key made it. Whose key that is, the bench that saw the part being provisioned must know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from station.errors import FormatError
from station.formats import cbor_item, cose_sign1, p256
from station.formats.bl_storage import CERTIFICATE_REFERENCE
from station.formats.cose_sign1 import Sign1
from station.formats.p256 import PublicKey

UEID_RANDOM = 0x01
"""First byte of an instance id: the rest is a hash of the public key."""
INSTANCE_ID_BYTES, IMPLEMENTATION_ID_BYTES, BOOT_SEED_BYTES = 33, 32, 32
CHALLENGE_BYTES = (32, 48, 64)
NONE_MEASURED = 1
"""The only value of the claim that no software was measured."""
SAMPLE_CHALLENGE = bytes(range(0x00, 0x100, 0x11)) * 4
"""What sdk-nrf:samples/tfm/tfm_psa_template sends always: a token with it proves identity, not freshness."""
DUMMY_INSTANCE_ID = bytes.fromhex("01fa58755f658627ce5460f29b75296713248cae7ad9e2984b90280efcbcb50248")
"""That of the published dummy identity key (sheet 1.4)."""
SAMPLE_IMPLEMENTATION_ID = b"".join(bytes([byte]) * 8 for byte in (0xAA, 0xBB, 0xCC, 0xDD))
"""The default of sdk-nrf:samples/tfm/provisioning_image, which no product may carry."""

LIFE_CYCLES: Mapping[int, str] = {
    0x00: "unknown",
    0x10: "assembly and test",
    0x20: "PSA RoT provisioning",
    0x30: "secured",
    0x40: "non-PSA RoT debug",
    0x50: "recoverable PSA RoT debug",
    0x60: "decommissioned",
}
"""Names by the high byte of the life cycle claim; its low byte is the maker's."""
SECURED = 0x3000


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: the text of its claim and the label of every claim it knows (0: it has none such)."""

    name: str
    profile: int
    nonce: int
    instance_id: int
    implementation_id: int
    client_id: int
    life_cycle: int
    boot_seed: int
    certificate_reference: int
    software: int
    no_software: int
    verification_service: int


_OLD = Profile("PSA_IOT_PROFILE_1", -75000, -75008, -75009, -75003, -75001, -75002, -75004, -75005, -75006, -75007,
               -75010)  # fmt: skip
_PSA_2 = Profile("http://arm.com/psa/2.0.0", 265, 10, 256, 2396, 2394, 2395, 2397, 2398, 2399, 0, 2400)
_RFC_9783 = Profile("tag:psacertified.org,2023:psa#tfm", 265, 10, 256, 2396, 2394, 2395, 268, 2398, 2399, 0, 2400)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (_OLD, _PSA_2, _RFC_9783)}


@dataclass(frozen=True, slots=True)
class Token:
    """The claims of one token and its signature; optional claims that are absent are empty.

    ``client_id`` is negative for a caller in the non-secure world; ``life_cycle`` 16 bits; ``boot_seed`` 32 bytes;
    ``software`` the components as maps, ``no_software`` the claim that none were measured (always one of the two);
    ``unknown`` the claims of no known label.
    """

    profile: Profile
    signed: Sign1
    nonce: bytes
    instance_id: bytes
    implementation_id: bytes
    client_id: int
    life_cycle: int
    boot_seed: bytes
    certificate_reference: str = ""
    software: tuple[Mapping[int, Any], ...] = ()
    no_software: bool = False
    verification_service: str = ""
    unknown: Mapping[Any, Any] = field(default_factory=dict)

    @property
    def is_sample(self) -> bool:
        """Whether it answers the fixed challenge of the sample, which any earlier token answers as well."""
        return self.nonce == SAMPLE_CHALLENGE

    def public_key(self) -> PublicKey:
        """The key that signed: the one candidate whose hash is in the instance id; ``FormatError`` when none is."""
        signed = self.signed
        return _signer(signed.digest, signed.to_be_signed, signed.r, signed.s, self.instance_id)


@lru_cache(maxsize=64)
def _signer(digest: int, to_be_signed: bytes, r: int, s: int, instance_id: bytes) -> PublicKey:
    """Remembered: finding it costs tens of milliseconds, and one token is asked for its key several times."""
    fits = [key for key in p256.candidates(digest, r, s) if instance_id_of(key) == instance_id]
    if len(fits) != 1 or not fits[0].verifies(to_be_signed, r, s):
        raise FormatError("expected the instance id to be the hash of the key that signed, but no key fits: the "
                          "token was changed or is of another scheme")  # fmt: skip
    return fits[0]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say; what is None is not compared. ``from_non_secure``: no secure partition asked for it."""

    challenge: bytes | None = None
    implementation_id: bytes | None = None
    instance_id: bytes | None = None
    public_key: PublicKey | None = None
    certificate_reference: str | None = None
    life_cycle: int | None = SECURED
    profile: str | None = None
    from_non_secure: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check: the key that signed (None when none fits the instance id), a sentence per problem.

    ``dummy_key``: the instance id is that of the published dummy identity key; one of the problems says so.
    """

    public_key: PublicKey | None
    problems: tuple[str, ...]
    dummy_key: bool = False


def instance_id_of(key: PublicKey) -> bytes:
    """33 bytes: 01, then SHA-256 of 04 X Y (sheet 4.1)."""
    return bytes([UEID_RANDOM]) + hashlib.sha256(key.raw).digest()


def life_cycle_name(value: int) -> str:
    """The state in words."""
    return LIFE_CYCLES.get(value >> 8, "undefined")


@lru_cache(maxsize=64)
def parse(data: bytes) -> Token:
    """Read a token, the same one once; ``FormatError`` with one sentence when it is none of a known profile."""
    signed = cose_sign1.parse(data)
    claims = cbor_item.decode(signed.payload, "the claims")
    if not isinstance(claims, dict):
        raise FormatError("expected a map of claims in the token, saw another value")
    if odd := [label for label in claims if type(label) not in (int, str)]:
        raise FormatError(f"expected numbers and texts as labels of claims in the token, saw {str(odd[0])[:60]}")
    return _Claims(_profile_of(claims), claims).token(signed)


def check(token: Token, expected: Expected) -> Checked:
    """Compare with what is expected. That the key behind the instance id has signed is always looked at."""
    try:
        key, found = token.public_key(), []
    except FormatError as error:
        key, found = None, [str(error)]
    is_dummy = token.instance_id == DUMMY_INSTANCE_ID
    if is_dummy:
        found.append("the token is signed with the published dummy identity key: anybody can make such tokens")
    if expected.public_key is not None and key is not None and key != expected.public_key:
        found.append(f"expected a token of the key {expected.public_key.raw.hex()}, saw one of {key.raw.hex()}")
    return Checked(key, (*found, *_contradictions(token), *_differences(token, expected)), is_dummy)


def _contradictions(token: Token) -> Iterator[str]:
    """What no token of a part that works says, whatever is expected of it."""
    if len(set(token.boot_seed)) == 1:
        yield f"expected a random boot seed, saw {BOOT_SEED_BYTES} times {token.boot_seed[0]:02x}: the boot drew none"
    if token.certificate_reference and not CERTIFICATE_REFERENCE.fullmatch(token.certificate_reference.encode()):
        seen = repr(token.certificate_reference[:80])
        yield f"expected 13 digits, a hyphen and 5 digits as certificate reference, saw {seen}"


def _differences(token: Token, expected: Expected) -> Iterator[str]:
    for name, wanted, seen in (
        ("instance id", expected.instance_id, token.instance_id),
        ("implementation id", expected.implementation_id, token.implementation_id),
        ("challenge", expected.challenge, token.nonce),
    ):
        if wanted is not None and wanted != seen:
            yield f"expected the {name} {wanted.hex()}, saw {seen.hex()}"
    if expected.life_cycle is not None and token.life_cycle & 0xFF00 != expected.life_cycle & 0xFF00:
        wanted_name, seen_name = life_cycle_name(expected.life_cycle), life_cycle_name(token.life_cycle)
        yield f"expected the life cycle {wanted_name}, saw {seen_name} ({token.life_cycle:#06x})"
    if expected.from_non_secure and token.client_id >= 0:
        yield (f"expected the client id of a caller in the non-secure world, which is negative, saw {token.client_id}: "
               "a secure partition asked for this token")  # fmt: skip
    for name, wanted_text, seen_text in (
        ("certificate reference", expected.certificate_reference, token.certificate_reference),
        ("profile", expected.profile, token.profile.name),
    ):
        if wanted_text is not None and wanted_text != seen_text:
            yield f"expected the {name} '{wanted_text}', saw {seen_text[:80]!r}"


def _profile_of(claims: Mapping[Any, Any]) -> Profile:
    """By its one claim, under its own label; the oldest profile may leave that out and is known by its nonce."""
    named = {label: claims[label] for label in (_OLD.profile, _PSA_2.profile) if label in claims}
    for profile in PROFILES.values():
        if named == {profile.profile: profile.name}:
            return profile
    if not named and _OLD.nonce in claims:
        return _OLD
    seen = " and ".join(f"{repr(name)[:60]} as claim {label}" for label, name in named.items()) or "none"
    raise FormatError(f"expected one of the profiles {', '.join(PROFILES)}, saw {seen}")


@dataclass(frozen=True, slots=True)
class _Claims:
    """Claims by the labels of their profile, each with its type."""

    profile: Profile
    claims: Mapping[Any, Any]

    def token(self, signed: Sign1) -> Token:
        known = {
            value for name in Profile.__dataclass_fields__ if isinstance(value := getattr(self.profile, name), int)
        }
        return Token(
            self.profile, signed, nonce=self._nonce(), instance_id=self._instance_id(),
            implementation_id=self._exactly("implementation_id", IMPLEMENTATION_ID_BYTES),
            client_id=self._number("client_id", -(1 << 31), 1 << 31), life_cycle=self._number("life_cycle", 0, 1 << 16),
            boot_seed=self._exactly("boot_seed", BOOT_SEED_BYTES),
            certificate_reference=self._optional("certificate_reference", str, ""), software=self._software(),
            no_software=self._none_measured(),
            verification_service=self._optional("verification_service", str, ""),
            unknown={label: value for label, value in self.claims.items() if label not in known},
        )  # fmt: skip

    def _nonce(self) -> bytes:
        nonce: bytes = self._claim("nonce", bytes)
        if len(nonce) not in CHALLENGE_BYTES:
            raise FormatError(f"expected a nonce of 32, 48 or 64 bytes in the token, saw {len(nonce)}")
        return nonce

    def _instance_id(self) -> bytes:
        found = self._exactly("instance_id", INSTANCE_ID_BYTES)
        if found[0] != UEID_RANDOM:
            raise FormatError(f"expected an instance id that begins with 01, saw {found[0]:02x}")
        return found

    def _software(self) -> tuple[Mapping[int, Any], ...]:
        """Components; none only in the profile that can say so, and does."""
        found = self._optional("software", list, None)
        if found is not None and not all(isinstance(component, dict) for component in found):
            raise FormatError("expected maps as software components in the token, saw another value")
        if bool(found) == self._none_measured() or found == []:
            seen = "neither" if found is None else "none in the list" if not found else "both"
            raise FormatError("expected software components in the token, or in the oldest profile the claim that "
                              f"none were measured, saw {seen}")  # fmt: skip
        return tuple(found or ())

    def _none_measured(self) -> bool:
        value = self._optional("no_software", int, None)
        if value not in (None, NONE_MEASURED):
            raise FormatError(f"expected {NONE_MEASURED} as the claim no software, saw {value}")
        return value is not None

    def _exactly(self, name: str, length: int) -> bytes:
        found: bytes = self._claim(name, bytes)
        if len(found) != length:
            raise FormatError(f"expected {length} bytes as {_words(name)} in the token, saw {len(found)}")
        return found

    def _number(self, name: str, low: int, end: int) -> int:
        found: int = self._claim(name, int)
        if not low <= found < end:
            raise FormatError(f"expected {_words(name)} from {low} to {end - 1} in the token, saw {found}")
        return found

    def _claim(self, name: str, kind: type[Any]) -> Any:
        label = getattr(self.profile, name)
        if label not in self.claims:
            raise FormatError(f"expected the claim {_words(name)} ({label}) in the token, but it is missing")
        return self._typed(name, self.claims[label], kind)

    def _optional(self, name: str, kind: type[Any], default: Any) -> Any:
        label = getattr(self.profile, name)
        return self._typed(name, self.claims[label], kind) if label and label in self.claims else default

    @staticmethod
    def _typed(name: str, value: Any, kind: type[Any]) -> Any:
        if type(value) is not kind:  # True is no number here
            raise FormatError(f"expected {kind.__name__} as the claim {_words(name)}, saw {type(value).__name__}")
        return value


def _words(name: str) -> str:
    return name.replace("_", " ")
