"""TF-M provisioning of a Nordic part: keys are born in it, it leaves SECURED, closed and with a verified attestation.

No appliance takes part: nothing secret passes through the station. Evidence and settle time of every burn:
docs/burns.md. What is done with a half provisioned part, and why in this order: docs/decisions/0014, 0015.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from station.errors import FormatError, Reject
from station.flows.nordic_recovery import INSTANCE_ID, RECOVER_RECIPE, identify, recover_new
from station.formats.attestation import Checked, Token, life_cycle_name
from station.formats.bl_storage import LifeCycle
from station.formats.nordic_family import CLOSED
from station.model import DebugAccess
from station.parts.nordic import Evidence, Look, Nordic
from station.parts.nordic.evidence import ONLY_RECOVERY
from station.ports import Appliance
from station.run import Burn, Plan, Run

PART = "nordic"
NEEDS_APPLIANCE = False

PLAN = Plan(
    images="Check the images",
    contact="Look at the part and its debug port",
    recover="Erase a new part whose debug port is closed",
    before="Read life cycle and key slots",
    provision=Burn("Provision: run the image that makes the keys", settle=20.0),
    console="Judge what the image said",
    network="Install the network core's firmware",
    data=Burn("Write the bootloader's data", settle=0.5),
    install=Burn("Put the production firmware in the image's place", settle=1.0),
    lock=Burn("Close the debug port", settle=0.5),
    boot=Burn("First boot: TF-M secures the part", settle=10.0),
    attest="Verify the attestation",
    closed="Prove that the debug port is closed",
)

NETWORK_IMAGE = "network_image"
PUBLIC_KEY, TOKEN = "iak_public_key", "attestation_token"


def tfm_provisioning(run: Run, part: Nordic, appliance: Appliance) -> None:
    """A blank part in ASSEMBLY gets its keys, the production firmware and a closed debug port, and proves all three."""
    with run.step(PLAN.images):
        digests = part.load({name: run.image(name) for name in run.pack.images}).digests
    with run.step(PLAN.contact):
        found = _contact(run, part)
    if not _has_begun(run):
        _prepare(run, part, found, digests)
    run.burn(PLAN.provision, done=part.is_provisioned, do=lambda: _provision(run, part))
    with run.step(PLAN.console):
        _judge_console(run, part)
    with run.step(PLAN.network):
        _install_network(run, part)
    if part.stores_data:
        run.burn(PLAN.data, done=part.is_stored, do=part.store, tries=2, anyones=True)
    run.burn(PLAN.install, done=part.is_installed, do=part.install, tries=3)
    # From here on the part may secure and close itself at any power-up: what follows may be found done.
    if part.host_locks:
        run.burn(PLAN.lock, done=part.is_locked, do=part.lock, tries=2, anyones=True)
    run.burn(PLAN.boot, done=part.has_booted, do=part.first_boot, tries=2, anyones=True)
    with run.step(PLAN.attest):
        _attest(run, part)
    with run.step(PLAN.closed):
        run.keep("debug_port_closed", json.dumps(part.prove_closed()))


# ---- before anything is burnt -----------------------------------------------------------------------------------


def _has_begun(run: Run) -> bool:
    return run.part.begun(run.context.flow, PLAN.provision.id)


def _contact(run: Run, part: Nordic) -> Look:
    """Family, erase protection, and who it is, if it can say so."""
    found = part.look()
    state = "closed" if not found.is_open else "open"
    run.log(f"TARGETID {found.port.targetid:#010x}, debug port {found.app}", "dut")
    run.require(not found.erase_protected, bin="erase_protected", sentence="the part is protected from erasure and its "
                f"debug port is {state}: nothing that goes wrong with it could ever be taken back")  # fmt: skip
    if found.is_open:
        identify(run, part)
    installed = run.part.begun(run.context.flow, PLAN.install.id)
    run.require(found.is_open or installed or not _has_begun(run), bin="locked", sentence="the part was provisioned "
                f"here, but its debug port closed before it had its production firmware: {ONLY_RECOVERY} (recipe "
                f"{run.context.recipe}{RECOVER_RECIPE})")  # fmt: skip
    return found


def _prepare(run: Run, part: Nordic, found: Look, digests: Mapping[str, str]) -> None:
    """An open part in ASSEMBLY without any key, whose network core has what it needs before the image runs."""
    if not found.is_open or _network_is_closed(part):
        with run.step(PLAN.recover):
            recover_new(run, part, found)
    with run.step(PLAN.before):
        seen = part.evidence()
        _keep_evidence(run, "before", seen, targetid=f"{found.port.targetid:#010x}", images=dict(digests))
        _require_blank(run, part, seen)
        part.keep_open()
        if part.has_network_image and not part.child_locks_network:
            _put_network_image(run, part)


def _network_is_closed(part: Nordic) -> bool:
    """Whether the network core's port is shut although something has to be programmed through it."""
    wanted = part.has_network_image or part.child_locks_network
    return wanted and part.network_access() is not DebugAccess.OPEN


