"""Registration requests at rest and on their way: sealed row, delivery, acknowledgement (for runs and the outbox)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Protocol

from station.errors import ApplianceError, JournalError
from station.journal import Journal
from station.journal_parts import KeptRegistration
from station.journal_rows import Context, Row
from station.model import Registration
from station.ports import Appliance
from station.secret import Sealed

LABEL = "registration request"
_BYTES = tuple(f.name for f in dataclasses.fields(Registration) if f.type == "bytes")


class Sealer(Protocol):
    """The station's key."""

    def seal(self, raw: bytes, label: str) -> Sealed:
        """Seal bytes."""

    def unseal(self, sealed: Sealed) -> bytes:
        """Open what ``seal`` made."""


def seal_registration(registration: Registration, sealer: Sealer) -> Sealed:
    """The request as one sealed text."""
    plain = {f.name: getattr(registration, f.name) for f in dataclasses.fields(Registration)}
    body = {name: value.hex() if name in _BYTES else value for name, value in plain.items()}
    return sealer.seal(json.dumps(body).encode(), LABEL)


def open_registration(sealed_hex: str, sealer: Sealer) -> Registration:
    """The request of a journal row."""
    body: dict[str, Any] = json.loads(sealer.unseal(Sealed(bytes.fromhex(sealed_hex), LABEL)))
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
