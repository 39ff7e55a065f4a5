"""Key ids and certificates of the SKU's CAs, those that it lacks included, and its boot text.

Source: opentitan-appliance sheet 1.5, 4.2 and 10; docs/appliance.md, Deliberate differences (20 zero bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from station.appliance.selftest.checks import Check, expect, expect_bytes, expect_refusal
from station.appliance.selftest.oracle import KEY_ID_BYTES, key_id_of
from station.appliance.selftest.walk import CA_LABELS, Walk
from station.formats.dice import verify_chain
from station.wire import pa_pb2

KEY_ID_LABELS = {
    "UDS": "SigningKey/Dice/v0",
    "UDS_MLDSA": "SigningKey/Dice/Mldsa/v0",
    "EXT": "SigningKey/Ext/v0",
    "EXT_MLDSA": "SigningKey/Ext/Mldsa/v0",
    "any other label": "SigningKey/Ext/Mldsa/v0",
}
ROOTS = {"dice": "root", "ext": "root", "dice_mldsa": "root_mldsa", "ext_mldsa": "root_mldsa"}


def ca_checks(walk: Walk) -> Iterator[Check]:
    """All of one SKU."""
    for label, name in KEY_ID_LABELS.items():
        title = f"{label}, {'as the key says' if name in walk.cas else '20 zero bytes'}"
        yield Check(f"{walk.sku} CA key id: {title}", partial(_key_ids, walk, [label]))
    yield Check(f"{walk.sku} CA key ids: all in their order", partial(_key_ids, walk, [*KEY_ID_LABELS] * 2))
    for label, name in CA_LABELS.items():
        if name in walk.cas:
            yield Check(f"{walk.sku} CA certificate: {label}", partial(_certificate, walk, label))
        else:
            title = f"{label}, which the SKU lacks"
            yield Check(f"{walk.sku} CA certificate refused: {title}", partial(_absent, walk, label))
    for title, label in (("an unknown label", "UDS"), ("an empty label", "")):
        yield Check(f"{walk.sku} CA certificate refused: {title}", partial(_absent, walk, label))
    yield Check(f"{walk.sku} boot text", partial(_boot_text, walk))


def _key_ids(walk: Walk, labels: list[str]) -> None:
    request = pa_pb2.GetCaSubjectKeysRequest(sku=walk.sku, cert_labels=labels)
    saw = list(walk.client.call("GetCaSubjectKeys", request).key_ids)
    expect(len(saw) == len(labels), f"{len(labels)} key ids", len(saw))
    for label, key_id in zip(labels, saw, strict=True):
        ca = walk.cas.get(KEY_ID_LABELS[label])
        wanted = bytes(KEY_ID_BYTES) if ca is None else key_id_of(ca)
        expect(key_id == wanted, f"the key id {wanted.hex()} for {label}", key_id.hex() or "an empty one")


def _certificate(walk: Walk, label: str) -> None:
    """The installed certificate, and below its root when it is no root itself."""
    labels = [ROOTS[label], label] if label in ROOTS else [label]
    request = pa_pb2.GetCaCertsRequest(sku=walk.sku, cert_labels=labels)
    chain = [cert.blob for cert in walk.client.call("GetCaCerts", request).certs]
    expect(len(chain) == len(labels), f"{len(labels)} certificates", len(chain))
    for name, der in zip(labels, chain, strict=True):
        expect_bytes(f"the certificate {name}", walk.cas[CA_LABELS[name]], der)
    verify_chain(chain, datetime.now(UTC))


def _absent(walk: Walk, label: str) -> None:
    request = pa_pb2.GetCaCertsRequest(sku=walk.sku, cert_labels=["root", label])
    expect_refusal(walk.client, "GetCaCerts", request, "NOT_FOUND")


def _boot_text(walk: Walk) -> None:
    request = pa_pb2.GetOwnerFwBootMessageRequest(sku=walk.sku)
    saw = walk.client.call("GetOwnerFwBootMessage", request).boot_message
    expect(saw == walk.template.boot_text, repr(walk.template.boot_text), repr(saw))
