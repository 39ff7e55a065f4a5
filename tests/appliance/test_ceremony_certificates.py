"""CA certificates of a ceremony against the table of the sheet (4.2), the kept subjects, and what linters say."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from datetime import timedelta

import pytest
from ceremony_bench import ALL_SKUS, Bench
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from station.appliance.ceremony.authority import check_ca, parse_subjects
from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transfer import read_transfer
from station.appliance.certificates import DICE_CA_NAME
from station.errors import ConfigError
from station.model import Realm

ROOT_SUBJECT = ["C=IL", "O=Nuvoton Technology Corporation", "OU=Engineering", "CN=Nuvoton Technology OpenTitan Root CA"]
ICA_SUBJECT = ["C=US", "ST=CA", "O=Google", "OU=Engineering", "CN=Google Engineering ICA"]
SIGNS = {"key_cert_sign", "crl_sign", "digital_signature"}
TABLE = {  # subject, path length, key usages, key usage is critical, authority key id names the issuer
    "opentitan-ca-root-v0": (ROOT_SUBJECT, None, SIGNS, False, True),
    "opentitan-mldsa-ca-root-v0": (ROOT_SUBJECT, None, SIGNS, False, True),
    "pi01-ca-root-v0": (ROOT_SUBJECT, 1, {"key_cert_sign"}, True, True),
    "sival-dice-key-p256-v0": (ICA_SUBJECT, None, SIGNS, False, False),
    "sival_pqc-dice-key-mldsa-v0": (ICA_SUBJECT, None, SIGNS, False, False),
    "cr01-ica-dice-key-p256-v0": (ICA_SUBJECT, None, SIGNS, False, False),
    "ti01-ica-dice-key-p256-v0": (ICA_SUBJECT, None, SIGNS, False, False),
    "pi01-ica-dice-key-p256-v0": (ICA_SUBJECT, 0, {"key_cert_sign"}, True, False),
    "cr01-ica-ext-key-p256-v0": (ICA_SUBJECT, 0, SIGNS, False, False),
    "pi01-ica-ext-key-p256-v0": (ICA_SUBJECT, None, SIGNS, False, False),
}
"""Written from the sheet, not from the code's table."""
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign",
)  # fmt: skip


@pytest.fixture(scope="module")
def production(tmp_path_factory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("production"), ALL_SKUS, Realm.PRODUCTION)
    bench.run()
    return bench


def load(bench: Bench, label: str) -> x509.Certificate:
    return x509.load_der_x509_certificate((bench.spm / f"skus/ca/{label}.der").read_bytes())


@pytest.mark.parametrize("label", TABLE)
def test_subject_extensions_and_life_are_those_of_the_table(production, label):
    subject, path_length, usages, critical, names_issuer = TABLE[label]
    certificate = load(production, label)
    assert [attribute.rfc4514_string() for attribute in certificate.subject] == subject
    found = {extension.oid: extension for extension in certificate.extensions}
    assert set(found) == {
        ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }  # fmt: skip
    constraints, usage = found[ExtensionOID.BASIC_CONSTRAINTS], found[ExtensionOID.KEY_USAGE]
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, path_length)
    assert {name for name in USAGES if getattr(usage.value, name)} == usages
    assert usage.critical is critical
    authority = found[ExtensionOID.AUTHORITY_KEY_IDENTIFIER].value
    assert (authority.authority_cert_serial_number is not None) is names_issuer
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=7300)
    assert certificate.version is x509.Version.v3


@pytest.mark.parametrize("label", TABLE)
def test_key_ids_are_sha1_of_the_public_key_bits(production, label):
    certificate = load(production, label)
    key = certificate.public_key()
    elliptic = "mldsa" not in label
    bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) if elliptic else key.public_bytes_raw()
    key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert key_id == hashlib.sha1(bits).digest()


def test_roots_name_themselves_in_their_authority_key_id(production):
    for label in ("opentitan-ca-root-v0", "pi01-ca-root-v0", "opentitan-mldsa-ca-root-v0"):
        root = load(production, label)
        authority = root.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert authority.authority_cert_serial_number == root.serial_number
        assert authority.authority_cert_issuer[0].value == root.subject


def test_serial_numbers_are_random_and_differ(production):
    serials = [load(production, label).serial_number for label in TABLE]
    assert len(set(serials)) == len(TABLE)
    assert min(serial.bit_length() for serial in serials) > 100


def test_the_issuer_name_of_firmware_is_byte_for_byte_the_same(production):
    assert load(production, "sival-dice-key-p256-v0").subject.public_bytes() == DICE_CA_NAME.public_bytes()


