"""What the TF-M provisioning image says, and what the part is after each sentence.

All lines are matched by substring on their own port and in their own order, so that the application core's
``Success!``, the network core's ``Success!`` and TF-M's ``Success`` are three different things. Sources: nordic-tfm
sheet 1.3, 1.4, 1.5, 1.7 (sdk-nrf:samples/tfm/provisioning_image, lib/hw_unique_key, lib/identity_key).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from station.formats import zephyr_fault
from station.formats.console_lines import Line


class PartNow(StrEnum):
    """What a failure left behind: nothing burnt in this run; burnt, so that only a recovery helps; or not known."""

    CLEAN = "clean"
    BURNT = "burnt"
    UNKNOWN = "unknown"


ASSEMBLY_VERIFIED = "Successfully verified PSA lifecycle state ASSEMBLY!"
PROVISIONING_ENTERED = "Successfully switched to PSA lifecycle state PROVISIONING!"
HUK_BEGUN = "Generating random HUK keys (including MKEK)"
IDENTITY_BEGUN = "Writing the identity key to KMU"
SUCCESS = "Success!"
STEPS = (ASSEMBLY_VERIFIED, PROVISIONING_ENTERED, HUK_BEGUN, IDENTITY_BEGUN, SUCCESS)
"""The five lines of a good run, in order (sheet 1.3)."""
BURNT_FROM = STEPS.index(PROVISIONING_ENTERED)
"""From this step on the life cycle word is written and the keys are not there yet."""

NET_LOCKED = "The UICR->APPROTECT register is now configured to deny debugging access for the network core!"
NET_REFUSED = "Cannot write to the UICR->APPROTECT register, exiting...!"
NET_STEPS = (NET_LOCKED, SUCCESS)
"""The two lines of the network core's child image (sheet 1.7), on another port."""

DUMMY_KEY = "WARNING: Using a dummy identity key not meant for production!"
MESSAGES_DROPPED = re.compile(r"--- [0-9]+ messages dropped ---")
CODE = r"(?P<code>-?[0-9]{1,10})"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure line: its text, what the part is after it, the bin, and the cause in words."""

    pattern: re.Pattern[str]
    now: PartNow
    bin: str
    cause: str


def _text(text: str) -> re.Pattern[str]:
    """A line of fixed words; ``%d`` stands for a number that is told."""
    return re.compile(re.escape(text).replace("%d", CODE).replace("%n", "[0-9]{1,10}"))


_SAMPLE: tuple[tuple[str, PartNow, str, str], ...] = (
    ("Failure: Cannot read PSA lifecycle state. Exiting!", PartNow.CLEAN, "wrong_state",
     "the image could not read the life cycle state"),
    ("Failure: Lifecycle state is not ASSEMBLY as expected. Exiting!", PartNow.CLEAN, "already_provisioned",
     "the image found another life cycle state than ASSEMBLY: the part is provisioned or half provisioned already"),
    ("Failure: Cannot set PSA lifecycle state PROVISIONING. Exiting!", PartNow.UNKNOWN, "half_provisioned",
     "the image could not write the life cycle state"),
    ("Failure: Lifecycle state is not PROVISION as expected. Exiting!", PartNow.UNKNOWN, "half_provisioned",
     "the image read back another life cycle state than it had written"),
    ("Failure: Writing random HUK keys failed. Exiting!", PartNow.BURNT, "half_provisioned",
     "the hardware unique keys could not be written"),
    ("Failure: Identity key slot already written. Exiting!", PartNow.BURNT, "half_provisioned",
     "the slot of the identity key was not empty"),
    ("Failure: Identity key write failed! Exiting!", PartNow.BURNT, "half_provisioned",
     "the identity key could not be written"),
    ("Failure: Identity key is not written! Exiting!", PartNow.BURNT, "half_provisioned",
     "the identity key is not in its slot after it was written"),
    ("Failure: Writing implementation ID failed. Exiting!", PartNow.BURNT, "half_provisioned",
     "the implementation id could not be written"),
)  # fmt: skip
_LIBRARY: tuple[tuple[str, str], ...] = (
    ("One or more keys already set. Cannot overwrite", "hardware unique keys were in the KMU before"),
    ("The RNG setup failed with error code: %d", "the random generator could not be set up"),
    ("The RNG call failed with error code: %d or wrong size %n", "the random generator failed"),
    ("Could not free nrf_cc3xx_platform_ctr_drbg context: %d", "the random generator could not be closed"),
    ("The key bytes weren't correctly deleted from RAM.", "key bytes were left in RAM"),
    ("One or more keys not set correctly", "hardware unique keys are missing after they were written"),
    ("The HUK writing to: %n failed with error code: %d", "a hardware unique key could not be written"),
    ("psa_crypto_init failed! Error: %d", "the crypto library did not start"),
    ("psa_generate_key failed! Error: %d", "the identity key could not be made"),
    ("psa_export_key failed! Error: %d", "the identity key could not be taken over"),
    ("Exported size mismatch! Key size: %n", "the identity key has another size than it must"),
    ("psa_destroy_key failed! Error: %d", "the identity key could not be removed from RAM"),
    ("Could not find the MKEK!", "the key that encrypts the identity key is missing"),
    ("Identity key write failed! Error: %d", "the identity key could not be written"),
    ("The identity key read from: %n failed with error code: %d", "the identity key could not be read back"),
)
_NET: tuple[tuple[str, PartNow, str, str], ...] = (
    (NET_REFUSED, PartNow.BURNT, "network_core", "the network core could not close its debug port"),
)

SAMPLE_FAILURES = tuple(Failure(_text(text), now, bin, cause) for text, now, bin, cause in _SAMPLE)
UNREADABLE = SAMPLE_FAILURES[0]
LIBRARY_FAILURES = tuple(Failure(_text(text), PartNow.BURNT, "half_provisioned", cause) for text, cause in _LIBRARY)
DUMMY_FAILURE = Failure(
    _text(DUMMY_KEY), PartNow.BURNT, "dummy_key", "the image wrote the published dummy identity key"
)
APP_FAILURES = (DUMMY_FAILURE, *SAMPLE_FAILURES, *LIBRARY_FAILURES)
NET_FAILURES = tuple(Failure(_text(text), now, bin, cause) for text, now, bin, cause in _NET)
"""The library's lines come while keys are written, so that the life cycle word is burnt whatever they say."""

