"""``station pa`` against a served appliance of ours: its CAs, and certificates that it endorses."""

from __future__ import annotations

import pytest
from appliance_bench import Served as ServedAppliance
from appliance_bench import TestPart, dice_ca_of, root_ca_of
from pa_bench import direct, rows_of

from station.appliance.emulated_device import device_signature, leaf_tbs
from station.appliance.pki import init
from station.formats.der import parse_certificate
from station.formats.dice import verify_chain


def test_ca_keys(call, served, here):
    code, out, _ = call("ca-keys", "--sku", "sival", *here, "--json")
    wanted = parse_certificate(dice_ca_of(served.folder)).tbs.ski.hex()
    assert code == 0
    assert {row["label"]: row["key_id"] for row in rows_of(out)} == {
        "UDS": wanted, "EXT": "00" * 20, "UDS_MLDSA": "00" * 20, "EXT_MLDSA": "00" * 20
    }  # fmt: skip
    assert wanted in call("ca-keys", "--sku", "sival", *here)[1]


def test_a_ca_key_that_the_sku_lacks(call, here):
    code, out, err = call("ca-keys", "--sku", "sival", *here, "--label", "BLA", "--label", "UDS", "--json")
    assert (code, [row["has_ca"] for row in rows_of(out)]) == (1, [False, True])
    assert "the SKU sival has no such CA: BLA" in err


def test_ca_certs(call, served, here, tmp_path):
    code, out, _ = call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas", "--json")
    assert code == 0
    assert (tmp_path / "cas/root.der").read_bytes() == root_ca_of(served.folder)
    assert (tmp_path / "cas/dice.der").read_bytes() == dice_ca_of(served.folder)
    assert [row["label"] for row in rows_of(out)] == ["root", "dice"]
    assert rows_of(out)[0]["file"] == str(tmp_path / "cas/root.der")
    assert rows_of(out)[0]["valid_until"] > "2040"
    assert call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas")[0] == 0  # the same stays
    (tmp_path / "cas/dice.der").write_bytes(b"mine")
    code, _, err = call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas")
    assert (code, "never overwritten" in err) == (2, True)
    assert (tmp_path / "cas/dice.der").read_bytes() == b"mine"


def test_a_ca_that_the_sku_lacks(call, here, tmp_path):
    code, out, err = call("ca-certs", "--sku", "sival", *here, "--label", "ext", "--out", tmp_path / "cas")
    assert (code, out) == (4, "")
    assert "NOT_FOUND" in err
    assert not (tmp_path / "cas").exists()


# ---- endorse -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tbs(served, tmp_path):
    part = TestPart(dice_ca_of(served.folder), 4711)
    path = tmp_path / "uds.tbs"
    path.write_bytes(part.uds_tbs)
    return path


def test_endorse_with_a_derived_secret(call, served, here, tbs, was, tmp_path):
    code, out, err = call(
        "endorse", "--sku", "sival", *here, "--derive-was", "--out", tmp_path / "certs", tbs, "--json"
    )
    assert (code, err) == (0, "")
    certificate = (tmp_path / "certs/uds.tbs.cert.der").read_bytes()
    chain = verify_chain([root_ca_of(served.folder), dice_ca_of(served.folder), certificate])
    assert chain[2].tbs.raw == tbs.read_bytes()
    (row,) = rows_of(out)
    assert (row["label"], row["file"]) == ("UDS", str(tmp_path / "certs/uds.tbs.cert.der"))
    assert was.hex() not in out + err


@pytest.mark.parametrize("form", ["hex", "hex file", "raw file"])
def test_endorse_with_the_parts_own_proof(call, here, tbs, was, tmp_path, form):
    proof = device_signature(was, tbs.read_bytes())
    given = tmp_path / "proof"
    given.write_bytes(proof if form == "raw file" else f"{proof.hex()}\n".encode())
    how = ["--signature", proof.hex()] if form == "hex" else ["--signature-file", given]
    assert call("endorse", "--sku", "sival", *here, *how, tbs)[0] == 0
    assert (tmp_path / "uds.tbs.cert.der").exists()