def _require_blank(run: Run, part: Nordic, seen: Evidence) -> None:
    """ASSEMBLY and untouched, or the sentence that says what the part is instead."""
    if seen.is_untouched:
        return
    recipe = f"recipe {run.context.recipe}{RECOVER_RECIPE}"
    if seen.life_cycle is LifeCycle.DECOMMISSIONED:
        raise Reject(f"the part is decommissioned: {seen.sentence}", bin="wrong_state")
    if seen.life_cycle is LifeCycle.SECURED:
        raise Reject(f"the part is secured already, and this station does not know it: {seen.sentence}; "
                     f"{ONLY_RECOVERY} ({recipe})", bin="already_provisioned")  # fmt: skip
    if seen.is_complete(part.settings.implementation_id):
        raise Reject(f"the part is provisioned already, and this station does not know it: {seen.sentence}; "
                     f"{ONLY_RECOVERY} ({recipe})", bin="already_provisioned")  # fmt: skip
    raise Reject(f"the part is half provisioned: {seen.sentence}; {ONLY_RECOVERY} ({recipe})", bin="half_provisioned")


# ---- provisioning -----------------------------------------------------------------------------------------------


def _provision(run: Run, part: Nordic) -> None:
    """Run the image, keep what it said, and use the network core's port while the child image has not closed it."""
    try:
        part.provision()
    finally:
        if part.heard is not None:
            run.keep("console_app", part.heard.said.app.transcript)
            run.keep("console_net", part.heard.said.net.transcript)
    if part.child_locks_network and part.has_network_image:
        _put_network_image(run, part)


def _judge_console(run: Run, part: Nordic) -> None:
    """The transcript must be whole before the port is closed for good; what ran earlier is judged by the part alone."""
    seen, heard = part.seen, part.heard
    if seen is not None and seen.life_cycle is not LifeCycle.ASSEMBLY:
        _keep_evidence(run, "after", seen)
    if heard is None:
        run.log("the image ran in an earlier run: life cycle, key slots and the attestation to come speak for it")
        return
    run.require(heard.succeeded, bin=heard.outcome.bin if heard.outcome else "console",
                sentence=f"the part is provisioned, but {heard.outcome.cause if heard.outcome else heard.problem}; "
                         "run it again then: nothing is done twice")  # fmt: skip
    word = seen.net_approtect if seen is not None else None
    run.require(word in (None, CLOSED) or not part.child_locks_network, bin="network_core", saw=word,
                sentence="the network core said that it closes its debug port, its UICR says otherwise")  # fmt: skip


def _install_network(run: Run, part: Nordic) -> None:
    if not part.has_network_image:
        run.log("the pack has no image for the network core")
    elif run.kept(NETWORK_IMAGE) is None:
        _put_network_image(run, part)


def _put_network_image(run: Run, part: Nordic) -> None:
    part.install_network()
    run.keep(NETWORK_IMAGE, "programmed and read back")


# ---- the finished part ------------------------------------------------------------------------------------------


def _attest(run: Run, part: Nordic) -> None:
    """The token of this part's own key, compared with everything that is known of it, and kept."""
    try:
        token = part.boot.token()
    except FormatError as error:
        sentence = f"the part is secured, but its attestation token cannot be read: {error}"
        raise Reject(sentence, bin="attestation") from None
    finally:
        run.keep("console_boot", part.boot.transcript)
    checked = part.check(token, run.kept(INSTANCE_ID))
    _keep_token(run, part, token, checked)
    dummy = any("dummy" in problem for problem in checked.problems)
    run.require(not checked.problems, bin="dummy_key" if dummy else "attestation",
                sentence=f"the part is secured, but {'; '.join(checked.problems)}")  # fmt: skip
    run.keep(INSTANCE_ID, token.instance_id)
    if checked.public_key is not None:
        run.keep(PUBLIC_KEY, checked.public_key.raw)
    fresh = " (to the sample's fixed challenge: it proves identity, not freshness)" if token.is_sample else ""
    run.log(f"attested: instance id {token.instance_id.hex()}, {life_cycle_name(token.life_cycle)}{fresh}", "dut")


def _keep_token(run: Run, part: Nordic, token: Token, checked: Checked) -> None:
    """Also a token that is refused is evidence."""
    if part.boot.last is not None:
        run.keep(TOKEN, part.boot.last.token)
    claims = {
        "profile": token.profile.name, "life_cycle": life_cycle_name(token.life_cycle),
        "instance_id": token.instance_id.hex(), "implementation_id": token.implementation_id.hex(),
        "certificate_reference": token.certificate_reference, "problems": list(checked.problems),
    }  # fmt: skip
    run.keep("attestation_claims", json.dumps(claims))


def _keep_evidence(run: Run, moment: str, seen: Evidence, **more: object) -> None:
    run.keep(f"evidence_{moment}", json.dumps({**seen.record(), **more}))
    run.log(f"{moment} provisioning: {seen.sentence}", "dut")
