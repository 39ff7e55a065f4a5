"""``init``: a whole development appliance in one folder: TLS, CAs, seeds, RMA key, SKU files, passwords, clients.

Everything is of realm dev and says so. Nothing is ever overwritten: the folder is built beside its place and renamed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, rsa, x25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from station.appliance.certificates import (
    DICE_CA_NAME,
    TLS_CA,
    Issued,
    new_ca,
    new_endpoint,
    new_key,
    private_der,
    private_pem,
    realm_name,
)
from station.appliance.files import give, write_private, write_public
from station.appliance.hpke_layer import recipient_files
from station.appliance.keystore import SEED_BYTES, KeyMaterial, create_keystore, spki
from station.appliance.session_tokens import SESSION_KEY
from station.appliance.settings import FILE
from station.appliance.sku_templates import (
    ML_KEM_FILE,
    RMA_KEY,
    SEED_HIGH,
    SEED_LOW,
    SHARED_ROOT,
    X25519_FILE,
    SkuTemplate,
    auth_entry,
    auth_head,
    ca_file,
    cas_of,
    chosen,
    identity_keys,
    new_password,
    private_label,
    sku_file,
)
from station.errors import ConfigError
from station.file_errors import file_advice, is_file_error, reason_of
from station.model import Realm
from station.secret import Secret

T = TypeVar("T")
SKU = "sival"
TLS_CA_KEY_FILE = Path("offline/tls-ca-key.pem")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RMA_BITS = 3072


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a station needs to reach the appliance; ``password`` is the file of a SKU's password."""

    ca: Path
    certificate: Path
    key: Path
    password: Path


def init(
    folder: Path,
    stations: Sequence[str] = ("station-1",),
    hosts: Sequence[str] = (),
    skus: Sequence[str] = (SKU,),
    finish: Callable[[Path], object] | None = None,
) -> None:
    """Make the development appliance; ``hosts`` are further names and addresses of this computer and the stations.

    ``skus`` are names of ``sku_templates.TEMPLATES``, or ``all``. ``finish`` works on the whole folder before it takes
    its place (brings the keys into an HSM); when it fails, nothing is left.
    """
    templates = chosen(skus)
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
        _make(staged, [*LOOPBACK, *hosts], stations, templates)
        if finish is not None:
            finish(staged)
        if folder.exists():
            folder.rmdir()
        staged.rename(folder)
    except OSError as error:
        if not is_file_error(error):
            raise
        reason, advice = reason_of(error), file_advice(error)
        raise ConfigError(f"expected to make an appliance in {folder}, but: {reason}; {advice}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def add_client(folder: Path, station: str, hosts: Sequence[str] = ()) -> ClientFiles:
    """Issue the client certificate of one more station: both of its files or none."""
    _check_name(station)
    authority = tls_authority(folder)
    files = client_files(folder, station)
    home = files.certificate.parent
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError(f"expected nothing at {home}: it is never overwritten, move it away first")
    if not home.parent.exists():
        home.parent.mkdir()
        give(home.parent, folder)
    staged = client_files(folder, f".{station}.{os.getpid()}")
    try:
        _issue_client(staged, authority, station, [*LOOPBACK, *hosts])
        for made in (staged.certificate, staged.key, staged.key.parent):
            give(made, folder)
        if home.exists():
            home.rmdir()
        staged.key.parent.rename(home)
    except OSError as error:
        if not is_file_error(error):
            raise
        reason, advice = reason_of(error), file_advice(error)
        raise ConfigError(f"expected to make the files of {station} in {home}, but: {reason}; {advice}") from None
    finally:
        shutil.rmtree(staged.key.parent, ignore_errors=True)
    return files


def tls_authority(folder: Path) -> Issued:
    """The CA of a development appliance's TLS certificates."""
    certificate = _read_pem(folder / "tls/ca-cert.pem", x509.load_pem_x509_certificate)
    return Issued(certificate, _read_pem(folder / TLS_CA_KEY_FILE, _ec_key))


def client_files(folder: Path, station: str, sku: str = "") -> ClientFiles:
    """Where the files of a station are; without ``sku`` the password is that of the first SKU."""
    home = folder / "clients" / station
    password = folder / "clients" / (f"sku_password_{sku}" if sku else "sku_password")
    return ClientFiles(folder / "tls/ca-cert.pem", home / "cert.pem", home / "key.pem", password)


def _make(folder: Path, hosts: Sequence[str], stations: Sequence[str], templates: Sequence[SkuTemplate]) -> None:
    tls_ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV, profile=TLS_CA)
    write_public(folder / "tls/ca-cert.pem", tls_ca.pem)
    write_private(folder / TLS_CA_KEY_FILE, tls_ca.key_pem)
    server = new_endpoint(realm_name("pa-service", Realm.DEV), hosts, tls_ca, server=True)
    write_public(folder / "tls/server-cert.pem", server.pem)
    write_private(folder / "tls/server-key.pem", server.key_pem)
    for station in stations:
        _issue_client(client_files(folder, station), tls_ca, station, hosts)
    _make_keys(folder, templates)
    _make_skus(folder, templates)
    write_public(folder / FILE, _SETTINGS.encode())


