"""A served development appliance for tests: its process, raw stubs, and a part that makes real TBS and certificates."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc

from station.appliance.emulated_device import (
    DICE_CA,
    WAS_DIVERSIFIER,
    EmulatedDevice,
    device_signature,
    ecdsa_params,
)
from station.appliance.emulated_device import endorse_request as request_of
from station.appliance.pki import client_files
from station.appliance.service_client import CallRefused, Identity, RawClient, identity_of
from station.appliance.sku_templates import TEMPLATES
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.processes import child_environment
from station.program import station_command
from station.wire import pa_pb2, registry_record_pb2

ecdsa = ecdsa_params
__all__ = ["device_signature", "ecdsa"]

ROOT = Path(__file__).resolve().parents[2]
SERVE = (
    "import sys; from pathlib import Path; from station.appliance.commands import serve_command;"
    "sys.exit(serve_command(folder=Path(sys.argv[1]), port=int(sys.argv[2]), as_json=True, log_level='debug'))"
)
WAIT = 30.0


def padded(text: bytes) -> bytes:
    return text.ljust(48, b"\0")


class Served:
    """An appliance process on a folder; the log is in ``log``."""

    def __init__(
        self, folder: Path, port: int = 0, environment: dict[str, str] | None = None, before: Sequence[str] = ()
    ) -> None:  # fmt: skip
        self.folder = folder
        self.log = folder / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-c", SERVE, str(folder), str(port)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.first_line = line.decode()
        self.ready = json.loads(line) if line else {}
        self.target = str(self.ready.get("target", ""))

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.closing(self.process.stdout):
            return self.process.wait(WAIT)

    def kill(self) -> None:
        self.process.kill()
        with contextlib.closing(self.process.stdout):
            self.process.wait(WAIT)


class Serving(Served):
    """The command itself, with what it says about errors; ``stdin`` is given to it."""

    def __init__(self, folder: Path, stdin: bytes = b"") -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        command = [*station_command("appliance", "serve", str(folder)), "--port", "0", "--json", "--log-level", "debug"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=child_environment()
            )
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.first_line = self.process.stdout.readline().decode()
        self.ready = json.loads(self.first_line) if self.first_line else {}
        self.target = str(self.ready.get("target", ""))

    def wait(self) -> int:
        """The exit code of a process that ends by itself."""
        with contextlib.closing(self.process.stdout):
            return self.process.wait(WAIT)


def copy_folder(source: Path, target: Path) -> Path:
    """A copy of an appliance folder without its traces of serving."""
    shutil.copytree(
        source,
        target,
        ignore=shutil.ignore_patterns("endpoint.json", "registry.db*", "counters.db*", "serve.l*", "audit.jsonl"),
    )
    return target


def password_of(folder: Path) -> str:
    return client_files(folder, "station-1").password.read_text().strip()


def open_channel(folder: Path, target: str, station: str = "station-1") -> grpc.Channel:
    identity = identity_of(client_files(folder, station))
    credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
    return grpc.secure_channel(target, credentials, (("grpc.enable_retries", 0),))


class Station(RawClient):
    """The raw client of a folder's station; every call gives the answer or raises ``grpc.RpcError``."""

    def __init__(self, folder: Path, target: str, user: str = "raw", identity: Identity | None = None) -> None:
        super().__init__(target, identity or identity_of(client_files(folder, "station-1")), user)
        self.folder = folder

    def log_in(self, sku: str = "sival", password: str | None = None):
        request = pa_pb2.InitSessionRequest(sku=sku, sku_auth=password or password_of(self.folder))
        answer = self.call("InitSession", request, token=None)
        self.token = answer.sku_session_token
        return answer

    def call(self, name: str, request, **overrides):
        try:
            return super().call(name, request, **overrides)
        except CallRefused as refused:
            raise refused.__cause__ from None

    def refused(self, name: str, request, **overrides) -> tuple[str, str]:
        """Status name and text of a call that must fail."""
        try:
            super().call(name, request, **overrides)
        except CallRefused as refused:
            return refused.code, refused.details
        raise AssertionError(f"{name} was not refused")


class TestPart:
    """A part of sival (or of another SKU without more), and what tests change about its registration."""

    __test__ = False

    def __init__(self, dice_ca: bytes, number: int = 1) -> None:
        self.device = EmulatedDevice(TEMPLATES["sival"], {DICE_CA: dice_ca}, number)
        self.number = number
        self.uds_tbs = self.device.uds_tbs
        self.cdi_0_cert, self.cdi_1_cert = self.device.cdi_0_cert, self.device.cdi_1_cert

    def objects(self, uds_cert: bytes) -> list:
        certs = (("UDS", uds_cert), ("CDI_0", self.cdi_0_cert), ("CDI_1", self.cdi_1_cert))
        return [
            *(CertObject(TYPES.X509_CERT, name, body) for name, body in certs),
            PersoObject(TYPES.DEV_SEED, bytes(range(64))),
        ]

    def device_data(self, uds_cert: bytes, **changes) -> registry_record_pb2.DeviceData:
        return changed(self.device.device_data(self.objects(uds_cert), bytes(384)), changes)

    def registration(self, uds_cert: bytes, **changes) -> pa_pb2.RegistrationRequest:
        """With the hash of the unchanged blob."""
        request = self.device.registration(self.objects(uds_cert), bytes(384))
        changed(request.device_data, changes)
        return request


def changed(data: registry_record_pb2.DeviceData, changes) -> registry_record_pb2.DeviceData:
    """The same with other fields; None takes a field away."""
    for name, value in changes.items():
        data.ClearField(name)
        if value is not None:
            data.MergeFrom(registry_record_pb2.DeviceData(**{name: value}))
    return data


def was_of(station: Station) -> bytes:
    params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=padded(b"was"))
    return station.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[params])).tokens[0].token


def endorse_request(was: bytes, bundles, diversifier: bytes | None = None) -> pa_pb2.EndorseCertsRequest:
    """Bundles of (parameters, TBS) of a sival part, signed as the part does."""
    return request_of("sival", was, bundles, WAS_DIVERSIFIER if diversifier is None else diversifier)


def endorsed(station: Station, part: TestPart) -> bytes:
    """The UDS certificate of the part, from the appliance."""
    request = endorse_request(was_of(station), [(ecdsa("UDS"), part.uds_tbs)])
    return station.call("EndorseCerts", request).certs[0].cert.blob


def dice_ca_of(folder: Path) -> bytes:
    return (folder / "skus/ca/sival-dice-key-p256-v0.der").read_bytes()


def root_ca_of(folder: Path) -> bytes:
    return (folder / "skus/ca/opentitan-ca-root-v0.der").read_bytes()


def pem_of(der: bytes) -> bytes:
    """PEM without parsing: strict parsers refuse the part's certificates."""
    import base64

    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n".encode()
