"""The faults a virtual Nordic part can be given: one table of names, and what is armed at the moment.

Names are those of the other virtual chips where the fault is the same. Rows of the provisioning sample and of TF-M are
those of the nordic-tfm sheet, sections 1.3, 1.4, 1.7 and 2.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.virtual.nrf.silicon import Silicon
from drivers.virtual.nrf.words import checked_name
from station.errors import nearest

FAULTS: dict[str, str] = {
    "no_contact": "All pads are dead, as with a part that does not touch the socket, until cleared and powered again.",
    "wrong_family": "The debug port says that it is another part (argument nrf54l, nrf5340, nrf9160, nrf91x1 or other; "
    "default nrf54l), until cleared.",
    "wrong_state": "The life cycle words are those of the state named by the argument (default PROVISIONING; also "
    "SECURED, DECOMMISSIONED, INVALID), for good.",
    "half_provisioned": "A provisioning broke off after the argument (lcs, huk or identity; default lcs), for good.",
    "already_secured": "The part is provisioned, SECURED and locked: another station has finished it, for good.",
    "locked": "UICR protects all access ports, and they are closed now (argument app or net: of one core), for good.",
    "secure_locked": "UICR protects secure debugging only, and it is closed now, for good.",
    "erase_protected": "UICR forbids ERASEALL (argument app or net: of one core), for good.",
    "erase_stuck": "ERASEALLSTATUS of every CTRL-AP stays busy and nothing is erased, until cleared.",
    "verify_mismatch": "One bit of a flash word does not take: argument address, default the next word programmed.",
    "torn_word": "The N-th UICR write from now (argument, default 1; or a word) programs only some of its bits; "
    "power stays on.",
    "power_cut:before": "Power fails just before the N-th UICR write from now (argument N, default 1; or a word such "
    "as lcs.provisioning, kmu2.perm or 0x00FF8100).",
    "power_cut:inside": "Power fails inside the N-th UICR write from now (or inside that word): the word is torn.",
    "power_cut:after": "Power fails just after the N-th UICR write from now (or after that word).",
    "erase_cut": "Power fails at the next ERASEALL through a CTRL-AP: argument inside (default; flash and RAM are "
    "gone, UICR with the keys is not), before or after.",
    "console_silence": "Nothing comes out of the consoles (argument app or net: of one), until cleared.",
    "console_garbage": "The consoles carry noise instead of text (argument app or net: one), until cleared.",
    "wrong_baud": "The UARTs run at another rate (argument, default 57600), until cleared.",
    "ports_swapped": "The consoles of the two cores are swapped, until cleared.",
    "success_wrong_port": "The next provisioning image says Success! on the other core's console as well, early.",
    "transition_failure": "The next life cycle write is refused; with the argument 'burnt' it is written and reported "
    "as failed.",
    "lcs_readback": "The next read-back of the life cycle fails: argument unreadable (default) or the number printed.",
    "huk:already_set": "Key generation finds keys in the KMU and stops.",
    "huk:rng_setup": "The random number generator cannot be set up; no key is written.",
    "huk:rng_call": "The random number generator fails; no key is written.",
    "huk:drbg": "Freeing the generator's context fails after all keys are written.",
    "huk:ram": "The key bytes are not deleted from RAM after all keys are written.",
    "huk:not_set": "The last hardware unique key does not take.",
    "huk:write": "Writing a hardware unique key fails: argument slot (default 4); the slots before are written.",
    "revoked": "The KMU slot named by the argument (2 to 7, default 4) is revoked: its value is gone, for good.",
    "uicr_erased": "UICR of every core is blank, keys and life cycle with it, as after an ERASEALL whose part got its "
    "firmware back, for good.",
    "identity:already_written": "The identity key slots are written before the image runs, for good.",
    "identity:psa_crypto_init": "psa_crypto_init fails; no identity key is written.",
    "identity:psa_generate_key": "psa_generate_key fails; no identity key is written.",
    "identity:psa_export_key": "psa_export_key fails; no identity key is written.",
    "identity:size": "The exported identity key has a wrong size; none is written.",
    "identity:psa_destroy_key": "psa_destroy_key fails; no identity key is written.",
    "identity:no_mkek": "The MKEK is not found; no identity key is written.",
    "identity:write": "Writing the identity key fails after its first slot.",
    "identity:read": "Reading the identity key back fails after it is written.",
    "identity:not_written": "The identity key's permission words do not take.",
    "identity:dummy": "The next provisioning image writes the dummy identity key and warns.",
    "implementation_id:write": "Writing the implementation id fails at word N (argument 0 to 7, default 4).",
    "panic": "The next image ends in a Zephyr panic at the step named by the argument (start, lcs, huk, identity, "
    "implementation_id, tfm; default huk).",
    "cpu_fault": "The next image ends in a CPU fault at that step (default huk).",
    "hang": "The next image stops without a word at that step (default huk).",
    "net_protect_failure": "The network core's image cannot write UICR.APPROTECT.",
    "pcd_failure": "The network core does not lock its debug port on TF-M's command.",
    "token_error": "psa_initial_attest_get_token fails: argument error code, default -132.",
    "truncated_token": "The next token's hex dump ends in the middle of a row.",
    "corrupt_token": "One bit of the next token is wrong: argument 'signature' (default), 'payload' or 'nonce'.",
    "clear": "Nothing is armed any more.",
}
STEPS = ("start", "lcs", "huk", "identity", "implementation_id", "tfm")
STATES = ("PROVISIONING", "SECURED", "DECOMMISSIONED", "INVALID", "ASSEMBLY")
_COUNTED = ("torn_word", "power_cut:before", "power_cut:inside", "power_cut:after")
_LASTING = (
    "no_contact", "wrong_family", "erase_stuck", "console_silence", "console_garbage", "wrong_baud", "ports_swapped",
    "verify_mismatch",
)  # fmt: skip
FOR_GOOD = (
    "wrong_state", "half_provisioned", "already_secured", "locked", "secure_locked", "erase_protected",
    "revoked", "uicr_erased", "identity:already_written",
)  # fmt: skip
"""Faults that change the part at once."""
_TWO_CORES = ("ports_swapped", "success_wrong_port", "net_protect_failure", "pcd_failure")

_CHOICES: dict[str, tuple[str, ...]] = {
    "wrong_family": ("nrf54l", "nrf5340", "nrf9160", "nrf91x1", "other"),
    "wrong_state": STATES,
    "half_provisioned": ("lcs", "huk", "identity"),
    "revoked": ("4", "2", "3", "5", "6", "7"),
    "console_silence": ("app", "net"),
    "console_garbage": ("app", "net"),
    "erase_protected": ("app", "net"),
    "locked": ("app", "net"),
    "transition_failure": ("refused", "burnt"),
    "erase_cut": ("inside", "before", "after"),
    "lcs_readback": ("unreadable", "0", "1", "3", "4"),
    "panic": ("huk", *STEPS),
    "cpu_fault": ("huk", *STEPS),
    "hang": ("huk", *STEPS),
    "corrupt_token": ("signature", "payload", "nonce"),
}
"""Arguments that a fault takes; the first one is meant when there is none, but for ``_OF_CORES``: all of them."""
_OF_CORES = ("console_silence", "console_garbage", "erase_protected", "locked")
_NUMBERS = {"huk:write": 4, "implementation_id:write": 4, "wrong_baud": 57600, "token_error": -132}


def of(silicon: Silicon) -> dict[str, str]:
    """The faults that this chip kind can have."""
    return {name: text for name, text in FAULTS.items() if silicon.net is not None or name not in _TWO_CORES}


@dataclass(slots=True)
class Faults:
    """What is armed; ``at`` is the word that a counted fault waits for, else ``countdown`` counts UICR writes."""

    known: Mapping[str, str]
    lasting: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    at_write: str = ""
    at: str = ""
    countdown: int = 0

    def arm(self, name: str, argument: str) -> None:
        """Arm a fault by name; raises ``ValueError`` for a name or argument that is not in the table."""
        argument = check(name, argument, self.known)
        if name == "clear":
            self.lasting.clear()
            self.once.clear()
            self.at_write = ""
        elif name in _LASTING:
            self.lasting[name] = argument
        elif name in _COUNTED:
            self.at_write, self.at = name, "" if argument.isdecimal() else argument
            self.countdown = int(argument) if argument.isdecimal() else 1
        elif name not in FOR_GOOD:
            self.once[name] = argument

    @property
    def armed(self) -> list[str]:
        """What is armed, as it would be named to arm it."""
        named = [f"{name}:{argument}" if argument else name for name, argument in {**self.lasting, **self.once}.items()]
        counted = [f"{self.at_write}:{self.at or self.countdown}"] if self.at_write else []
        return sorted([*named, *counted])

    def take(self, name: str) -> str | None:
        """The argument of a one-time fault that is armed, which disarms it; None when it is not armed."""
        return self.once.pop(name, None)

    def takes(self, name: str, argument: str) -> bool:
        """Whether a one-time fault is armed with this argument; it is disarmed then."""
        if self.once.get(name) != argument:
            return False
        del self.once[name]
        return True

    def next_write(self, names: tuple[str, ...]) -> str:
        """Count one UICR write, of the word with these names; returns the fault that strikes at it, or nothing."""
        if not self.at_write or (self.at and self.at not in names):
            return ""
        self.countdown -= 1
        if self.countdown > 0:
            return ""
        struck, self.at_write = self.at_write, ""
        return struck


def check(name: str, argument: str, known: Mapping[str, str]) -> str:
    """The argument as it is meant (defaults filled in); raises ``ValueError`` for a wrong name or argument."""
    if name not in known:
        hint = nearest(name, known) or nearest(name.rpartition(":")[0], known)
        raise ValueError(f"no fault is called {name!r}{hint}")
    if name in _COUNTED:
        return _write(argument or "1")
    if name in _NUMBERS:
        return _number(name, argument or str(_NUMBERS[name]))
    if name == "verify_mismatch":
        return f"{_address(argument):#010x}" if argument else ""
    choices = _CHOICES.get(name, ())
    if not argument:
        return "" if not choices or name in _OF_CORES else choices[0]
    if argument not in choices:
        takes = f"takes one of {', '.join(dict.fromkeys(choices))}" if choices else "takes no argument"
        raise ValueError(f"the fault {name!r} {takes}, not {argument!r}")
    return argument


def split(name: str, argument: str) -> tuple[str, str]:
    """Accept ``power_cut:inside:3`` and ``wrong_state:SECURED`` as well as name and argument given apart."""
    if name in FAULTS or ":" not in name or argument:
        return name, argument
    head, _, tail = name.rpartition(":")
    return (head, tail) if head in FAULTS else (name, argument)


def _write(argument: str) -> str:
    """A count of UICR writes from 1 on, or the name or address of a word."""
    if argument.isdecimal():
        if int(argument) < 1:
            raise ValueError(f"UICR writes are counted from 1, got {argument}")
        return argument
    return checked_name(argument)


def _number(name: str, argument: str) -> str:
    try:
        return str(int(argument, 0))
    except ValueError:
        raise ValueError(f"the fault {name!r} takes a number, not {argument!r}") from None


def _address(argument: str) -> int:
    try:
        return int(argument, 16)
    except ValueError:
        raise ValueError(f"expected an address such as 0x00001000, got {argument!r}") from None
