"""One SKU on its way through the self-test: its clients, its emulated devices, what it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from station.appliance.emulated_device import WAS_DIVERSIFIER, Bundle, EmulatedDevice, endorse_request
from station.appliance.selftest.checks import expect
from station.appliance.selftest.throwaway import FAMILY, MAIN, Registered, Throwaway
from station.appliance.service_client import Answer, RawClient
from station.appliance.sku_templates import SkuTemplate
from station.wire import pa_pb2, registry_record_pb2

CA_LABELS: Mapping[str, str] = {
    "root": "RootCA",
    "dice": "SigningKey/Dice/v0",
    "ext": "SigningKey/Ext/v0",
    "root_mldsa": "RootCAMldsa",
    "dice_mldsa": "SigningKey/Dice/Mldsa/v0",
    "ext_mldsa": "SigningKey/Ext/Mldsa/v0",
}
"""What GetCaCerts calls a CA, and what the SKU file calls it."""


class Walk:
    """Everything that the checks of one SKU share; nothing is asked of the appliance before a check wants it."""

    def __init__(self, place: Throwaway, template: SkuTemplate, target: str, first_number: int = 1) -> None:
        self.place = place
        self.template = template
        self.sku = template.name
        self.target = target
        self.cas = place.oracle.cas(template)
        self.was = place.oracle.token("high", WAS_DIVERSIFIER, 256, hashed=False)
        self._numbers = count(first_number)
        self._client: RawClient | None = None

    @property
    def client(self) -> RawClient:
        """A client that is logged in, for all checks that leave its session as it was."""
        if self._client is None:
            self._client = RawClient(self.target, self.place.identities[MAIN], f"{self.sku}-main")
        if not self._client.token:
            self.log_in(self._client)
        return self._client

    @contextmanager
    def visitor(self, user: str = "visitor", station: str = MAIN, logged_in: bool = False) -> Iterator[RawClient]:
        """A client for one check."""
        client = RawClient(self.target, self.place.identities[station], user and f"{self.sku}-{user}")
        try:
            if logged_in:
                self.log_in(client)
            yield client
        finally:
            client.close()

    def login(self, sku: str | None = None, password: str | None = None) -> pa_pb2.InitSessionRequest:
        """The request of a login, with the SKU's password unless another one is given."""
        if password is None:
            with self.place.passwords[self.sku].reveal() as raw:
                password = raw.decode()
        return pa_pb2.InitSessionRequest(sku=self.sku if sku is None else sku, sku_auth=password)

    def log_in(self, client: RawClient, sku: str | None = None) -> Answer:
        """Open a session; the client uses its token from now on."""
        answer = client.ask("InitSession", self.login(sku), token=None)
        client.token = str(answer.message.sku_session_token)
        expect(len(client.token) >= 16, "a session token of 16 characters or more", f"{len(client.token)} characters")
        self.place.session_tokens.append(client.token)
        return answer

    @property
    def relative(self) -> str:
        """Another SKU of the family, with a file of its own."""
        return f"{self.sku}{FAMILY}"

    def requests(self, sku: str = "") -> dict[str, Any]:
        """The smallest request of every call that needs a session and is allowed."""
        sku = sku or self.sku
        return {
            "DeriveTokens": pa_pb2.DeriveTokensRequest(sku=sku),
            "GetCaSubjectKeys": pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=["UDS"]),
            "GetCaCerts": pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=["root"]),
            "EndorseCerts": pa_pb2.EndorseCertsRequest(sku=sku),
            "GetOwnerFwBootMessage": pa_pb2.GetOwnerFwBootMessageRequest(sku=sku),
            "RegisterDevice": pa_pb2.RegistrationRequest(device_data=registry_record_pb2.DeviceData(sku=sku)),
        }

    def device(self) -> EmulatedDevice:
        """A device that nobody has seen yet."""
        return EmulatedDevice(self.template, self.cas, next(self._numbers))

    def endorse_request(self, bundles: list[Bundle]) -> pa_pb2.EndorseCertsRequest:
        """The request for these certificates, with the right proof of origin."""
        return endorse_request(self.sku, self.was, bundles)

    def endorsed(self, device: EmulatedDevice) -> dict[str, bytes]:
        """All certificates that the appliance signs for the device, by label."""
        answer = self.client.call("EndorseCerts", self.endorse_request(device.bundles()))
        return {bundle.key_label: bundle.cert.blob for bundle in answer.certs}

    def register(self, device: EmulatedDevice, request: pa_pb2.RegistrationRequest) -> str:
        """Register, and note that it was acknowledged; what the appliance says about it beside (empty: it is new)."""
        answer = self.client.ask("RegisterDevice", request)
        self.place.registered.append(Registered(self.sku, device.number))
        return answer.trailing.get("x-station-registration", "")

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
