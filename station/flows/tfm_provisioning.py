"""TF-M provisioning of a Nordic part: keys are born in it, it leaves SECURED, closed and with a verified attestation.

No appliance takes part: nothing secret passes through the station. Evidence and settle time of every burn:
docs/burns.md. What is done with a half provisioned part, and why in this order: docs/decisions/0014, 0015.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from station.errors import ConfigError, FormatError, Reject, StationError
from station.flows.nordic_identity import INSTANCE_ID, identify, new_instance, refuse_another, refuse_shared
from station.flows.nordic_recovery import RECOVER_RECIPE, is_known, recover_new
from station.formats.attestation import Checked, Token, life_cycle_name
from station.formats.bl_storage import LifeCycle
from station.formats.nordic_family import CLOSED
from station.model import DONE, NOT_DONE, Answer
from station.parts.nordic import Evidence, Look, Nordic
from station.parts.nordic.evidence import ONLY_RECOVERY
from station.ports import Appliance
from station.run import Burn, Erasure, Plan, Run

PART = "nordic"
NEEDS_APPLIANCE = False

PLAN = Plan(
    images="Check the images",
    contact="Look at the part and its debug port",
    recover=Erasure("Erase a new part whose debug port is closed"),
    before="Read life cycle and key slots",
    provision=Burn("Provision: run the image that makes the keys", settle=20.0),
    console="Judge what the image said",
    network="Install the network core's firmware",
    net_lock=Burn("Close the network core's debug port", settle=0.5),
    data=Burn("Write the bootloader's data", settle=0.5),
    install=Burn("Put the production firmware in the image's place", settle=1.0),
    lock=Burn("Close the debug port", settle=0.5),
    boot=Burn("First boot: TF-M secures the part", settle=10.0),
    attest="Verify the attestation",
    closed="Prove that the debug port is closed",
)

BEFORE, AFTER = "before", "after"
NETWORK_IMAGE, NETWORK_LOCK = "network_image", "network_lock"
HEARD = "the core was heard at this boot"
PUBLIC_KEY, TOKEN, CONSOLE_BOOT = "iak_public_key", "attestation_token", "console_boot"


def tfm_provisioning(run: Run, part: Nordic, appliance: Appliance) -> None:
    """A blank part in ASSEMBLY gets its keys, the production firmware and a closed debug port, and proves all three."""
    run.remedy = _recovery(run)
    with run.step(PLAN.images):
        digests = part.load({name: run.image(name) for name in run.pack.images}).digests
        _refuse_other_images(run, digests)
    with run.step(PLAN.contact):
        found = _contact(run, part)
    if not _has_begun(run):
        _prepare(run, part, found, digests)
    with part.alone():
        run.burn(PLAN.provision, done=lambda: _is_provisioned(run, part), do=lambda: _provision(run, part))
    with run.step(PLAN.console):
        _judge_console(run, part)
    with run.step(PLAN.network):
        _install_network(run, part)
    if part.network.host_locks:
        run.burn(PLAN.net_lock, done=lambda: _is_network_locked(run, part), do=lambda: _close_network(run, part),
                 tries=2, anyones=True)  # fmt: skip
    _keep_network_lock(run, part)
    if part.stores_data:
        run.burn(PLAN.data, done=part.is_stored, do=part.store, tries=2, anyones=True)
    run.burn(PLAN.install, done=part.is_installed, do=part.install, tries=3)
    # From here on the part may secure and close itself at any power-up: what follows may be found done.
    if part.host_locks:
        run.burn(PLAN.lock, done=part.is_locked, do=part.lock, tries=2, anyones=True)
    with part.alone():
        run.burn(PLAN.boot, done=part.has_booted, do=lambda: _boot(run, part), tries=2, anyones=True)
    with run.step(PLAN.attest):
        _attest(run, part, found)
    with run.step(PLAN.closed):
        _prove_closed(run, part)


# ---- before anything is burnt -----------------------------------------------------------------------------------


def _has_begun(run: Run) -> bool:
    return run.part.begun(run.context.flow, PLAN.provision.id)


def _refuse_other_images(run: Run, digests: Mapping[str, str]) -> None:
    """A part that was begun with other images is finished with those: its record names them."""
    before = run.kept(f"evidence_{BEFORE}")
    if before is None or not _has_begun(run):
        return
    recorded = json.loads(before)["images"]
    changed = sorted(name for name in {**recorded, **digests} if digests.get(name) != recorded.get(name))
    if changed:
        name = changed[0]
        begun = f"{name} (SHA-256 {recorded[name]})" if name in recorded else f"no {name}, which"
        other = f"{begun}, and none" if name not in digests else f"another {begun} than" if name in recorded else begun
        raise ConfigError(f"the part was begun with {other} is used now; finish it as it was, or erase it "
                          f"({_recovery(run)})")  # fmt: skip


def _recovery(run: Run) -> str:
    return f"recipe {run.context.recipe}{RECOVER_RECIPE}"


def _contact(run: Run, part: Nordic) -> Look:
    """Family, erase protection, and who it is, if it can say so."""
    found = part.look()
    state = "closed" if not found.is_open else "open"
    run.log(f"TARGETID {found.port.targetid:#010x}, debug port {found.app}", "dut")
    run.require(not found.erase_protected, bin="erase_protected", sentence="the part is protected from erasure and its "
                f"debug port is {state}: nothing that goes wrong with it could ever be taken back")  # fmt: skip
    if found.is_open:
        identify(run, part)
    elif _has_begun(run):
        seen = part.boot.identity()
        refuse_another(run, seen, since=PLAN.install)
        if run.part.erasing and seen == run.kept(INSTANCE_ID) is not None:
            run.spared("the part still attests the instance id that it is known by")
    run.require(not (run.part.erasing and is_known(run)), bin="half_provisioned", sentence="the erasure of this part "
                f"was begun, and its end is not recorded: {_recovery(run)} finishes it")  # fmt: skip
    installed = run.part.begun(run.context.flow, PLAN.install.id)
    run.require(found.is_open or installed or not _has_begun(run), bin="locked", sentence="the part was provisioned "
                "here, but its debug port closed before it had its production firmware, or it is another part: look at "
                f"its label; {ONLY_RECOVERY} ({_recovery(run)})")  # fmt: skip
    return found


def _prepare(run: Run, part: Nordic, found: Look, digests: Mapping[str, str]) -> None:
    """An open part in ASSEMBLY without any key, whose network core has what it needs before the image runs."""
    if not found.is_open or part.network.closes():
        with run.step(PLAN.recover):
            if found.is_open:
                _require_blank(run, part.evidence())
            recover_new(run, part, found)
    with run.step(PLAN.before):
        seen = part.evidence()
        targetid = f"{found.port.targetid:#010x}"
        _keep_evidence(run, BEFORE, seen, probe=part.probe_identity, targetid=targetid, images=dict(digests))
        _require_blank(run, seen)
        _require_free_words(run, part)
        part.keep_open()
        if pages := part.clear_flash():
            run.log(f"{pages} pages of flash held something and were erased", "dut")
        if part.network.has_image and not part.network.child_locks:
            _put_network_image(run, part)
        elif part.network.host_locks:
            part.network.keep_open()


def _require_blank(run: Run, seen: Evidence) -> None:
    """ASSEMBLY and untouched, or the sentence that says what the part is instead."""
    if seen.is_untouched:
        return
    run.log(f"before provisioning: {seen.sentence}", "dut")
    recipe = _recovery(run)
    if seen.life_cycle is LifeCycle.DECOMMISSIONED:
        raise Reject(f"the part is decommissioned: {seen.sentence}", bin="wrong_state")
    if seen.life_cycle is LifeCycle.SECURED:
        raise Reject(f"the part is secured already, and this station does not know it: {seen.sentence}; "
                     f"{ONLY_RECOVERY} ({recipe})", bin="already_provisioned")  # fmt: skip
    if seen.life_cycle is LifeCycle.PROVISIONING and seen.keys.are_complete:
        raise Reject(f"the part is provisioned already, and this station does not know it: {seen.sentence}; "
                     f"{ONLY_RECOVERY} ({recipe})", bin="already_provisioned")  # fmt: skip
    raise Reject(f"the part is half provisioned: {seen.sentence}; {ONLY_RECOVERY} ({recipe})", bin="half_provisioned")


def _require_free_words(run: Run, part: Nordic) -> None:
    """What the production image needs in UICR must be free now: keys are made before it is written."""
    stored = part.is_stored()
    run.require(stored.evidence in (DONE.evidence, NOT_DONE.evidence), bin="otp",
                sentence=f"{stored.reason}; the {_recovery(run)} erases the part")  # fmt: skip


# ---- provisioning -----------------------------------------------------------------------------------------------


def _provision(run: Run, part: Nordic) -> None:
    """Run the image, keep what it said, and use the network core's port while the child image has not closed it.

    That port is needed whatever the console said: a part with all its keys and without its network core's firmware is
    lost at the next loss of power.
    """
    try:
        part.provision(PLAN.provision.settle)
    except StationError:
        if part.made_keys and part.network.child_locks:
            with suppress(StationError):  # what ended the image says more
                _install_network(run, part)
                _keep_network_lock(run, part)
        raise
    finally:
        if part.heard is not None:
            said = part.heard.said
            run.keep_all({"console_app": said.app.transcript, "console_net": said.net.transcript})
    if part.network.child_locks:
        _install_network(run, part)
        _keep_network_lock(run, part)


def _is_provisioned(run: Run, part: Nordic) -> Answer:
    """What the part answers, and the evidence for it unless nothing was burnt."""
    answer = part.is_provisioned()
    if part.seen is not None and not part.seen.is_untouched:
        _keep_evidence(run, AFTER, part.seen, probe=part.probe_identity)
        if part.network.child_locks and part.seen.net_approtect == CLOSED and run.kept(NETWORK_LOCK) is None:
            run.keep(NETWORK_LOCK, f"UICR.APPROTECT {CLOSED:#010x}")
    return answer


def _judge_console(run: Run, part: Nordic) -> None:
    """The transcript must be whole before the port is closed for good; what ran earlier is judged by the part alone."""
    heard = part.heard
    if heard is None:
        run.log("the image ran in an earlier run: life cycle, key slots and the attestation to come speak for it")
        return
    run.require(heard.succeeded, bin=heard.outcome.bin if heard.outcome else "console",
                sentence=f"the part is provisioned, but {heard.outcome.cause if heard.outcome else heard.problem}; "
                         "run it again then: nothing is done twice")  # fmt: skip


def _install_network(run: Run, part: Nordic) -> None:
    """The network core's production image, once; without one its child image is taken away all the same."""
    if run.kept(NETWORK_IMAGE) is not None and (not part.look().is_open or part.network.holds_image()):
        return
    if part.network.has_image:
        _put_network_image(run, part)
        return
    if part.network.is_there:
        run.log("the pack has no image for the network core")
    if part.network.child_locks:
        part.network.clear_child()
        run.keep(NETWORK_IMAGE, "none: the provisioning image was erased")


