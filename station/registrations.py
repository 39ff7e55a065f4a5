"""Registration requests at rest and on their way: sealed row, delivery, acknowledgement (for runs and the outbox)."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Protocol

from station.errors import ApplianceError, ConfigError, Finding, JournalError, nearest
from station.journal import Journal
from station.journal_parts import KeptRegistration
from station.journal_rows import Context, Row
from station.model import Registration
from station.ports import Appliance
from station.secret import Sealed

LABEL = "registration request"
_LENGTHS = {"device_id": 32, "perso_fw_sha256": 32, "certs_sha256": 32}
_BYTES = tuple(f.name for f in dataclasses.fields(Registration) if f.type == "bytes")


class Sealer(Protocol):
    """The station's key."""

    def seal(self, raw: bytes, label: str) -> Sealed:
        """Seal bytes."""

    def unseal(self, sealed: Sealed) -> bytes:
        """Open what ``seal`` made."""


def seal_registration(registration: Registration, sealer: Sealer) -> Sealed:
    """The request as one sealed text."""
    return sealer.seal(json.dumps(registration_body(registration)).encode(), LABEL)


def registration_body(registration: Registration) -> dict[str, object]:
    """The request as plain JSON values, bytes in hex. It carries the device's seeds: keep it like a secret."""
    plain = {f.name: getattr(registration, f.name) for f in dataclasses.fields(Registration)}
    return {name: value.hex() if name in _BYTES else value for name, value in plain.items()}


def read_registration(path: Path) -> Registration:
    """A request from a JSON file of the same shape, written by hand or by another tool; all findings at once."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"expected a registration at {path}: {error.strerror}; correct the path") from None
    except UnicodeDecodeError:
        raise ConfigError([Finding(path, 0, "expected a registration as JSON object, saw no text at all")]) from None
    except ValueError as error:
        raise ConfigError([Finding(path, 0, f"expected a registration as JSON object: {error}")]) from None
    if not isinstance(body, dict):
        raise ConfigError([Finding(path, 0, f"expected a registration as JSON object, saw {type(body).__name__}")])
    known = {f.name: f for f in dataclasses.fields(Registration)}
    said = [f"unknown field {name!r}{nearest(name, known)}" for name in body if name not in known]
    said += [
        f"expected the field {name!r}, saw none"
        for name, f in known.items()
        if name not in body and f.default is dataclasses.MISSING
    ]
    said += [sentence for name, value in body.items() if name in known if (sentence := _wrong(known[name], value))]
    if said:
        raise ConfigError([Finding(path, 0, sentence) for sentence in said])
    return _registration(body)


def _wrong(field: dataclasses.Field[Any], value: object) -> str:
    """What is wrong with a value of the file; it is not shown, since it may carry seeds."""
    if field.type == "int":
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32
        return "" if fits else f"expected a whole number from 0 to {(1 << 32) - 1} for {field.name!r}"
    if not isinstance(value, str):
        return f"expected a text for {field.name!r}, saw {type(value).__name__}"
    if field.name not in _BYTES:
        return ""
    if not re.fullmatch(r"([0-9a-fA-F]{2})*", value):
        return f"expected hex digits, two for each byte, for {field.name!r}"
    wanted = _LENGTHS.get(field.name)
    if wanted is not None and len(value) != 2 * wanted:
        return f"expected {wanted} bytes for {field.name!r}, saw {len(value) // 2}"
    return ""


def open_registration(sealed_hex: str, sealer: Sealer) -> Registration:
    """The request of a journal row."""
    return _registration(json.loads(sealer.unseal(Sealed(bytes.fromhex(sealed_hex), LABEL))))


def _registration(body: dict[str, Any]) -> Registration:
    plain: dict[str, Any] = {name: bytes.fromhex(v) if name in _BYTES else v for name, v in body.items()}
    return Registration(**plain)


def deliver(kept: KeptRegistration, appliance: Appliance, sealer: Sealer) -> None:
    """Send a kept request; a device that is registered already counts as acknowledged.

    Only an appliance that says ALREADY_EXISTS is believed: an upstream one answers INTERNAL to a duplicate as to every
    other failure of its registry (opentitan-appliance sheet 1.6, 6.2), and none can be asked (docs/decisions/0009).
    """
    try:
        appliance.register(open_registration(kept.sealed_hex, sealer))
    except ApplianceError as error:
        if error.code != "ALREADY_EXISTS":
            raise


def acknowledge(journal: Journal, context: Context, kept: KeptRegistration) -> Row:
    """Record the acknowledgement; from now on the journal must extend the anchor that went along."""
    row = journal.write(context.but(run=kept.run), "registered", "", {"registration": kept.run})
    journal.anchored(kept.anchor)
    return row


def confirm(journal: Journal, context: Context, kept: KeptRegistration, reason: str) -> Row:
    """Record that somebody found the part in the registry; no appliance has acknowledged the anchor by that."""
    return journal.write(
        context.but(run=kept.run), "registered", "", {"registration": kept.run, "by_hand": True, "reason": reason}
    )


def kept_of(row: Row) -> KeptRegistration:
    """The kept registration of a journal row."""
    if row.kind != "registration":
        raise JournalError(f"expected a registration in row {row.seq} of the journal, found {row.kind}")
    detail = row.detail
    return KeptRegistration(row.context.run, detail["sku"], detail["sealed"], row.context, detail["anchor"])
