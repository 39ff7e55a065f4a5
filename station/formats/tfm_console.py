"""What the production firmware says at a boot: TF-M on its way to SECURED, its refusals, and the token.

Sentences only: prefixes differ between versions. Sources: nordic-tfm sheet 2.8, 4.2 (sdk-nrf:modules/
trusted-firmware-m/tfm_boards/common/nrf_provisioning.c, tfm_hal_platform.c; samples/tfm/tfm_psa_template).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from station.errors import FormatError
from station.formats import token_dump, zephyr_fault
from station.formats.console_lines import Line
from station.formats.provisioning_console import Failure, Outcome, PartNow

WRITES_KEYS = "Writing random Hardware Unique Keys to the KMU."
DUMMY_KEYS = "This device was provisioned with dummy keys and is NOT secure."
BANNER = re.compile(r"\*\*\* Booting (?P<what>.{1,120}?) \*\*\*")

_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (re.escape(DUMMY_KEYS), "dummy_key", "TF-M found dummy keys"),
    (r"Invalid LCS: (?P<detail>.{0,60})", "boot_refused", "TF-M found an illegal life cycle state"),
    (re.escape("This device has not been provisioned with Hardware Unique Keys."), "boot_refused",
     "TF-M found no hardware unique keys"),
    (re.escape("This device has not been provisioned with an Initial Attestation Key."), "boot_refused",
     "TF-M found no identity key"),
    (re.escape("Failed to lock debug in network core."), "network_core",
     "TF-M could not close the debug port of the network core"),
    (re.escape(WRITES_KEYS), "boot_refused",
     "the production firmware makes its own hardware unique keys: it was built without CONFIG_TFM_NRF_PROVISIONING"),
    (token_dump.FAILURE.pattern, "attestation", "the part gave no attestation token"),
)  # fmt: skip
REFUSALS = tuple(Failure(re.compile(text), PartNow.BURNT, bin, cause) for text, bin, cause in _REFUSALS)
"""The part is past ASSEMBLY whenever this firmware speaks, and its debug port may be closed: only a recovery helps."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What one boot (with the restart that TF-M makes itself) said.

    ``token``: the last whole attestation token; ``challenge``: its announced length in bytes, 0 when not said;
    ``outcome``: the refusal, or None; ``boots``: banners of the first image of the chain; ``damage``: why a token
    that was announced could not be read; ``speaks``: anything at all was said.
    """

    token: bytes
    challenge: int
    outcome: Outcome | None
    boots: int
    damage: str
    speaks: bool

    @property
    def finished(self) -> bool:
        """Nothing more is to be expected."""
        return bool(self.token) or self.outcome is not None


def read(lines: Sequence[Line]) -> Boot:
    """Read the production firmware's port; the last token counts, and makes up for an earlier failure to get one."""
    dump, token, damage, challenge = token_dump.TokenDump(), b"", "", 0
    outcome: Outcome | None = None
    for line in lines:
        outcome = outcome or _refusal(line)
        if asked := token_dump.REQUEST.search(line.text):
            challenge = int(asked[1])
        try:
            whole = dump.feed(line.text)
        except FormatError as error:
            damage = str(error)
            continue
        if whole is not None:
            token, damage = whole, ""
            outcome = None if outcome is not None and outcome.bin == "attestation" else outcome
    fault = zephyr_fault.fault_in(lines)
    if fault and not token:
        outcome = outcome or Outcome(PartNow.BURNT, "firmware_fault", f"the production firmware stopped: {fault}")
    first = [match["what"] for line in lines if (match := BANNER.search(line.text))]
    boots = first.count(first[0]) if first else 0
    return Boot(token, challenge, outcome, boots, damage or dump.missing(), any(line.text.strip() for line in lines))


def _refusal(line: Line) -> Outcome | None:
    for refusal in REFUSALS:
        if found := refusal.pattern.search(line.text):
            groups = found.groupdict()
            detail = groups.get("detail") or (found[1] if refusal.bin == "attestation" else "")
            cause = f"{refusal.cause} ({detail.strip()})" if detail else refusal.cause
            return Outcome(refusal.now, refusal.bin, cause)
    return None
