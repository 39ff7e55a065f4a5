"""What the personalization firmware exports, what goes back to it, and what is registered.

Sources: opentitan-device sheet 7.2–7.5; opentitan-appliance sheet 3.5, 3.6, 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from station.errors import FirmwareFailed, FormatError, PartError
from station.formats import perso_blob
from station.formats.console_json import PersoBlobMessage
from station.formats.der import Tbs, parse_certificate, parse_tbs
from station.formats.device_id import DeviceId
from station.formats.dice import check_device_links, verify_chain
from station.formats.perso_blob import DICE_NAMES, TYPES, CertObject, PersoBlob, PersoObject
from station.model import Registration


@dataclass(frozen=True, slots=True)
class Exported:
    """What the part sent: its blob, the TBS to endorse (label, DER) in order, and its HMAC over them (32 bytes)."""

    blob: PersoBlob
    tbs: tuple[tuple[str, bytes], ...]
    was_hmac: bytes
    firmware_sha256: bytes
    device_id: bytes = b""

    def is_of(self, device_id: bytes) -> bool:
        """Whether the blob names this device id; firmware that names none cannot be told from another part's."""
        # the sheets do not say in which order the firmware writes its bytes
        return self.device_id in (b"", device_id, device_id[::-1])


@dataclass(frozen=True, slots=True)
class Endorsed:
    """What goes back to the part, and what is registered.

    ``certs_sha256`` is the digest as the console and the appliance carry it: byte-reversed.
    """

    blob: bytes
    objects: int
    certs_sha256: bytes
    registry: bytes = field(repr=False)  # carries device seeds
    registry_objects: int
    firmware_sha256: bytes


def read_export(message: PersoBlobMessage) -> Exported:
    """Read the exported blob; a blob without TBS or HMAC, or with a broken DICE set, raises ``PartError``."""
    try:
        blob = perso_blob.parse(message.body, message.num_objs)
        tbs = blob.certs(TYPES.X509_TBS)
        hmac = blob.payload(TYPES.WAS_TBS_HMAC)
        firmware = blob.payload(TYPES.PERSO_SHA256_HASH) or bytes(32)
        check_device_links([_tbs(item) for item in _dice_set(blob)])
    except FormatError as error:
        raise PartError(f"the part exported a corrupt blob: {error}", "certificate") from error
    if not tbs or hmac is None or not any(hmac):
        raise PartError("the part exported no certificate to endorse, or no wafer authentication HMAC", "certificate")
    return Exported(blob, tuple((item.name, item.body) for item in tbs), hmac, firmware,
                    blob.payload(TYPES.DEVICE_ID) or b"")  # fmt: skip


def endorse(exported: Exported, certificates: list[bytes], root: bytes, ica: bytes) -> Endorsed:
    """Put the appliance's certificates in place of the TBS and check the chain root, CA, UDS, CDI_0, CDI_1."""
    names = [name for name, _ in exported.tbs]
    if len(certificates) != len(names):
        raise PartError(f"expected {len(names)} endorsed certificates, got {len(certificates)}", "endorsement")
    by_name = dict(zip(names, certificates, strict=True))
    try:
        _check_verbatim(exported, by_name)
        final = perso_blob.with_endorsed(exported.blob.objects, by_name)
        chain = {item.name: item.body for item in final if isinstance(item, CertObject)}
        verify_chain([root, ica, *(chain[name] for name in DICE_NAMES if name in chain)])
        endorsed = [CertObject(TYPES.X509_CERT, name, by_name[name]) for name in names]
        version = exported.blob.version
        blob, objects = perso_blob.pack_endorsed(endorsed, [], version)
        registry, registry_objects = perso_blob.pack_registry(
            _device_certs(exported.blob), endorsed, _seeds(final), version
        )
    except FormatError as error:
        raise PartError(f"the certificate chain of this part does not hold: {error}", "endorsement") from error
    digest = perso_blob.certs_hash(final)[::-1]
    return Endorsed(blob, objects, digest, registry, registry_objects, exported.firmware_sha256)


def compare(stored: bytes, endorsed: Endorsed) -> None:
    """Raise ``FirmwareFailed`` unless the hash of what the part stored is that of what it was sent."""
    if stored != endorsed.certs_sha256:
        raise FirmwareFailed("the part stored other certificates than it was sent: their hash differs", "certificate")


def registration(sku: str, device_id: bytes, life_cycle: str, wrapped_seed: bytes, endorsed: Endorsed) -> Registration:
    """The complete registration request; year to y come from the device id (zero for a blind assembly)."""
    din = DeviceId.parse(device_id).origin.din
    return Registration(
        sku=sku,
        device_id=device_id,
        life_cycle=life_cycle,
        wrapped_rma_seed=wrapped_seed,
        perso_tlv=endorsed.registry,
        perso_tlv_objects=endorsed.registry_objects,
        perso_fw_sha256=endorsed.firmware_sha256,
        certs_sha256=endorsed.certs_sha256,
        year=din.year,
        week=din.week,
        lot=din.lot,
        wafer=din.wafer,
        x=din.x,
        y=din.y,
    )


def _dice_set(blob: PersoBlob) -> list[CertObject]:
    found = {item.name: item for item in blob.objects if isinstance(item, CertObject)}
    return [found[name] for name in DICE_NAMES if name in found]


def _tbs(item: CertObject) -> Tbs:
    return parse_tbs(item.body) if item.type is TYPES.X509_TBS else parse_certificate(item.body).tbs


def _check_verbatim(exported: Exported, by_name: dict[str, bytes]) -> None:
    for name, tbs in exported.tbs:
        if parse_certificate(by_name[name]).tbs.raw != tbs:
            raise FormatError(f"the endorsed {name} certificate does not contain the TBS that was sent")


def _device_certs(blob: PersoBlob) -> list[CertObject]:
    return [*blob.certs(TYPES.X509_CERT), *blob.certs(TYPES.CWT_CERT)]


def _seeds(objects: tuple[perso_blob.AnyObject, ...]) -> list[PersoObject]:
    kinds = (TYPES.DEV_SEED, TYPES.GENERIC_SEED)
    return [item for item in objects if isinstance(item, PersoObject) and item.type in kinds]
