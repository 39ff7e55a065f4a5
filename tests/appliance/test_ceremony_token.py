"""The ceremony with keys in tokens of two real SoftHSMs, and with a token on one side only."""

from __future__ import annotations

import hmac
import secrets
from contextlib import contextmanager
from pathlib import Path

import pkcs11
import pytest
from ceremony_bench import Bench, contents, material_of
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, ObjectClass
from sku_bench import calls_of, walk_sku
from token_bench import MODULE, TestToken, make_token, raw

from station.appliance.ceremony import vault_token
from station.appliance.ceremony.keys import AES_KEY, RMA_PRIVATE_KEY, SEEDS, TLS_CA_KEY, TRANSPORT_KEY
from station.appliance.ceremony.machine import KeystoreLines, at_machine, machine_made, make_machine
from station.appliance.ceremony.rma import Recovery, recover_token
from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transfer import read_transfer
from station.appliance.device_store import DeviceStore
from station.appliance.keystore import Wrapping
from station.appliance.keystores import configured_keystore
from station.appliance.oaep import decode_oaep
from station.appliance.pkcs11_module import Module, TokenChoice
from station.appliance.pkcs11_policy import take_inventory
from station.appliance.pkcs11_provision import TOKEN, import_keys
from station.appliance.session_tokens import SESSION_KEY
from station.appliance.settings import read_settings
from station.appliance.sku_templates import RMA_KEY
from station.appliance.spm import Spm
from station.errors import ConfigError, FormatError, PinError
from station.model import Realm

pytestmark = pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")

ECDSA_SKUS = ("sival", "cr01", "pi01", "ti01")


def token_lines(token: TestToken) -> KeystoreLines:
    return {"keystore_kind": "pkcs11", "module": MODULE, "token": TOKEN, "pin": str(token.pin)}


