"""Who a Nordic part is: its own id while the debug port is open, what its attestation says once it is closed.

Nothing but the attestation tells closed parts from one another (docs/decisions/0017).
"""

from __future__ import annotations

from station.errors import FormatError
from station.parts.nordic import Nordic
from station.run import Run, Title

INSTANCE_ID = "instance_id"
"""Under which name the journal keeps the instance id (UEID, 33 bytes) that a part has attested."""


def identify(run: Run, part: Nordic) -> None:
    """Bind the label to FICR.DEVICEID, which survives every erasure; needs an open port."""
    run.identify(part.device_id())


def keep_instance(run: Run, part: Nordic) -> None:
    """Keep the instance id of the first token that the part gives; it is read while the run knows who the part is."""
    if run.kept(INSTANCE_ID) is not None:
        return
    try:
        run.keep(INSTANCE_ID, _signed_id(part))
    except FormatError:
        pass  # no token, or one that is judged elsewhere


def _signed_id(part: Nordic) -> bytes:
    """The instance id of the last token if a key fits its signature: a bit that fell over is nobody's id."""
    token = part.boot.last_token()
    token.public_key()
    return token.instance_id


def attested(part: Nordic) -> bytes | None:
    """The instance id that a closed part attests, None when it gives no token that can be read; asked once in a run."""
    try:
        return _signed_id(part) if part.boot.attests() else None
    except FormatError:
        return None


def refuse_another(run: Run, part: Nordic, since: Title) -> None:
    """Quarantine a closed part that is another one than its label says, or that could be.

    ``since``: the burn from whose intent on a part may close without having said who it is.
    """
    seen, known = attested(part), run.kept(INSTANCE_ID)
    if seen is None or seen == known:
        return  # what a silent part is, the burns judge
    if known is not None:
        raise run.quarantined(f"the part attests as {seen.hex()}, but {run.label} is known as {known.hex()}", since)
    if owners := ", ".join(run.others_keeping(INSTANCE_ID, seen)):
        raise run.quarantined(f"{run.label} was scanned, but the part attests as {owners}", since)
    others = ", ".join(run.others_begun_without(since, INSTANCE_ID))
    if others and not run.part.burn(run.context.flow, since.id).vouched:
        raise run.quarantined(f"nobody can tell {run.label} from {others}: each of them may have closed its debug "
                              "port before it had said who it is", since)  # fmt: skip