def _make_keys(folder: Path, templates: Sequence[SkuTemplate]) -> None:
    rma = rsa.generate_private_key(public_exponent=65537, key_size=RMA_BITS)
    private = {label: private_der(new_key(algorithm)) for label, algorithm in identity_keys(templates).items()}
    material = KeyMaterial(
        secret={label: secrets.token_bytes(SEED_BYTES) for label in (SEED_HIGH, SEED_LOW, SESSION_KEY)},
        private={**private, **_make_cas(folder, templates)},
        public={RMA_KEY: spki(rma.public_key())},
    )
    passphrase = Secret(secrets.token_urlsafe(32).encode(), "keystore passphrase")
    with passphrase.reveal() as raw:
        write_private(folder / "keystore.passphrase", raw + b"\n")
    create_keystore(folder / "keystore.sealed", passphrase, Realm.DEV, material)
    write_private(folder / "offline/rma-key.pem", private_pem(rma))
    if any(template.second_layer for template in templates):
        _make_hpke_keys(folder)


def _make_cas(folder: Path, templates: Sequence[SkuTemplate]) -> dict[str, bytes]:
    """Certificates of all CAs and the root keys go to the folder; the keys of the other CAs are returned by label."""
    issued: dict[str, Issued] = {}
    for label, plan in cas_of(templates).items():
        name = DICE_CA_NAME if plan.root else realm_name(plan.title, Realm.DEV)
        made = issued[label] = new_ca(name, Realm.DEV, issued.get(plan.root), plan.profile, plan.algorithm)
        write_public(folder / "skus" / ca_file(label), made.der)
        if not plan.root:
            file = "ca-root-key.pem" if label == SHARED_ROOT else f"{label}-key.pem"
            write_private(folder / "offline" / file, made.key_pem)
    return {private_label(ca): private_der(issued[ca].key) for ca, plan in cas_of(templates).items() if plan.root}


def _make_hpke_keys(folder: Path) -> None:
    pq, classical = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    pq_file, classical_file = recipient_files(pq.public_key(), classical.public_key())
    write_private(folder / "offline/hpke-mlkem-key.pem", private_pem(pq))
    write_private(folder / "offline/hpke-x25519-key.pem", private_pem(classical))
    write_public(folder / "skus" / ML_KEM_FILE, pq_file)
    write_public(folder / "skus" / X25519_FILE, classical_file)


def _make_skus(folder: Path, templates: Sequence[SkuTemplate]) -> None:
    entries = []
    for number, template in enumerate(templates):
        password = new_password()
        write_private(folder / f"clients/sku_password_{template.name}", password + b"\n")
        if number == 0:
            write_private(folder / "clients/sku_password", password + b"\n")
        entries.append(auth_entry(template.name, password))
        write_public(folder / f"skus/sku_{template.name}.yml", sku_file(template, Realm.DEV).encode())
    write_private(folder / "skus/sku_auth.yml", (auth_head(Realm.DEV) + "".join(entries)).encode())


def _issue_client(files: ClientFiles, authority: Issued, station: str, hosts: Sequence[str]) -> None:
    client = new_endpoint(realm_name(station, Realm.DEV), [station, *hosts], authority, server=False)
    write_public(files.certificate, client.pem)
    write_private(files.key, client.key_pem)


def _check_name(station: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", station):
        raise ConfigError(
            f"expected a station name of letters, digits and -, saw {station[:80]!r}: choose another name"
        )


def _read_pem(path: Path, load: Callable[[bytes], T]) -> T:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"expected a readable file at {path}: {reason_of(error)}; correct its rights, or restore the folder"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a key with a passphrase
        raise ConfigError(f"expected the PEM file of the TLS CA at {path}, saw another content: restore it") from None


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