def token_bench(root: Path, sides=(Side.SPM, Side.OFFLINE), **options) -> Bench:
    """Two machines, those of ``sides`` with a token of their own."""
    root.mkdir(parents=True, exist_ok=True)
    tokens = {side: make_token(root / f"hsm-{side}") for side in sides}
    lines = {f"{side}_lines": token_lines(token) for side, token in tokens.items()}
    return Bench(root, **{"skus": ("sival",), **lines, "tokens": tokens, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Bench:
    """A finished ceremony between two tokens; tests leave it as it is."""
    bench = token_bench(tmp_path_factory.mktemp("tokens"), skus=ECDSA_SKUS)
    bench.run()
    return bench


def objects(token: TestToken) -> dict[tuple[ObjectClass, str], dict]:
    """All keys of a token with their attributes."""
    asked = [
        Attribute.KEY_TYPE, Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.SIGN, Attribute.DECRYPT,
        Attribute.UNWRAP, Attribute.WRAP, Attribute.DERIVE,
    ]  # fmt: skip
    found = {}
    with token.used(), _session(token) as session:
        for kind in (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for item in list(session.get_objects({Attribute.CLASS: kind, Attribute.TOKEN: True})):
                found[kind, item[Attribute.LABEL]] = item.get_attributes(asked)
    return found


class _session:
    """A writing session of a token, with its module."""

    def __init__(self, token: TestToken) -> None:
        self._token = token

    def __enter__(self):
        self._module = Module(MODULE)
        pin = self._token.pin.read_text().strip()
        return self._module.find(TokenChoice(TOKEN)).open(rw=True, user_pin=pin)

    def __exit__(self, *_) -> None:
        self._module.close()


# ---- what is in the tokens -------------------------------------------------------------------------------------------


def test_spm_keys_stay_inside(whole):
    found = objects(whole.tokens[Side.SPM])
    secret = {label for kind, label in found if kind is ObjectClass.SECRET_KEY}
    assert secret == {*SEEDS, SESSION_KEY}  # the transport AES key was a session object
    private = {label for kind, label in found if kind is ObjectClass.PRIVATE_KEY}
    assert {TRANSPORT_KEY, "spm-hsm-id-v0.priv", "pi01-ica-ext-key-p256-v0.priv"} <= private
    for (kind, label), attributes in found.items():
        if kind is not ObjectClass.PUBLIC_KEY:
            assert attributes[Attribute.SENSITIVE], label
            assert not attributes[Attribute.EXTRACTABLE], label
    transport = found[ObjectClass.PRIVATE_KEY, TRANSPORT_KEY]
    assert transport[Attribute.UNWRAP]
    assert not transport[Attribute.DECRYPT]
    assert not transport[Attribute.SIGN]
    for label in SEEDS:
        seed = found[ObjectClass.SECRET_KEY, label]
        assert (seed[Attribute.SIGN], seed[Attribute.DERIVE], seed[Attribute.WRAP]) == (True, True, False)


def test_offline_keys_leave_wrapped_or_never(whole):
    found = objects(whole.tokens[Side.OFFLINE])
    extractable = {label for (kind, label), a in found.items() if kind is not ObjectClass.PUBLIC_KEY
                   and a[Attribute.EXTRACTABLE]}  # fmt: skip
    assert extractable == {*SEEDS, AES_KEY}
    assert all(a[Attribute.SENSITIVE] for (kind, _), a in found.items() if kind is not ObjectClass.PUBLIC_KEY)
    private = {label for kind, label in found if kind is ObjectClass.PRIVATE_KEY}
    assert private == {RMA_PRIVATE_KEY, TLS_CA_KEY, "opentitan-ca-root-v0.priv", "pi01-ca-root-v0.priv"}
    aes = found[ObjectClass.SECRET_KEY, AES_KEY]
    assert aes[Attribute.KEY_TYPE] is KeyType.AES
    assert aes[Attribute.WRAP]
    assert not aes[Attribute.DECRYPT]
    assert not found[ObjectClass.PRIVATE_KEY, RMA_PRIVATE_KEY][Attribute.SIGN]


def test_both_tokens_have_the_same_seeds(whole):
    macs = []
    for side in (Side.SPM, Side.OFFLINE):
        token = whole.tokens[side]
        with token.used(), _session(token) as session:
            keys = [session.get_key(ObjectClass.SECRET_KEY, label=label) for label in SEEDS]
            macs.append([bytes(key.sign(b"x", mechanism=pkcs11.Mechanism.SHA256_HMAC)) for key in keys])
    assert macs[0] == macs[1]
    assert len(set(macs[0])) == 2


def test_the_policy_has_no_objection(whole):
    """What the serving appliance checks at its login."""
    token = whole.tokens[Side.SPM]
    with token.used(), _session(token) as session:
        inventory = take_inventory(session)
    assert inventory.refused == []
    assert inventory.remarks == []


def test_the_way_that_softhsm_takes(whole):
    """Measured: OAEP over SHA-1 only."""
    init = read_transfer(whole.path(Step.SPM_INIT).read_bytes())
    export = read_transfer(whole.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE).read_bytes())
    assert init.facts == {"unwraps": "RsaOaepSha1"}
    assert export.facts["transport"] == "RsaOaepSha1"


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sku", ECDSA_SKUS)
def test_a_whole_conversation_of_every_ecdsa_sku(whole, tmp_path, sku):
    settings = read_settings(whole.spm)
    store = DeviceStore(tmp_path / "registry.db")
    with whole.tokens[Side.SPM].used(), configured_keystore(settings.keys, settings.realm) as keystore:
        spm = Spm(settings.skus, keystore)
        spm.load(sku)
        walk = walk_sku(sku, calls_of(spm, store), 1)
        assert keystore.key_info(SESSION_KEY).role == "secret"
    store.close()
    assert walk.endorsed
    assert len(walk.rma.wrapped_seed) == 384


@pytest.mark.parametrize("mechanism", ["RsaOaep", "RsaPkcs"])
def test_an_rma_seed_is_recovered_in_the_offline_token(whole, tmp_path, mechanism):
    """OAEP over SHA-256 is not SoftHSM's: the bare RSA operation is done inside, the padding taken off here."""
    settings = read_settings(whole.spm)
    with whole.tokens[Side.SPM].used(), configured_keystore(settings.keys, settings.realm) as keystore:
        mac, wrapped = keystore.fresh_hmac_sha256(b"rma".ljust(48, b"\0"), Wrapping(mechanism, RMA_KEY))
    with whole.at(Side.OFFLINE) as machine:
        recovery = Recovery(wrapped, mechanism=mechanism)
        recover_token(machine, whole.people, recovery, tmp_path / "token")
    assert bytes.fromhex((tmp_path / "token").read_text()) == raw(mac)[:16]
    for other in (bytes([wrapped[0] ^ 1]) + wrapped[1:], bytes(384)):
        with whole.at(Side.OFFLINE) as machine, pytest.raises(FormatError, match="wrapped for these keys"):
            recover_token(machine, whole.people, Recovery(other, mechanism=mechanism), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_repeated_steps_do_nothing(whole):
    before = contents(whole.root)
    assert all(do().already for do in whole.steps().values())
    assert contents(whole.root) == before


# ---- one token, and a software keystore ------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [Side.SPM, Side.OFFLINE])
def test_a_token_on_one_side(tmp_path, side):
    bench = token_bench(tmp_path, (side,))
    bench.run()
    init = read_transfer(bench.path(Step.SPM_INIT).read_bytes())
    assert init.facts["unwraps"].split()[0] == ("RsaOaepSha1" if side is Side.SPM else "RsaOaepSha256")
    settings = read_settings(bench.spm)
    with bench.at(Side.SPM), configured_keystore(settings.keys, settings.realm) as keystore:
        Spm(settings.skus, keystore).load("sival")
        seen = raw(keystore.hmac_sha256(SEEDS[0], b"x"))
    if side is Side.SPM:
        assert seen == hmac.digest(material_of(bench.offline).secret[SEEDS[0]], b"x", "sha256")
    else:
        assert seen == hmac.digest(material_of(bench.spm).secret[SEEDS[0]], b"x", "sha256")


def switch_off_aes_key_wrap(token: TestToken) -> None:
    """SoftHSM 2.6.1 leaves the first name of such a list switched on, so it stands there twice."""
    with token.config.open("a") as config:
        config.write("slots.mechanisms = -CKM_AES_KEY_WRAP,CKM_AES_KEY_WRAP,CKM_AES_KEY_WRAP_PAD\n")


def test_a_token_without_aes_key_wrap_gets_its_seeds_through_the_process(tmp_path):
    """SoftHSM with the mechanism switched off; afterwards the keys are as well kept as any."""
    bench = token_bench(tmp_path, (Side.SPM,))
    switch_off_aes_key_wrap(bench.tokens[Side.SPM])
    with bench.tokens[Side.SPM].used(), _session(bench.tokens[Side.SPM]) as session:
        assert not vault_token._unwraps_aes(session.token)
    bench.run()
    found = objects(bench.tokens[Side.SPM])
    assert found[ObjectClass.PRIVATE_KEY, TRANSPORT_KEY][Attribute.DECRYPT]
    assert all(
        attributes[Attribute.SENSITIVE] and not attributes[Attribute.EXTRACTABLE]
        for (kind, _), attributes in found.items() if kind is not ObjectClass.PUBLIC_KEY
    )  # fmt: skip
    settings = read_settings(bench.spm)
    with bench.at(Side.SPM), configured_keystore(settings.keys, settings.realm) as keystore:
        mac = raw(keystore.hmac_sha256(SEEDS[1], b"x"))
    assert mac == hmac.digest(material_of(bench.offline).secret[SEEDS[1]], b"x", "sha256")


def test_an_offline_token_must_wrap_with_aes(tmp_path):
    bench = token_bench(tmp_path, (Side.OFFLINE,))
    switch_off_aes_key_wrap(bench.tokens[Side.OFFLINE])
    bench.spm_init()
    bench.offline_common_init()
    with pytest.raises(ConfigError, match="expected a token with CKM_AES_KEY_WRAP"):
        bench.offline_common_export()
    assert not bench.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE).exists()


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [Side.SPM, Side.OFFLINE])
def test_mldsa_and_hpke_are_refused_with_the_reason(tmp_path, side):
    bench = token_bench(tmp_path, (side,), skus=("sival_pqc",))
    step = Step.OFFLINE_COMMON_INIT if side is Side.OFFLINE else Step.SPM_SKU_INIT
    bench.run(until=step)
    before = objects(bench.tokens[side])
    with pytest.raises(ConfigError, match="no mechanism for ML-DSA and HPKE keys, use the software keystore"):
        bench.steps()[step]()
    assert objects(bench.tokens[side]) == before


def test_production_refuses_softhsm(tmp_path):
    bench = token_bench(tmp_path, realm=Realm.PRODUCTION)
    for do in (bench.spm_init, bench.offline_common_init):
        with pytest.raises(ConfigError, match="is a software token and is refused in production"):
            do()
    assert objects(bench.tokens[Side.SPM]) == {}


def test_production_with_a_token_that_is_none_of_these(tmp_path, monkeypatch):
    """The whole way of realm production, the name of the token aside."""
    monkeypatch.setattr(Module, "is_software", lambda self, token: False)
    bench = token_bench(tmp_path, realm=Realm.PRODUCTION)
    bench.run()
    settings = read_settings(bench.spm)
    with bench.at(Side.SPM), configured_keystore(settings.keys, Realm.PRODUCTION) as keystore:
        Spm(settings.skus, keystore).load("sival")


def test_production_refuses_a_public_pin(tmp_path):
    bench = token_bench(tmp_path, (Side.SPM,), realm=Realm.PRODUCTION)
    bench.tokens[Side.SPM].pin.write_text("cryptoki\n")
    with pytest.raises(ConfigError, match="PIN is a publicly known one"):
        bench.spm_init()


def test_production_refuses_a_token_with_an_exposed_key(tmp_path, monkeypatch):
    """A key of somebody else in the token, extractable: the appliance would refuse the token later."""
    monkeypatch.setattr(Module, "is_software", lambda self, token: False)
    bench = token_bench(tmp_path, (Side.SPM,), realm=Realm.PRODUCTION)
    token = bench.tokens[Side.SPM]
    with token.used(), _session(token) as session:
        session.generate_key(KeyType.GENERIC_SECRET, 256, label="theirs", store=True,
                             template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True})  # fmt: skip
    with pytest.raises(ConfigError, match="'theirs' can be extracted and is not sensitive"):
        bench.spm_init()


