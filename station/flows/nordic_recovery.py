"""Erasing a whole Nordic part: when an ordinary recipe may, and how it is recorded (docs/decisions/0015)."""

from __future__ import annotations

from station.errors import BenchError, Reject
from station.flows.nordic_identity import INSTANCE_ID, identify
from station.model import DebugAccess
from station.parts.nordic import Look, Nordic
from station.run import Run

RECOVER_RECIPE = "-recover"
"""How the recipe is called that erases a part for good: the ordinary one's name with this behind it."""
NEW_PARTS = "new_parts"
FIRST_WORDS = 2.0
"""Seconds after its reset within which a part that has firmware says something; a new part of a lot costs as much."""
NEW_LOT, NEW_PART = "All its parts are new: erase", "The part is new: erase"
NOT_NEW = "No: the part goes to RECOVER"


def recover_new(run: Run, part: Nordic, found: Look) -> None:
    """Erase a closed part that this station does not know, once somebody has said that its whole lot is new.

    A part of a hardened family comes closed from its maker, since erased UICR means closed; nothing can be read from
    it, not even who it is. That it holds keys of another bench cannot be seen: hence the question.
    """
    closed = "the debug port is closed" if not found.is_open else "the debug port of the network core is closed"
    if found.app is DebugAccess.NON_SECURE:
        closed = "the debug port is closed for the secure side only"
    recipe = f"the recipe {run.context.recipe}{RECOVER_RECIPE} erases it, with two confirmations"
    if is_known(run):
        raise Reject(f"{closed}, and this station has worked on the part before: it is not erased here; {recipe}",
                     bin="locked")  # fmt: skip
    if not part.family.hardened:
        raise Reject(f"{closed}: somebody closed it, since a new {part.family.title} is open; {recipe}", bin="locked")
    if found.app is DebugAccess.NON_SECURE:
        raise Reject(
            f"{closed}, as that of no new {part.family.title}: somebody wrote its UICR; {recipe}", bin="locked"
        )
    name, new = (f"Lot {run.context.lot}", NEW_LOT) if run.context.lot else (f"Part {run.label}", NEW_PART)
    text = f"{name}: {closed}, as with every new part. It is erased whole: if it holds keys, they are gone for good."
    if not run.confirmed_for_lot(NEW_PARTS, text, (new, NOT_NEW)):
        raise Reject(f"{closed}, and nobody has confirmed that the part is new; {recipe}", bin="locked")
    if not found.is_open:
        _refuse_finished(run, part, recipe)
    erase(run, part, f"new part, {closed}")


def _refuse_finished(run: Run, part: Nordic, recipe: str) -> None:
    """A part that attests is nobody's new one, whatever was said of its lot; a new one has nothing to say."""
    seen = part.boot.identity(FIRST_WORDS)
    if seen is None:
        return
    if owners := ", ".join(run.others_keeping(INSTANCE_ID, seen)):  # no verdict on the label's part: it lies elsewhere
        raise BenchError(f"the part in the socket attests as {owners}, but {run.label} was scanned: it is another "
                         "part, and nothing was erased; put the right one in")  # fmt: skip
    raise Reject(f"the part is provisioned already, and this station does not know it: it attests (instance id "
                 f"{seen.hex()}); {recipe}", bin="already_provisioned")  # fmt: skip


def erase(run: Run, part: Nordic, reason: str) -> None:
    """Waiver, erasure, record of the chip that it was; its own id is read afterwards and must fit the label."""
    waiver = run.waive_erase(reason)
    part.erase_all(waiver)
    seen = part.evidence()  # before it counts as erased
    run.require(seen.is_untouched, bin="half_provisioned",
                sentence=f"the part was to be erased whole, but it is not blank: {seen.sentence}")  # fmt: skip
    run.erased(waiver, part.device_id())
    part.keep_erased_open()
    identify(run, part)


def is_known(run: Run) -> bool:
    """Whether anything is known to have been burnt into the part since it was last erased."""
    return any(run.part.begun(flow, title) for flow, title in list(run.part.burns))
