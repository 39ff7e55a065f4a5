"""A part of any SKU that walks the whole conversation, over the module's functions or over a channel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance_bench import changed, padded, pem_of

from station.appliance.device_store import DeviceStore
from station.appliance.emulated_device import EmulatedDevice, endorse_request, leaf_tbs, mldsa_params
from station.appliance.keystore import open_keystore
from station.appliance.pki import client_files
from station.appliance.registry import register_device
from station.appliance.sku_templates import TEMPLATES
from station.appliance.spm import Spm
from station.model import Realm
from station.secret import Secret
from station.wire import pa_pb2

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
BOOT_TEXT = {
    "cr01": "Key ladder state: Prod", "pi01": "...sleeping...", "ti01": "pie_rot_earlgrey_mfg",
}  # fmt: skip
CAS = {"dice": "SigningKey/Dice/v0", "dice_mldsa": "SigningKey/Dice/Mldsa/v0", "ext": "SigningKey/Ext/v0",
       "root": "RootCA", "root_mldsa": "RootCAMldsa"}  # fmt: skip
Call = Callable[[str, Any], Any]


mldsa_of, tbs_of = mldsa_params, leaf_tbs


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

    def registration(self, objects=None, **changes) -> pa_pb2.RegistrationRequest:
        objects = self.objects if objects is None else objects
        request = self.part.registration(objects, self.rma.wrapped_seed)
        changed(request.device_data, changes)
        return request


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
    bundles = walk.part.bundles()
    answer = call("EndorseCerts", endorse_request(walk.sku, walk.was, bundles)).certs
    assert [item.key_label for item in answer] == [params.key_label for params, _ in bundles]
    walk.endorsed = {item.key_label: item.cert.blob for item in answer}
    mldsa = {"UDS_MLDSA"} if "dice_mldsa" in walk.cas else set()
    assert set(walk.endorsed) == {"UDS", *EXT_LABELS.get(walk.like, ())} | mldsa


def walk_sku(sku: str, call: Call, number: int, like: str = "") -> Walk:
    """Everything up to and including the registration."""
    walk = Walk(sku, like or sku)
    derive(walk, call)
    fetch_cas(walk, call)
    walk.part = EmulatedDevice(TEMPLATES[walk.like], {CAS[label]: der for label, der in walk.cas.items()}, number, sku)
    endorse(walk, call)
    walk.objects = walk.part.objects(walk.endorsed)
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
