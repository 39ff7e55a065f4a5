"""One client of the appliance: a connection of its own, a session, and the CP and FT conversation of one device.

Every answer is checked. Requests are bytes made before; answers that must be the same for every device are compared as
a whole with the first one, which was looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from benchmarks.appliance_devices import CA_LABELS, Device, Issuer, Requests
from station.appliance.pki import client_files
from station.wire import pa_pb2

OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection per client, as stations are processes of their own
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
SERVICE = "/pa.ProvisioningApplianceService/"
REGISTRATION_KEY = "x-station-registration"
DEADLINE = 60.0
WRAPPED_BYTES = 384
Metadata = tuple[tuple[str, str], ...]


class WrongAnswerError(Exception):
    """The appliance answered a call, and wrongly."""


class Access:
    """Files of one station and how it logs in; every ``connect`` is another connection."""

    def __init__(self, folder: Path, target: str, station: str, sku: str) -> None:
        files = client_files(folder, station, sku)
        self._pem = [path.read_bytes() for path in (files.ca, files.key, files.certificate)]
        self._target = target
        self.sku = sku
        self.user = f"{station}.{sku}"
        self.login = pa_pb2.InitSessionRequest(
            sku=sku, sku_auth=files.password.read_text().strip()
        ).SerializeToString()

    def connect(self) -> grpc.Channel:
        """A channel of its own."""
        return grpc.secure_channel(self._target, grpc.ssl_channel_credentials(*self._pem), OPTIONS)


class Client:
    """A connection with a session, closed by ``close``."""

    def __init__(self, access: Access) -> None:
        self._access = access
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
        self._requests = Requests.of(access.sku)
        self.calls = 0
        self.endorse_seconds: list[float] = []
        client = Client(access)
        self.was = self._look_at_tokens(client)
        self.issuers = self._look_at_cas(client)
        self._boot_text = client.call("GetOwnerFwBootMessage", self._requests.boot_text)
        _require(pa_pb2.GetOwnerFwBootMessageResponse.FromString(self._boot_text).boot_message, "a boot text")
        client.close()

    def fresh(self, device: Device) -> None:
        """A connection and a login for Chip Probe, another one for Final Test: they are other programs on other days."""
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

    def _endorse(self, client: Client, device: Device) -> Sequence[bytes]:
        began = time.perf_counter()
        answer = client.call("EndorseCerts", device.endorse)
        self.endorse_seconds.append(time.perf_counter() - began)
        certs = pa_pb2.EndorseCertsResponse.FromString(answer).certs
        _require([item.key_label for item in certs] == [label for label, _ in device.tbs], "a certificate per label")
        for item, (label, tbs) in zip(certs, device.tbs, strict=True):
            _require(item.cert.blob[4 : 4 + len(tbs)] == tbs, f"a certificate of {label} that begins with its TBS")
        return [item.cert.blob for item in certs]

    def _look_at_tokens(self, client: Client) -> bytes:
        self._cp_tokens = client.call("DeriveTokens", self._requests.cp_tokens)
        self._ft_tokens = client.call("DeriveTokens", self._requests.ft_tokens)
        for answer, lengths in ((self._cp_tokens, [32, 16, 16]), (self._ft_tokens, [16, 16])):
            tokens = pa_pb2.DeriveTokensResponse.FromString(answer).tokens
            _require([len(token.token) for token in tokens] == lengths, f"tokens of {lengths} bytes")
        return pa_pb2.DeriveTokensResponse.FromString(self._cp_tokens).tokens[0].token

    def _look_at_cas(self, client: Client) -> list[Issuer]:
        self._ca_certs = client.call("GetCaCerts", self._requests.ca_certs)
        self._key_ids = client.call("GetCaSubjectKeys", self._requests.key_ids)
        certs = [cert.blob for cert in pa_pb2.GetCaCertsResponse.FromString(self._ca_certs).certs]
        issuers = [Issuer.of(der) for der in certs[1:]]
        ids = list(pa_pb2.GetCaSubjectKeysResponse.FromString(self._key_ids).key_ids)
        wanted = [issuer.key_id for issuer in issuers]
        _require(len(issuers) == len(CA_LABELS[self._access.sku]), "all CAs of the SKU")
        _require(ids[: len(wanted)] == wanted and len(ids) == 2, "the key ids of the CAs")
        return issuers


def _require(claim: object, what: str) -> None:
    if not claim:
        raise WrongAnswerError(f"expected {what} from the appliance, saw another answer")
