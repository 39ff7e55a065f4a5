"""SKU files: the upstream schema as it is, and every mistake with its line."""

from __future__ import annotations

import pytest
from appliance_bench import copy_folder
from sku_bench import open_spm

from station.appliance.keystore import KeyInfo, KeyMissing
from station.appliance.loaded_sku import load_sku
from station.appliance.refusal import Refusal
from station.appliance.skus import read_auth, read_sku
from station.errors import ConfigError
from station.model import Realm

GOOD = """\
sku: "demo"
slotId: 0
numSessions: 3
certCountX509: 3
certCountCWT: 0
symmetricKeys:
  - name: high
  - name: low
certs:
  - name: RootCA
    path: root.der
privateKeys:
    - name: dice.priv
      endorsingCert: unused
publicKeys:
    - name: rma.pub
attributes:
    SeedSecHi: high
    SeedSecLo: low
    WASKeyLabel: high
    WASDisable: false
    WrappingMechanism: RsaPkcs
    WrappingKeyLabel: rma.pub
    SigningKey/Dice/v0: dice.priv
    CertChainDiceLeaf: CDI_1
    OwnerFirmwareBootMessage: "a: b"
x509CertHashOrder: [UDS, CDI_0, CDI_1]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "root.der").write_bytes(b"x")
    return tmp_path


def read(folder, text):
    path = folder / "sku_demo.yml"
    path.write_text(text)
    return read_sku(path, folder)


def findings(folder, text):
    with pytest.raises(ConfigError) as failed:
        read(folder, text)
    return [(finding.line, finding.sentence) for finding in failed.value.findings]


def test_the_upstream_schema(folder):
    sku = read(folder, GOOD)
    assert (sku.sku, sku.x509_count, sku.cwt_count) == ("demo", 3, 0)
    assert sku.key_labels == ("high", "low", "dice.priv", "rma.pub")
    assert sku.attributes["WASDisable"] == "false"
    assert sku.attributes["OwnerFirmwareBootMessage"] == "a: b"
    assert sku.x509_hash_order == ("UDS", "CDI_0", "CDI_1")
    assert sku.certs["RootCA"] == folder / "root.der"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("slotId", "slotID", 2, "did you mean 'slotId'?"),
        ("certCountX509: 3", "certCountX509: many", 4, "expected a number"),
        ("certCountX509: 3", "certCountX509: -1", 4, "expected a number"),
        ("certCountX509: 3\n", "", 1, "certCountX509"),
        ("  - name: low", "  - low", 8, "expected a mapping"),
        ("path: root.der", "path: other.der", 11, "other.der"),
        ("endorsingCert", "endorsing", 14, "unknown key 'endorsing'"),
        ("SeedSecHi: high", "SeedSecHigh: high", 18, "did you mean 'SeedSecHi'?"),
        ("SeedSecLo: low", "SeedSecLo: lower", 19, "'lower'"),
        ("WASDisable: false", "WASDisable: maybe", 21, "true, false"),
        ("RsaPkcs", "${OTPROV_WrappingMechanism}", 22, "expected one of none, RsaPkcs"),
        ("CertChainDiceLeaf: CDI_1", "CertChainDiceLeaf: CDI_2", 25, "expected one of UDS"),
        ("[UDS, CDI_0, CDI_1]", "UDS", 27, "expected a list"),
        ("[UDS, CDI_0, CDI_1]", "[]", 27, "expected 3 different labels for 'x509CertHashOrder', one per certificate"),
        ("x509CertHashOrder: [UDS, CDI_0, CDI_1]\n", "", 1, "expected 3 different labels for 'x509CertHashOrder'"),
        ("[UDS, CDI_0, CDI_1]", "[UDS, CDI_0, CDI_0]", 27, "saw 'UDS', 'CDI_0', 'CDI_0'"),
        ("[UDS, CDI_0, CDI_1]", "[UDS, CDI_0, CDI_1, X]", 27, "expected 3 different labels"),
        ("[UDS, CDI_0, CDI_1]", "[UDS, CDI_0, CDI_9]", 27, "expected 'CDI_1' for 'x509CertHashOrder', which is in"),
        ("CDI_1]\n", "CDI_1]\ncwtCertHashOrder: [UDS]\n", 28, "expected 0 different labels for 'cwtCertHashOrder'"),
        ("certCountCWT: 0", "certCountCWT: 1", 1, "expected 1 different labels for 'cwtCertHashOrder'"),
    ],
)
def test_a_mistake_is_shown_with_its_line(folder, old, new, line, words):
    assert old in GOOD
    found = findings(folder, GOOD.replace(old, new))
    assert any(at == line and words in sentence for at, sentence in found), found


def test_spellings_that_upstream_reads_too(folder):
    text = GOOD.replace("SeedSecLo: low", "'SeedSecLo': \"low\"").replace('OwnerFirmwareBootMessage: "a: b"', "? CertX")
    text = text.replace("    ? CertX\n", "    OwnerFirmwareBootMessage:\n    SigningKey/Ext/v0: null\n")
    text = text.replace("WrappingMechanism: RsaPkcs", "WrappingMechanism: none")
    text = text.replace("[UDS, CDI_0, CDI_1]", "").replace("certCountX509: 3", "certCountX509: 0")
    text = text.replace("certCountCWT: 0", "certCountCWT: 1").replace("CertChainDiceLeaf: CDI_1", "CertChainDiceLeaf:")
    text = text.replace('sku: "demo"', "\"sku\": 'demo'").replace("WASDisable: false", 'WASDisable: "false"')
    sku = read(folder, text + 'cwtCertHashOrder:\n  - "TPM EK"\n')
    assert sku.attributes["SeedSecLo"] == "low"
    assert sku.attributes["WASDisable"] == "false"
    assert sku.attributes["WrappingMechanism"] == "none"
    assert not {"OwnerFirmwareBootMessage", "SigningKey/Ext/v0"} & set(sku.attributes)
    assert (sku.x509_hash_order, sku.cwt_hash_order) == ((), ("TPM EK",))


def test_the_mldsa_certificate_beside_uds_is_not_hashed(folder):
    """It is counted all the same, as in sival_pqc."""
    text = GOOD.replace("certCountX509: 3", "certCountX509: 4").replace("Dice/v0", "Dice/Mldsa/v0")
    assert read(folder, text).x509_hash_order == ("UDS", "CDI_0", "CDI_1")
    hashed = text.replace("CDI_1]", "CDI_1, UDS_MLDSA]")
    assert read(folder, hashed).x509_hash_order[-1] == "UDS_MLDSA"
    assert findings(folder, GOOD.replace("certCountX509: 3", "certCountX509: 4"))


def test_key_files_of_the_second_layer(folder):
    layer = "SecondLayerWrappingMechanism: Hpke\n    HPKEPQPublicKeyPath: pq\n    WASDisable"
    found = findings(folder, GOOD.replace("WASDisable", layer))
    assert [(line, "HPKE" in words) for line, words in found] == [(17, True), (22, True)]
    for name in ("pq", "classical"):
        (folder / name).write_bytes(b"")
    text = GOOD.replace("WASDisable", layer.replace("WAS", "HPKEClassicalPublicKeyPath: classical\n    WAS"))
    assert read(folder, text).layer_keys == (folder / "pq", folder / "classical")


def test_all_mistakes_at_once_and_in_order(folder):
    text = GOOD.replace("slotId", "slot").replace("WASDisable: false", "WASDisable: x").replace("root.der", "none.der")
    lines = [line for line, _ in findings(folder, text)]
    assert lines == sorted(lines)
    assert len(lines) == 3


@pytest.mark.parametrize(("text", "line"), [("a: [", 1), ("- a\n", 1), ("sku: x\nsku: y\n", 2), ("a: b\n\tc: d\n", 2)])
def test_no_yaml(folder, text, line):
    found = findings(folder, text)
    assert len(found) == 1
    assert abs(found[0][0] - line) <= 1


def test_unreadable(folder):
    (folder / "sku_demo.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"sku_demo\.yml: expected a readable"):
        read_sku(folder / "sku_demo.yml", folder)
    with pytest.raises(ConfigError, match="readable"):
        read_sku(folder / "absent.yml", folder)


def test_passwords_and_methods(folder):
    path = folder / "auth.yml"
    path.write_text('skuAuthCfgList:\n  "sival":\n    skuAuth: "$2a$10$abc"\n    methods: ["DeriveTokens"]\n')
    assert read_auth(path)["sival"].methods == ("DeriveTokens",)
    path.write_text('skuAuthCfgList:\n  "sival":\n    skuAuth: plain\n    methods: x\n')
    with pytest.raises(ConfigError) as failed:
        read_auth(path)
    assert [finding.line for finding in failed.value.findings] == [3, 4]


class FakeKeystore:
    realm = Realm.PRODUCTION

    def labels(self):
        return frozenset({"high", "low", "dice.priv"})

    def missing(self, label):
        return f"expected key {label!r}"

    def public_key(self, label):
        return b"another key"

    def key_info(self, label):
        return KeyInfo("private", "P-256") if label.endswith(".priv") else KeyInfo("secret", "HMAC")


def test_loading_checks_keys_certificates_and_what_can_be_served(folder, made):
    (folder / "root.der").write_bytes((made / "skus/ca/opentitan-ca-root-v0.der").read_bytes())
    text = GOOD.replace("WASDisable: false", "WASDisable: true").replace("- name: RootCA", "- name: SigningKey/Dice/v0")
    text = text.replace("RsaPkcs", "AesGcm").replace("SeedSecLo: low", "SeedSecLo: dice.priv")
    (folder / "sku_demo.yml").write_text(text)
    with pytest.raises(ConfigError) as failed:
        load_sku(folder, "demo", FakeKeystore())
    sentences = "\n".join(finding.sentence for finding in failed.value.findings)
    for words in (
        "expected key 'rma.pub'",
        "carry the public key",
        "wraps seeds with RSA only",
        "HMAC (secret key) under 'dice.priv' for 'SeedSecLo', saw P-256 (private key)",
        "WASDisable is refused",
    ):
        assert words in sentences
    with pytest.raises(ConfigError, match="letters, digits"):
        load_sku(folder, "demo/../demo", FakeKeystore())


def test_production_wants_the_proof_of_origin_from_the_high_seed(folder, made):
    (folder / "root.der").write_bytes((made / "skus/ca/opentitan-ca-root-v0.der").read_bytes())
    for old, new, refused in (
        ("WASKeyLabel: high", "WASKeyLabel: low", True),
        ("SeedSecLo: low", "SeedSecLo: high", True),
        ("WASKeyLabel: high", "WASKeyLabel:", False),
        ("", "", False),
    ):
        (folder / "sku_demo.yml").write_text(GOOD.replace(old, new))
        with pytest.raises(ConfigError) as failed:
            load_sku(folder, "demo", FakeKeystore())
        assert ("WASKeyLabel" in str(failed.value)) is refused, new


def test_an_attribute_that_names_a_seed_for_a_ca_is_told_with_the_file(made, tmp_path):
    """Also when its certificate is there, whose key is then compared with none."""
    folder = copy_folder(made, tmp_path / "appliance") / "skus"
    path = folder / "sku_sival.yml"
    text = path.read_text()
    path.write_text(
        text.replace("SigningKey/Dice/v0: sival-dice-key-p256-v0.priv", "SigningKey/Dice/v0: eg-kdf-hisec-v0")
    )
    assert path.read_text() != text
    with pytest.raises(ConfigError, match=r"sku_sival\.yml: expected P-256 .* saw HMAC \(secret key\)"):
        load_sku(folder, "sival", open_spm(folder.parent)._keystore)


def test_whatever_is_wrong_with_a_sku_is_told_in_the_log(made, tmp_path, monkeypatch, caplog):
    spm = open_spm(copy_folder(made, tmp_path / "appliance"))

    def lacks(*_):
        raise KeyMissing("expected a key, saw none")

    monkeypatch.setattr("station.appliance.spm.load_sku", lacks)
    with pytest.raises(Refusal, match="failed to initialize sku 'sival': see the appliance's log") as failed:
        spm.load("sival")
    assert failed.value.code == "INTERNAL"
    assert "sku 'sival' cannot be served: expected a key, saw none" in caplog.text

    def away(*_):
        raise Refusal("INTERNAL", "the HSM is away")

    monkeypatch.setattr("station.appliance.spm.load_sku", away)
    with pytest.raises(Refusal, match="the HSM is away"):
        spm.load("sival")