@pytest.mark.parametrize("label", [label for label in TABLE if "mldsa" not in label])
def test_pkilint_finds_no_error(production, tmp_path, label):
    """Warnings are about the table's own choices (a key usage that is not critical, names of other companies)."""
    path = tmp_path / "ca.pem"
    path.write_bytes(load(production, label).public_bytes(Encoding.PEM))
    command = [sys.executable, "-m", "pkilint.bin.lint_pkix_cert", "lint", "-s", "ERROR", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- subjects --------------------------------------------------------------------------------------------------------


def test_other_subjects_on_both_machines(tmp_path):
    bench = Bench(tmp_path, ("sival",))
    bench.subjects = parse_subjects(
        [
            "opentitan-ca-root-v0=CN=Example Root CA,OU=Silicon,O=Example GmbH,C=DE",
            "sival-dice-key-p256-v0=CN=Example DICE CA,O=Example GmbH,C=DE",
        ]
    )
    bench.run()
    root, ca = load(bench, "opentitan-ca-root-v0"), load(bench, "sival-dice-key-p256-v0")
    assert root.subject.rfc4514_string() == "CN=Example Root CA,OU=Silicon,O=Example GmbH,C=DE"
    assert [attribute.oid for attribute in root.subject] == [  # the country comes first in the certificate
        x509.NameOID.COUNTRY_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
        x509.NameOID.COMMON_NAME,
    ]  # fmt: skip
    assert ca.issuer == root.subject
    assert ca.subject.rfc4514_string() == "CN=Example DICE CA,O=Example GmbH,C=DE"


def test_a_subject_that_only_one_machine_was_told(tmp_path):
    bench = Bench(tmp_path, ("sival",))
    bench.run(until=Step.SPM_SKU_CSR)
    bench.subjects = parse_subjects(["sival-dice-key-p256-v0=CN=Example DICE CA,C=DE"])
    bench.spm_sku_csr()
    bench.subjects = {}
    bench.offline_ca_root_certgen()
    with pytest.raises(ConfigError, match="give --subject on both machines"):
        bench.offline_sku_certgen()


def test_a_root_is_certified_once(ended):
    root = (ended.offline / "ca/opentitan-ca-root-v0.der").read_bytes()
    ended.skus = ("sival",)
    ended.subjects = parse_subjects(["opentitan-ca-root-v0=CN=Another Root,C=DE"])
    with pytest.raises(ConfigError, match="a root is certified once"):
        ended.offline_ca_root_certgen()
    ended.subjects = {}
    ended.offline_ca_root_certgen()
    assert (ended.offline / "ca/opentitan-ca-root-v0.der").read_bytes() == root


@pytest.mark.parametrize(
    ("step", "label", "words"),
    [
        ("offline_ca_root_certgen", "opentitan-ca-root-v0", "a root is certified once"),
        ("spm_sku_csr", "sival-dice-key-p256-v0", "a request is made once"),
        ("offline_sku_certgen", "sival-dice-key-p256-v0", "give --subject on both machines"),
    ],
)
def test_a_step_that_is_done_takes_no_other_subject(ended, step, label, words):
    """The very step that was done, repeated: silence would mean that the new name counts."""
    bench = dataclasses.replace(ended, subjects={})
    assert getattr(bench, step)().already
    bench.subjects = parse_subjects([f"{label}=CN=Another,C=DE"])
    with pytest.raises(ConfigError, match=words):
        getattr(bench, step)()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CN=Root", "expected LABEL=NAME"),
        ("opentitan-ca-root=CN=Root", "did you mean 'opentitan-ca-root-v0'"),
        ("opentitan-ca-root-v0=Root", "expected a name such as"),
        ("opentitan-ca-root-v0=", "saw an empty one"),
        ("", "expected LABEL=NAME"),
    ],
)
def test_subjects_that_are_none(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_subjects([text])


# ---- the check of a certificate --------------------------------------------------------------------------------------


def test_the_check_accepts_what_was_issued(production):
    for label in TABLE:
        root = "pi01-ca-root-v0" if label.startswith("pi01") else "opentitan-ca-root-v0"
        root = "opentitan-mldsa-ca-root-v0" if "mldsa" in label else root
        der = (production.spm / f"skus/ca/{label}.der").read_bytes()
        assert check_ca(der, label, (production.spm / f"skus/ca/{root}.der").read_bytes(), Realm.PRODUCTION)


def test_a_certificate_under_another_label(production):
    """Each label has its profile: pi01's strict CA is not one of cr01."""
    folder = production.spm / "skus/ca"
    der = (folder / "cr01-ica-ext-key-p256-v0.der").read_bytes()
    with pytest.raises(ConfigError, match=r"saw a difference \(2\.5\.29\.19\)"):
        check_ca(der, "cr01-ica-dice-key-p256-v0", (folder / "opentitan-ca-root-v0.der").read_bytes(), Realm.PRODUCTION)


def test_another_length_of_life(production, monkeypatch):
    from station.appliance.ceremony import authority

    monkeypatch.setattr(authority, "CA_DAYS", 3650)
    der = (production.spm / "skus/ca/opentitan-ca-root-v0.der").read_bytes()
    with pytest.raises(ConfigError, match="for 3650 days, saw 7300"):
        check_ca(der, "opentitan-ca-root-v0", der, Realm.PRODUCTION)


def test_no_certificate_at_all():
    for der in (b"", b"\x30\x00", bytes(300)):
        with pytest.raises(ConfigError, match="valid below its root"):
            check_ca(der, "sival-dice-key-p256-v0", der, Realm.DEV)


def test_requests_hold_a_name_and_a_key_only(production):
    transfer = read_transfer(production.path(Step.SPM_SKU_CSR, ALL_SKUS, Side.SPM).read_bytes())
    for item in transfer.items.values():
        request = x509.load_der_x509_csr(item)
        assert list(request.extensions) == []
        assert list(request.attributes) == []
