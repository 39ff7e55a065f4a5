"""The status-code table of the appliance sheet (1.5) as rows: what is asked, of which SKU, what comes back.

Every odd SKU is a family member of its own in one appliance: it lacks, or has otherwise, what its row needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance_bench import TestPart, ecdsa, padded, request_of
from sku_bench import mldsa_of, tbs_of

from station.formats import perso_blob
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.wire import crypto_cert_pb2, device_id_pb2, pa_pb2, registry_record_pb2

OK = "OK"


def without(*names: str) -> Callable[[str], str]:
    """A SKU file without these lines."""
    return lambda text: "".join(
        line for line in text.splitlines(keepends=True) if line.split(":")[0].strip(" -") not in names
    )


def with_text(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return change


def without_cert(name: str, file: str) -> Callable[[str], str]:
    return with_text(f"  - name: {name}\n    path: ca/{file}.der\n", "")


ODD_SKUS: dict[str, Callable[[str], str]] = {
    "sival_no_high": without("SeedSecHi"),
    "sival_no_low": without("SeedSecLo"),
    "sival_no_mechanism": without("WrappingMechanism"),
    "sival_no_wrapping_key": without("WrappingKeyLabel"),
    "sival_mechanism_none": with_text("WrappingMechanism: RsaOaep", "WrappingMechanism: none"),
    "sival_mechanism_gcm": with_text("WrappingMechanism: RsaOaep", "WrappingMechanism: AesGcm"),
    "sival_pkcs1": with_text("WrappingMechanism: RsaOaep", "WrappingMechanism: RsaPkcs"),
    "sival_no_was": without("WASKeyLabel"),
    "sival_was_off": with_text("WASDisable: false", "WASDisable: true"),
    "sival_no_root": without_cert("RootCA", "opentitan-ca-root-v0"),
    "sival_no_dice_cert": without_cert("SigningKey/Dice/v0", "sival-dice-key-p256-v0"),
    "sival_no_dice_key": without("SigningKey/Dice/v0"),
    "sival_no_boot_text": without("OwnerFirmwareBootMessage"),
    "sival_no_leaf": without("CertChainDiceLeaf"),
    "sival_leaf_uds": with_text("CertChainDiceLeaf: CDI_1", "CertChainDiceLeaf: UDS"),
    "sival_absent_key": with_text("WASKeyLabel: eg-kdf-hisec-v0", "WASKeyLabel: eg-kdf-absent-v0"),
    "sival_unlisted_key": with_text("  - name: eg-kdf-losec-v0\n", ""),
    "sival_absent_cert": with_text("ca/opentitan-ca-root-v0.der", "ca/absent.der"),
    "sival_unparsable": lambda text: "sku: [",
    "sival_unknown_line": lambda text: f"{text}\nunknown: 1\n",
}
"""Made of the file of ``sival``; its name is changed too."""


@dataclass
class Setting:
    """What a row may use: the appliance's files, a part of sival with its UDS certificate, its wafer secret."""

    was: bytes
    dice_ca: bytes
    mldsa_ca: bytes
    part: TestPart
    uds: bytes
    numbers: Any

    def tbs(self) -> bytes:
        return TestPart(self.dice_ca, next(self.numbers)).uds_tbs

    def registration(self, sku: str, **changes: Any) -> pa_pb2.RegistrationRequest:
        """Of a device that nobody has registered."""
        request = self.part.registration(self.uds, **{"sku": sku, **changes})
        if "device_id" not in changes:
            request.device_data.device_id.hardware_origin.device_identification_number = next(self.numbers)
        return request


Ask = Callable[[Setting, str], Any]
"""The request for a SKU."""


@dataclass(frozen=True)
class Row:
    """``sheet`` names the row: section, call, words; ``sku`` whose session is open, ``asked`` which SKU is asked for.

    ``here`` says why the answer is another one than the sheet's (docs/appliance.md, Deliberate differences).
    """

    sheet: str
    call: str
    ask: Ask
    code: str
    words: str = ""
    sku: str = "sival"
    asked: str | None = None
    here: str = ""
    good: Callable[[Any], bool] = bool
    """What must hold of an answer of OK."""


