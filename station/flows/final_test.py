"""Final Test: a locked part gets its identity, its secrets and its certificates, and leaves in its mission state.

Evidence and settle time of every burn: docs/burns.md.
"""

from __future__ import annotations

from station.errors import ApplianceError, Reject
from station.flows.whose import identify
from station.formats.lc import LcState
from station.model import TokenRequest
from station.parts.earlgrey import Earlgrey, Endorsed, Exported, Stage
from station.ports import Appliance
from station.run import Burn, Plan, Run

PART = "earlgrey"

PLAN = Plan(
    contact="Contact check",
    tokens="Fetch tokens",
    test_unlock=Burn("Test unlock", settle=0.5),
    individualize=Burn("Individualize OTP", settle=2.0),
    identity="Read the device id",
    test_exit=Burn("Test exit to mission state", settle=0.5),
    load_perso="Load personalization firmware",
    first_boot=Burn("Write flash scrambling secrets", settle=2.0),
    load_bundle="Load the firmware bundle",
    rma_token="Fetch the RMA token",
    personalize=Burn("Personalize: write the device secrets", settle=3.0),
    endorse="Endorse certificates",
    install=Burn("Install certificates", settle=3.0),
    boot="Transport boot check",
    register="Register device",
)

FT_TOKENS = (
    TokenRequest("test unlock token", "low", 128, b"test_unlock"),
    TokenRequest("test exit token", "low", 128, b"test_exit"),
)
RMA_TOKEN = TokenRequest("RMA token hash", "keygen", 128, b"rma", hashed=True)
WAS_DIVERSIFIER = b"was"
SENT, COMPARED = "certificates_sent", "certificates_compared"
"""Names under which the hash of the endorsed certificates is kept: before they are sent; when the part has it, too."""
SKIPS_LOCKED_SECRET1 = "personalization firmware writes SECRET1 only while its digest is not computed"
SKIPS_LOCKED_SECRET2 = "personalization firmware writes SECRET2 only while its digest is not computed"


def final_test(run: Run, die: Earlgrey, appliance: Appliance) -> None:
    """A part in TEST_LOCKED0 is individualized, personalized, endorsed and registered."""
    mission = die.mission_state
    with run.step(PLAN.contact):
        life = die.look()
        run.require(life.state in (LcState.TEST_LOCKED0, LcState.TEST_UNLOCKED1, mission), bin="wrong_state",
                    sentence="Final Test does not start from this state", saw=life.state.name)  # fmt: skip
        run.measure("transitions left", life.transitions_left, low=_transitions_needed(life.state), bin="worn_out")
        if life.state is mission:  # it can say who it is before anything is asked of it
            identify(run, die.hardware_origin(die.device_id()))
    with run.step(PLAN.tokens):
        appliance.open_session(run.sku)
        test_unlock, test_exit = appliance.derive(run.sku, FT_TOKENS)
    run.burn(PLAN.test_unlock, done=lambda: die.has_reached(LcState.TEST_UNLOCKED1),
             do=lambda: die.test_unlock(test_unlock), tries=2, anyones=True)  # fmt: skip
    run.burn(PLAN.individualize, done=die.is_individualized,
             do=lambda: die.individualize(run.image("individualize")), tries=2, anyones=True)  # fmt: skip
    with run.step(PLAN.identity):
        device_id = die.device_id()
        identify(run, die.hardware_origin(device_id))
        run.keep("device_id", device_id)
    run.burn(PLAN.test_exit, done=lambda: die.has_reached(mission),
             do=lambda: die.test_exit(test_exit), tries=2, anyones=True)  # fmt: skip
    token_hash = b"" if die.look().is_personalized else _prepare_device_secrets(run, die, appliance)
    run.burn(PLAN.personalize, done=die.holds_secret2, do=lambda: die.personalize(token_hash), tries=2,
             guarded=SKIPS_LOCKED_SECRET2, only_powered=True)  # fmt: skip
    _certify(run, die, appliance, device_id)
    with run.step(PLAN.boot):
        version = die.check_transport_boot(appliance.owner_boot_message(run.sku))
        run.log(f"ROM_EXT {version} and owner firmware boot")
    with run.step(PLAN.register):
        run.send_registration(appliance)


