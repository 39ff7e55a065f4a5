"""Devices for the appliance's load, made before the clock starts: what depends on no answer is bytes already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.appliance_grpc.messages import derive_request
from station.appliance.emulated_device import EmulatedDevice, endorse_request
from station.appliance.sku_templates import SkuTemplate
from station.flows.chip_probe import CP_TOKENS
from station.flows.final_test import FT_TOKENS, RMA_TOKEN
from station.wire import pa_pb2


@dataclass(frozen=True, slots=True)
class Requests:
    """What every device of a SKU asks in the same words, serialised."""

    cp_tokens: bytes
    ft_tokens: bytes
    rma_token: bytes
    key_ids: bytes
    ca_certs: bytes
    boot_text: bytes

    @classmethod
    def of(cls, sku: str, ca_labels: Sequence[str]) -> Requests:
        """The requests of a SKU; ``ca_labels`` as in ``GetCaCerts``."""
        return cls(
            derive_request(sku, CP_TOKENS).SerializeToString(),
            derive_request(sku, FT_TOKENS).SerializeToString(),
            derive_request(sku, [RMA_TOKEN]).SerializeToString(),
            pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=["UDS", "EXT"]).SerializeToString(),
            pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=ca_labels).SerializeToString(),
            pa_pb2.GetOwnerFwBootMessageRequest(sku=sku).SerializeToString(),
        )


@dataclass(frozen=True, slots=True)
class Device:
    """One device with its request for certificates; ``tbs`` by label in the order of that request."""

    emulated: EmulatedDevice
    tbs: Mapping[str, bytes]
    endorse: bytes

    def registration(self, endorsed: Mapping[str, bytes], wrapped_seed: bytes) -> bytes:
        """RegisterDevice for the certificates that the appliance made, serialised."""
        return self.emulated.registration(self.emulated.objects(endorsed), wrapped_seed).SerializeToString()


def make_devices(
    template: SkuTemplate, cas: Mapping[str, bytes], was: bytes, numbers: Sequence[int]
) -> Iterator[Device]:
    """Different devices of one SKU: ``was`` is the wafer secret of all, ``cas`` as ``EmulatedDevice`` takes them."""
    for number in numbers:
        emulated = EmulatedDevice(template, cas, number)
        bundles = emulated.bundles()
        tbs = {params.key_label: body for params, body in bundles if params is not None}
        yield Device(emulated, tbs, endorse_request(template.name, was, bundles).SerializeToString())
