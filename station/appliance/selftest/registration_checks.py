"""RegisterDevice: acknowledged, again, with other content; and everything that must be refused and leave no record.

Source: opentitan-appliance sheet 1.5 and 3.6; docs/appliance.md, Deliberate differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from station.appliance.emulated_device import SHA256, EmulatedDevice, leaf_tbs
from station.appliance.selftest.checks import Check, expect, expect_refusal
from station.appliance.selftest.walk import Walk
from station.formats import perso_blob
from station.formats.perso_blob import TYPES, AnyObject, CertObject, PersoObject
from station.wire import device_id_pb2, pa_pb2

WRAPPED = bytes(384)
Request = pa_pb2.RegistrationRequest
Objects = list[AnyObject]


class _Personalised:
    """A device whose certificates are endorsed, and the registration that the appliance would take."""

    def __init__(self, walk: Walk) -> None:
        self.device: EmulatedDevice = walk.device()
        self.endorsed = walk.endorsed(self.device)
        self.objects: Objects = self.device.objects(self.endorsed)

    @property
    def request(self) -> Request:
        return self.device.registration(self.objects, WRAPPED)

    def with_objects(self, objects: Objects, own_hash: bool = True) -> Request:
        """The registration of other objects; with their own hash, or with that of the right ones."""
        request = self.device.registration(objects, WRAPPED)
        if not own_hash:
            request.certs_hash = self.request.certs_hash
        return request


Make = Callable[[Walk, _Personalised], Request]


def registration_checks(walk: Walk) -> Iterator[Check]:
    """All of one SKU."""
    rows = {
        "a device of the SKU": _register,
        "the same again changes nothing": _again,
        "other content is kept and flagged": _conflict,
        "no SKU-specific bytes": _short_id,
    }
    for title, run in rows.items():
        yield Check(f"{walk.sku} registration: {title}", partial(run, walk))
    refused = {**_MESSAGES, **_HASHES, **_BLOBS, **(_CWTS if walk.template.cwt_order else {})}
    for title, make in refused.items():
        yield Check(f"{walk.sku} registration refused: {title}", partial(_refused, walk, make))
    for label in _labels(walk):
        yield Check(f"{walk.sku} registration refused: {label} missing", partial(_refused, walk, _without(label)))
        yield Check(f"{walk.sku} registration refused: {label} of another device",
                    partial(_refused, walk, _foreign(label)))  # fmt: skip


def _register(walk: Walk) -> None:
    made = _Personalised(walk)
    said = walk.register(made.device, made.request)
    expect(said == "", "a new device", repr(said))


def _again(walk: Walk) -> None:
    made = _Personalised(walk)
    walk.register(made.device, made.request)
    said = walk.client.ask("RegisterDevice", made.request).trailing.get("x-station-registration", "")
    expect(said == "same", "the mark that the same is there already", repr(said))


def _conflict(walk: Walk) -> None:
    made = _Personalised(walk)
    walk.register(made.device, made.request)
    other = made.request
    other.device_data.wrapped_rma_unlock_token = b"another seed"
    said = walk.client.ask("RegisterDevice", other).trailing.get("x-station-registration", "")
    walk.place.registered[-1].contents = 2
    expect(said == "conflict", "the mark that the device has other content", repr(said))


def _short_id(walk: Walk) -> None:
    made = _Personalised(walk)
    request = made.request
    request.device_data.device_id.sku_specific = b""
    walk.register(made.device, request)


def _refused(walk: Walk, make: Make) -> None:
    request = make(walk, _Personalised(walk))
    expect_refusal(walk.client, "RegisterDevice", request, "INVALID_ARGUMENT")


def _labels(walk: Walk) -> list[str]:
    """Names of the X.509 certificates that a registration of the SKU carries."""
    mldsa = ["UDS_MLDSA"] if walk.template.needs_mldsa else []
    return [*walk.template.x509_order, *mldsa]


def _without(label: str, kind: TYPES = TYPES.X509_CERT) -> Make:
    return lambda walk, made: made.with_objects([item for item in made.objects if not _is(item, label, kind)])


def _changed(objects: Objects, label: str, kind: TYPES, body: bytes) -> Objects:
    return [
        replace(item, body=body) if isinstance(item, CertObject) and _is(item, label, kind) else item
        for item in objects
    ]


def _foreign(label: str) -> Make:
    """A certificate that another device made, which no CA of the SKU has signed under this label."""

    def make(walk: Walk, made: _Personalised) -> Request:
        return made.with_objects(_changed(made.objects, label, TYPES.X509_CERT, walk.device().cdi_0_cert))

    return make


def _is(item: AnyObject, label: str, kind: TYPES) -> bool:
    return isinstance(item, CertObject) and item.name == label and item.type is kind


# ---- what is wrong with the message --------------------------------------------------------------------------------


def _message(change: Callable[[Request], object]) -> Make:
    def make(walk: Walk, made: _Personalised) -> Request:
        request = made.request
        change(request)
        return request

    return make


def _origin(creator: int, product: int) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        request.device_data.device_id.hardware_origin.MergeFrom(
            device_id_pb2.HardwareOrigin(silicon_creator_id=creator, product_id=product)  # type: ignore[arg-type]
        )

    return change


def _blob(change: Callable[[bytes], bytes]) -> Make:
    def set_blob(request: Request) -> None:
        request.device_data.perso_tlv_data = change(request.device_data.perso_tlv_data)

    return _message(set_blob)


_MESSAGES: dict[str, Make] = {
    "no device data": lambda walk, made: Request(hash_type=SHA256, certs_hash=bytes(32)),
    "no device id": _message(lambda request: request.device_data.ClearField("device_id")),
    "no hardware origin": _message(lambda request: request.device_data.device_id.ClearField("hardware_origin")),
    "an unknown silicon creator": _message(_origin(2, 3)),
    "an unknown product": _message(_origin(0x4001, 4)),
    "three SKU-specific bytes": _message(lambda r: setattr(r.device_data.device_id, "sku_specific", b"123")),
    "an empty blob": _blob(lambda blob: b""),
    "a blob cut short": _blob(lambda blob: blob[:-1]),
    "a blob that is too large": _blob(lambda blob: bytes(perso_blob.MAX_BLOB + 1)),
    "random bytes for a blob": _blob(lambda blob: b"\x00\x0a"),
}

# ---- what is wrong with the hash -----------------------------------------------------------------------------------


def _seed_changed(walk: Walk, made: _Personalised) -> Request:
    seed = PersoObject(TYPES.DEV_SEED, bytes(64))
    objects: Objects = [seed if item.type is TYPES.DEV_SEED else item for item in made.objects]
    return made.with_objects(objects, own_hash=False)


_HASHES: dict[str, Make] = {
    "a hash of zeros": _message(lambda request: setattr(request, "certs_hash", bytes(32))),
    "no hash": _message(lambda request: request.ClearField("certs_hash")),
    "a hash in the other byte order": _message(lambda r: setattr(r, "certs_hash", r.certs_hash[::-1])),
    "another hash type": _message(lambda request: setattr(request, "hash_type", 2)),
    "no hash type": _message(lambda request: request.ClearField("hash_type")),
    "a device seed that the hash does not cover": _seed_changed,
}

# ---- what is wrong with the certificates ---------------------------------------------------------------------------


def _unknown_name(walk: Walk, made: _Personalised) -> Request:
    """One name of a device is replaced by one that no CA of the SKU is asked for."""
    last = _labels(walk)[-1]
    objects = [
        replace(item, name="XXX", body=made.device.cdi_1_cert)
        if isinstance(item, CertObject) and _is(item, last, TYPES.X509_CERT)
        else item
        for item in made.objects
    ]
    return made.with_objects(objects)


def _one_twice(walk: Walk, made: _Personalised) -> Request:
    first, last = _labels(walk)[0], _labels(walk)[-1]
    twice = next(item for item in made.objects if _is(item, first, TYPES.X509_CERT))
    return made.with_objects([twice if _is(item, last, TYPES.X509_CERT) else item for item in made.objects])


def _one_more(walk: Walk, made: _Personalised) -> Request:
    extra = CertObject(TYPES.X509_CERT, "ONE_MORE", made.endorsed["UDS"])
    return made.with_objects([*made.objects, extra])


def _broken(walk: Walk, made: _Personalised) -> Request:
    return made.with_objects(_changed(made.objects, "UDS", TYPES.X509_CERT, b"\x30\x82\x00\x01\x00"))


def _only_a_tbs(walk: Walk, made: _Personalised) -> Request:
    body = leaf_tbs("UDS", walk.cas["SigningKey/Dice/v0"])
    return made.with_objects(_changed(made.objects, "UDS", TYPES.X509_CERT, body))


def _foreign_cwt(walk: Walk, made: _Personalised) -> Request:
    return made.with_objects([*made.objects, CertObject(TYPES.CWT_CERT, "CDI_9", b"one more")])


_BLOBS: dict[str, Make] = {
    "a certificate of an unknown name": _unknown_name,
    "one certificate twice": _one_twice,
    "one certificate too many": _one_more,
    "a certificate that cannot be read": _broken,
    "a TBS in the place of a certificate": _only_a_tbs,
    "one CWT too many": _foreign_cwt,
}
_CWTS: dict[str, Make] = {
    "a CWT missing": _without("CDI_0", TYPES.CWT_CERT),
    "a CWT that the hash does not cover": lambda walk, made: made.with_objects(
        _changed(made.objects, "CDI_0", TYPES.CWT_CERT, b"changed"), own_hash=False
    ),
}