def _put_network_image(run: Run, part: Nordic) -> None:
    part.network.install()
    run.keep(NETWORK_IMAGE, "programmed and read back")


def _is_network_locked(run: Run, part: Nordic) -> Answer:
    """The word as the part shows it; what was read and kept once, only an erasure takes back."""
    return DONE if run.kept(NETWORK_LOCK) is not None else part.network.is_locked()


def _close_network(run: Run, part: Nordic) -> None:
    """Write the word and keep what it reads, before anything resets that core."""
    part.network.close()
    _keep_network_lock(run, part)


def _keep_network_lock(run: Run, part: Nordic) -> None:
    """What shows that the network core's port is closed is read while the application core's is open.

    Afterwards a core that is off and a core that is closed look the same.
    """
    needed = part.network.child_locks or part.network.host_locks
    if not needed or run.kept(NETWORK_LOCK) is not None or not part.look().is_open:
        return
    lock = part.network.lock()
    run.require(bool(lock), bin="network_core", sentence="the part is provisioned, but nothing shows that the debug "
                f"port of its network core is closed for good: {ONLY_RECOVERY} ({_recovery(run)})")  # fmt: skip
    run.keep(NETWORK_LOCK, lock)


# ---- the finished part ------------------------------------------------------------------------------------------


def _boot(run: Run, part: Nordic) -> None:
    """The first boot; what the part says and who it says it is are kept whatever comes of it."""
    try:
        part.first_boot()
    finally:
        run.keep_all({CONSOLE_BOOT: part.boot.transcript, **new_instance(run, part)})


