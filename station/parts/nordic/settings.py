"""What a SKU pack says of a Nordic part (``[part]`` of pack.toml; a recipe's ``[settings]`` may replace it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from station.errors import FormatError, nearest
from station.formats import attestation, bl_storage
from station.formats.nordic_family import NordicFamily, family
from station.formats.uicr_content import ON_REQUEST, Uicr
from station.model import ResetKind
from station.parts import Unfit

OTHERS = frozenset({"otp_words", "lot_number"})
"""Settings that other layers put beside these."""


class NetLock(StrEnum):
    """Who closes the network core's debug port: the provisioning image's child, the production firmware (TF-M has the
    network core's bootloader do it at the first boot), or this station."""

    CHILD_IMAGE = "child_image"
    PRODUCTION = "production"
    HOST = "host"


class AppLock(StrEnum):
    """Who closes the application core's debug port: the production firmware at its first boot, or this station."""

    PRODUCTION = "production"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class NordicSettings:
    """The checked settings.

    ``implementation_id`` 32 bytes; ``certificate_reference`` and ``profile`` as the token must say them (empty: not
    compared); ``challenge`` what the production firmware asks its token for (empty: not compared); seconds: the most
    that the provisioning image, and the first boot with its restart, may take.
    """

    family: NordicFamily
    implementation_id: bytes
    certificate_reference: str = ""
    profile: str = ""
    challenge: bytes = attestation.SAMPLE_CHALLENGE
    net_lock: NetLock = NetLock.PRODUCTION
    app_lock: AppLock = AppLock.PRODUCTION
    first_reset: ResetKind = ResetKind.PIN
    uicr_allowed: frozenset[Uicr] = frozenset()
    provisioning_seconds: float = 20.0
    boot_seconds: float = 30.0

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> NordicSettings:
        """Read the settings; raises ``FormatError`` with the first finding."""
        found, findings = read(settings)
        if found is None:
            raise FormatError(findings[0].sentence)
        return found


def read(settings: Mapping[str, object]) -> tuple[NordicSettings | None, list[Unfit]]:
    """The settings, or what is wrong with each of them."""
    known = [one.name for one in fields(NordicSettings)]
    findings = [
        Unfit(setting=name, sentence=f"unknown setting '{name}'{nearest(name, known)}; known are {', '.join(known)}")
        for name in settings
        if name not in known and name not in OTHERS
    ]
    values: dict[str, Any] = {}
    for name in known:
        if name not in settings:
            if name in ("family", "implementation_id"):
                findings.append(Unfit(setting=name, sentence=f"expected the setting '{name}', but it is missing"))
            continue
        try:
            values[name] = _READERS[name](settings[name])
        except (FormatError, ValueError, TypeError) as error:
            findings.append(Unfit(setting=name, sentence=f"{name}: {error}"))
    return (None if findings else NordicSettings(**values)), findings


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FormatError(f"expected text, saw {value!r}")
    return value


def _hex(*lengths: int) -> Callable[[object], bytes]:
    def read_hex(value: object) -> bytes:
        try:
            raw = bytes.fromhex(_text(value))
        except ValueError:
            raise FormatError(f"expected hex digits, saw {str(value)[:20]!r}") from None
        if len(raw) not in lengths:
            wanted = " or ".join(map(str, lengths))
            raise FormatError(f"expected {wanted} bytes in hex, saw {len(raw)}")
        return raw

    return read_hex


def _one_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def read_one(value: object) -> StrEnum:
        known = [str(one) for one in kind]
        if value not in known:
            raise FormatError(f"expected one of {', '.join(known)}, saw {value!r}{nearest(str(value), known)}")
        return kind(value)

    return read_one


def _uicr(value: object) -> frozenset[Uicr]:
    known = sorted(str(kind) for kind in ON_REQUEST)
    if not isinstance(value, (list, tuple)) or any(one not in known for one in value):
        raise FormatError(f"expected a list of {' and '.join(known)}, saw {value!r}: no image may write anything else")
    return frozenset(Uicr(one) for one in value)


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 600:
        raise FormatError(f"expected seconds up to 600, saw {value!r}")
    return float(value)


def _certificate_reference(value: object) -> str:
    text = _text(value)
    if text and not bl_storage.CERTIFICATE_REFERENCE.fullmatch(text.encode()):
        raise FormatError(f"expected 13 digits, a hyphen and 5 digits, as in 0632793519539-10100, saw {text[:40]!r}")
    return text


def _profile(value: object) -> str:
    if value not in attestation.PROFILES:
        raise FormatError(f"expected one of {', '.join(attestation.PROFILES)}, saw {value!r}")
    return str(value)


_READERS: Mapping[str, Callable[[object], Any]] = {
    "family": lambda value: family(_text(value)),
    "implementation_id": _hex(attestation.IMPLEMENTATION_ID_BYTES),
    "certificate_reference": _certificate_reference,
    "profile": _profile,
    "challenge": _hex(0, *attestation.CHALLENGE_BYTES),
    "net_lock": _one_of(NetLock),
    "app_lock": _one_of(AppLock),
    "first_reset": _one_of(ResetKind),
    "uicr_allowed": _uicr,
    "provisioning_seconds": _seconds,
    "boot_seconds": _seconds,
}


def unfit_for_production(settings: NordicSettings) -> Iterator[Unfit]:
    """What only a sample may have."""
    if settings.implementation_id == attestation.SAMPLE_IMPLEMENTATION_ID:
        sentence = "implementation_id: expected the product's own, saw that of the upstream sample"
        yield Unfit(setting="implementation_id", sentence=f"{sentence}, which no product may carry")