ERROR_CODES: Mapping[int, str] = {
    0x15500: "hardware unique key missing", 0x15501: "MKEK missing", 0x15502: "identity key missing",
    0x15503: "identity key cannot be read", 0x15504: "identity key cannot be written",
    0x15505: "identity key cannot be made",
    0x7001: "null parameter", 0x7002: "internal error", 0x7003: "random generator failed its self-test",
    0x7004: "wrong version of the crypto cell", 0x7005: "parameter cannot be written",
    0x7016: "mutex not initialised", 0x7017: "mutex failed", 0x7018: "entropy not initialised",
    0x7019: "random generator took too long", 0x701A: "KMU slot invalid", 0x701B: "KMU slot already filled",
    0x701C: "KMU address wrong", 0x701D: "KMU key cannot be written", 0x701E: "KMU permission invalid",
    0x701F: "device root key cannot be written", 0x7020: "device root key cannot be pushed", 0x7021: "key type invalid",
    0x7024: "identity key slot invalid", 0x7025: "identity key slot already filled",
    0x7026: "identity key cannot be written", 0x7027: "identity key cannot be read", 0x7028: "MKEK missing",
    0x7029: "identity key in an invalid state",
}  # fmt: skip
"""Codes of the libraries without their sign (sheet 1.4: nrf_cc3xx_platform_defines.h, identity_key.h)."""


def code_words(code: int) -> str:
    """A printed error code in words; the number alone when it is none of the known ones."""
    known = ERROR_CODES.get(abs(code))
    return f"error {code}: {known}" if known else f"error {code}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A failure as it happened: what the part is now, the bin, one phrase why."""

    now: PartNow
    bin: str
    cause: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one port said in one run, read in its own order.

    ``steps``: how many lines of the good run came, in order; ``outcome``: the first failure, or None; ``finished``:
    nothing more is to be expected.
    """

    steps: int
    wanted: int
    outcome: Outcome | None
    finished: bool
    dropped: bool

    @property
    def succeeded(self) -> bool:
        """Every line of the good run came, in order, and no failure."""
        return self.steps == self.wanted and self.outcome is None


def read_app(lines: Sequence[Line]) -> Transcript:
    """The application core's port."""
    steps = _steps(lines, STEPS)
    outcome = _app_failure(lines, steps) or _fault(lines, PartNow.BURNT if steps > BURNT_FROM else PartNow.UNKNOWN)
    return _transcript(lines, STEPS, steps, outcome)


