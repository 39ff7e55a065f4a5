import datetime
import hashlib
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import der, der_tlv, dice, dice_build
from station.formats.dice_build import Measurements

LEVELS = ("root", "ica", "uds", "cdi_0", "cdi_1")
DIGESTS = tuple(hashlib.sha256(bytes([n])).digest() for n in range(4))
NOW = datetime.datetime(2027, 1, 15, tzinfo=datetime.UTC)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not installed")


def key(number):
    return ec.derive_private_key(number, ec.SECP256R1())


def spki(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(private):
    return hashlib.sha256(spki(private)).digest()[:20]


def ca(name, private, issuer_name, issuer_key, path_length=None, is_ca=True):
    """An ordinary CA certificate, made by an independent builder."""
    text = [x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    issuer = [x509.NameAttribute(NameOID.COUNTRY_NAME, "US"), x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(text))
        .issuer_name(x509.Name(issuer))
        .public_key(private.public_key())
        .serial_number(77)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def sign(tbs, private):
    return dice.assemble_certificate(tbs, private.sign(tbs, ec.ECDSA(hashes.SHA256())))


def make_chain(quirks=True, ica_path=None, ica_is_ca=True):
    """Root, ICA, UDS, CDI_0, CDI_1 with fixed keys."""
    keys = dict(zip(LEVELS, map(key, (11, 22, 33, 44, 55)), strict=True))
    root = ca("Root CA", keys["root"], "Root CA", keys["root"])
    ica = ca("Engineering ICA", keys["ica"], "Root CA", keys["root"], ica_path, ica_is_ca)
    signer = der.parse_certificate(ica).tbs
    uds_tbs = dice_build.uds_tbs(
        spki(keys["uds"]), key_id(keys["uds"]), signer.subject, signer.ski, Measurements("Device", 0, DIGESTS),
        quirks=quirks,
    )  # fmt: skip
    cdi_0 = dice_build.cdi_tbs(
        spki(keys["cdi_0"]), key_id(keys["cdi_0"]), key_id(keys["uds"]),
        Measurements("ROM_EXT", 1, DIGESTS[:1], svn=3), quirks=quirks,
    )  # fmt: skip
    cdi_1 = dice_build.cdi_tbs(
        spki(keys["cdi_1"]), key_id(keys["cdi_1"]), key_id(keys["cdi_0"]),
        Measurements("Owner", 2, DIGESTS[1:2], svn=200, debug=True), quirks=quirks,
    )  # fmt: skip
    return [root, ica, sign(uds_tbs, keys["ica"]), sign(cdi_0, keys["uds"]), sign(cdi_1, keys["cdi_0"])]


CHAIN = make_chain()


def test_a_whole_chain_verifies():
    chain = dice.verify_chain(CHAIN, at=NOW)
    assert [item.tbs.raw for item in chain] == [der.parse_certificate(item).tbs.raw for item in CHAIN]
    dice.check_device_links([item.tbs for item in chain[2:]])


@pytest.mark.parametrize("length", range(1, 5))
def test_shorter_chains_verify_too(length):
    assert len(dice.verify_chain(CHAIN[:length], at=NOW)) == length


def test_what_a_uds_certificate_says():
    tbs = der.parse_certificate(CHAIN[2]).tbs
    identity = key_id(key(33))
    assert tbs.serial == int.from_bytes(identity, "big") and tbs.subject_serial == identity.hex() == tbs.ski.hex()
    assert tbs.aki == der.parse_certificate(CHAIN[1]).tbs.ski and dice.check_key_ids(tbs) == identity
    assert tbs.basic_constraints == der.BasicConstraints(True, None) and tbs.key_usage == {der.KEY_CERT_SIGN}
    info = dice.tcb_info(tbs)
    assert (info.vendor, info.model, info.svn, info.layer, info.debug) == ("OpenTitan", "Device", 0, 0, False)
    assert [item.digest for item in info.fwids] == list(DIGESTS)
    assert {item.algorithm for item in info.fwids} == {dice.OID_SHA256}
    assert [item.oid for item in tbs.extensions if item.critical] == [
        der.OID_BASIC_CONSTRAINTS, der.OID_KEY_USAGE, dice.OID_DICE_TCB_INFO,
    ]  # fmt: skip


def test_svn_and_debug_flag_of_a_later_layer():
    info = dice.tcb_info(der.parse_certificate(CHAIN[4]).tbs)
    assert (info.svn, info.layer, info.debug) == (200, 2, True)
    assert dice.tcb_info(der.parse_certificate(CHAIN[3]).tbs).debug is False


def test_the_quirks_are_there_and_strict_parsers_refuse_them():
    tbs = der.parse_certificate(CHAIN[2]).tbs.raw
    assert bytes.fromhex("0603551d0e010100") in tbs and bytes.fromhex("0603551d23010100") in tbs
    assert bytes.fromhex("0303070400") in tbs
    with pytest.raises(ValueError):
        x509.load_der_x509_certificate(CHAIN[2]).extensions  # noqa: B018


def test_without_quirks_a_strict_parser_reads_the_same():
    chain = make_chain(quirks=False)
    dice.verify_chain(chain, at=NOW)
    strict = x509.load_der_x509_certificate(chain[2])
    tbs = der.parse_certificate(chain[2]).tbs
    assert strict.serial_number == tbs.serial
    assert strict.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == tbs.ski
    assert strict.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == tbs.aki
    assert strict.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert strict.tbs_certificate_bytes == tbs.raw
    assert strict.not_valid_before_utc == tbs.not_before and strict.not_valid_after_utc == tbs.not_after


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=20, check=False)


@needs_openssl
@pytest.mark.parametrize("quirks", [True, False])
def test_the_openssl_program_accepts_the_chain(tmp_path, quirks):
    chain = make_chain(quirks=quirks)
    files = {}
    for level, data in zip(LEVELS, chain, strict=True):
        source, files[level] = tmp_path / f"{level}.der", tmp_path / f"{level}.pem"
        source.write_bytes(data)
        shown = openssl("x509", "-inform", "DER", "-in", source, "-out", files[level], "-text")
        assert shown.returncode == 0, shown.stderr
    between = tmp_path / "between.pem"
    between.write_text("".join(files[level].read_text() for level in ("ica", "uds", "cdi_0")))
    check = ("verify", "-attime", int(NOW.timestamp()), "-CAfile", files["root"], "-untrusted", between)
    good = openssl(*check, "-ignore_critical", files["cdi_1"])
    assert good.returncode == 0, good.stderr
    strict = openssl(*check, files["cdi_1"])
    assert strict.returncode != 0 and "critical extension" in strict.stderr


@needs_openssl
def test_openssl_reads_the_fields_that_we_wrote(tmp_path):
    source = tmp_path / "uds.der"
    source.write_bytes(CHAIN[2])
    text = openssl("x509", "-inform", "DER", "-in", source, "-noout", "-text").stdout
    assert f"serialNumber = {key_id(key(33)).hex()}" in text
    assert "Certificate Sign" in text and "CA:TRUE" in text and "prime256v1" in text
    assert "Mar 22 23:59:59 2018 GMT" in text and "Dec 31 23:59:59 9999 GMT" in text


def replaced(position, certificate):
    return [*CHAIN[:position], certificate, *CHAIN[position + 1 :]]


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([], "at least a root"),
        ([CHAIN[0], *CHAIN[2:]], "issuer"),
        ([CHAIN[1], CHAIN[0]], "issuer"),
        (CHAIN[1:], "issuer"),
        (replaced(2, sign(der.parse_certificate(CHAIN[2]).tbs.raw, key(99))), "signed by its issuer"),
        (make_chain(ica_is_ca=False), "to be a CA"),
        (make_chain(ica_path=1), "path length"),
    ],
    ids=["empty", "gap", "swapped", "no root", "other key", "not a CA", "too deep"],
)
def test_chains_that_do_not_hold(chain, reason):
    with pytest.raises(FormatError, match=reason):
        dice.verify_chain(chain, at=NOW)


