"""EndorseCerts: every label of the SKU, verified to its root; the proof of origin; what must not be signed.

Source: opentitan-appliance sheet 1.5, 3.5 and 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance.certificates import new_ca, realm_name
from station.appliance.emulated_device import (
    DICE_CA,
    DICE_MLDSA_CA,
    EXT_CA,
    UDS_MLDSA,
    Bundle,
    TbsHash,
    ecdsa_params,
    endorsed_labels,
    leaf_tbs,
    mldsa_params,
)
from station.appliance.keystore import MldsaPublicKey
from station.appliance.limits import BUNDLES, TBS_BYTES
from station.appliance.selftest.checks import Check, CheckFailed, expect, expect_bytes, expect_refusal
from station.appliance.selftest.walk import Walk
from station.formats.der import parse_certificate
from station.formats.dice import verify_chain
from station.model import Realm
from station.wire import crypto_cert_pb2, crypto_common_pb2, pa_pb2

WAS = ("INVALID_ARGUMENT", "could not verify WAS signature")
HASHES: dict[str, tuple[int, TbsHash]] = {
    "SHA-256": (crypto_common_pb2.HASH_TYPE_SHA256, hashes.SHA256()),
    "SHA-384": (crypto_common_pb2.HASH_TYPE_SHA384, hashes.SHA384()),
    "SHA-512": (crypto_common_pb2.HASH_TYPE_SHA512, hashes.SHA512()),
}
Request = pa_pb2.EndorseCertsRequest


def endorse_checks(walk: Walk) -> Iterator[Check]:
    """All of one SKU."""
    for place, label in enumerate(endorsed_labels(walk.template)):
        yield Check(f"{walk.sku} certificate: {label}", partial(_one, walk, place))
    yield Check(f"{walk.sku} certificates: all of a device in their order", partial(_all, walk))
    yield Check(f"{walk.sku} certificates: the device's own chain holds below it", partial(_own_chain, walk))
    for name in HASHES:
        yield Check(f"{walk.sku} certificate: ECDSA with {name}", partial(_hash, walk, name))
    for title, (make, code, words) in _proofs().items():
        yield Check(f"{walk.sku} certificates refused: {title}", partial(_refused, walk, make, code, words))
    for title, (bundles, code, words) in _bundles(walk).items():
        run = partial(_refused_bundles, walk, bundles, code, words)
        yield Check(f"{walk.sku} certificates refused: {title}", run)


def check_certificate(walk: Walk, label: str, tbs: bytes, der: bytes, hash_: TbsHash | None = None) -> None:
    """The TBS unchanged, signed by the CA of its label, below the root."""
    name = {"UDS": DICE_CA, UDS_MLDSA: DICE_MLDSA_CA}.get(label, EXT_CA)
    certificate = parse_certificate(der)
    expect_bytes(f"the TBS inside the certificate of {label}", tbs, certificate.tbs.raw)
    key = x509.load_der_x509_certificate(walk.cas[name]).public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(certificate.signature, tbs, ec.ECDSA(hash_ or hashes.SHA256()))
        elif isinstance(key, MldsaPublicKey):
            key.verify(certificate.signature, tbs)
        else:
            raise CheckFailed(f"expected a CA key that signs under {name}, saw another kind")
    except InvalidSignature:
        raise CheckFailed(f"expected {label} signed by {name}, saw a signature that does not verify") from None
    root = walk.cas["RootCAMldsa" if name == DICE_MLDSA_CA else "RootCA"]
    verify_chain([root, walk.cas[name], der], datetime.now(UTC))


def _one(walk: Walk, place: int) -> None:
    params, tbs = walk.device().bundles()[place]
    assert params is not None
    (answer,) = walk.client.call("EndorseCerts", walk.endorse_request([(params, tbs)])).certs
    expect(answer.key_label == params.key_label, f"the label {params.key_label!r}", repr(answer.key_label))
    check_certificate(walk, params.key_label, tbs, answer.cert.blob)


def _all(walk: Walk) -> None:
    bundles = [*walk.device().bundles(), *walk.device().bundles()]
    answer = walk.client.call("EndorseCerts", walk.endorse_request(bundles)).certs
    expect(len(answer) == len(bundles), f"{len(bundles)} certificates", len(answer))
    for (params, tbs), bundle in zip(bundles, answer, strict=True):
        assert params is not None
        expect(bundle.key_label == params.key_label, f"the label {params.key_label!r}", repr(bundle.key_label))
        check_certificate(walk, params.key_label, tbs, bundle.cert.blob)


def _own_chain(walk: Walk) -> None:
    device = walk.device()
    uds = walk.endorsed(device)["UDS"]
    own = [device.cdi_0_cert, device.cdi_1_cert] if walk.template.leaf == "CDI_1" else []
    verify_chain([walk.cas["RootCA"], walk.cas[DICE_CA], uds, *own], datetime.now(UTC))


def _hash(walk: Walk, name: str) -> None:
    number, hash_ = HASHES[name]
    tbs = leaf_tbs("selftest", walk.cas[DICE_CA], hash_algorithm=hash_)
    (answer,) = walk.client.call("EndorseCerts", walk.endorse_request([(ecdsa_params("UDS", number), tbs)])).certs
    check_certificate(walk, "UDS", tbs, answer.cert.blob, hash_)


def _proofs() -> dict[str, tuple[Callable[[Request], None], str, str]]:
    """How a good request of two bundles is spoilt, status, words."""

    def reorder(request: Request) -> None:
        request.bundles.reverse()

    def spoil(request: Request) -> None:
        request.signature = bytes((request.signature[0] ^ 1,)) + request.signature[1:]

    def cut(request: Request) -> None:
        request.signature = request.signature[:-1]

    def drop(request: Request) -> None:
        request.signature = b""

    def unpad(request: Request) -> None:
        request.diversifier = request.diversifier.rstrip(b"\0")

    def undiversify(request: Request) -> None:
        request.diversifier = b""

    def alter(request: Request) -> None:
        tbs = request.bundles[1].tbs
        request.bundles[1].tbs = tbs[:-1] + bytes((tbs[-1] ^ 1,))

    def shorten(request: Request) -> None:
        del request.bundles[1]

    return {
        "TBS in another order": (reorder, *WAS),
        "one bit of the proof": (spoil, *WAS),
        "proof of 31 bytes": (cut, *WAS),
        "no proof": (drop, *WAS),
        "another diversifier": (unpad, *WAS),
        "no diversifier": (undiversify, *WAS),
        "one bit of a TBS": (alter, *WAS),
        "a TBS left out": (shorten, *WAS),
    }


def _refused(walk: Walk, make: Callable[[Request], None], code: str, words: str) -> None:
    request = walk.endorse_request([walk.device().bundles()[0] for _ in range(2)])
    make(request)
    expect_refusal(walk.client, "EndorseCerts", request, code, words)


def _bundles(walk: Walk) -> dict[str, tuple[Callable[[], list[Bundle]], str, str]]:
    """Bundles with a right proof that must be refused all the same, status, words."""

    def uds(params: crypto_cert_pb2.SigningKeyParams | None = None) -> Bundle:
        return params or ecdsa_params("UDS"), walk.device().uds_tbs

    def of_another_ca() -> list[Bundle]:
        other = new_ca(realm_name("another", Realm.DEV), Realm.DEV)
        return [(ecdsa_params("UDS"), leaf_tbs("selftest", other.der))]

    rows: dict[str, tuple[Callable[[], list[Bundle]], str, str]] = {
        "no bundles": (lambda: [], "INVALID_ARGUMENT", "no data to endorse"),
        "nothing but empty TBS": (lambda: [(ecdsa_params("UDS"), b"")] * 2, "INVALID_ARGUMENT", "no data to endorse"),
        "an empty TBS beside another": (lambda: [uds(), (ecdsa_params("UDS"), b"")], "INVALID_ARGUMENT", ""),
        "no key parameters": (lambda: [(None, walk.device().uds_tbs)], "INVALID_ARGUMENT", ""),
        "neither ECDSA nor ML-DSA": (
            lambda: [uds(crypto_cert_pb2.SigningKeyParams(key_label="UDS"))], "UNIMPLEMENTED", "unsupported key format"
        ),
        "an unsupported hash": (lambda: [uds(ecdsa_params("UDS", 5))], "INTERNAL", "could not endorse"),
        "another hash than the TBS says": (lambda: [uds(ecdsa_params("UDS", 2))], "INTERNAL", "could not endorse"),
        "no TBS at all": (lambda: [(ecdsa_params("UDS"), b"no TBS")], "INTERNAL", "could not endorse"),
        "a TBS cut short": (lambda: [(ecdsa_params("UDS"), uds()[1][:-5])], "INTERNAL", "could not endorse"),
        "a TBS below another CA": (of_another_ca, "INTERNAL", "could not endorse"),
        "a TBS that is too large": (lambda: [(ecdsa_params("UDS"), bytes(TBS_BYTES + 1))], "INVALID_ARGUMENT", ""),
        "too many bundles": (lambda: [uds()] * (BUNDLES + 1), "INVALID_ARGUMENT", ""),
        "a label below the absent ML-DSA EXT CA": (lambda: [uds(ecdsa_params("EXT_MLDSA"))], "INVALID_ARGUMENT", ""),
    }  # fmt: skip
    if EXT_CA not in walk.cas:
        rows["a label below the absent EXT CA"] = (lambda: [uds(ecdsa_params("TPM EK"))], "INVALID_ARGUMENT", "")
    if DICE_MLDSA_CA not in walk.cas:
        rows["a label below the absent ML-DSA CA"] = (lambda: [uds(ecdsa_params(UDS_MLDSA))], "INVALID_ARGUMENT", "")
        rows["ML-DSA without such a CA"] = (lambda: [uds(mldsa_params("UDS"))], "INVALID_ARGUMENT", "")
    else:

        def mldsa(number: int) -> list[Bundle]:
            return [(mldsa_params(UDS_MLDSA, number), leaf_tbs(UDS_MLDSA, walk.cas[DICE_MLDSA_CA], "ML-DSA-87"))]

        rows["another parameter set than the CA's"] = (lambda: mldsa(1), "INTERNAL", "could not endorse")
        rows["no parameter set"] = (lambda: mldsa(0), "INTERNAL", "could not endorse")
    return rows


def _refused_bundles(walk: Walk, bundles: Callable[[], list[Bundle]], code: str, words: str) -> None:
    expect_refusal(walk.client, "EndorseCerts", walk.endorse_request(bundles()), code, words)
