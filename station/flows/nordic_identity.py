"""Who a Nordic part is: its own id while the debug port is open, what its attestation says once it is closed.

Nothing but the attestation tells closed parts from one another (docs/decisions/0017). The id is the hash of a key that
was born in the part, so two parts that attest the same one are one part, or have one key.
"""

from __future__ import annotations

from station.parts.nordic import Nordic
from station.run import Run, Title

INSTANCE_ID = "instance_id"
"""Under which name the journal keeps the instance id (UEID, 33 bytes) that a part has attested."""


def identify(run: Run, part: Nordic) -> None:
    """Bind the label to FICR.DEVICEID, which survives every erasure; needs an open port."""
    run.identify(part.device_id())


def new_instance(run: Run, part: Nordic) -> dict[str, bytes]:
    """The instance id of the first token that the part gives, to be kept; read while the run knows who the part is.

    A token that is none, or that nobody signed, is judged elsewhere.
    """
    seen = part.boot.signed_id()
    return {} if seen is None or run.kept(INSTANCE_ID) is not None else {INSTANCE_ID: seen}


def refuse_another(run: Run, seen: bytes | None, since: Title) -> None:
    """Quarantine a closed part that is another one than its label says, or that could be.

    ``seen``: the instance id that it attests. ``since``: the burn from whose intent on a part may close without having
    said who it is.
    """
    known = run.kept(INSTANCE_ID)
    if seen is None:
        return  # what a silent part is, the burns judge
    if known is not None and seen != known:
        raise run.quarantined(f"the part attests as {seen.hex()}, but {run.label} is known as {known.hex()}", since)
    refuse_shared(run, seen, since)
    if known is not None:
        return
    others = ", ".join(run.others_begun_without(since, INSTANCE_ID))
    if others and not run.part.burn(run.context.flow, since.id).vouched:
        raise run.quarantined(f"nobody can tell {run.label} from {others}: each of them may have closed its debug "
                              "port before it had said who it is", since)  # fmt: skip


def refuse_shared(run: Run, seen: bytes, title: Title) -> None:
    """Quarantine a part that attests the instance id of another one of this station."""
    if owners := ", ".join(run.others_keeping(INSTANCE_ID, seen)):
        raise run.quarantined(f"{run.label} was scanned, but the part attests as {owners}: it is that part, or both "
                              "have the same identity key", title)  # fmt: skip
