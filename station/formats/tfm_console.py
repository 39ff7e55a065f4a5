"""What the production firmware says at a boot: TF-M on its way to SECURED, its refusals, and the token.

Sentences only: prefixes differ between versions. Sources: nordic-tfm sheet 2.8, 4.2 (sdk-nrf:modules/
trusted-firmware-m/tfm_boards/common/nrf_provisioning.c, tfm_hal_platform.c; samples/tfm/tfm_psa_template).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from station.errors import FormatError
from station.formats import token_dump, zephyr_fault
from station.formats.console_lines import Line
from station.formats.provisioning_console import Failure, Outcome, PartNow

WRITES_KEYS = "Writing random Hardware Unique Keys to the KMU."
DUMMY_KEYS = "This device was provisioned with dummy keys and is NOT secure."
NO_TOKEN = "attestation"
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
    (token_dump.FAILURE.pattern, NO_TOKEN, "the part gave no attestation token"),
)  # fmt: skip
REFUSALS = tuple(Failure(re.compile(text), PartNow.BURNT, bin, cause) for text, bin, cause in _REFUSALS)
"""The part is past ASSEMBLY whenever this firmware speaks, and its debug port may be closed: only a recovery helps."""
_ANY_REFUSAL = re.compile("|".join(text for text, _, _ in _REFUSALS))


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


class BootReader:
    """Reads the production firmware's port while it speaks; the last token counts, and makes up for an earlier failure.

    A pattern is looked for once in each line, however often somebody asks what was said so far.
    """

    def __init__(self) -> None:
        self._dump = token_dump.TokenDump()
        self._token, self._damage, self._challenge = b"", "", 0
        self._refused: Outcome | None = None
        self._banners: list[str] = []
        self._fault_lines: list[Line] = []
        self._speaks = False

    def feed(self, lines: Iterable[Line]) -> None:
        """Take the lines that follow."""
        for line in lines:
            self._feed(line)

    def _feed(self, line: Line) -> None:
        self._refused = self._refused or _refusal(line)
        self._speaks = self._speaks or bool(line.text.strip())
        if zephyr_fault.is_fault_line(line):
            self._fault_lines.append(line)
        if banner := BANNER.search(line.text):
            self._banners.append(banner["what"])
        if asked := token_dump.REQUEST.search(line.text):
            self._challenge = int(asked[1])
        try:
            whole = self._dump.feed(line.text)
        except FormatError as error:
            self._damage = str(error)
            return
        if whole is not None:
            self._token, self._damage = whole, ""
            if self._refused is not None and self._refused.bin == NO_TOKEN:
                self._refused = None

    @property
    def boot(self) -> Boot:
        """What was said so far."""
        boots = self._banners.count(self._banners[0]) if self._banners else 0
        damage = self._damage or self._dump.missing()
        return Boot(self._token, self._challenge, self._outcome, boots, damage, self._speaks)

    @property
    def _outcome(self) -> Outcome | None:
        fault = zephyr_fault.fault_in(self._fault_lines) if not self._token else ""
        if self._refused is not None or not fault:
            return self._refused
        return Outcome(PartNow.BURNT, "firmware_fault", f"the production firmware stopped: {fault}")


def _refusal(line: Line) -> Outcome | None:
    if _ANY_REFUSAL.search(line.text) is None:
        return None
    for refusal in REFUSALS:
        if found := refusal.pattern.search(line.text):
            groups = found.groupdict()
            detail = groups.get("detail") or (found[1] if refusal.bin == NO_TOKEN else "")
            cause = f"{refusal.cause} ({detail.strip()})" if detail else refusal.cause
            return Outcome(refusal.now, refusal.bin, cause)
    return None
