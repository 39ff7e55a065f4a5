"""A served development appliance for tests: its process, raw stubs, and a part that makes real TBS and certificates."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance.pki import client_files
from station.formats import dice_build, perso_blob
from station.formats.dice import assemble_certificate
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.wire import (
    crypto_cert_pb2,
    crypto_common_pb2,
    crypto_ecdsa_pb2,
    device_id_pb2,
    pa_pb2,
    pa_pb2_grpc,
    registry_record_pb2,
)

ROOT = Path(__file__).resolve().parents[2]
SERVE = (
    "import sys; from pathlib import Path; from station.appliance.commands import serve_command;"
    "sys.exit(serve_command(folder=Path(sys.argv[1]), port=int(sys.argv[2]), as_json=True, log_level='debug'))"
)
WAIT = 30.0
KEY_ID_LENGTH = 20


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
    files = client_files(folder, station)
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
    )
    return grpc.secure_channel(target, credentials, (("grpc.enable_retries", 0),))


class Station:
    """A raw client: stub, user and token; every call gives the answer or raises ``grpc.RpcError``."""

    def __init__(self, folder: Path, target: str, user: str = "raw") -> None:
        self.folder = folder
        self.user = user
        self.token: str | None = None
        self.channel = open_channel(folder, target)
        self.stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(self.channel)

    def log_in(self, sku: str = "sival", password: str | None = None):
        request = pa_pb2.InitSessionRequest(sku=sku, sku_auth=password or password_of(self.folder))
        answer = self.call("InitSession", request, token=None)
        self.token = answer.sku_session_token
        return answer

    def call(self, name: str, request, **overrides):
        user, token = overrides.get("user", self.user), overrides.get("token", self.token)
        metadata = [("user_id", user)] if user else []
        metadata += [("authorization", token)] if token else []
        return getattr(self.stub, name)(request, metadata=metadata, timeout=WAIT)

    def refused(self, name: str, request, **overrides) -> tuple[str, str]:
        """Status name and text of a call that must fail."""
        try:
            self.call(name, request, **overrides)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{name} was not refused")

    def close(self) -> None:
        self.channel.close()


@dataclass
class Key:
    """A P-256 key of the part with its 20-byte key id."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Key:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        numbers = self.private.public_key().public_numbers()
        return dice_build.spki_p256(numbers.x, numbers.y)

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.spki).digest()[:KEY_ID_LENGTH]

    def sign(self, tbs: bytes) -> bytes:
        return assemble_certificate(tbs, self.private.sign(tbs, ec.ECDSA(hashes.SHA256())))


class TestPart:
    """What a part does at personalisation: keys, TBS, HMAC under its wafer secret, its own CDI certificates."""

    __test__ = False

    def __init__(self, dice_ca: bytes, number: int = 1) -> None:
        ca = x509.load_der_x509_certificate(dice_ca)
        self.number = number
        self.uds, self.cdi_0, self.cdi_1 = Key.new(), Key.new(), Key.new()
        digests = tuple(hashlib.sha256(bytes((n,))).digest() for n in range(4))
        measured = dice_build.Measurements("UDS", 0, digests)
        ca_key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        name = ca.subject.public_bytes()
        self.uds_tbs = dice_build.uds_tbs(self.uds.spki, self.uds.key_id, name, ca_key_id, measured)
        cdi_0_tbs = dice_build.cdi_tbs(self.cdi_0.spki, self.cdi_0.key_id, self.uds.key_id, measured)
        cdi_1_tbs = dice_build.cdi_tbs(self.cdi_1.spki, self.cdi_1.key_id, self.cdi_0.key_id, measured)
        self.cdi_0_cert = self.uds.sign(cdi_0_tbs)
        self.cdi_1_cert = self.cdi_0.sign(cdi_1_tbs)

    def objects(self, uds_cert: bytes) -> list:
        certs = (("UDS", uds_cert), ("CDI_0", self.cdi_0_cert), ("CDI_1", self.cdi_1_cert))
        return [
            *(CertObject(TYPES.X509_CERT, name, body) for name, body in certs),
            PersoObject(TYPES.DEV_SEED, bytes(range(64))),
        ]

    def device_data(self, uds_cert: bytes, **changes) -> registry_record_pb2.DeviceData:
        origin = device_id_pb2.HardwareOrigin(
            silicon_creator_id=0x4001, product_id=3, device_identification_number=self.number
        )
        fields = {
            "sku": "sival",
            "device_id": device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=bytes(16)),
            "device_life_cycle": registry_record_pb2.DEVICE_LIFE_CYCLE_PROD,
            "metadata": registry_record_pb2.Metadata(registration_state=1, create_time_ms=1, update_time_ms=1),
            "wrapped_rma_unlock_token": bytes(384),
            "perso_tlv_data": perso_blob.build(self.objects(uds_cert), 0),
            "perso_fw_sha256_hash": bytes(32),
            "num_perso_tlv_objects": 4,
        }
        return registry_record_pb2.DeviceData(**{**fields, **changes})

    def registration(self, uds_cert: bytes, **changes) -> pa_pb2.RegistrationRequest:
        order = ("UDS", "CDI_0", "CDI_1")
        return pa_pb2.RegistrationRequest(
            device_data=self.device_data(uds_cert, **changes),
            hash_type=crypto_common_pb2.HASH_TYPE_SHA256,
            certs_hash=perso_blob.appliance_certs_hash(self.objects(uds_cert), (), order),
        )


def ecdsa(label: str, hash_type: int = crypto_common_pb2.HASH_TYPE_SHA256) -> crypto_cert_pb2.SigningKeyParams:
    params = crypto_ecdsa_pb2.EcdsaParams(hash_type=hash_type, curve=2, encoding=2)
    return crypto_cert_pb2.SigningKeyParams(key_label=label, ecdsa_params=params)


def device_signature(was: bytes, data: bytes) -> bytes:
    """The part keys its HMAC with every four bytes of the wafer secret reversed."""
    key = b"".join(was[at : at + 4][::-1] for at in range(0, 32, 4))
    return hmac.digest(key, data, "sha256")


def was_of(station: Station) -> bytes:
    params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=padded(b"was"))
    return station.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[params])).tokens[0].token


def endorse_request(was: bytes, bundles, diversifier: bytes | None = None) -> pa_pb2.EndorseCertsRequest:
    """Bundles of (parameters, TBS), signed as the part does."""
    return pa_pb2.EndorseCertsRequest(
        sku="sival",
        bundles=[pa_pb2.EndorseCertBundle(key_params=params, tbs=tbs) for params, tbs in bundles],
        diversifier=padded(b"was") if diversifier is None else diversifier,
        signature=device_signature(was, b"".join(tbs for _, tbs in bundles)),
    )


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


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
