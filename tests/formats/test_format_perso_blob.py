import hashlib

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import perso_blob
from station.formats.perso_blob import TYPES, CertObject, PersoObject

DEVICE_ID = PersoObject(TYPES.DEVICE_ID, bytes.fromhex("112233445566778899aabbccddeeff00") + bytes(16))
HMAC = PersoObject(TYPES.WAS_TBS_HMAC, bytes.fromhex("2233445566778899aabbccddeeff") + bytes(18))
TBS = CertObject(TYPES.X509_TBS, "testkey1", b"\x44" * 128)
CERT = CertObject(TYPES.X509_CERT, "testkey1", b"\x33" * 128)
SEED = PersoObject(TYPES.DEV_SEED, b"\x5a" * 128)


def x509(length):
    """Bytes that are as long as their outer header says."""
    return b"\x30\x82" + (length - 4).to_bytes(2, "big") + bytes(length - 4)


def test_the_appliances_version_0_fixture():
    body = perso_blob.build([DEVICE_ID, HMAC, TBS, CERT], 0)
    assert len(body) == 348 and body[:2].hex() == "5022"
    assert hashlib.sha256(body).hexdigest() == "e77603696795f73ec68fec54aa4f47d9b1d2b0523a23c9c43e0abf49dbaf5e52"
    blob = perso_blob.parse(body, 4, check_der=False)
    assert blob.version == 0 and blob.objects == (DEVICE_ID, HMAC, TBS, CERT) and blob.num_objs == 4


def test_the_appliances_version_1_fixture():
    body, count = perso_blob.pack_endorsed([CERT], [], version=1)
    assert len(body) == 148 and body[:12].hex() == "f0040001010000900800008c" and count == 2
    assert hashlib.sha256(body).hexdigest() == "47ae0cf176a5501965705c42274f19151ce230bbd27dcb47cd4315167175d539"


@pytest.mark.parametrize(
    ("version", "text"),
    [(0, "100d400b636572740102030405"), (1, "f0040001010000110400000d636572740102030405")],
)
def test_the_firmware_libraries_small_blobs(version, text):
    cert = CertObject(TYPES.X509_CERT, "cert", bytes.fromhex("0102030405"))
    assert perso_blob.build([cert], version).hex() == text
    assert perso_blob.parse(bytes.fromhex(text), 1 + version, check_der=False).objects == (cert,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("00" * 65537, "exceeds max"),
        ("01", "unknown or invalid blob version"),
        ("000a", "object size 10 exceeds remaining buffer 2"),
        ("3009", "exceeds remaining"),
        ("30010102", "at least 2 bytes"),
        ("d003ff", "known perso object type, saw 13"),
        ("1007" "5005" "616263", "name inside"),
        ("1006" "2004" "fffe", "ASCII"),
        ("1006" "1003" "6162", "wrapped certificate"),
        ("1003" "10", "certificate header"),
        ("f0040002", "unknown or invalid blob version"),
        ("f0040001" "05000023" + "00" * 31, "32 bytes of DEVICE_ID"),
        ("5003" "00", "32 bytes of DEVICE_ID"),
        ("2002", "1 to 128 bytes of DEV_SEED"),
        ("0000" "01", "only zeros"),
        ("ffff" "01", "erased"),
    ],
)  # fmt: skip
def test_bad_blobs(text, reason):
    with pytest.raises(FormatError, match=reason):
        perso_blob.parse(bytes.fromhex(text))


@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0", bytes(500), b"\xff\xff", b"\xff" * 300])
@pytest.mark.parametrize("version", [0, 1])
def test_zeros_or_erased_flash_end_a_blob(version, tail):
    if version and tail == b"\xff\xff":
        return  # half a version 1 header is a cut-off blob
    body = perso_blob.build([DEVICE_ID, HMAC], version)
    assert perso_blob.parse(body + tail).objects == (DEVICE_ID, HMAC)


