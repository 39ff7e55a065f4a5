"""A part of any SKU that walks the whole conversation, over the module's functions or over a channel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance_bench import TestPart, device_signature, ecdsa, padded, pem_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance.certificates import new_key
from station.appliance.device_store import DeviceStore
from station.appliance.keystore import open_keystore
from station.appliance.pki import client_files
from station.appliance.registry import register_device
from station.appliance.spm import Spm
from station.formats import perso_blob
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.model import Realm
from station.secret import Secret
from station.wire import crypto_cert_pb2, crypto_common_pb2, crypto_mldsa_pb2, pa_pb2

CA_LABELS = ("root", "dice", "ext", "root_mldsa", "dice_mldsa", "ext_mldsa")
HAS = {
    "sival": {"root", "dice"},
    "cr01": {"root", "dice", "ext"},
    "pi01": {"root", "dice", "ext"},
    "ti01": {"root", "dice"},
    "sival_pqc": {"root", "dice", "root_mldsa", "dice_mldsa"},
}
EXT_LABELS = {"cr01": ("TPM EK", "TPM CEK", "TPM CIK", "CROS UDS"), "pi01": ("CEK_0", "CEK_1")}
CWT_LABELS = {"pi01": ("UDS", "CDI_0", "CDI_1")}
X509_ORDER = {
    "pi01": ("UDS", "CEK_0", "CEK_1"),
    "cr01": ("UDS", "CDI_0", "CDI_1", "TPM EK", "TPM CEK", "TPM CIK", "CROS UDS"),
}
BOOT_TEXT = {
    "cr01": "Key ladder state: Prod", "pi01": "...sleeping...", "ti01": "pie_rot_earlgrey_mfg",
}  # fmt: skip
Call = Callable[[str, Any], Any]


def mldsa_of(label: str, parameter_set: int = 3) -> crypto_cert_pb2.SigningKeyParams:
    params = crypto_mldsa_pb2.MldsaParams(param_sets=parameter_set)
    return crypto_cert_pb2.SigningKeyParams(key_label=label, mldsa_params=params)


def tbs_of(common_name: str, ca: bytes, algorithm: str = "P-256", hash_: hashes.HashAlgorithm | None = None) -> bytes:
    """A TBS below ``ca`` whose signature algorithm is that of a CA key of ``algorithm``."""
    issuer = x509.load_der_x509_certificate(ca)
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(new_key("ML-DSA-87" if algorithm.startswith("ML-DSA") else algorithm).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.replace(year=now.year - 1, day=1))
        .not_valid_after(now.replace(year=now.year + 9, day=1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    signer = new_key(algorithm)
    elliptic = isinstance(signer, ec.EllipticCurvePrivateKey)
    return builder.sign(signer, (hash_ or hashes.SHA256()) if elliptic else None).tbs_certificate_bytes


@dataclass
class Walk:
    """What a part of one SKU got, call by call; ``like`` is the SKU of the tables that a family member follows."""

    sku: str
    like: str
    was: bytes = b""
    rma: Any = None
    key_ids: dict[str, bytes] = field(default_factory=dict)
    cas: dict[str, bytes] = field(default_factory=dict)
    endorsed: dict[str, bytes] = field(default_factory=dict)
    part: Any = None
    objects: list = field(default_factory=list)

    @property
    def version(self) -> int:
        return 1 if self.like == "sival_pqc" else 0

    def registration(self, objects=None, **changes) -> pa_pb2.RegistrationRequest:
        objects = self.objects if objects is None else objects
        order = X509_ORDER.get(self.like, ("UDS", "CDI_0", "CDI_1"))
        blob = {"sku": self.sku, "perso_tlv_data": perso_blob.build(objects, self.version)}
        data = self.part.device_data(b"", **{**blob, "wrapped_rma_unlock_token": self.rma.wrapped_seed, **changes})
        digest = perso_blob.appliance_certs_hash(objects, CWT_LABELS.get(self.like, ()), order)
        return pa_pb2.RegistrationRequest(
            device_data=data, hash_type=crypto_common_pb2.HASH_TYPE_SHA256, certs_hash=digest
        )


def derive(walk: Walk, call: Call) -> None:
    params = [
        pa_pb2.TokenParams(seed=seed, type=kind, size=size, diversifier=padded(text), wrap_seed=seed == 3)
        for seed, kind, size, text in (
            (2, 1, 2, b"was"), (1, 2, 1, b"test_unlock"), (1, 2, 1, b"test_exit"), (3, 2, 1, b"rma"),
        )
    ]  # fmt: skip
    tokens = call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku=walk.sku, params=params)).tokens
    assert [len(token.token) for token in tokens] == [32, 16, 16, 16]
    assert [bool(token.wrapped_seed) for token in tokens] == [False, False, False, True]
    walk.was, walk.rma = tokens[0].token, tokens[3]


def fetch_cas(walk: Walk, call: Call) -> None:
    labels = ["UDS", "EXT", "UDS_MLDSA", "EXT_MLDSA"]
    ids = call("GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku=walk.sku, cert_labels=labels)).key_ids
    walk.key_ids = dict(zip(labels, ids, strict=True))
    wanted = [label for label in CA_LABELS if label in HAS[walk.like]]
    certs = call("GetCaCerts", pa_pb2.GetCaCertsRequest(sku=walk.sku, cert_labels=wanted)).certs
    walk.cas = {label: cert.blob for label, cert in zip(wanted, certs, strict=True)}


def endorse(walk: Walk, call: Call) -> None:
    bundles = [(ecdsa("UDS"), walk.part.uds_tbs)]
    bundles += [(ecdsa(label), tbs_of(label, walk.cas["ext"])) for label in EXT_LABELS.get(walk.like, ())]
    if "dice_mldsa" in walk.cas:
        bundles.append((mldsa_of("UDS_MLDSA"), tbs_of("UDS_MLDSA", walk.cas["dice_mldsa"], "ML-DSA-87")))
    request = pa_pb2.EndorseCertsRequest(
        sku=walk.sku,
        bundles=[pa_pb2.EndorseCertBundle(key_params=params, tbs=tbs) for params, tbs in bundles],
        diversifier=padded(b"was"),
        signature=device_signature(walk.was, b"".join(tbs for _, tbs in bundles)),
    )
    answer = call("EndorseCerts", request).certs
    assert [item.key_label for item in answer] == [params.key_label for params, _ in bundles]
    walk.endorsed = {item.key_label: item.cert.blob for item in answer}


def compose(walk: Walk) -> None:
    """The registry blob: the part's own certificates, the endorsed ones, CWTs and seeds."""
    own = [("CDI_0", walk.part.cdi_0_cert), ("CDI_1", walk.part.cdi_1_cert)] if walk.like != "pi01" else []
    certs = [*own, *walk.endorsed.items()]
    walk.objects = [
        *(CertObject(TYPES.X509_CERT, name, body) for name, body in certs),
        *(CertObject(TYPES.CWT_CERT, name, name.encode() * 50) for name in CWT_LABELS.get(walk.like, ())),
        PersoObject(TYPES.DEV_SEED, bytes(range(64))),
        PersoObject(TYPES.GENERIC_SEED, bytes(32)),
    ]


