"""Boots of the production firmware: reset, listen, and what a closed part says of itself by its token.

After the first boot of this firmware nothing can be read any more: its words are all there is (nordic-tfm sheet 2.8).
"""

from __future__ import annotations

import copy

from station.deadline import Deadline
from station.errors import FormatError, PartError
from station.formats import attestation
from station.formats.attestation import Token
from station.formats.bl_storage import LifeCycle, life_cycle
from station.formats.console_lines import Heard
from station.formats.provisioning_console import Outcome
from station.formats.tfm_console import NO_TOKEN, Boot, BootReader
from station.model import DONE, HALF_DONE, NOT_DONE, UNKNOWN, Answer, ResetKind
from station.parts.nordic import consoles
from station.parts.nordic.consoles import Consoles, Said
from station.parts.nordic.evidence import DUMMY, HALF, NETWORK, ONLY_RECOVERY
from station.ports import Probe

CLOSED_PORT = "the debug port of the application core is closed"
REFUSED = "boot_refused"
FINAL_REFUSALS = (REFUSED, NETWORK, DUMMY)
"""What TF-M refuses for good; anything else may have been one boot's trouble."""


class ProductionBoot:
    """What one part's production firmware said at its last boot."""

    def __init__(self, probe: Probe, ears: Consoles, seconds: float) -> None:
        self._probe = probe
        self._ears = ears
        self._seconds = seconds
        self.last: Boot | None = None
        self._asked = False

    @property
    def transcript(self) -> str:
        """Everything that was said since the last reset by this class."""
        return self._ears.said.app.transcript

    def forget(self) -> None:
        """What the part said so far was said by another firmware."""
        self.last, self._asked = None, False

    def listen(self, kind: ResetKind = ResetKind.PIN, first_words: float | None = None) -> Boot:
        """Reset the part and listen until it gives a token or refuses; a closed part can be reset by its pin only.

        ``first_words``: a part that has said nothing by then, in seconds, has nothing to say.
        """
        words = _Words()
        with self._ears.turn():
            self._ears.clear()
            self._probe.reset(kind)
            deadline = Deadline(self._seconds)
            if first_words is not None:
                self._ears.until(_has_begun, Deadline(min(first_words, self._seconds)))
            if first_words is None or _has_begun(self._ears.said):
                self._ears.until(words.are_all, deadline)
        self.last = words.boot(self._ears.said)
        return self.last

    def first(self, kind: ResetKind) -> None:
        """The first boot; a refusal, silence and a missing token raise ``PartError``."""
        boot = self.listen(kind)
        if boot.outcome is not None:
            raise PartError(f"the production firmware refused: {boot.outcome.cause}", boot.outcome.bin)
        if problem := consoles.boot_problem(self._ears.said, boot):
            raise PartError(problem, "console" if consoles.unheard(self._ears.said) else "first_boot")

    def identity(self, first_words: float | None = None) -> bytes | None:
        """The instance id of the token of a closed part: once in a run, and once more when it spoke and gave none.

        None: it gives no token whose signature a key fits.
        """
        if not self._asked:
            self._asked = True
            if self.signed_id() is None and self.listen(first_words=first_words).speaks and self.signed_id() is None:
                self.listen()
        return self.signed_id()

    def signed_id(self) -> bytes | None:
        """The instance id of the last token if a key fits its signature: a bit that fell over is nobody's id."""
        try:
            token = self.last_token()
            token.public_key()
        except FormatError:
            return None
        return token.instance_id

    def attests(self) -> bool:
        """Whether the part gives a token, asked once in a run."""
        return bool((self.last or self.listen()).token)

    def token(self) -> Token:
        """The token of the last boot, or of one more; ``FormatError`` when there is none."""
        if self.last is None or not self.last.token:
            self.listen()
        return self.last_token()

    def last_token(self) -> Token:
        """The token of the last boot; ``FormatError`` when there was none, or when it cannot be read."""
        boot = self.last
        if boot is None or not boot.token:
            why = self._why_no_token(boot) if boot is not None else "there was none in this run"
            raise FormatError(f"expected an attestation token of this boot, but {why}")
        return attestation.parse(boot.token)

    @property
    def refused(self) -> Outcome | None:
        """What the firmware refused for good at the last boot, whatever token it gave besides."""
        outcome = self.last.outcome if self.last is not None else None
        return outcome if outcome is not None and outcome.bin in FINAL_REFUSALS else None

    def secured_by_token(self) -> Answer:
        """What a closed part says: its token's life cycle, or the refusal of its firmware."""
        boot = self._judged()
        if boot.outcome is None:
            return self._secured_by_claim(boot)
        if boot.outcome.bin == NO_TOKEN:
            return DONE  # TF-M lets its application run in SECURED only; the missing token is another matter
        return HALF_DONE(f"{boot.outcome.cause}, and {CLOSED_PORT}; {ONLY_RECOVERY}", boot.outcome.bin)

    def secured_by_words(self, low: int, high: int) -> Answer:
        """What an open part shows: its life cycle words."""
        state = life_cycle(low, high)
        if state is LifeCycle.SECURED and self.refused is None:
            return DONE
        refused = self.last.outcome if self.last is not None else None
        if state is LifeCycle.PROVISIONING and refused is None:
            return NOT_DONE
        cause = refused.cause if refused is not None else f"its life cycle is {state} ({low:#010x} {high:#010x})"
        return HALF_DONE(f"{cause}; {ONLY_RECOVERY}", refused.bin if refused is not None else HALF)

    def _judged(self) -> Boot:
        """The last boot if it gave a token or was refused for good, else one more."""
        boot = self.last
        if boot is not None and (boot.token or self.refused is not None):
            return boot
        return self.listen()

    def _secured_by_claim(self, boot: Boot) -> Answer:
        if not boot.token:
            return UNKNOWN(f"{CLOSED_PORT}, and {self._why_no_token(boot)}")
        try:
            token = attestation.parse(boot.token)
        except FormatError as error:
            return UNKNOWN(f"{CLOSED_PORT}, and its token cannot be read: {error}")
        if token.life_cycle & 0xFF00 == attestation.SECURED:
            return DONE
        state = attestation.life_cycle_name(token.life_cycle)
        return HALF_DONE(f"its token says the life cycle {state}, and {CLOSED_PORT}; {ONLY_RECOVERY}", REFUSED)

    def _why_no_token(self, boot: Boot) -> str:
        return boot.outcome.cause if boot.outcome is not None else consoles.boot_problem(self._ears.said, boot)


def _has_begun(said: Said) -> bool:
    return said.app.heard is not Heard.NOTHING


class _Words:
    """The words of one boot, each whole line read once however often somebody asks."""

    def __init__(self) -> None:
        self._reader = BootReader()
        self._taken = 0

    def are_all(self, said: Said) -> bool:
        """Whether nothing more is to be expected."""
        return self.boot(said).finished

    def boot(self, said: Said) -> Boot:
        """All that was said so far, with a last line that has no end yet."""
        new = said.app.whole(self._taken)
        self._taken += len(new)
        self._reader.feed(new)
        if not said.app.unfinished:
            return self._reader.boot
        reader = copy.deepcopy(self._reader)
        reader.feed(said.app.unfinished)
        return reader.boot