def test_x509_bodies_are_as_long_as_they_say():
    good = CertObject(TYPES.X509_TBS, "UDS", x509(132))
    assert good.body[:4].hex() == "30820080"
    assert perso_blob.parse(perso_blob.build([good], 0)).objects == (good,)
    for body in (good.body + b"\0", good.body[:-1], b"\x30\x03abc", b""):
        with pytest.raises(FormatError, match=r"X\.509"):
            perso_blob.parse(perso_blob.build([CertObject(TYPES.X509_TBS, "UDS", body)], 0))
    cwt = CertObject(TYPES.CWT_CERT, "UDS", b"\xd2cbor")
    assert perso_blob.parse(perso_blob.build([cwt], 0)).objects == (cwt,)


def test_unknown_objects_are_refused_or_skipped():
    body = bytes.fromhex("d003ff") + perso_blob.build([DEVICE_ID], 0)
    with pytest.raises(FormatError):
        perso_blob.parse(body)
    assert perso_blob.parse(body, 2, skip_unknown=True).objects == (DEVICE_ID,)


def test_the_count_must_match_and_the_marker_may_count():
    body = perso_blob.build([DEVICE_ID, HMAC], 1)
    assert perso_blob.parse(body, 3) == perso_blob.parse(body, 2)
    assert perso_blob.parse(body).num_objs == 3
    for wrong in (1, 4):
        with pytest.raises(FormatError, match="objects"):
            perso_blob.parse(body, wrong)
    with pytest.raises(FormatError):
        perso_blob.parse(perso_blob.build([DEVICE_ID], 0), 2)


@pytest.mark.parametrize(("version", "longest"), [(0, 15), (1, 255)])
def test_the_longest_names(version, longest):
    cert = CertObject(TYPES.CWT_CERT, "n" * longest, b"x")
    assert perso_blob.parse(perso_blob.build([cert], version)).objects == (cert,)
    with pytest.raises(FormatError, match="fits its header"):
        perso_blob.build([CertObject(TYPES.CWT_CERT, "n" * (longest + 1), b"x")], version)


def test_the_largest_version_0_object():
    largest = CertObject(TYPES.CWT_CERT, "", bytes(4095 - 4))
    assert perso_blob.parse(perso_blob.build([largest], 0)).objects == (largest,)
    too_large = CertObject(TYPES.CWT_CERT, "", bytes(4096 - 4))
    with pytest.raises(FormatError):
        perso_blob.build([too_large], 0)
    assert perso_blob.parse(perso_blob.build([too_large], 1)).objects == (too_large,)


def test_the_was_message_is_every_tbs_in_order():
    other = CertObject(TYPES.X509_TBS, "TPM EK", b"\x01\x02")
    assert perso_blob.was_message([HMAC, TBS, CERT, SEED, other]) == TBS.body + other.body


def test_the_certificate_hash_follows_the_blob():
    cdi = CertObject(TYPES.X509_CERT, "CDI_0", b"cdi")
    cwt = CertObject(TYPES.CWT_CERT, "CWT", b"cwt")
    generic = PersoObject(TYPES.GENERIC_SEED, b"generic")
    final = perso_blob.with_endorsed([TBS, cdi, SEED, cwt, HMAC, generic], {"testkey1": b"endorsed"})
    assert final[0] == CertObject(TYPES.X509_CERT, "testkey1", b"endorsed") and final[1:3] == (cdi, SEED)
    assert perso_blob.certs_hash(final) == hashlib.sha256(b"endorsed" + b"cdi" + SEED.payload + b"cwt").digest()
    with pytest.raises(FormatError, match="testkey1"):
        perso_blob.with_endorsed([TBS], {})