def walk_sku(sku: str, call: Call, number: int, like: str = "") -> Walk:
    """Everything up to and including the registration."""
    walk = Walk(sku, like or sku)
    derive(walk, call)
    fetch_cas(walk, call)
    walk.part = TestPart(walk.cas["dice"], number)
    endorse(walk, call)
    compose(walk)
    call("RegisterDevice", walk.registration())
    return walk


def password_of(folder: Path, sku: str) -> Secret:
    return Secret(client_files(folder, "station-1", sku).password.read_bytes().strip(), "SKU password")


def open_spm(folder: Path) -> Spm:
    passphrase = Secret((folder / "keystore.passphrase").read_bytes().strip(), "passphrase")
    return Spm(folder / "skus", open_keystore(folder / "keystore.sealed", passphrase, Realm.DEV))


def calls_of(spm: Spm, store: DeviceStore) -> Call:
    """The calls as plain functions, without a server."""
    functions: Mapping[str, Callable[[Any], Any]] = {
        "DeriveTokens": spm.derive_tokens,
        "GetCaSubjectKeys": spm.ca_subject_keys,
        "GetCaCerts": spm.ca_certs,
        "EndorseCerts": spm.endorse_certs,
        "GetOwnerFwBootMessage": spm.boot_message,
        "RegisterDevice": lambda request: register_device(spm, store, request, "test"),
    }
    return lambda name, request: functions[name](request)


def openssl_verify(folder: Path, chain: list[bytes]) -> str:
    """What ``openssl verify`` says about a chain, root first; DICE extensions are unknown to it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root.pem").write_bytes(pem_of(chain[0]))
    (folder / "middle.pem").write_bytes(b"".join(pem_of(der) for der in chain[1:-1]))
    (folder / "leaf.pem").write_bytes(pem_of(chain[-1]))
    command = ["openssl", "verify", "-ignore_critical", "-CAfile", "root.pem", "-untrusted", "middle.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
    return done.stdout.strip() if done.returncode == 0 else done.stderr