def test_a_wrong_pin(tmp_path):
    bench = token_bench(tmp_path, (Side.SPM,))
    bench.tokens[Side.SPM].pin.write_text("another pin\n")
    with pytest.raises(PinError, match="refuses the PIN"):
        bench.spm_init()


def test_a_wrong_pin_of_a_first_step_is_sent_once(tmp_path, monkeypatch):
    """Nothing of the machine stays, and yet the same PIN is not sent again; another one goes on."""
    bench = token_bench(tmp_path, (Side.SPM,))
    pin = bench.tokens[Side.SPM].pin
    right = pin.read_text()
    sent: list[str] = []
    log_in = vault_token.RefusedPin.around_login

    @contextmanager
    def counted(self, serial, secret):
        with log_in(self, serial, secret):
            with secret.reveal() as raw:
                sent.append(raw.decode())
            yield

    monkeypatch.setattr(vault_token.RefusedPin, "around_login", counted)
    pin.write_text("another pin\n")
    for words in ("refuses the PIN", "refused this PIN before"):
        with pytest.raises(PinError, match=words), machine_made(bench.spm, Side.SPM, Realm.DEV, bench.spm_lines):
            bench.spm_init()
        assert [path.name for path in bench.spm.iterdir()] == ["pin.refused"]
    assert sent == ["another pin"]
    pin.write_text(right)
    with machine_made(bench.spm, Side.SPM, Realm.DEV, bench.spm_lines):
        bench.spm_init()
    assert (bench.spm / "pin.refused").read_text() == ""