def test_a_sufficient_path_length_is_fine():
    dice.verify_chain(make_chain(ica_path=2), at=NOW)
    dice.verify_chain(make_chain(ica_path=0)[:3], at=NOW)


def test_validity_is_checked_only_when_asked():
    dice.verify_chain(CHAIN)
    for year in (2019, 2091):
        with pytest.raises(FormatError, match="valid at"):
            dice.verify_chain(CHAIN, at=datetime.datetime(year, 1, 1, tzinfo=datetime.UTC))


def test_an_unknown_critical_extension_is_refused():
    with pytest.raises(FormatError, match=r"2\.23\.133\.5\.4\.1"):
        dice.verify_chain(CHAIN, known_critical={der.OID_BASIC_CONSTRAINTS, der.OID_KEY_USAGE})


@pytest.mark.parametrize("position", range(2, 5))
def test_every_changed_bit_of_a_tbs_breaks_the_chain(position):
    raw = CHAIN[position]
    for index in range(8, len(raw) - 80, 37):
        damaged = bytearray(raw)
        damaged[index] ^= 1
        with pytest.raises(FormatError):
            dice.verify_chain(replaced(position, bytes(damaged)))


def test_assembly_keeps_the_tbs_and_checks_the_algorithm():
    tbs = der.parse_certificate(CHAIN[2]).tbs.raw
    signature = key(22).sign(tbs, ec.ECDSA(hashes.SHA256()))
    certificate = dice.assemble_certificate(tbs, signature)
    parsed = der.parse_certificate(certificate)
    assert parsed.tbs.raw == tbs and parsed.signature == signature and parsed.algorithm == dice.OID_ECDSA_SHA256
    assert certificate[4 + len(tbs) :][:12].hex() == "300a06082a8648ce3d040302"
    for bad in ((tbs, signature, dice.OID_ECDSA_SHA384), (tbs, b"\x01" * 64), (tbs[:-1], signature)):
        with pytest.raises(FormatError):
            dice.assemble_certificate(*bad)