# ---- requests ---------------------------------------------------------------------------------------------------


def login(password: str = "") -> Ask:
    return lambda setting, sku: pa_pb2.InitSessionRequest(sku=sku, sku_auth=password)


def tokens(**changes: Any) -> Ask:
    params = {"seed": 1, "type": 1, "size": 1, "diversifier": padded(b"x"), **changes}
    return lambda setting, sku: pa_pb2.DeriveTokensRequest(sku=sku, params=[pa_pb2.TokenParams(**params)])


def no_tokens(setting: Setting, sku: str) -> Any:
    return pa_pb2.DeriveTokensRequest(sku=sku)


def key_ids(*labels: str) -> Ask:
    return lambda setting, sku: pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=labels)


def ca_certs(*labels: str) -> Ask:
    return lambda setting, sku: pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=labels)


def boot(setting: Setting, sku: str) -> Any:
    return pa_pb2.GetOwnerFwBootMessageRequest(sku=sku)


def stored(setting: Setting, sku: str) -> Any:
    return pa_pb2.GetStoredTokensRequest(sku=sku, tokens=["was"])


def endorse(*bundles: Callable[[Setting], Any], **changes: Any) -> Ask:
    def ask(setting: Setting, sku: str) -> Any:
        made = [bundle(setting) for bundle in bundles or (uds,)]
        request = request_of(sku, setting.was, made)
        for name, value in changes.items():
            setattr(request, name, value)
        return request

    return ask


def uds(setting: Setting) -> Any:
    return ecdsa("UDS"), setting.tbs()


def bundle(params: Any, tbs: bytes | None = None) -> Callable[[Setting], Any]:
    return lambda setting: (params, setting.tbs() if tbs is None else tbs)


def of_other_ca(setting: Setting) -> Any:
    """Same issuer name, other key."""
    from station.appliance.certificates import DICE_CA_NAME, new_ca
    from station.model import Realm

    return ecdsa("UDS"), TestPart(new_ca(DICE_CA_NAME, Realm.DEV).der).uds_tbs


def mldsa_leaf(label: str) -> Callable[[Setting], Any]:
    return lambda setting: (mldsa_of(label), tbs_of(label, setting.mldsa_ca, "ML-DSA-87"))


def registration(**changes: Any) -> Ask:
    return lambda setting, sku: setting.registration(sku, **changes)


def origin(creator: int = 0x4001, product: int = 3, specific: bytes = bytes(16)) -> Ask:
    def ask(setting: Setting, sku: str) -> Any:
        where = device_id_pb2.HardwareOrigin(
            silicon_creator_id=creator, product_id=product, device_identification_number=next(setting.numbers)
        )
        return setting.registration(sku, device_id=device_id_pb2.DeviceId(hardware_origin=where, sku_specific=specific))

    return ask


def blob(change: Callable[[Setting, list], list], version: int = 0, rehash: bool = True) -> Ask:
    """The registration of changed objects."""

    def ask(setting: Setting, sku: str) -> Any:
        objects = change(setting, setting.part.objects(setting.uds))
        request = setting.registration(sku, perso_tlv_data=perso_blob.build(objects, version))
        if rehash:
            request.certs_hash = perso_blob.appliance_certs_hash(objects, (), ("UDS", "CDI_0", "CDI_1"))
        return request

    return ask


def hashed(**changes: Any) -> Ask:
    def ask(setting: Setting, sku: str) -> Any:
        request = setting.registration(sku)
        for name, value in changes.items():
            if value is None:
                request.ClearField(name)
            else:
                setattr(request, name, value)
        return request

    return ask