def read_net(lines: Sequence[Line]) -> Transcript:
    """The network core's port: its own sentence must stand before ``Success!``."""
    outcome = next((_outcome(f, m) for f, m in _hits(lines, NET_FAILURES)), None) or _fault(lines, PartNow.UNKNOWN)
    return _transcript(lines, NET_STEPS, _steps(lines, NET_STEPS), outcome)


def is_app_talk(lines: Sequence[Line]) -> bool:
    """Whether only the application core's image says such a thing."""
    return any(text in line.text for line in lines for text in STEPS[:-1]) or bool(list(_hits(lines, APP_FAILURES)))


def is_net_talk(lines: Sequence[Line]) -> bool:
    """Whether only the network core's image says such a thing."""
    return any(text in line.text for line in lines for text in (NET_LOCKED, NET_REFUSED))


def _transcript(lines: Sequence[Line], wanted: Sequence[str], steps: int, outcome: Outcome | None) -> Transcript:
    dead = any(zephyr_fault.is_last_word(line) for line in lines)
    returned = any("Failure: " in line.text and "Exiting!" in line.text for line in lines)
    refused = outcome is not None and any(NET_REFUSED in line.text for line in lines)
    dropped = any(MESSAGES_DROPPED.search(line.text) for line in lines)
    return Transcript(steps, len(wanted), outcome, steps == len(wanted) or dead or returned or refused, dropped)


def _steps(lines: Sequence[Line], wanted: Sequence[str]) -> int:
    """How many of the lines came in their order; one that comes too early does not count."""
    reached = 0
    for line in lines:
        if reached < len(wanted) and wanted[reached] in line.text and not _is_other_success(line.text, wanted[reached]):
            reached += 1
    return reached


def _is_other_success(text: str, wanted: str) -> bool:
    """``Success!`` ends its line; a sentence that only holds the word is not it."""
    return wanted is SUCCESS and not re.search(r"(?:^|\s)Success!\s*$", text)


def _app_failure(lines: Sequence[Line], steps: int) -> Outcome | None:
    """The dummy key over everything, a sentence of the image over one of its libraries, the first of a kind."""
    hits = list(_hits(lines, APP_FAILURES))
    if not hits:
        return None
    weight = {DUMMY_FAILURE: 0, **dict.fromkeys(SAMPLE_FAILURES, 1)}
    failure, match = min(hits, key=lambda hit: weight.get(hit[0], 2))
    details = [_outcome(other, found).cause for other, found in hits if weight.get(other, 2) > weight.get(failure, 2)]
    outcome = _outcome(failure, match)
    cause = f"{outcome.cause} ({'; '.join(details)})" if details else outcome.cause
    if failure is UNREADABLE and steps:  # the same sentence as in the first step, but the word has been written
        return Outcome(PartNow.UNKNOWN, "half_provisioned", cause)
    return Outcome(outcome.now, outcome.bin, cause)


def _fault(lines: Sequence[Line], now: PartNow) -> Outcome | None:
    fault = zephyr_fault.fault_in(lines)
    return Outcome(now, "firmware_fault", f"the firmware stopped: {fault}") if fault else None


def _hits(lines: Sequence[Line], failures: Sequence[Failure]) -> Iterator[tuple[Failure, re.Match[str]]]:
    for line in lines:
        for failure in failures:
            if found := failure.pattern.search(line.text):
                yield failure, found
                break


def _outcome(failure: Failure, match: re.Match[str]) -> Outcome:
    code = match.groupdict().get("code")
    cause = f"{failure.cause}, {code_words(int(code))}" if code else failure.cause
    return Outcome(failure.now, failure.bin, cause)
