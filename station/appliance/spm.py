"""The secure provisioning module: SKU passwords, loaded SKUs, and the operations that need keys.

Source: opentitan-appliance sheet 1.5 (status codes), 2.1 (passwords) and 3 (operations). Requests and answers are the
messages of the wire; refusals carry status names, so this module knows no gRPC.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance import known_keys
from station.appliance.device_data import verify_device_data
from station.appliance.endorse import endorse_certs
from station.appliance.keystore import KeyMissing, Keystore, load_public_key
from station.appliance.loaded_sku import (
    DICE_CA,
    DICE_MLDSA_CA,
    EXT_CA,
    EXT_MLDSA_CA,
    IDENTITY_KEY,
    ROOT,
    ROOT_MLDSA,
    LoadedSku,
    load_sku,
)
from station.appliance.passwords import PasswordCache
from station.appliance.refusal import Refusal, SkuNotLoaded, echoed
from station.appliance.skus import SkuAuth, read_auth
from station.appliance.tokens import derive_tokens
from station.appliance.watched import Watched
from station.errors import ConfigError, Finding, FormatError, StationError
from station.formats.der import parse_certificate
from station.formats.device_id import DeviceId
from station.model import Realm
from station.secret import Secret
from station.wire import crypto_cert_pb2, pa_pb2

log = logging.getLogger(__name__)

KEY_ID_BYTES = 20
AUTH_FILE = "sku_auth.yml"
CA_LABELS: Mapping[str, str] = {
    "dice": DICE_CA,
    "dice_mldsa": DICE_MLDSA_CA,
    "ext": EXT_CA,
    "ext_mldsa": EXT_MLDSA_CA,
    "root": ROOT,
    "root_mldsa": ROOT_MLDSA,
}


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A signature by the appliance's identity: SPKI DER of the key and DER signature (ECDSA over SHA-256)."""

    public_key: bytes
    signature: bytes


