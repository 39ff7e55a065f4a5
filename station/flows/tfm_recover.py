"""Recover a Nordic part: erase it whole, with every key and identity in it, so that it may be provisioned again.

For parts that an ordinary recipe does not erase: half provisioned, secured, or closed. Both confirmations are recorded.
"""

from __future__ import annotations

import json

from station.errors import BenchError
from station.flows.nordic_identity import INSTANCE_ID, identify
from station.flows.nordic_recovery import erase
from station.parts.nordic import Look, Nordic
from station.ports import Appliance
from station.run import Erasure, Plan, Run

PART = "nordic"
NEEDS_APPLIANCE = False

PLAN = Plan(
    contact="Look at the part and its debug port",
    confirm="Confirm twice that its identity is to be destroyed",
    erase=Erasure("Erase the whole part"),
    blank="Check that it is blank and open",
).taking_back("tfm_provisioning", ends_in="recovered")

LAST_WORDS = 5.0
"""Seconds after its reset within which a part that is not known to say who it is has begun to speak, if it does."""
FIRST, SECOND = "Destroy its identity", "Yes, erase the whole part"
NO = "No"
EVIDENCE = "evidence_erased"


def tfm_recover(run: Run, part: Nordic, appliance: Appliance) -> None:
    """Whatever the part is, it is blank and open afterwards, and its record says what it was."""
    with run.step(PLAN.contact):
        found = part.look()
        run.require(not found.erase_protected, bin="erase_protected",
                    sentence="the part is protected from erasure: nobody can recover it")  # fmt: skip
        if found.is_open:
            identify(run, part)
            part.evidence()
        else:
            _require_same(run, part)
    with run.step(PLAN.confirm):
        _confirm(run)
        _keep_evidence(run, part, found)
    with run.step(PLAN.erase):
        erase(run, part, "recovery, confirmed twice")
    with run.step(PLAN.blank):
        seen = part.evidence()
        run.require(seen.is_untouched, bin="half_provisioned",
                    sentence=f"the part was erased, but it is not blank: {seen.sentence}")  # fmt: skip


def _require_same(run: Run, part: Nordic) -> None:
    """A closed part says who it is by its attestation only: another one than the label's is not touched."""
    known = run.kept(INSTANCE_ID)
    seen = part.boot.identity(LAST_WORDS if known is None else None)
    if seen is None:
        run.log("its debug port is closed and it gives no token: only its label says which part this is", "dut")
        return
    owners = ", ".join(run.others_keeping(INSTANCE_ID, seen))
    if owners or seen != (known or seen):  # no verdict on the label's part, which lies elsewhere
        who = owners or seen.hex()
        label = f"{run.label} is known as {known.hex()}" if known is not None else f"{run.label} was scanned"
        raise BenchError(f"the part in the socket attests as {who}, but {label}: it is another part, and nothing was "
                         "erased; put the right one in")  # fmt: skip


def _confirm(run: Run) -> None:
    name = (f"{run.label} ({run.device_id})" if run.device_id else run.label) + _passed(run)
    for text, choice in (
        (f"{name}: every key and the identity of this part will be destroyed for good.", FIRST),
        (f"{name}: once more. Nothing brings its identity back. Is the right part in socket {run.socket}?", SECOND),
    ):
        if run.ask(text, (choice, NO)) != choice:
            raise BenchError("nobody confirmed that the part may be erased; nothing was changed")


def _keep_evidence(run: Run, part: Nordic, found: Look) -> None:
    """What the part was before it is erased, as far as it could be read, and the debug probe that saw it."""
    if run.kept(EVIDENCE) is not None and (run.part.erasing or not found.is_open):
        return  # what a recovery that was interrupted has read says more: the part may be blank by now
    seen = part.evidence_in_hand.record() if found.is_open else {}
    targetid = f"{found.port.targetid:#010x}"
    run.keep(EVIDENCE, json.dumps({"probe": part.probe_identity, "targetid": targetid, "app": str(found.app), **seen}))


def _passed(run: Run) -> str:
    """When the part passed, if it did: then it is a good one that would be destroyed."""
    moments = [passed.moment for flow in sorted(PLAN.takes_back) if (passed := run.part.passed(flow)) is not None]
    return f" PASSED on {moments[-1]}" if moments else ""
