"""A plain client of the nine calls: it sends what it is told to, with no login of its own and no second try.

For the self-test and for tests, which want to see every status as it is; a station uses ``drivers.appliance_grpc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from station.appliance.pki import ClientFiles
from station.errors import ApplianceError
from station.wire import pa_pb2_grpc

WAIT = 30.0
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A client has a connection of its own: a session without ``user_id`` belongs to its connection."""
Metadata = Sequence[tuple[str, str]]


class Own(Enum):
    """Stands for the client's own user or token, where None and an empty text mean that none is sent."""

    OWN = "own"


OWN: Final = Own.OWN


class CallRefused(ApplianceError):
    """The appliance answered with a status other than OK; ``details`` is its text."""

    def __init__(self, method: str, code: str, details: str) -> None:
        self.details = details
        super().__init__(f"{method} was answered with {code}: {' '.join(details.split())[:300]}", code)


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM of the CA that the server must come from, and of the client's certificate and key (None: it shows none)."""

    ca: bytes
    certificate: bytes | None
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Message and metadata of an answered call."""

    message: Any
    initial: Mapping[str, str]
    trailing: Mapping[str, str]


class RawClient:
    """One connection; ``user`` and ``token`` go along with every call unless the call says otherwise."""

    def __init__(
        self, target: str, identity: Identity, user: str = "", options: Sequence[tuple[str, Any]] = OPTIONS
    ) -> None:
        self.user = user
        self.token: str | None = None
        credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
        self.channel = grpc.secure_channel(target, credentials, tuple(options))
        self.stub: Any = pa_pb2_grpc.ProvisioningApplianceServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def ask(
        self, method: str, request: Any, *, user: str | Own | None = OWN, token: str | Own | None = OWN,
        metadata: Metadata = (),
    ) -> Answer:  # fmt: skip
        """Carry out one call; raises ``CallRefused``."""
        user = self.user if user is OWN else user
        token = self.token if token is OWN else token
        sent = [*metadata, *_pair("user_id", user), *_pair("authorization", token)]
        try:
            message, call = getattr(self.stub, method).with_call(request, metadata=sent, timeout=WAIT)
        except grpc.RpcError as error:
            raise CallRefused(method, error.code().name, error.details() or "") from error
        return Answer(message, _texts(call.initial_metadata()), _texts(call.trailing_metadata()))

    def call(self, method: str, request: Any, **given: Any) -> Any:
        """The message alone; takes what ``ask`` takes."""
        return self.ask(method, request, **given).message

    def health(self) -> str:
        """What the health service says: SERVING, NOT_SERVING; raises ``CallRefused``."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT)
        except grpc.RpcError as error:
            raise CallRefused("Check", error.code().name, error.details() or "") from None
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()


def identity_of(files: ClientFiles) -> Identity:
    """The identity in a station's files."""
    return Identity(files.ca.read_bytes(), files.certificate.read_bytes(), files.key.read_bytes())


def _pair(key: str, value: str | Own | None) -> list[tuple[str, str]]:
    return [(key, str(value))] if value else []


def _texts(metadata: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in metadata or ()}
