"""A transfer: what one machine of a ceremony hands to another, as one file with a digest that people can compare.

The file is JSON in one form only (sorted keys, base64 items), so that a changed, cut or lengthened file is no
transfer. It holds public keys, requests, certificates and wrapped keys, never a key in the clear.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from station.appliance.ceremony.task import FILES, Step
from station.appliance.sku_templates import ordered
from station.errors import ConfigError
from station.model import Realm

FORMAT = "station-ceremony-1"
LIMIT = 1 << 20
GROUP = 4
_ID = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Transfer:
    """``sender`` is the id of a machine, ``peer`` the id of the one that it is for (empty: for any).

    ``answers`` is the SHA-256 of the transfer that this one answers, empty for none.
    """

    step: Step
    realm: Realm
    sender: str
    peer: str = ""
    answers: str = ""
    skus: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The file."""
        content = {
            "format": FORMAT,
            "step": self.step.value,
            "realm": self.realm.value,
            "sender": self.sender,
            "peer": self.peer,
            "answers": self.answers,
            "skus": list(self.skus),
            "facts": dict(self.facts),
            "items": {name: base64.b64encode(item).decode() for name, item in self.items.items()},
        }
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()

    def require_items(self, wanted: Collection[str]) -> None:
        """Refuse a transfer that holds other items than these."""
        wrong = set(wanted) ^ set(self.items)
        if wrong:
            raise ConfigError(
                f"expected {', '.join(sorted(wanted)) or 'nothing'} in the transfer of {self.step}, saw a difference "
                f"in {', '.join(sorted(wrong))[:200]}: make the transfer again"
            )


def read_transfer(raw: bytes) -> Transfer:
    """The transfer in a file; anything else raises ``ConfigError``."""
    try:
        stored = json.loads(raw)
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        transfer = Transfer(
            step=Step(stored["step"]),
            realm=Realm(stored["realm"]),
            **{name: _text(stored[name]) for name in ("sender", "peer", "answers")},
            skus=tuple(_text(name) for name in stored["skus"]),
            facts={_text(name): _text(value) for name, value in stored["facts"].items()},
            items={_text(name): base64.b64decode(value, validate=True) for name, value in stored["items"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigError(
            f"expected a transfer of format {FORMAT}, saw another or a damaged file: copy it again from its machine"
        ) from None
    good = _ID.fullmatch(transfer.sender) and _ID.fullmatch(transfer.peer or transfer.sender)
    good = good and _SHA256.fullmatch(transfer.answers or "0" * 64)
    names = tuple(template.name for template in ordered(transfer.skus)) if transfer.skus else ()
    if not good or names != transfer.skus or transfer.step not in FILES or transfer.encode() != raw:
        raise ConfigError("expected a transfer in its one form, saw a changed file: copy it again from its machine")
    return transfer


@dataclass(frozen=True, slots=True)
class Received:
    """A transfer whose digest was confirmed."""

    transfer: Transfer
    raw: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return digest_of(self.raw)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a machine accepts; None accepts anything, an empty text an empty text only."""

    step: Step
    realm: Realm
    sender: str | None = None
    peer: str | None = None
    answers: str | None = None
    skus: tuple[str, ...] | None = None

    def check(self, transfer: Transfer) -> None:
        """Raise ``ConfigError`` with the first reason why this transfer is not the one."""
        if transfer.step is not self.step:
            raise ConfigError(
                f"expected the transfer of {self.step} ({FILES[self.step]}), saw that of {transfer.step}: "
                f"take the right file"
            )
        if transfer.realm is not self.realm:
            raise ConfigError(
                f"expected a transfer of realm {self.realm}, saw one of realm {transfer.realm}: realms never mix"
            )
        if self.skus is not None and transfer.skus != self.skus:
            raise ConfigError(
                f"expected a transfer for {', '.join(self.skus) or 'no SKU in particular'}, saw one for "
                f"{', '.join(transfer.skus) or 'none'}: take the right file"
            )
        for way, wanted, seen in (("from", self.sender, transfer.sender), ("for", self.peer, transfer.peer)):
            if wanted is not None and seen != wanted:
                raise ConfigError(
                    f"expected a transfer {way} machine {wanted or 'any'}, saw one {way} {seen or 'any'}: it belongs "
                    f"to another ceremony"
                )
        if self.answers is not None and transfer.answers != self.answers:
            raise ConfigError(
                f"expected an answer to the transfer {grouped(self.answers)}, saw one to "
                f"{grouped(transfer.answers) or 'none'}: it belongs to an earlier or another ceremony"
            )


def read_file(path: Path) -> bytes:
    """The bytes of a transfer file on a medium."""
    try:
        with path.open("rb") as file:
            raw = file.read(LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"expected a transfer at {path}: {error.strerror}; name the file on the medium") from None
    if len(raw) > LIMIT:
        raise ConfigError(f"expected a transfer of up to {LIMIT} bytes at {path}, saw more: name the right file")
    return raw


def digest_of(raw: bytes) -> str:
    """SHA-256 as 64 digits."""
    return hashlib.sha256(raw).hexdigest()


def grouped(digest: str) -> str:
    """A digest in groups of four digits, as it is read aloud; a space more in the middle."""
    groups = [digest[at : at + GROUP] for at in range(0, len(digest), GROUP)]
    half = len(groups) // 2
    return "  ".join(filter(None, (" ".join(groups[:half]), " ".join(groups[half:]))))


def parse_digest(text: str) -> str:
    """The 64 digits of a digest that somebody typed, with or without groups."""
    digits = re.sub(r"[\s:.-]", "", text).lower()
    if not _SHA256.fullmatch(digits):
        raise ConfigError(f"expected a SHA-256 digest of 64 hexadecimal digits, saw {text[:90]!r}: type all groups")
    return digits


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