def _transitions_needed(state: LcState) -> int:
    return {LcState.TEST_LOCKED0: 2, LcState.TEST_UNLOCKED1: 1}.get(state, 0)


def _prepare_device_secrets(run: Run, die: Earlgrey, appliance: Appliance) -> bytes:
    """SECRET1 at the first boot, the bundle on top of it, and the hash of an RMA token for the second boot."""
    with run.step(PLAN.load_perso):
        die.load(run.image("perso"))
    run.burn(PLAN.first_boot, done=die.holds_secret1, do=die.first_boot, tries=2, anyones=True,
             guarded=SKIPS_LOCKED_SECRET1, only_powered=True)  # fmt: skip
    with run.step(PLAN.load_bundle):
        die.load(run.image("bundle"))
    with run.step(PLAN.rma_token):
        return _rma_token(run, appliance)


def _rma_token(run: Run, appliance: Appliance) -> bytes:
    """The hash for the part; hash and wrapped seed are journaled before the hash is used, and a retry reuses them."""
    kept = run.kept("rma_token_hash")
    if kept is not None:
        return kept
    token_hash, wrapped_seed = appliance.generate(run.sku, RMA_TOKEN)
    run.keep("wrapped_rma_seed", wrapped_seed)
    run.keep("rma_token_hash", token_hash)
    return token_hash


def _certify(run: Run, die: Earlgrey, appliance: Appliance, device_id: bytes) -> None:
    """Export, endorse, keep the complete registration, import; a part that boots its product already has it all.

    A part whose installation was begun, or is done, and that says nothing is only asked: no new firmware covers that
    up, and no loose wire costs a finished part its product or the registration that waits for it.
    """
    endorsed: Endorsed | None = None
    begun = run.part.begun(run.context.flow, PLAN.install.id)
    wants = die.stage() is Stage.WANTS_CERTIFICATES and (not begun or _is_open(run))
    if not wants and not begun and die.stage() is not Stage.SHIPPED:
        with run.step(PLAN.load_bundle):
            die.load(run.image("bundle"))
        wants = True
    if wants:
        with run.step(PLAN.endorse):
            endorsed = _endorse(run, die, appliance, device_id)
    run.burn(PLAN.install, done=lambda: die.is_installed(_hash_compared(run)),
             do=lambda: die.install(endorsed, lambda seen: run.keep(COMPARED, seen)), only_powered=True)  # fmt: skip


def _is_open(run: Run) -> bool:
    """Whether an installation was begun whose outcome nobody knows."""
    return (run.context.flow, PLAN.install.id) in run.part.open_burns()


def _hash_compared(run: Run) -> bool:
    """Whether the part answered with the hash of the certificates that it was last sent; true if nothing was sent."""
    sent = run.kept(SENT)
    if sent is None:
        return not _is_open(run)  # begun by an older station, which kept no hash and may have died before it compared
    return sent == run.kept(COMPARED)


def _endorse(run: Run, die: Earlgrey, appliance: Appliance, device_id: bytes) -> Endorsed:
    exported = die.export_certificates(*appliance.ca_subject_keys(run.sku, ["UDS", "EXT"]))
    run.require(exported.is_of(device_id), bin="wrong_part", sentence="the part exported the blob of another part")
    certificates = _endorse_or_reject(run, appliance, exported)
    root, ica = appliance.ca_certificates(run.sku, ["root", "dice"])
    endorsed = die.endorsed(exported, certificates, root, ica)
    seed = run.kept("wrapped_rma_seed")
    run.require(seed is not None, bin="certificate", sentence="no wrapped RMA seed of this part is in this journal")
    run.keep(SENT, endorsed.certs_sha256)
    run.hold_registration(die.registration(run.sku, device_id, seed or b"", endorsed))
    return endorsed


def _endorse_or_reject(run: Run, appliance: Appliance, exported: Exported) -> list[bytes]:
    try:
        return appliance.endorse(run.sku, exported.tbs, WAS_DIVERSIFIER, exported.was_hmac)
    except ApplianceError as error:
        if error.code != "INVALID_ARGUMENT":
            raise
        raise Reject(str(error), bin="endorsement") from error