def test_a_first_step_that_is_refused_for_another_reason_leaves_no_folder(tmp_path):
    bench = token_bench(tmp_path, (Side.SPM,))
    folder = tmp_path / "new"

    def log_in_and_fail():
        make_machine(folder, Side.SPM, Realm.DEV, bench.spm_lines)
        with at_machine(folder, (Side.SPM,)) as machine, bench.tokens[Side.SPM].used(), machine.vault():
            raise ConfigError("no more")

    with pytest.raises(ConfigError, match="no more"), machine_made(folder, Side.SPM, Realm.DEV, bench.spm_lines):
        log_in_and_fail()
    assert not folder.exists()


def test_keys_that_were_there_before_are_not_taken(tmp_path, material):
    """A token of another ceremony, or of a development appliance."""
    bench = token_bench(tmp_path, (Side.SPM,))
    token = bench.tokens[Side.SPM]
    named = type(material)({}, {"spm-hsm-id-v0.priv": material.private["p256.priv"]}, {})
    with token.used():
        import_keys(token.settings, named)
    before = objects(token)
    with pytest.raises(ConfigError, match=r"expected no key spm-hsm-id-v0\.priv in the keystore before spm-init"):
        bench.spm_init()
    assert objects(token) == before


# ---- killed ----------------------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """Stands for SIGKILL: no handler of the ceremony sees it."""


