"""One client of the appliance: a connection of its own, a session, and the CP and FT conversation of one device.

Every answer is checked. Requests are bytes made before; answers that must be the same for every device are compared as
a whole with the first one, which was looked at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from benchmarks.appliance_devices import Device, Requests
from station.appliance.emulated_device import DICE_CA, EXT_CA
from station.appliance.pki import client_files
from station.appliance.service import REGISTRATION_KEY
from station.appliance.service_client import OPTIONS, identity_of
from station.appliance.sku_templates import TEMPLATES
from station.formats.der import parse_certificate
from station.wire import pa_pb2

SERVICE = "/pa.ProvisioningApplianceService/"
DEADLINE = 60.0
WRAPPED_BYTES = 384
CA_LABELS = {"dice": DICE_CA, "ext": EXT_CA}
Metadata = tuple[tuple[str, str], ...]


class WrongAnswerError(Exception):
    """The appliance answered a call, and wrongly."""


class Access:
    """Files of one station and how it logs in; every ``connect`` is another connection."""

    def __init__(self, folder: Path, target: str, station: str, sku: str) -> None:
        files = client_files(folder, station, sku)
        self._identity = identity_of(files)
        self._target = target
        self.template = TEMPLATES[sku]
        self.user = f"{station}.{sku}"
        password = files.password.read_text().strip()
        self.login = pa_pb2.InitSessionRequest(sku=sku, sku_auth=password).SerializeToString()

    def connect(self) -> grpc.Channel:
        """A channel of its own."""
        identity = self._identity
        credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
        return grpc.secure_channel(self._target, credentials, OPTIONS)


class Client:
    """A connection with a session, closed by ``close``."""

    def __init__(self, access: Access) -> None:
        self._channel = access.connect()
        self._methods: dict[str, Any] = {}
        self._metadata: Metadata = (("user_id", access.user),)
        answer = pa_pb2.InitSessionResponse.FromString(self.call("InitSession", access.login))
        _require(answer.sku_session_token, "a session token")
        self._metadata = (*self._metadata, ("authorization", answer.sku_session_token))

    def call(self, name: str, request: bytes) -> bytes:
        """One call; a status other than OK raises."""
        return self._method(name)(request, timeout=DEADLINE, metadata=self._metadata)  # type: ignore[no-any-return]

    def register(self, request: bytes) -> None:
        """RegisterDevice of a device that was never registered before."""
        call = self._method("RegisterDevice").with_call(request, timeout=DEADLINE, metadata=self._metadata)[1]
        told = [value for key, value in call.trailing_metadata() or () if key == REGISTRATION_KEY]
        _require(not told, f"a new registration, not {told}")

    def close(self) -> None:
        """End the session and the connection."""
        self.call("CloseSession", b"")
        self._channel.close()

    def _method(self, name: str) -> Any:
        found = self._methods.get(name)
        if found is None:
            found = self._methods[name] = self._channel.unary_unary(f"{SERVICE}{name}")
        return found


class Conversation:
    """The calls for one device after the other, and how many seconds each EndorseCerts took."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._labels = [label for label, name in CA_LABELS.items() if name in access.template.certs]
        self._requests = Requests.of(access.template.name, ["root", *self._labels])
        self.calls = 0
        self.endorse_seconds: list[float] = []
        client = Client(access)
        self.was = self._look_at_tokens(client)
        self.cas = self._look_at_cas(client)
        self._boot_text = client.call("GetOwnerFwBootMessage", self._requests.boot_text)
        _require(pa_pb2.GetOwnerFwBootMessageResponse.FromString(self._boot_text).boot_message, "a boot text")
        client.close()

    def fresh(self, device: Device) -> None:
        """A connection and a login for Chip Probe, another one for Final Test: other programs on another day."""
        for part in (self.chip_probe, self.final_test):
            client = Client(self._access)
            part(client, device)
            client.close()
            self.calls += 2

    def warm(self, client: Client, device: Device) -> None:
        """Both in an open session."""
        self.chip_probe(client, device)
        self.final_test(client, device)

    def chip_probe(self, client: Client, device: Device) -> None:
        """The wafer secret and two token hashes."""
        _require(client.call("DeriveTokens", self._requests.cp_tokens) == self._cp_tokens, "the same tokens as before")
        self.calls += 1

    def final_test(self, client: Client, device: Device) -> None:
        """Tokens, RMA token with its wrapped seed, key ids, certificates, registration, boot text."""
        _require(client.call("DeriveTokens", self._requests.ft_tokens) == self._ft_tokens, "the same tokens as before")
        rma = pa_pb2.DeriveTokensResponse.FromString(client.call("DeriveTokens", self._requests.rma_token)).tokens[0]
        _require(len(rma.token) == 16 and len(rma.wrapped_seed) == WRAPPED_BYTES, "a token hash and a wrapped seed")
        _require(client.call("GetCaSubjectKeys", self._requests.key_ids) == self._key_ids, "the same key ids as before")
        certificates = self._endorse(client, device)
        if len(device.tbs) > 1:
            _require(client.call("GetCaCerts", self._requests.ca_certs) == self._ca_certs, "the same CAs as before")
            self.calls += 1
        client.register(device.registration(certificates, rma.wrapped_seed))
        _require(client.call("GetOwnerFwBootMessage", self._requests.boot_text) == self._boot_text, "the boot text")
        self.calls += 6

    def _endorse(self, client: Client, device: Device) -> Mapping[str, bytes]:
        began = time.perf_counter()
        answer = client.call("EndorseCerts", device.endorse)
        self.endorse_seconds.append(time.perf_counter() - began)
        certs = {item.key_label: item.cert.blob for item in pa_pb2.EndorseCertsResponse.FromString(answer).certs}
        _require(list(certs) == list(device.tbs), "a certificate per label, in order")
        for label, tbs in device.tbs.items():
            _require(certs[label][4 : 4 + len(tbs)] == tbs, f"a certificate of {label} that begins with its TBS")
        return certs

    def _look_at_tokens(self, client: Client) -> bytes:
        self._cp_tokens = client.call("DeriveTokens", self._requests.cp_tokens)
        self._ft_tokens = client.call("DeriveTokens", self._requests.ft_tokens)
        for answer, lengths in ((self._cp_tokens, [32, 16, 16]), (self._ft_tokens, [16, 16])):
            tokens = pa_pb2.DeriveTokensResponse.FromString(answer).tokens
            _require([len(token.token) for token in tokens] == lengths, f"tokens of {lengths} bytes")
        return pa_pb2.DeriveTokensResponse.FromString(self._cp_tokens).tokens[0].token

    def _look_at_cas(self, client: Client) -> dict[str, bytes]:
        self._ca_certs = client.call("GetCaCerts", self._requests.ca_certs)
        self._key_ids = client.call("GetCaSubjectKeys", self._requests.key_ids)
        _, *cas = [cert.blob for cert in pa_pb2.GetCaCertsResponse.FromString(self._ca_certs).certs]
        ids = list(pa_pb2.GetCaSubjectKeysResponse.FromString(self._key_ids).key_ids)
        _require(len(cas) == len(self._labels), "all CAs of the SKU")
        _require(ids[: len(cas)] == [parse_certificate(der).tbs.ski for der in cas], "the key ids of the CAs")
        return {CA_LABELS[label]: der for label, der in zip(self._labels, cas, strict=True)}


def _require(claim: object, what: str) -> None:
    if not claim:
        raise WrongAnswerError(f"expected {what} from the appliance, saw another answer")
