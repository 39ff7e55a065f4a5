"""What is left when the appliance has ended: its records, its log, its exit code.

Source: opentitan-appliance sheet 3.6 and 6.1; docs/appliance.md, Run and watch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from station.appliance.device_store import DeviceStore, StoredDevice
from station.appliance.selftest.checks import Check, CheckFailed, expect, expect_bytes
from station.appliance.selftest.oracle import registry_id
from station.appliance.selftest.throwaway import Registered, Throwaway
from station.appliance.settings import read_settings
from station.appliance.stores import existing_store
from station.wire import registry_record_pb2

SHORTEST = 8
"""Bytes that are looked for in the logs: fewer might be there by chance."""


def record_checks(place: Throwaway, exit_code: int | None) -> Iterator[Check]:
    """All of them; ``exit_code`` is what the process ended with."""
    yield Check("the appliance ends with 0 when it is told to", partial(_ended, place, exit_code))
    yield Check("records: every acknowledged registration is there, and no other", partial(_stored, place))
    yield Check("records: signed by the appliance's identity", partial(_signed, place))
    yield Check("logs: no password, session token or seed", partial(_silent, place))


def _ended(place: Throwaway, exit_code: int | None) -> None:
    expect(exit_code == 0, "exit code 0 after SIGTERM", exit_code)
    expect(not (place.folder / "endpoint.json").exists(), "endpoint.json to be removed at the end", "it is there")


def _stored(place: Throwaway) -> None:
    expect(bool(place.registered), "a device that was registered", "none")
    with _opened(place) as store:
        for device in place.registered:
            _check_device(device, store.find(registry_id(device.number)))
        wanted = sum(device.contents for device in place.registered)
        expect(store.count() == wanted, f"{wanted} records, and none of a refused registration", store.count())


def _check_device(device: Registered, records: list[StoredDevice]) -> None:
    name = f"device {device.number} of {device.sku}"
    expect(len(records) == device.contents, f"{device.contents} records of {name}", len(records))
    flags = [record.flagged for record in records]
    expect(flags == [False, True][: device.contents], f"only later content of {name} flagged", flags)
    expect({record.sku for record in records} == {device.sku}, f"{name} in the records", "another SKU")


def _signed(place: Throwaway) -> None:
    key = load_der_public_key(place.oracle.identity)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    with _opened(place) as store:
        stored = [record for device in place.registered for record in store.find(registry_id(device.number))]
    expect(bool(stored), "records to look at", "none")
    for device in stored:
        record = registry_record_pb2.RegistryRecord.FromString(device.record)
        expect_bytes("the public key in a record", place.oracle.identity, record.auth_pubkey)
        try:
            key.verify(record.auth_signature, record.data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise CheckFailed(f"expected the record of {device.device_id} signed by the identity, saw not") from None


def _silent(place: Throwaway) -> None:
    files = [place.log, place.folder / "audit.jsonl"]
    written = {path.name: path.read_bytes() for path in files if path.exists()}
    expect(bool(written.get("audit.jsonl")), "an audit log with lines", "none")
    for name, text in written.items():
        for kind, form in _forms(place):
            expect(form not in text, f"no {kind} in {name}", "one")


def _forms(place: Throwaway) -> Iterator[tuple[str, bytes]]:
    """Secrets as they would stand in a text."""
    for token in place.session_tokens:
        yield "session token", token.encode()
    for kind, secrets in (("SKU password", place.passwords.values()), ("seed", place.oracle.seed_bytes())):
        for secret in secrets:
            with secret.reveal() as raw:
                assert len(raw) >= SHORTEST
                yield kind, raw
                yield kind, raw.hex().encode()


@contextmanager
def _opened(place: Throwaway) -> Iterator[DeviceStore]:
    with existing_store(read_settings(place.folder)) as store:
        if store is None:
            raise CheckFailed("expected a device store as the settings say, saw none")
        yield store