def test_keys_that_are_no_elliptic_curve_are_not_supported():
    private = rsa.generate_private_key(65537, 1024)
    root = ca("RSA Root", private, "RSA Root", private)
    with pytest.raises(FormatError, match="ECDSA"):
        dice.verify_chain([root])
    with pytest.raises(FormatError, match="elliptic"):
        dice.verify_signature(der.parse_certificate(CHAIN[2]), spki(private))


def test_key_id_rules():
    tbs = [der.parse_certificate(item).tbs for item in CHAIN]
    dice.check_device_links(tbs[2:])
    with pytest.raises(FormatError, match="parent"):
        dice.check_device_links([tbs[2], tbs[4]])
    with pytest.raises(FormatError):
        dice.check_key_ids(tbs[1])
    with pytest.raises(FormatError, match="TcbInfo"):
        dice.tcb_info(tbs[1])


def test_a_key_id_with_its_top_bit_set_is_a_positive_serial():
    high = b"\xff" * 20
    tbs = der.parse_tbs(dice_build.cdi_tbs(spki(key(5)), high, bytes(20), Measurements("Owner", 2, ())))
    assert tbs.serial == 2**160 - 1 and dice.check_key_ids(tbs) == high


def test_the_public_key_builder_matches_an_independent_one():
    numbers = key(7).public_key().public_numbers()
    assert dice_build.spki_p256(numbers.x, numbers.y) == spki(key(7))
    with pytest.raises(FormatError):
        dice_build.spki_p256(1 << 256, 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: dice_build.cdi_tbs(spki(key(5)), b"short", bytes(20), Measurements("Owner", 2, ())),
        lambda: dice_build.cdi_tbs(spki(key(5)), bytes(20), bytes(19), Measurements("Owner", 2, ())),
        lambda: dice_build.cdi_tbs(b"junk", bytes(20), bytes(20), Measurements("Owner", 2, ())),
        lambda: dice_build.cdi_tbs(spki(key(5)), bytes(20), bytes(20), Measurements("Owner", 2, (b"short",))),
        lambda: dice_build.uds_tbs(spki(key(5)), bytes(20), b"junk", bytes(20), Measurements("Device", 0, ())),
    ],
)
def test_builder_inputs_are_checked(build):
    with pytest.raises(FormatError):
        build()


def test_a_tbs_fits_the_firmwares_limits():
    assert len(der.parse_certificate(CHAIN[2]).tbs.raw) < 1024 and CHAIN[2][:2] == b"\x30\x82"
    assert all(item[:2] == b"\x30\x82" for item in CHAIN)


