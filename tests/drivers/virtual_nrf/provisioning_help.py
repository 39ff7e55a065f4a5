"""What the provisioning image says, and what a part holds when it has ended: nordic-tfm sheet 1.3, 2.4, 2.5."""

from __future__ import annotations

VERIFIED = "Successfully verified PSA lifecycle state ASSEMBLY!"
SWITCHED = "Successfully switched to PSA lifecycle state PROVISIONING!"
HUK = "Generating random HUK keys (including MKEK)"
IDENTITY = "Writing the identity key to KMU"
SUCCESS = "Success!"
BLANK, PERM_HUK, PERM_IDENTITY = 0xFFFF_FFFF, 0xFFFF_FFFC, 0xFFFF_FFFA
ASSEMBLY, PROVISIONING = [0xFFFF_FFFF, 0xFFFF_FFFF], [0xFFFF_0000, 0xFFFF_FFFF]
UNWRITTEN = b"\xff" * 32


def failure(reason):
    """The image's line that ends it."""
    return f"Failure: {reason} Exiting!"


def keys(part):
    """How far the keys are: permission words of the slots that this kind uses."""
    kmu = part.state()["kmu"]
    huk = [kmu[str(slot)] for slot in sorted(part.silicon.huk_slots)]
    return huk, [kmu[str(slot)] for slot in part.silicon.identity_slots]


def left_behind(part):
    """Life cycle words, which keys, implementation id."""
    huk, identity = keys(part)
    some = {BLANK: "none", PERM_HUK: "huk"}
    what = some[huk[0]] if len(set(huk)) == 1 else "some huk"
    if identity == [PERM_IDENTITY] * 2:
        what = "all" if not part.foreign else "huk and foreign identity"
    elif identity == [PERM_IDENTITY, BLANK]:
        what += " and half identity"
    state = part.state()
    return state["lcs"], what, bytes.fromhex(state["implementation_id"])
