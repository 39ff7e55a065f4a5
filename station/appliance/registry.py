"""RegisterDevice: verified data become a signed registry record in the device store.

Source: opentitan-appliance sheet 3.6 and 6.1.
"""

from __future__ import annotations

import hashlib
import logging

from station.appliance.device_store import DeviceStore, Outcome, StoredDevice, StoreFailed, now_ms
from station.appliance.refusal import Refusal
from station.appliance.spm import Spm
from station.wire import pa_pb2, registry_record_pb2

log = logging.getLogger(__name__)

RECORD_VERSION = 0


def register_device(spm: Spm, store: DeviceStore | None, request: pa_pb2.RegistrationRequest, client: str) -> Outcome:
    """Verify, sign and store one registration; returns only after it is durable."""
    if not request.HasField("device_data"):
        raise Refusal("INVALID_ARGUMENT", "expected device data in the registration, saw none")
    device_id = spm.verify_device_data(request).registry_hex
    data = request.device_data.SerializeToString(deterministic=True)
    endorsement = spm.endorse_data(request.device_data.sku, data)
    record = registry_record_pb2.RegistryRecord(
        device_id=device_id,
        sku=request.device_data.sku,
        version=RECORD_VERSION,
        data=data,
        auth_pubkey=endorsement.public_key,
        auth_signature=endorsement.signature,
    )
    if store is None:
        raise Refusal("INTERNAL", "PA started without ProxyBuffer: configure a registry")
    device = StoredDevice(
        device_id=device_id,
        sku=record.sku,
        record=record.SerializeToString(deterministic=True),
        digest=content_digest(request.device_data),
        flagged=False,
        client=client,
        received_ms=now_ms(),
    )
    try:
        outcome = store.register(device)
    except StoreFailed as failed:
        raise Refusal("INTERNAL", f"RegisterDevice returned error: {failed}") from None
    if outcome is Outcome.CONFLICT:
        log.warning("device %s was registered before with other content: both are kept, look at them", device_id)
    return outcome


def content_digest(data: registry_record_pb2.DeviceData) -> str:
    """SHA-256 of what a registration says about the device; when it was sent does not count."""
    content = registry_record_pb2.DeviceData()
    content.CopyFrom(data)
    content.metadata.create_time_ms = 0
    content.metadata.update_time_ms = 0
    return hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()