def foreign_uds(setting: Setting, objects: list) -> list:
    other = TestPart(setting.dice_ca, 1)
    return [CertObject(TYPES.X509_CERT, "UDS", other.cdi_0_cert), *objects[1:]]


def long_blob(setting: Setting, objects: list) -> list:
    return [*objects, *(PersoObject(TYPES.GENERIC_SEED, bytes(128)) for _ in range(260))]


def zeros(count: int) -> Callable[[Any], bool]:
    return lambda answer: list(answer.key_ids) == [bytes(20)] * count


def no_data(setting: Setting, sku: str) -> Any:
    return pa_pb2.RegistrationRequest(hash_type=3, certs_hash=bytes(32))


def only_sku(setting: Setting, sku: str) -> Any:
    return pa_pb2.RegistrationRequest(device_data=registry_record_pb2.DeviceData(sku=sku))


DUPLICATE = "the same content again is no error"
LOADED = "a SKU that names such a key is refused when it is loaded"
UNLOADED = "sival_nobody"
NOT_LOADED = {"asked": UNLOADED, "code": "NOT_FOUND", "words": "Try calling InitSession first"}
WAS = ("INVALID_ARGUMENT", "could not verify WAS signature")
SYMMETRIC = ("INTERNAL", "could not generate symmetric key")
ENDORSE = ("INTERNAL", "could not endorse 'UDS' cert")
FAILED = ("INTERNAL", "failed to initialize sku")
HIGH, LOW, FRESH = 2, 1, 3