@bounded
@given(st.integers(2, 4), st.integers(0, 2000), st.integers(1, 255), st.binary(max_size=40))
def test_damaged_certificates_are_refused_or_read(position, index, change, junk):
    damaged = bytearray(CHAIN[position])
    damaged[index % len(damaged)] ^= change
    assert only_format_error(dice.verify_chain, replaced(position, bytes(damaged))) is None
    parsed = only_format_error(der.parse_certificate, bytes(damaged))
    if parsed:
        for check in (dice.tcb_info, dice.check_key_ids, lambda tbs: dice.check_device_links([tbs])):
            only_format_error(check, parsed.tbs)
        only_format_error(dice.verify_signature, parsed, junk)
    only_format_error(dice.assemble_certificate, junk, junk)
    only_format_error(dice.verify_chain, [junk, der_tlv.sequence(junk)])


def resigned(position, old, new):
    """The chain with bytes of one TBS replaced and signed again by its right issuer."""
    tbs = der.parse_certificate(CHAIN[position]).tbs.raw
    assert tbs.count(old) == 1 and len(old) == len(new)
    return replaced(position, sign(tbs.replace(old, new), key(11 * position)))


def test_an_issuer_without_cert_sign_is_refused():
    with pytest.raises(FormatError, match="keyCertSign"):
        dice.verify_chain(resigned(2, bytes.fromhex("0303070400"), bytes.fromhex("0303078000")))


def test_a_wrong_authority_key_id_is_refused():
    aki = key_id(key(44))
    with pytest.raises(FormatError, match="key id above it"):
        dice.verify_chain(resigned(4, b"\x80\x14" + aki, b"\x80\x14" + bytes(20)))


def test_serial_and_subject_must_be_the_key_id():
    identity = key_id(key(33))
    for old, new in (
        (der_tlv.integer(int.from_bytes(identity, "big")), der_tlv.integer(int.from_bytes(identity, "big") ^ 1)),
        (identity.hex().encode(), identity.hex().upper().encode()),
        (b"\x04\x14" + identity, b"\x04\x14" + identity[::-1]),
    ):
        tbs = der.parse_certificate(resigned(2, old, new)[2]).tbs
        with pytest.raises(FormatError, match="key id"):
            dice.check_key_ids(tbs)


def test_a_signature_of_zeros_is_not_assembled():
    tbs = der.parse_certificate(CHAIN[2]).tbs.raw
    with pytest.raises(FormatError, match="positive"):
        dice.assemble_certificate(tbs, der_tlv.sequence(der_tlv.integer(0), der_tlv.integer(1)))


def test_signatures_that_the_caller_verified_are_not_verified_again_and_everything_else_is():
    wrong_root = replaced_signature(0)
    dice.verify_chain([wrong_root, *CHAIN[1:]], at=NOW, signed=1)
    with pytest.raises(FormatError, match="wrong signature"):
        dice.verify_chain([wrong_root, *CHAIN[1:]], at=NOW)
    for position in range(2, 5):
        chain = [*CHAIN[:position], replaced_signature(position), *CHAIN[position + 1 :]]
        with pytest.raises(FormatError, match="wrong signature"):
            dice.verify_chain(chain, at=NOW, signed=2)
    with pytest.raises(FormatError, match="valid at"):
        dice.verify_chain(CHAIN, at=datetime.datetime(2091, 1, 1, tzinfo=datetime.UTC), signed=2)
    with pytest.raises(FormatError, match="path length"):
        dice.verify_chain(make_chain(ica_path=0), at=NOW, signed=2)
    parsed = [der.parse_certificate(item) for item in CHAIN[:2]]
    assert dice.verify_chain([*parsed, *CHAIN[2:]], at=NOW, signed=2)[:2] == tuple(parsed)


def replaced_signature(position):
    """A certificate of the chain whose signature is a good one of another certificate."""
    tbs = der.parse_certificate(CHAIN[position]).tbs.raw
    other = der.parse_certificate(CHAIN[(position + 1) % len(CHAIN)]).signature
    return dice.assemble_certificate(tbs, other)
