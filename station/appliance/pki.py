"""``init``: a whole development appliance in one folder: TLS, CAs, seeds, RMA key, SKU file, password, clients.

Everything is of realm dev and says so. Nothing is ever overwritten: the folder is built beside its place and renamed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from station.appliance.certificates import (
    DICE_CA_NAME,
    Issued,
    new_ca,
    new_endpoint,
    private_der,
    private_pem,
    realm_name,
)
from station.appliance.files import write_private, write_public
from station.appliance.keystore import SEED_BYTES, KeyMaterial, create_keystore, spki
from station.appliance.settings import FILE
from station.appliance.skus import METHODS
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

SKU = "sival"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SEED_HIGH, SEED_LOW = "eg-kdf-hisec-v0", "eg-kdf-losec-v0"
DICE_KEY, IDENTITY_KEY, RMA_KEY = "sival-dice-key-p256-v0.priv", "spm-hsm-id-v0.priv", "sku-eg-rsa-rma-v0.pub"
ROOT_FILE, DICE_FILE = "ca/opentitan-ca-root-v0.der", "ca/sival-dice-key-p256-v0.der"
RMA_BITS = 3072
BCRYPT_COST = 10


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a station needs to reach the appliance; ``password`` is the file of the SKU password."""

    ca: Path
    certificate: Path
    key: Path
    password: Path


def init(folder: Path, stations: Sequence[str] = ("station-1",), hosts: Sequence[str] = ()) -> None:
    """Make the development appliance; ``hosts`` are further names and addresses of this computer and the stations."""
    for station in stations:
        _check_name(station)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"expected {folder} to be new or empty: an appliance is never overwritten, choose another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        staged.mkdir(mode=0o700)
        _make(staged, [*LOOPBACK, *hosts], stations)
        if folder.exists():
            folder.rmdir()
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def add_client(folder: Path, station: str, hosts: Sequence[str] = ()) -> ClientFiles:
    """Issue the client certificate of one more station."""
    _check_name(station)
    authority = Issued(
        x509.load_pem_x509_certificate((folder / "tls/ca-cert.pem").read_bytes()),
        _ec_key((folder / "offline/tls-ca-key.pem").read_bytes()),
    )
    return _issue_client(folder, authority, station, [*LOOPBACK, *hosts])


def client_files(folder: Path, station: str) -> ClientFiles:
    """Where the files of a station are."""
    home = folder / "clients" / station
    return ClientFiles(folder / "tls/ca-cert.pem", home / "cert.pem", home / "key.pem", folder / "clients/sku_password")


def _make(folder: Path, hosts: Sequence[str], stations: Sequence[str]) -> None:
    tls_ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV)
    write_public(folder / "tls/ca-cert.pem", tls_ca.pem)
    write_private(folder / "offline/tls-ca-key.pem", tls_ca.key_pem)
    server = new_endpoint(realm_name("pa-service", Realm.DEV), hosts, tls_ca, server=True)
    write_public(folder / "tls/server-cert.pem", server.pem)
    write_private(folder / "tls/server-key.pem", server.key_pem)
    for station in stations:
        _issue_client(folder, tls_ca, station, hosts)
    _make_keys(folder)
    _make_sku(folder)
    write_public(folder / FILE, _SETTINGS.encode())


def _make_keys(folder: Path) -> None:
    root = new_ca(realm_name("Development Root CA", Realm.DEV), Realm.DEV)
    dice = new_ca(DICE_CA_NAME, Realm.DEV, root)
    rma = rsa.generate_private_key(public_exponent=65537, key_size=RMA_BITS)
    material = KeyMaterial(
        secret={SEED_HIGH: secrets.token_bytes(SEED_BYTES), SEED_LOW: secrets.token_bytes(SEED_BYTES)},
        private={DICE_KEY: private_der(dice.key), IDENTITY_KEY: private_der(ec.generate_private_key(ec.SECP256R1()))},
        public={RMA_KEY: spki(rma.public_key())},
    )
    passphrase = Secret(secrets.token_urlsafe(32).encode(), "keystore passphrase")
    with passphrase.reveal() as raw:
        write_private(folder / "keystore.passphrase", raw + b"\n")
    create_keystore(folder / "keystore.sealed", passphrase, Realm.DEV, material)
    write_private(folder / "offline/ca-root-key.pem", root.key_pem)
    write_private(folder / "offline/rma-key.pem", private_pem(rma))
    write_public(folder / "skus" / ROOT_FILE, root.der)
    write_public(folder / "skus" / DICE_FILE, dice.der)


def _make_sku(folder: Path) -> None:
    password = secrets.token_urlsafe(18).encode()
    write_private(folder / "clients/sku_password", password + b"\n")
    stored = bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_COST, prefix=b"2a")).decode()
    methods = ", ".join(METHODS)
    auth = f'# realm dev\nskuAuthCfgList:\n  {SKU}:\n    skuAuth: "{stored}"\n    methods: [{methods}]\n'
    write_private(folder / "skus/sku_auth.yml", auth.encode())
    write_public(folder / f"skus/sku_{SKU}.yml", _SKU_FILE.encode())


def _issue_client(folder: Path, authority: Issued, station: str, hosts: Sequence[str]) -> ClientFiles:
    files = client_files(folder, station)
    client = new_endpoint(realm_name(station, Realm.DEV), [station, *hosts], authority, server=False)
    write_public(files.certificate, client.pem)
    write_private(files.key, client.key_pem)
    return files


def _check_name(station: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", station):
        raise ConfigError(
            f"expected a station name of letters, digits and -, saw {station[:80]!r}: choose another name"
        )


def _ec_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("expected an elliptic-curve key of the TLS CA: the folder is damaged")
    return key


_SETTINGS = """\
# Development appliance: its keys are on this disk, its certificates say so. Never use it for real parts.
realm = "dev"
host = "127.0.0.1"
port = 0                  # any free one; the address is in endpoint.json
registry = "registry.db"
"""

_SKU_FILE = f"""\
# realm dev
sku: {SKU}
slotId: 0
numSessions: 3
certCountX509: 3
certCountCWT: 0
symmetricKeys:
  - name: {SEED_HIGH}
  - name: {SEED_LOW}
privateKeys:
  - name: {DICE_KEY}
  - name: {IDENTITY_KEY}
publicKeys:
  - name: {RMA_KEY}
certs:
  - name: RootCA
    path: {ROOT_FILE}
  - name: SigningKey/Dice/v0
    path: {DICE_FILE}
x509CertHashOrder: [UDS, CDI_0, CDI_1]
attributes:
  SeedSecHi: {SEED_HIGH}
  SeedSecLo: {SEED_LOW}
  WASKeyLabel: {SEED_HIGH}
  WASDisable: false
  WrappingMechanism: RsaOaep
  WrappingKeyLabel: {RMA_KEY}
  SigningKey/Dice/v0: {DICE_KEY}
  SigningKey/Identity/v0: {IDENTITY_KEY}
  CertChainDiceLeaf: CDI_1
  OwnerFirmwareBootMessage: "ownership: OWND"
"""