def test_a_label_that_was_typed_wrong_is_no_fault_of_the_part(call, here, tbs):
    code, _, err = call("endorse", "--sku", "sival", *here, "--derive-was", "--label", "FOO", tbs)
    assert code == 4
    assert "the SKU has no CA for a certificate of this label" in err and "correct the label or the SKU" in err
    assert "engineer" not in err


def test_several_files_in_their_order(call, served, here, tbs, was, tmp_path):
    other = tmp_path / "other.tbs"
    other.write_bytes(leaf_tbs("other", dice_ca_of(served.folder)))
    proof = device_signature(was, tbs.read_bytes() + other.read_bytes()).hex()
    wrong = call("endorse", "--sku", "sival", *here, "--signature", proof, other, tbs)
    assert (wrong[0], "does not endorse this part" in wrong[2]) == (4, True)
    assert list(tmp_path.glob("*.cert.der")) == []
    assert call("endorse", "--sku", "sival", *here, "--signature", proof, tbs, other)[0] == 0
    for path in (tbs, other):
        issued = parse_certificate(path.with_name(f"{path.name}.cert.der").read_bytes())
        assert issued.tbs.raw == path.read_bytes()


def test_another_hash_and_mldsa_follow_the_tbs(call, tmp_path):
    """The SKU with an ML-DSA CA: each TBS is signed with the algorithm that stands in it."""
    from cryptography.hazmat.primitives import hashes

    folder = tmp_path / "appliance"
    init(folder, ["station-1"], skus=["sival_pqc"])
    cas = {name: (folder / f"skus/ca/{name}.der").read_bytes() for name in (
        "sival-dice-key-p256-v0", "sival_pqc-dice-key-mldsa-v0")}  # fmt: skip
    files = {
        "sha384.tbs": leaf_tbs("a", cas["sival-dice-key-p256-v0"], hash_algorithm=hashes.SHA384()),
        "sha512.tbs": leaf_tbs("b", cas["sival-dice-key-p256-v0"], hash_algorithm=hashes.SHA512()),
        "mldsa.tbs": leaf_tbs("c", cas["sival_pqc-dice-key-mldsa-v0"], "ML-DSA-87"),
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    appliance = ServedAppliance(folder)
    labels = [word for label in ("UDS", "UDS", "UDS_MLDSA") for word in ("--label", label)]
    try:
        done = call("endorse", "--sku", "sival_pqc", *direct(folder), "--derive-was", *labels, *files)
    finally:
        assert appliance.stop() == 0
    assert done[0] == 0, done
    oids = [parse_certificate((tmp_path / f"{name}.cert.der").read_bytes()).algorithm for name in files]
    assert oids == ["1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4", "2.16.840.1.101.3.4.3.19"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--derive-was", "absent.tbs"], "expected a TBS certificate at absent.tbs"),
        (["uds.tbs"], "one of --signature, --signature-file and --derive-was"),
        (["--derive-was", "--signature", "00" * 32, "uds.tbs"], "one of --signature"),
        (["--signature", "00" * 31, "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--signature", "zz" * 32, "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--signature-file", "uds.tbs", "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--derive-was", "--label", "A", "--label", "B", "uds.tbs"], "one --label, or one for each of 1 files"),
        (["--derive-was", "uds.tbs", "uds.tbs"], "uds.tbs.cert.der twice"),
        (["--derive-was", "taken.tbs"], "expected no file at taken.tbs.cert.der"),
    ],
)
def test_endorsements_that_are_never_asked_for(call, here, tbs, tmp_path, monkeypatch, arguments, words):
    for name in ("taken.tbs", "taken.tbs.cert.der"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("station.pa_commands.opened", lambda *_: pytest.fail("nothing may be asked"))
    code, out, err = call("endorse", "--sku", "sival", *here, *arguments)
    assert (code, out) == (2, "")
    assert words in err
