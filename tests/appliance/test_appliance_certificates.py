"""Every certificate of the appliance, read by others: ``openssl verify`` for the chains, pkilint for the profiles.

What pkilint may find is in ``EXPECTED`` with its reason; anything else fails, and so does a row that nothing needs.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from appliance_bench import pem_of
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.document import SubstrateDecodingFailedError
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity
from sku_bench import EXT_LABELS, calls_of, open_spm, password_of, walk_sku

from station.appliance.device_store import DeviceStore
from station.appliance.pki import init
from station.appliance.sku_templates import TEMPLATES
from station.formats import der_tlv

SKUS = tuple(TEMPLATES)
DICE = ("UDS", "CDI_0", "CDI_1")
EXPECTED = {
    ("CA", "pkix.key_usage_extension_not_critical"): "a SHOULD; the reference project's CAs have it so (sheet 4.2)",
    ("TLS", "pkix.invalid_domain_name_syntax"): "localhost and bare names of stations: a bench has no domain",
    (
        "device",
        "pkix.certificate_skid_end_entity_missing",
    ): "a SHOULD, for what the part makes itself (TPM, CEK, ML-DSA)",
    ("DICE", "pkix.wrong_time_useful_type"): "templates in ROM: GeneralizedTime from 2018 on (sheet 4.3)",
    ("DICE", "pkix.unknown_subject_key_identifier_calculation_method"): "the key id is the key manager's, not a SHA-1",
    (
        "DICE",
        "pkix.certificate_serial_number_out_of_range",
    ): "the serial is the 20-byte key id, its first bit may be set",
}
"""By kind of certificate and code: why it stays."""
BY_CHANCE = {("DICE", "pkix.certificate_serial_number_out_of_range")}
EXPLICIT_DEFAULT = "Explicitly encoded default value"
"""Firmware writes ``critical FALSE`` out (fact sheet 4.3): no strict parser reads its DICE certificates as they are."""


# ---- pkilint ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """One certificate with its kind in ``EXPECTED``."""

    kind: str
    title: str
    der: bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("certificates") / "appliance"
    init(made, ["station-1"], skus=["all"])
    return made


@pytest.fixture(scope="module")
def walks(folder):
    spm = open_spm(folder)
    store = DeviceStore(folder / "registry.db")
    for sku in SKUS:
        spm.log_in(sku, password_of(folder, sku))
    yield {sku: walk_sku(sku, calls_of(spm, store), number) for number, sku in enumerate(SKUS, 100)}
    store.close()


def made_by_init(folder: Path) -> list[Found]:
    tls = [*folder.glob("tls/*-cert.pem"), *folder.glob("clients/*/cert.pem")]
    cas = [path for path in folder.glob("skus/ca/*.der") if not path.name.startswith("hpke")]
    found = [
        Found("TLS", str(path.relative_to(folder)),
              x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))
        for path in tls
    ]  # fmt: skip
    return found + [Found("CA", path.name, path.read_bytes()) for path in cas]


def of_devices(walks) -> list[Found]:
    found = []
    for sku, walk in walks.items():
        own = [("CDI_0", walk.part.cdi_0_cert), ("CDI_1", walk.part.cdi_1_cert)]
        for label, der in [*walk.endorsed.items(), *own]:
            found.append(Found("DICE" if label in DICE else "device", f"{sku} {label}", der))
    return found


@pytest.fixture(scope="module")
def linter():
    """The validators of ``lint_pkix_cert lint``."""
    validators = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )

    def lint(found: Found) -> set[str]:
        document = loader.RFC5280CertificateDocumentLoader().load_der_document(found.der, found.title)
        results = validators.validate(document.root)
        descriptions = [item for result in results for item in result.finding_descriptions]
        assert descriptions or results, "nothing was looked at"
        return {item.finding.code for item in descriptions if item.finding.severity < ValidationFindingSeverity.INFO}

    return lint


def as_strict_der(der: bytes) -> bytes:
    """The same certificate as strict DER has it: no explicit FALSE, no zero bits at the end of the key usage."""
    outer = der_tlv.read(der)
    tbs, *rest = outer.children
    *fields, last = tbs.children
    (extensions,) = last.children
    strict = der_tlv.element(0xA3, der_tlv.sequence(*map(_strict_extension, extensions.children)))
    return der_tlv.sequence(der_tlv.sequence(*(part.raw for part in fields), strict), *(part.raw for part in rest))


def _strict_extension(found: der_tlv.Tlv) -> bytes:
    oid, *critical, value = found.children
    kept = [part.raw for part in critical if part.content != b"\x00"]
    raw = value.raw
    if oid.raw == der_tlv.oid("2.5.29.15"):
        data, _ = der_tlv.read_bits(der_tlv.read(value.content), "key usage")
        data = data.rstrip(b"\0")
        unused = (data[-1] & -data[-1]).bit_length() - 1
        raw = der_tlv.element(der_tlv.OCTET_STRING, der_tlv.bits(data, unused))
    return der_tlv.sequence(oid.raw, *kept, raw)


def test_what_pkilint_finds_is_known(folder, walks, linter):
    seen = {}
    for found in made_by_init(folder) + of_devices(walks):
        if found.kind == "DICE":
            with pytest.raises(SubstrateDecodingFailedError, match=EXPLICIT_DEFAULT):
                linter(found)
            found = Found(found.kind, found.title, as_strict_der(found.der))
        for code in linter(found):
            seen.setdefault((found.kind, code), []).append(found.title)
    unknown = {key: titles for key, titles in seen.items() if key not in EXPECTED}
    assert unknown == {}, sorted(unknown)
    assert set(EXPECTED) - set(seen) <= BY_CHANCE


def test_pkilint_finds_what_is_wrong(folder, linter):
    """The linter is awake: it sees a certificate that ends before it begins."""
    good = next(found for found in made_by_init(folder) if found.title == "tls/ca-cert.pem")
    parsed = x509.load_der_x509_certificate(good.der)
    begin, end = (
        f"{time:%y%m%d%H%M%SZ}".encode() for time in (parsed.not_valid_before_utc, parsed.not_valid_after_utc)
    )
    assert linter(good) == set()
    turned = Found("TLS", "turned", good.der.replace(begin, b"\0" * 13).replace(end, begin).replace(b"\0" * 13, end))
    assert linter(turned) != set()


# ---- openssl ----------------------------------------------------------------------------------------------------


def verify(folder: Path, chain: list[bytes], *options: str) -> subprocess.CompletedProcess[str]:
    """``openssl verify`` of a chain, root first."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, ders in (("root", chain[:1]), ("middle", chain[1:-1]), ("leaf", chain[-1:])):
        (folder / file).write_bytes(b"".join(map(pem_of, ders)))
    between = ("-untrusted", "middle") if chain[1:-1] else ()
    command = ["openssl", "verify", *options, "-CAfile", "root", *between, "leaf"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)