ROWS: list[Row] = [
    # 1.5 InitSession
    Row("1.5 InitSession: SKU neither a key nor begins with one", "InitSession", login(), "NOT_FOUND", "unknown sku",
        asked="siva"),
    Row("1.5 InitSession: empty SKU", "InitSession", login(), "NOT_FOUND", "unknown sku", asked=" "),
    Row("1.5 InitSession: family SKU", "InitSession", login("?"), OK, asked="sival_leaf_uds",
        good=lambda answer: answer.sku_session_token.isalnum() and not answer.pa_endpoint),
    Row("1.5 InitSession: password mismatch", "InitSession", login("wrong"), "UNAUTHENTICATED",
        "incorrect sku authentication for sku", asked="sival"),
    Row("1.5 InitSession: SKU file missing", "InitSession", login("?"), *FAILED, asked="sival_absent"),
    Row("1.5 InitSession: SKU file unparsable", "InitSession", login("?"), *FAILED, asked="sival_unparsable"),
    Row("1.5 InitSession: SKU file with an unknown line", "InitSession", login("?"), *FAILED,
        asked="sival_unknown_line"),
    Row("1.5 InitSession: key label missing", "InitSession", login("?"), *FAILED, asked="sival_absent_key"),
    Row("1.5 InitSession: key label not listed", "InitSession", login("?"), *FAILED, asked="sival_unlisted_key"),
    Row("1.5 InitSession: certificate missing", "InitSession", login("?"), *FAILED, asked="sival_absent_cert"),
    # 1.5 DeriveTokens
    Row("1.5 DeriveTokens: SKU not loaded", "DeriveTokens", tokens(), **NOT_LOADED),
    Row("1.5 DeriveTokens: SKU lacks SeedSecHi", "DeriveTokens", tokens(), "INTERNAL", "SeedSecHi",
        sku="sival_no_high"),
    Row("1.5 DeriveTokens: SKU lacks SeedSecLo", "DeriveTokens", tokens(seed=HIGH), "INTERNAL", "SeedSecLo",
        sku="sival_no_low"),
    Row("1.5 DeriveTokens: seed unspecified", "DeriveTokens", tokens(seed=0), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: seed unknown", "DeriveTokens", tokens(seed=4), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: wrap_seed, WrappingMechanism missing", "DeriveTokens", tokens(seed=FRESH, wrap_seed=True),
        "INTERNAL", "WrappingMechanism", sku="sival_no_mechanism"),
    Row("1.5 DeriveTokens: wrap_seed, WrappingKeyLabel missing", "DeriveTokens", tokens(seed=FRESH, wrap_seed=True),
        "INTERNAL", "WrappingKeyLabel", sku="sival_no_wrapping_key"),
    Row("1.5 DeriveTokens: wrap_seed, mechanism none", "DeriveTokens", tokens(seed=FRESH, wrap_seed=True), "INTERNAL",
        "unsupported wrapping mechanism", sku="sival_mechanism_none"),
    Row("1.5 DeriveTokens: wrap_seed, mechanism AesGcm", "InitSession", login("?"), *FAILED,
        asked="sival_mechanism_gcm", here=LOADED),
    Row("1.5 DeriveTokens: no wrap_seed, mechanism missing", "DeriveTokens", tokens(seed=FRESH), OK,
        sku="sival_no_mechanism", good=lambda answer: not answer.tokens[0].wrapped_seed),
    Row("1.5 DeriveTokens: mechanism RsaPkcs", "DeriveTokens", tokens(seed=FRESH, wrap_seed=True), OK,
        sku="sival_pkcs1", good=lambda answer: len(answer.tokens[0].wrapped_seed) == 384),
    Row("1.5 DeriveTokens: size 0", "DeriveTokens", tokens(size=0), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: size 3", "DeriveTokens", tokens(size=3), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: type 0", "DeriveTokens", tokens(type=0), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: type 3", "DeriveTokens", tokens(type=3), "INVALID_ARGUMENT"),
    Row("1.5 DeriveTokens: seed before wrapping before size", "DeriveTokens",
        tokens(seed=4, wrap_seed=True, size=0, type=0, diversifier=b""), "INVALID_ARGUMENT", "seed",
        sku="sival_no_mechanism"),
    Row("1.5 DeriveTokens: wrapping before size", "DeriveTokens",
        tokens(seed=FRESH, wrap_seed=True, size=0, type=0, diversifier=b""), "INTERNAL", "WrappingMechanism",
        sku="sival_no_mechanism"),
    Row("1.5 DeriveTokens: size before type", "DeriveTokens", tokens(size=0, type=0, diversifier=b""),
        "INVALID_ARGUMENT", "size"),
    Row("1.5 DeriveTokens: type before diversifier", "DeriveTokens", tokens(type=0, diversifier=b""),
        "INVALID_ARGUMENT", "type"),
    Row("1.5 DeriveTokens: empty diversifier", "DeriveTokens", tokens(diversifier=b""), *SYMMETRIC),
    Row("1.5 DeriveTokens: wrap_seed with the high seed", "DeriveTokens", tokens(seed=HIGH, wrap_seed=True),
        *SYMMETRIC),
    Row("1.5 DeriveTokens: wrap_seed with the low seed", "DeriveTokens", tokens(seed=LOW, wrap_seed=True), *SYMMETRIC),
    Row("1.5 DeriveTokens: label not in the HSM", "InitSession", login("?"), *FAILED, asked="sival_unlisted_key",
        here=LOADED),
    Row("1.5 DeriveTokens: no parameters", "DeriveTokens", no_tokens, OK, good=lambda answer: not answer.tokens),
    # 1.5 GetCaSubjectKeys, GetCaCerts, GetStoredTokens, GetOwnerFwBootMessage
    Row("1.5 GetCaSubjectKeys: SKU not loaded", "GetCaSubjectKeys", key_ids("UDS"), **NOT_LOADED),
    Row("1.5 GetCaSubjectKeys: CA absent", "GetCaSubjectKeys", key_ids("EXT", "UDS_MLDSA", "EXT_MLDSA"), OK,
        good=zeros(3), here="20 zero bytes, not 10"),
    Row("1.5 GetCaSubjectKeys: unknown label", "GetCaSubjectKeys", key_ids("", "uds", "root"), OK, good=zeros(3),
        here="20 zero bytes, not 10"),
    Row("1.5 GetCaSubjectKeys: any other label is EXT_MLDSA", "GetCaSubjectKeys", key_ids("EXT_MLDSA", "x", "UDS"), OK,
        sku="sival_pqc_ext", good=lambda answer: answer.key_ids[0] == answer.key_ids[1] not in (bytes(20),
                                                                                                answer.key_ids[2])),
    Row("1.5 GetCaCerts: SKU not loaded", "GetCaCerts", ca_certs("root"), **NOT_LOADED),
    Row("1.5 GetCaCerts: unknown label", "GetCaCerts", ca_certs("root", "UDS"), "NOT_FOUND"),
    Row("1.5 GetCaCerts: CA absent", "GetCaCerts", ca_certs("root", "ext"), "NOT_FOUND"),
    Row("1.5 GetCaCerts: root absent", "GetCaCerts", ca_certs("root"), "NOT_FOUND", sku="sival_no_root"),
    Row("1.5 GetStoredTokens: blocked by the allow-list", "GetStoredTokens", stored, "PERMISSION_DENIED"),
    Row("1.5 GetOwnerFwBootMessage: SKU not loaded", "GetOwnerFwBootMessage", boot, **NOT_LOADED),
    Row("1.5 GetOwnerFwBootMessage: attribute missing", "GetOwnerFwBootMessage", boot, "NOT_FOUND",
        sku="sival_no_boot_text"),
    # 1.5 EndorseCerts
    Row("1.5 EndorseCerts: SKU not loaded", "EndorseCerts", endorse(), **NOT_LOADED),
    Row("1.5 EndorseCerts: no bundles", "EndorseCerts", lambda setting, sku: pa_pb2.EndorseCertsRequest(sku=sku),
        "INVALID_ARGUMENT", "no data to endorse"),
    Row("1.5 EndorseCerts: all TBS empty", "EndorseCerts", endorse(bundle(ecdsa("UDS"), b""), bundle(None, b"")),
        "INVALID_ARGUMENT", "no data to endorse"),
    Row("1.5 EndorseCerts: WASKeyLabel missing", "EndorseCerts", endorse(), "INTERNAL", "WASKeyLabel",
        sku="sival_no_was"),
    Row("1.5 EndorseCerts: WAS signature wrong", "EndorseCerts", endorse(signature=bytes(32)), *WAS),
    Row("1.5 EndorseCerts: WAS signature absent", "EndorseCerts", endorse(signature=b""), *WAS),
    Row("1.5 EndorseCerts: WAS signature wrong, WASDisable", "EndorseCerts", endorse(signature=bytes(32)), OK,
        sku="sival_was_off", good=lambda answer: len(answer.certs) == 1),
    Row("1.5 EndorseCerts: empty diversifier", "EndorseCerts", endorse(diversifier=b""), *WAS),
    Row("1.5 EndorseCerts: WAS before RootCA", "EndorseCerts", endorse(signature=bytes(32)), *WAS, sku="sival_no_root"),
    Row("1.5 EndorseCerts: WAS key absent", "InitSession", login("?"), *FAILED, asked="sival_absent_key", here=LOADED),
    Row("1.5 EndorseCerts: SKU has no RootCA", "EndorseCerts", endorse(), "INTERNAL", "RootCA", sku="sival_no_root"),
    Row("1.5 EndorseCerts: RootCA before the bundles", "EndorseCerts", endorse(bundle(None)), "INTERNAL", "RootCA",
        sku="sival_no_root"),
    Row("1.5 EndorseCerts: bundle without key_params", "EndorseCerts", endorse(bundle(None)), "INVALID_ARGUMENT",
        "key parameters"),
    Row("1.5 EndorseCerts: bundle without TBS", "EndorseCerts", endorse(uds, bundle(ecdsa("UDS"), b"")),
        "INVALID_ARGUMENT", "TBS"),
    Row("1.5 EndorseCerts: CA label missing in the SKU", "EndorseCerts", endorse(), "INVALID_ARGUMENT",
        sku="sival_no_dice_key"),
    Row("1.5 EndorseCerts: CA certificate missing in the SKU", "EndorseCerts", endorse(), "INVALID_ARGUMENT",
        sku="sival_no_dice_cert"),
    Row("1.5 EndorseCerts: EXT CA missing", "EndorseCerts", endorse(bundle(ecdsa("TPM EK"))), "INVALID_ARGUMENT"),
    Row("1.5 EndorseCerts: EXT ML-DSA CA missing", "EndorseCerts", endorse(bundle(mldsa_of("EXT_MLDSA_2"))),
        "INVALID_ARGUMENT"),
    Row("1.5 EndorseCerts: DICE ML-DSA CA missing", "EndorseCerts", endorse(bundle(mldsa_of("UDS"))),
        "INVALID_ARGUMENT"),
    Row("1.5 EndorseCerts: key oneof unset", "EndorseCerts",
        endorse(bundle(crypto_cert_pb2.SigningKeyParams(key_label="UDS"))), "UNIMPLEMENTED", "unsupported key format"),
    Row("1.5 EndorseCerts: unsupported hash", "EndorseCerts", endorse(bundle(ecdsa("UDS", 5))), *ENDORSE),
    Row("1.5 EndorseCerts: hash unspecified", "EndorseCerts", endorse(bundle(ecdsa("UDS", 0))), *ENDORSE),
    Row("1.5 EndorseCerts: result not parseable", "EndorseCerts", endorse(bundle(ecdsa("UDS"), b"no TBS")), *ENDORSE),
    Row("1.5 EndorseCerts: chain does not verify", "EndorseCerts", endorse(of_other_ca), *ENDORSE),
    Row("1.5 EndorseCerts: parameter set that is not the CA's", "EndorseCerts",
        endorse(lambda s: (mldsa_of("UDS_MLDSA", 1), tbs_of("UDS_MLDSA", s.mldsa_ca, "ML-DSA-87"))), "INTERNAL",
        "could not endorse", sku="sival_pqc", here="upstream ignores the set"),
    Row("1.5 EndorseCerts: ML-DSA", "EndorseCerts", endorse(mldsa_leaf("UDS_MLDSA"), mldsa_leaf("UDS")), OK,
        sku="sival_pqc", good=lambda a: [c.key_label for c in a.certs] == ["UDS_MLDSA", "UDS"]),
    # 1.5 RegisterDevice
    Row("1.5 RegisterDevice: SKU not loaded", "RegisterDevice", only_sku, **NOT_LOADED),
    Row("1.5 RegisterDevice: good", "RegisterDevice", registration(), OK, good=lambda answer: True),
    Row("1.5 RegisterDevice: perso TLV empty", "RegisterDevice", registration(perso_tlv_data=b""), "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: perso TLV unparsable", "RegisterDevice", registration(perso_tlv_data=b"\0\x0a"),
        "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: perso TLV too large", "RegisterDevice", registration(perso_tlv_data=bytes(65537)),
        "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: too few certificates", "RegisterDevice", blob(lambda s, o: o[:2]), "INVALID_ARGUMENT",
        "X.509"),
    Row("1.5 RegisterDevice: too many certificates", "RegisterDevice",
        blob(lambda s, o: [*o, CertObject(TYPES.X509_CERT, "MORE", s.uds)]), "INVALID_ARGUMENT", "X.509"),
    Row("1.5 RegisterDevice: wrong count of CWTs", "RegisterDevice",
        blob(lambda s, o: [*o, CertObject(TYPES.CWT_CERT, "UDS", b"cbor")]), "INVALID_ARGUMENT", "CWT"),
    Row("1.5 RegisterDevice: certificate unparsable", "RegisterDevice",
        blob(lambda s, o: [CertObject(TYPES.X509_CERT, "UDS", b"\x30\x03\x02\x01\x01"), *o[1:]]), "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: chain invalid", "RegisterDevice", blob(foreign_uds), "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: unexpected CDI_1", "RegisterDevice", registration(), "INVALID_ARGUMENT", "CDI_1",
        sku="sival_leaf_uds"),
    Row("1.5 RegisterDevice: hash_type unspecified", "RegisterDevice", hashed(hash_type=None), "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: hash_type SHA-384", "RegisterDevice", hashed(hash_type=2), "INVALID_ARGUMENT"),
    Row("1.5 RegisterDevice: certs_hash mismatch", "RegisterDevice", hashed(certs_hash=b"\1" * 32),
        "INVALID_ARGUMENT", "hash mismatch"),
    Row("1.5 RegisterDevice: certs_hash of 32 zero bytes", "RegisterDevice", hashed(certs_hash=bytes(32)),
        "INVALID_ARGUMENT", "hash mismatch", here="upstream skips the comparison"),
    Row("1.5 RegisterDevice: RootCA missing in the SKU", "RegisterDevice", registration(), "INTERNAL", "RootCA",
        sku="sival_no_root"),
    Row("1.5 RegisterDevice: DICE CA missing in the SKU", "RegisterDevice", registration(), "INTERNAL",
        "SigningKey/Dice/v0", sku="sival_no_dice_cert"),
    Row("1.5 RegisterDevice: CertChainDiceLeaf missing in the SKU", "RegisterDevice", registration(), "INTERNAL",
        "CertChainDiceLeaf", sku="sival_no_leaf"),
    Row("1.5 RegisterDevice: device_data absent", "RegisterDevice", no_data, "INVALID_ARGUMENT",
        here="upstream panics"),
    Row("1.5 RegisterDevice: device_id absent", "RegisterDevice", registration(device_id=None), "INVALID_ARGUMENT",
        here="upstream panics"),
    Row("1.5 RegisterDevice: hardware_origin absent", "RegisterDevice",
        registration(device_id=device_id_pb2.DeviceId(sku_specific=bytes(16))), "INVALID_ARGUMENT",
        here="upstream panics"),
    # 1.5 validators
    *(Row(f"1.5 ValidateSiliconCreatorId: 0x{creator:x}", "RegisterDevice", origin(creator=creator), code,
          good=lambda answer: True)
      for creator, code in ((1, OK), (0x4001, OK), (0xFFFF, OK), (0, "INVALID_ARGUMENT"), (2, "INVALID_ARGUMENT"),
                            (0x10001, "INVALID_ARGUMENT"))),
    *(Row(f"1.5 ValidateProductId: 0x{product:x}", "RegisterDevice", origin(product=product), code,
          good=lambda answer: True)
      for product, code in ((1, OK), (2, OK), (3, OK), (0xFFFF, OK), (0, "INVALID_ARGUMENT"), (4, "INVALID_ARGUMENT"),
                            (0x10003, "INVALID_ARGUMENT"))),
    *(Row(f"1.5 ValidateDeviceId: {length} SKU-specific bytes", "RegisterDevice", origin(specific=bytes(length)), code,
          good=lambda answer: True)
      for length, code in ((0, OK), (16, OK), (1, "INVALID_ARGUMENT"), (15, "INVALID_ARGUMENT"),
                           (17, "INVALID_ARGUMENT"))),
    *(Row(f"1.5 ValidateDeviceLifeCycle has no caller: {state}", "RegisterDevice",
          registration(device_life_cycle=state), OK, good=lambda answer: True) for state in (0, 8, 9)),
    Row("1.5 ValidateDeviceData has no caller: wrapped seed of 384 bytes", "RegisterDevice",
        registration(wrapped_rma_unlock_token=bytes(384)), OK, good=lambda answer: True),
    Row("1.5 ValidateDeviceData has no caller: 33 kB of perso TLV", "RegisterDevice", blob(long_blob), OK,
        good=lambda answer: True),
]  # fmt: skip