def _attest(run: Run, part: Nordic, found: Look) -> None:
    """The token of this part's own key, compared with everything that is known of it, and kept."""
    try:
        token = part.boot.token()
    except FormatError as error:
        sentence = f"the part is secured, but its attestation token cannot be read: {error}"
        raise Reject(sentence, bin="attestation") from None
    finally:
        run.keep(CONSOLE_BOOT, part.boot.transcript)
    _refuse_identity(run, part, found)
    checked = part.check(token, run.kept(INSTANCE_ID))
    _keep_token(run, part, token, checked)
    if refused := part.boot.refused:
        raise Reject(f"the part is secured, but {refused.cause}", bin=refused.bin)
    run.require(not checked.problems, bin="dummy_key" if checked.dummy_key else "attestation",
                sentence=f"the part is secured, but {'; '.join(checked.problems)}")  # fmt: skip
    key = checked.public_key
    run.keep_all({INSTANCE_ID: token.instance_id, **({PUBLIC_KEY: key.raw} if key is not None else {})})
    fresh = " (to the sample's fixed challenge: it proves identity, not freshness)" if token.is_sample else ""
    run.log(f"attested: instance id {token.instance_id.hex()}, {life_cycle_name(token.life_cycle)}{fresh}", "dut")


def _refuse_identity(run: Run, part: Nordic, found: Look) -> None:
    """Whose token this is, before anything of it is kept: one that came late is a closed part's first word, too."""
    seen = part.boot.signed_id()
    if seen is None:
        return  # judged with all its claims
    if found.is_open:  # its own id has said which part it is
        refuse_shared(run, seen, PLAN.boot)
    else:
        refuse_another(run, seen, since=PLAN.install)