def openssl_knows_mldsa() -> bool:
    done = subprocess.run(["openssl", "list", "-signature-algorithms"], capture_output=True, text=True, timeout=20)
    return "ML-DSA" in done.stdout.upper()


@pytest.mark.parametrize("sku", SKUS)
def test_openssl_and_the_chains_of_a_device(walks, sku, tmp_path):
    """Critical extensions are ignored for DICE alone, and only because of TcbInfo."""
    walk = walks[sku]
    below = [walk.cas["root"], walk.cas["dice"], walk.endorsed["UDS"]]
    chains = {"UDS": below}
    if sku != "pi01":  # its DICE CA allows no CA below itself
        chains |= {"CDI_0": [*below, walk.part.cdi_0_cert]}
        chains |= {"CDI_1": [*below, walk.part.cdi_0_cert, walk.part.cdi_1_cert]}
    for label, chain in chains.items():
        strictly, leniently = (verify(tmp_path / label, chain, *options) for options in ((), ("-ignore_critical",)))
        assert strictly.returncode != 0
        assert "unhandled critical extension" in strictly.stderr
        assert leniently.stdout.strip() == "leaf: OK", leniently.stderr
    for label in EXT_LABELS.get(sku, ()):
        chain = [walk.cas["root"], walk.cas["ext"], walk.endorsed[label]]
        assert verify(tmp_path / label, chain).stdout.strip() == "leaf: OK"
        other = [walk.cas["root"], walk.cas["dice"], walk.endorsed[label]]
        assert verify(tmp_path / "other", other, "-ignore_critical").returncode != 0
    if "UDS_MLDSA" in walk.endorsed and openssl_knows_mldsa():
        chain = [walk.cas["root_mldsa"], walk.cas["dice_mldsa"], walk.endorsed["UDS_MLDSA"]]
        assert verify(tmp_path / "pq", chain).stdout.strip() == "leaf: OK"


def test_openssl_and_what_init_makes(folder, walks, tmp_path):
    read = lambda path: x509.load_pem_x509_certificate((folder / path).read_bytes()).public_bytes(Encoding.DER)  # noqa: E731
    tls = read("tls/ca-cert.pem")
    strict = ("-x509_strict",)
    for path, purpose in (("tls/server-cert.pem", "sslserver"), ("clients/station-1/cert.pem", "sslclient")):
        done = verify(tmp_path / purpose, [tls, read(path)], *strict, "-purpose", purpose)
        assert done.stdout.strip() == "leaf: OK", done.stderr
    assert verify(tmp_path / "ca", [tls, tls], *strict).stdout.strip() == "leaf: OK"
    for sku, walk in walks.items():
        for label, root in (("dice", "root"), ("ext", "root"), ("root", "root")):
            if label in walk.cas:
                done = verify(tmp_path / f"{sku}-{label}", [walk.cas[root], walk.cas[label]], *strict)
                assert done.stdout.strip() == "leaf: OK", done.stderr