def test_the_appliances_hash_has_its_own_order_and_is_reversed():
    objects = [
        SEED,
        CertObject(TYPES.X509_CERT, "CDI_0", b"c0"),
        CertObject(TYPES.X509_CERT, "UDS", b"u"),
        CertObject(TYPES.CWT_CERT, "UDS", b"w"),
    ]
    expected = hashlib.sha256(b"w" + b"u" + b"c0" + SEED.payload).digest()[::-1]
    assert perso_blob.appliance_certs_hash(objects, ["UDS"], ["UDS", "CDI_0", "CDI_1"]) == expected


def test_both_hashes_agree_when_the_blob_has_the_skus_order():
    objects = [CertObject(TYPES.X509_CERT, name, name.encode()) for name in perso_blob.DICE_NAMES]
    wire = perso_blob.certs_hash(objects)[::-1]
    assert perso_blob.appliance_certs_hash(objects, [], perso_blob.DICE_NAMES) == wire


@pytest.mark.parametrize("version", [0, 1])
def test_registry_blob_order(version):
    cdi = CertObject(TYPES.X509_CERT, "CDI_0", x509(40))
    uds = CertObject(TYPES.X509_CERT, "UDS", x509(50))
    body, count = perso_blob.pack_registry([cdi], [uds], [SEED], version)
    blob = perso_blob.parse(body, count)
    assert blob.objects == (cdi, uds, SEED) and count == 3 + version == blob.num_objs
    assert blob.certs(TYPES.X509_CERT) == (cdi, uds) and blob.payload(TYPES.DEV_SEED) == SEED.payload
    assert blob.payload(TYPES.DEVICE_ID) is None


def test_packing_refuses_what_the_part_cannot_hold():
    with pytest.raises(FormatError):
        perso_blob.pack_endorsed([], [CERT], 0)
    with pytest.raises(FormatError):
        perso_blob.pack_endorsed([CertObject(TYPES.X509_CERT, "UDS", b"")], [], 0)
    with pytest.raises(FormatError, match="5120"):
        perso_blob.pack_endorsed([CERT] * 40, [], 0)


def test_two_device_ids_are_suspect():
    blob = perso_blob.parse(perso_blob.build([DEVICE_ID, DEVICE_ID], 0))
    with pytest.raises(FormatError):
        blob.payload(TYPES.DEVICE_ID)


def test_seeds_are_not_printed():
    assert repr(SEED) == "PersoObject(DEV_SEED, 128 bytes)" and "33" not in repr(CERT)


objects = st.one_of(
    st.builds(
        CertObject,
        st.sampled_from(perso_blob.CERT_TYPES),
        st.text("UDSCI_01 tpmek", max_size=15),
        st.binary(max_size=200),
    ),
    st.builds(PersoObject, st.sampled_from([TYPES.DEV_SEED, TYPES.GENERIC_SEED]), st.binary(min_size=1, max_size=128)),
    st.builds(
        PersoObject,
        st.sampled_from([TYPES.DEVICE_ID, TYPES.WAS_TBS_HMAC, TYPES.PERSO_SHA256_HASH]),
        st.binary(min_size=32, max_size=32),
    ),
)


@bounded
@given(st.lists(objects, min_size=1, max_size=8), st.integers(0, 1), st.integers(0, 40))
def test_blobs_come_back(items, version, tail):
    body = perso_blob.build(items, version)
    blob = perso_blob.parse(body + bytes(tail), len(items) + version, check_der=False)
    assert blob.version == version and blob.objects == tuple(items)


@bounded
@given(
    st.binary(max_size=300), st.lists(objects, max_size=4), st.integers(0, 1), st.integers(0, 400), st.integers(1, 255)
)
def test_damaged_blobs_are_refused_or_read(data, items, version, position, change):
    for body in (data, perso_blob.MARKER_V1 + data):
        only_format_error(perso_blob.parse, body)
        only_format_error(perso_blob.parse, body, check_der=False, skip_unknown=True)
    body = bytearray(perso_blob.build(items, version) or b"\0")
    body[position % len(body)] ^= change
    only_format_error(perso_blob.parse, bytes(body), check_der=False)