def _keep_token(run: Run, part: Nordic, token: Token, checked: Checked) -> None:
    """Also a token that is refused is evidence."""
    boot = part.boot.last
    claims = {
        "profile": token.profile.name, "life_cycle": life_cycle_name(token.life_cycle),
        "instance_id": token.instance_id.hex(), "implementation_id": token.implementation_id.hex(),
        "certificate_reference": token.certificate_reference, "problems": list(checked.problems),
    }  # fmt: skip
    raw = {TOKEN: boot.token} if boot is not None else {}
    run.keep_all({**raw, "attestation_claims": json.dumps(claims)})


def _prove_closed(run: Run, part: Nordic) -> None:
    """Every debug port, each with what shows it."""
    proof = dict(part.prove_closed())
    if part.network.is_there:
        lock = run.kept(NETWORK_LOCK)
        shown = lock.decode() if lock is not None else HEARD if part.network.speaks() else ""
        run.require(bool(shown), bin="debug_open", sentence="the debug port of the network core shows closed, as that "
                    "of a core that is off does, and nothing shows that it is on: let this station close it (net_lock "
                    '= "host" in pack.toml)')  # fmt: skip
        proof["net"] = f"closed: {shown}"
    run.keep("debug_port_closed", json.dumps(proof))


def _keep_evidence(run: Run, moment: str, seen: Evidence, **more: object) -> None:
    run.keep(f"evidence_{moment}", json.dumps({**seen.record(), **more}))
    run.log(f"{moment} provisioning: {seen.sentence}", "dut")