def stop_after(monkeypatch, name: str, count: int) -> None:
    """End the step right after the token has stored its ``count``-th key."""
    real, seen = getattr(vault_token.TokenVault, name), []

    def stopped(self, *arguments, **options):
        result = real(self, *arguments, **options)
        if name != "_unwrapped" or len(arguments) == 3:
            seen.append(arguments)
        if len(seen) == count:
            raise Stopped
        return result

    monkeypatch.setattr(vault_token.TokenVault, name, stopped)


@pytest.mark.parametrize(
    ("step", "name", "count"),
    [
        (Step.SPM_INIT, "_generate", 1), (Step.SPM_INIT, "_generate", 2), (Step.SPM_INIT, "_generate", 3),
        (Step.OFFLINE_COMMON_INIT, "_generate", 1), (Step.OFFLINE_COMMON_INIT, "_generate", 3),
        (Step.OFFLINE_COMMON_INIT, "_generate", 5),
        (Step.SPM_SKU_INIT, "_unwrapped", 1), (Step.SPM_SKU_INIT, "_unwrapped", 2),
        (Step.SPM_SKU_INIT, "add_public", 1), (Step.SPM_SKU_INIT, "_generate", 1),
    ],
)  # fmt: skip
def test_stopped_between_two_keys(tmp_path, monkeypatch, step, name, count):
    """What is in the token stays, the rest is made by the next call."""
    side = Side.OFFLINE if step is Step.OFFLINE_COMMON_INIT else Side.SPM
    bench = token_bench(tmp_path, (side,))
    bench.run(until=step)
    with monkeypatch.context() as patch:
        stop_after(patch, name, count)
        with pytest.raises(Stopped):
            bench.steps()[step]()
    before = contents(bench.tokens[side].tokens, ("generation",))
    assert not bench.steps()[step]().already
    after = contents(bench.tokens[side].tokens, ("generation",))
    keys = {name: data for name, data in before.items() if name.endswith(".object") and "token.object" not in name}
    assert {name: after[name] for name in keys} == keys
    assert bench.steps()[step]().already


def test_a_key_pair_that_was_made_by_half(tmp_path, monkeypatch):
    """SoftHSM stores the public half first: one without its private half is made anew, when the step was begun."""
    bench = token_bench(tmp_path, (Side.SPM,))
    token = bench.tokens[Side.SPM]
    with monkeypatch.context() as patch:
        stop_after(patch, "_generate", 1)
        with pytest.raises(Stopped):
            bench.spm_init()
    with token.used(), _session(token) as session:
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, local=True
        )
        parameters.generate_keypair(
            public_template={Attribute.TOKEN: True, Attribute.LABEL: "spm-hsm-id-v0.pub", Attribute.VERIFY: True},
            private_template={Attribute.TOKEN: False, Attribute.SIGN: True},
        )
    bench.spm_init()
    found = objects(token)
    assert [label for kind, label in found if kind is ObjectClass.PUBLIC_KEY] == ["spm-hsm-id-v0.pub"]
    with token.used(), _session(token) as session:
        assert take_inventory(session).get("private", "spm-hsm-id-v0.priv")


# ---- OAEP ------------------------------------------------------------------------------------------------------------


def test_oaep_blocks_of_the_library():
    from station.appliance.keystore import rsa_padding

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.private_numbers()
    for length in (0, 1, 32, 190):
        message = secrets.token_bytes(length)
        sealed = int.from_bytes(key.public_key().encrypt(message, rsa_padding("RsaOaep")), "big")
        block = pow(sealed, numbers.d, numbers.public_numbers.n).to_bytes(256, "big")
        assert decode_oaep(block) == message
        for at in (0, 1, 40, 255):
            changed = bytearray(block)
            changed[at] ^= 1
            with pytest.raises(FormatError, match="OAEP block"):
                decode_oaep(bytes(changed))


@pytest.mark.parametrize("block", [b"", bytes(1), bytes(65), bytes(66), bytes(384), b"\xff" * 384])
def test_oaep_blocks_that_are_none(block):
    with pytest.raises(FormatError, match="OAEP block"):
        decode_oaep(block)