class Spm:
    """One process-wide instance; safe to call from any thread."""

    def __init__(self, folder: Path, keystore: Keystore) -> None:
        self._folder = folder
        self._keystore = keystore
        self._passwords = PasswordCache()
        self._auth = Watched([folder / AUTH_FILE], self._read_auth)
        self._lock = threading.Lock()
        self._skus: dict[str, LoadedSku] = {}

    def configured_skus(self) -> list[str]:
        """SKU names of the password file."""
        return sorted(self._auth.value())

    def methods(self, sku: str) -> tuple[str, ...]:
        """The methods that sessions of the SKU may call, as the password file says now."""
        return self._find_auth(sku).methods

    def is_loaded(self, sku: str) -> bool:
        """True once a session was opened for the SKU in this process."""
        with self._lock:
            return sku in self._skus

    def log_in(self, sku: str, password: Secret, permit: Callable[[str], None] | None = None) -> tuple[str, ...]:
        """Check the SKU's password and load the SKU; returns the methods that its sessions may call.

        ``permit`` is asked about a known SKU before its password is looked at, and refuses by raising.
        """
        auth = self._find_auth(sku)
        if permit is not None:
            permit(sku)
        if not self._password_fits(auth, password):
            raise Refusal("UNAUTHENTICATED", f"incorrect sku authentication for sku {echoed(sku)}")
        self.load(sku)
        return auth.methods

    def load(self, sku: str) -> None:
        """Load a SKU once per process; what is wrong with it goes to the log, not to the client."""
        with self._lock:
            if sku in self._skus:
                return
            try:
                self._skus[sku] = load_sku(self._folder, sku, self._keystore)
            except Refusal:  # the HSM is away
                raise
            except StationError as error:
                log.error("sku %s cannot be served: %s", echoed(sku), error)
                raise Refusal("INTERNAL", f"failed to initialize sku {echoed(sku)}: see the appliance's log") from None

    def sku(self, name: str) -> LoadedSku:
        """A loaded SKU; refuses when no session was ever opened for it."""
        with self._lock:
            if name not in self._skus:
                raise SkuNotLoaded(name)
            return self._skus[name]

    def derive_tokens(self, request: pa_pb2.DeriveTokensRequest) -> pa_pb2.DeriveTokensResponse:
        """Tokens of the high, low or a fresh seed."""
        return derive_tokens(self._keystore, self.sku(request.sku), request)

    def endorse_certs(self, request: pa_pb2.EndorseCertsRequest) -> pa_pb2.EndorseCertsResponse:
        """Certificates for TBS that carry the part's proof of origin."""
        return endorse_certs(self._keystore, self.sku(request.sku), request, _now())

    def ca_subject_keys(self, request: pa_pb2.GetCaSubjectKeysRequest) -> pa_pb2.GetCaSubjectKeysResponse:
        """Subject key ids by TBS label; 20 zero bytes for a CA that the SKU lacks."""
        sku = self.sku(request.sku)
        names = {"UDS": DICE_CA, "UDS_MLDSA": DICE_MLDSA_CA, "EXT": EXT_CA}
        ids = [_subject_key_id(sku.certs.get(names.get(label, EXT_MLDSA_CA))) for label in request.cert_labels]
        return pa_pb2.GetCaSubjectKeysResponse(key_ids=ids)

    def ca_certs(self, request: pa_pb2.GetCaCertsRequest) -> pa_pb2.GetCaCertsResponse:
        """CA certificates by label."""
        sku = self.sku(request.sku)
        found = []
        for label in request.cert_labels:
            if label not in CA_LABELS:
                raise Refusal("NOT_FOUND", f"unknown certificate label {echoed(label)}; known: {', '.join(CA_LABELS)}")
            found.append(crypto_cert_pb2.Certificate(blob=sku.cert(CA_LABELS[label], "NOT_FOUND")))
        return pa_pb2.GetCaCertsResponse(certs=found)

    def boot_message(self, request: pa_pb2.GetOwnerFwBootMessageRequest) -> pa_pb2.GetOwnerFwBootMessageResponse:
        """The text that a good part prints when it boots."""
        sku = self.sku(request.sku)
        text = sku.attribute("OwnerFirmwareBootMessage", "NOT_FOUND")
        return pa_pb2.GetOwnerFwBootMessageResponse(boot_message=text)

    def verify_device_data(self, request: pa_pb2.RegistrationRequest) -> DeviceId:
        """The device's id when its certificates prove themselves."""
        return verify_device_data(self.sku(request.device_data.sku), request, _now())

    def endorse_data(self, sku: str, data: bytes) -> Endorsement:
        """Sign with the SKU's identity key; the signature is verified before it is returned."""
        label = self.sku(sku).attribute(IDENTITY_KEY)
        try:
            endorsement = Endorsement(self._keystore.public_key(label), self._keystore.sign(label, data, "SHA256"))
        except KeyMissing as missing:
            raise Refusal("INTERNAL", f"could not endorse data: {missing}") from None
        if not endorsement_holds(endorsement, data):
            raise Refusal("INTERNAL", "could not endorse data: the signature does not verify")
        return endorsement

    def _find_auth(self, sku: str) -> SkuAuth:
        known = self._auth.value()
        if sku in known:
            return known[sku]
        families = sorted((name for name in known if sku.startswith(name)), key=len, reverse=True)
        if not families:
            raise Refusal("NOT_FOUND", f"unknown sku {echoed(sku)}")
        return known[families[0]]

    def _read_auth(self) -> dict[str, SkuAuth]:
        """The password file; what was verified against an older one is forgotten."""
        self._passwords.clear()
        auth = read_auth(self._folder / AUTH_FILE)
        if self._keystore.realm is Realm.PRODUCTION:
            _refuse_public_passwords(self._folder / AUTH_FILE, auth)
        return auth

    def _password_fits(self, auth: SkuAuth, password: Secret) -> bool:
        with password.reveal() as raw:
            if self._keystore.realm is Realm.PRODUCTION and known_keys.password_is_public(raw):
                log.error("a publicly known SKU password was refused")
                return False
            return self._passwords.fits(auth.password_hash, raw)


def endorsement_holds(endorsement: Endorsement, data: bytes) -> bool:
    """True when the signature verifies under the public key beside it."""
    key = load_public_key(endorsement.public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(endorsement.signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _subject_key_id(cert: bytes | None) -> bytes:
    if cert is None:
        return bytes(KEY_ID_BYTES)
    try:
        return _key_id(cert)
    except FormatError as error:
        raise Refusal("INTERNAL", f"could not read a CA certificate: {error}") from None


@lru_cache(maxsize=64)
def _key_id(cert: bytes) -> bytes:
    return parse_certificate(cert).tbs.ski or bytes(KEY_ID_BYTES)


def _refuse_public_passwords(path: Path, auth: Mapping[str, SkuAuth]) -> None:
    public = [name for name, entry in auth.items() if known_keys.password_hash_is_public(entry.password_hash)]
    if public:
        sentence = f"publicly known passwords are refused in production: {', '.join(sorted(public))}"
        raise ConfigError([Finding(path, 0, sentence)])


def _now() -> datetime:
    return datetime.now(UTC)
