"""The personalization program in slot A: three boots, from flash keys over root keys to certificates.

Source: opentitan-device sheet 1.3 (steps 6–19), 4.4, 7; appliance sheet 3.5 (wafer secret).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.virtual.earlgrey import flash
from drivers.virtual.earlgrey.firmware import certificate_pages, dice, ujson
from drivers.virtual.earlgrey.firmware.ft_individualize import lock_software
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine, run_checked, table
from drivers.virtual.earlgrey.image_format import FlashImage
from drivers.virtual.earlgrey.partitions import ITEMS, PARTITIONS
from station.errors import FormatError
from station.formats.lc import LcState
from station.formats.perso_blob import TYPES, AnyObject, CertObject, PersoObject, build, parse

BLOB_SIZE, PADDED_BLOB, PADDED_HASH = 5120, 20535, 98
SEED_PAGES = (flash.CREATOR_SEED_PAGE, flash.OWNER_SEED_PAGE)
ATTESTATION_SEEDS = ("UDS", "CDI_0", "CDI_1", "TPM EK")


@dataclass(frozen=True, slots=True)
class CertificateInputs:
    """What the host sends before the certificates are made."""

    dice_key_id: bytes
    extension_key_id: bytes
    blob_version: int


def run(machine: Machine, image: FlashImage) -> None:
    """One boot of the program."""
    machine.raise_pin("test_start")
    machine.report_progress((image.minor, image.security_version, 0, 0x1000))
    if run_checked(machine, lambda: personalize(machine, image)):
        machine.raise_pin("test_done")
    machine.say("Personalization done.\n")
    machine.park()


def personalize(machine: Machine, image: FlashImage) -> None:
    """Do what the OTP says is still missing; the first two boots end inside."""
    if not LcState(machine.life_cycle_state()).is_mission:
        raise FirmwareError("the part is not in a mission state")
    lock_flash_keys(machine, image.descriptor)
    if not machine.digest_computed("SECRET2"):
        machine.say("Waiting For RMA Unlock Token Hash ...\n")
        install_root_keys(machine, machine.hear_with_crc())
        machine.software_reset()
    exchange_certificates(machine, image)
    machine.write_software_items(table(image.descriptor, "last_boot"))
    for name in ("OWNER_SW_CFG", "CREATOR_SW_CFG"):
        lock_software(machine, name)
        if not machine.software_digest_is_right(name):  # check_otp_measurement_post_lock
            raise FirmwareError(f"the digest of {name} is not that of its contents")


def lock_flash_keys(machine: Machine, descriptor: Mapping[str, Any]) -> None:
    """SECRET1, then the default region configuration, after which a new bootstrap is needed."""
    if not machine.digest_computed("SECRET1"):
        _write_secret(machine, "SECRET1", machine.random("flash keys", 80))
        machine.otp_lock("SECRET1")
    if not machine.otp_read(ITEMS["FLASH_DATA_DEFAULT_CFG"]):
        machine.write_software_items(table(descriptor, "first_boot"))
        machine.say("Bootstrap requested.\n")
        machine.park()


def install_root_keys(machine: Machine, request: Any) -> None:
    """Seeds into flash info pages, then RMA hash and root key shares into SECRET2, then its lock."""
    try:
        token_hash = ujson.raw(ujson.numbers(request["hash"], 2, 1 << 64), 8)
    except (KeyError, TypeError, ValueError) as error:
        raise FirmwareError(f"the RMA token hash is not as expected: {error}") from error
    for page in SEED_PAGES:
        machine.rewrite_info_page(page, machine.random(f"seed page {page}", 32))
    seeds = b"".join(machine.random(f"attestation seed {name}", dice.SEED_SIZE) for name in ATTESTATION_SEEDS)
    machine.rewrite_info_page(flash.ATTESTATION_PAGE, seeds.ljust(2044, b"\xff") + (1).to_bytes(4, "little"))
    _write_secret(machine, "SECRET2", token_hash + machine.random("root key shares", 64))
    machine.otp_lock("SECRET2")


def exchange_certificates(machine: Machine, image: FlashImage) -> None:
    """Inputs in, TBS and device certificates out, endorsed certificates in, hash out."""
    machine.say("Waiting for certificate inputs ...\n")
    inputs = certificate_inputs(machine.hear(), image.descriptor["blob_versions"])
    objects = device_objects(machine, image, inputs)
    if image.descriptor["generation"] != "rc4":
        machine.say(f"Blob version: {inputs.blob_version}\n")
    machine.say("Exporting TBS certificates ...\n")
    export(machine, objects, inputs.blob_version)
    machine.say("Importing endorsed certificates ...\n")
    endorsed = imported_certificates(machine.hear(), inputs.blob_version)
    own = [item for item in objects if isinstance(item, CertObject) and item.type is TYPES.X509_CERT]
    store_certificates(machine, endorsed, own, inputs.blob_version)
    machine.say("Finished importing certificates.\n")
    seeds = [item.payload for item in objects if isinstance(item, PersoObject) and item.type is TYPES.DEV_SEED]
    final = [endorsed[0].body, *(item.body for item in (*own, *endorsed[1:])), *seeds]
    digest = hashlib.sha256(b"".join(final)).digest()
    machine.say(ujson.padded_answer({"data": ujson.words(digest[::-1])}, PADDED_HASH))


def certificate_inputs(request: Any, versions: Sequence[int]) -> CertificateInputs:
    """Key ids of the CAs and, from E1 on, the wanted blob version; raises `FirmwareError`."""
    try:
        key_ids = [bytes(ujson.numbers(request[f"{ca}_auth_key_key_id"], 20, 256)) for ca in ("dice", "ext")]
        version = ujson.number(request["blob_version"]) if len(versions) > 1 else 0
    except (KeyError, TypeError, ValueError) as error:
        raise FirmwareError(f"the certificate inputs are not as expected: {error}") from error
    if version not in versions:
        raise FirmwareError(f"this firmware makes no blob of version {version}")
    return CertificateInputs(key_ids[0], key_ids[1], version)


def device_objects(machine: Machine, image: FlashImage, inputs: CertificateInputs) -> list[AnyObject]:
    """Everything for the host, in order: certificates, device seed, HMAC, device id, firmware measurement."""
    keys = dice.derive_keys(machine)
    tbs = dice.uds_tbs(machine, keys, bytes.fromhex(image.descriptor["issuer"]), inputs.dice_key_id)
    measurements = (machine.slot_b_measurement(), machine.random("owner measurement", 32))
    certificates = [dice.cdi_certificate(keys, n, measurement) for n, measurement in enumerate(measurements)]
    return [
        CertObject(TYPES.X509_TBS, "UDS", tbs),
        CertObject(TYPES.X509_CERT, "CDI_0", certificates[0]),
        CertObject(TYPES.X509_CERT, "CDI_1", certificates[1]),
        PersoObject(TYPES.DEV_SEED, machine.random("device seed", 128)),
        PersoObject(TYPES.WAS_TBS_HMAC, hmac.digest(wafer_key(machine), tbs, "sha256")),
        PersoObject(TYPES.DEVICE_ID, machine.device_id()),
        PersoObject(TYPES.PERSO_SHA256_HASH, image.measurement),
    ]


def wafer_key(machine: Machine) -> bytes:
    """The wafer secret as HMAC key: the words kept by the CP program, each most significant byte first."""
    stored = machine.info_page(flash.WAS_PAGE)[:32]
    return b"".join(word.to_bytes(4, "big") for word in ujson.words(stored))


def export(machine: Machine, objects: list[AnyObject], version: int) -> None:
    """Send the blob, padded to its constant length."""
    body = bytearray(build(objects, version, BLOB_SIZE))
    spoiled = machine.take_fault("corrupt_blob")
    if spoiled is not None:
        body[1 if spoiled == "header" else 0x100] ^= 0x08
    content = {
        "num_objs": len(objects) + version,
        "next_free": len(body),
        "body": [*body, *bytes(BLOB_SIZE - len(body))],
    }
    machine.say(ujson.padded_answer(content, PADDED_BLOB))


def imported_certificates(request: Any, version: int) -> list[CertObject]:
    """The endorsed certificates, UDS first; raises `FirmwareError`."""
    try:
        size = ujson.number(request["next_free"])
        body = bytes(ujson.numbers(request["body"], None, 256))[:size]
        blob = parse(body, ujson.number(request["num_objs"]))
    except (KeyError, TypeError, ValueError, FormatError) as error:
        raise FirmwareError(f"the returned blob is not as expected: {error}") from error
    certificates = list(blob.certs(TYPES.X509_CERT))
    if len(body) > BLOB_SIZE or blob.version != version or not certificates or certificates[0].name != "UDS":
        raise FirmwareError("the returned blob is too long, of the other version, or does not start with UDS")
    return certificates


def store_certificates(machine: Machine, endorsed: list[CertObject], own: list[CertObject], version: int) -> None:
    """UDS, then CDI_0 and CDI_1, then what else the host returned, each on its page."""
    certificate_pages.store(machine, flash.FACTORY_CERTS_PAGE, endorsed[:1], version)
    certificate_pages.store(machine, flash.DICE_CERTS_PAGE, own, version)
    if endorsed[1:]:
        certificate_pages.store(machine, flash.EXTENSION_CERTS_PAGE, endorsed[1:], version)


def _write_secret(machine: Machine, name: str, content: bytes) -> None:
    start = PARTITIONS[name].offset
    for offset in range(0, len(content), 8):
        machine.otp_write(start + offset, int.from_bytes(content[offset : offset + 8], "little"))
