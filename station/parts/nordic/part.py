"""The verbs on one Nordic part: each is what the work instruction says, none decides what comes next.

A verb that asks (``look``, ``evidence``, ``is_…``, ``has_…``) changes nothing that lasts; ``has_booted`` and
``is_closed`` may reset the part once it runs its production firmware. Sources: nordic-tfm sheet 2, 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from station.deadline import Deadline
from station.errors import ConfigError, FormatError, PartError, StationError
from station.formats import attestation, provisioning_console
from station.formats.attestation import Checked, Expected, Token
from station.formats.firmware_image import CoreImage
from station.formats.nordic_family import NordicFamily
from station.formats.provisioning_console import Outcome, Transcript
from station.model import (
    DONE,
    HALF_DONE,
    NOT_DONE,
    UNKNOWN,
    Answer,
    DebugAccess,
    EraseWaiver,
    Realm,
    ResetKind,
)
from station.parts import PartServices, Unfit
from station.parts.nordic import consoles, content, evidence, images, leftovers
from station.parts.nordic.consoles import Consoles, Said, Turns
from station.parts.nordic.debug_port import Look, NordicDebugPort
from station.parts.nordic.evidence import NETWORK, ONLY_RECOVERY, Evidence
from station.parts.nordic.images import EMPTY, Images
from station.parts.nordic.network import NetworkCore
from station.parts.nordic.production_boot import CLOSED_PORT, ProductionBoot
from station.parts.nordic.recovery import Recovery
from station.parts.nordic.settings import AppLock, NetLock, NordicSettings, read, unfit_for_production
from station.ports import Console, Probe

_P = TypeVar("_P")
CLEAN_BINS = {evidence.HALF: "firmware", evidence.DUMMY: "firmware", NETWORK: "firmware"}
"""Where a part goes whose image failed in words that fit a burnt part, but that has nothing burnt into it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the provisioning image said in this run: both ports, and why they do not add up (empty: they do)."""

    said: Said
    app: Transcript
    net: Transcript | None
    problem: str

    @property
    def succeeded(self) -> bool:
        """Every expected line came on its own port, and no failure."""
        return not self.problem and self.outcome is None

    @property
    def outcome(self) -> Outcome | None:
        """The failure that one of the cores reported."""
        return self.app.outcome or (self.net.outcome if self.net is not None else None)


class Nordic:
    """One part in one socket, with the ports of that socket; a missing port is a configuration error."""

    def __init__(self, ports: Mapping[str, object], services: PartServices) -> None:
        try:
            self.settings = NordicSettings.of(services.settings)
        except FormatError as error:
            raise ConfigError(f"pack.toml [part]: {error}") from None
        self._ports = ports
        self._services = services
        self._probe = self._port("probe", Probe)
        net = self._port("console_net", Console) if self._hears_net else None
        net_counts = self.settings.net_lock is not NetLock.HOST
        turns = services.shared.of(Turns)
        app = self._port("console", Console)
        self._consoles = Consoles(app, net, services.log, services.pause, turns, net_counts)
        self._debug = NordicDebugPort(self._probe, self.family, services.pause)
        self._recovery = Recovery(self._probe, self.family, self._debug)
        self._images: Images | None = None
        self._installed = self._is_blank = self._armed = False
        self.heard: Heard | None = None
        self.seen: Evidence | None = None
        self.network = NetworkCore(
            self._probe,
            self.settings,
            self._debug,
            self._recovery,
            self._consoles,
            lambda stage: self._of(stage, "net"),
        )
        self.boot = ProductionBoot(self._probe, self._consoles, self.settings.boot_seconds)

    @classmethod
    def findings(cls, settings: Mapping[str, object], raw: Mapping[str, bytes], realm: Realm) -> Iterator[Unfit]:
        """Everything in a pack that cannot be used, before any part is touched."""
        found, unfit = read(settings)
        yield from unfit
        if found is None:
            return
        if realm is Realm.PRODUCTION:
            yield from unfit_for_production(found)
        yield from images.findings(found, raw)

    @property
    def family(self) -> NordicFamily:
        """The family that the pack names."""
        return self.settings.family

    @property
    def probe_identity(self) -> str:
        """Serial number or address of the debug probe that this part is looked at with, for its record."""
        return self._probe.identity

    def load(self, raw: Mapping[str, bytes]) -> Images:
        """Read the pack's images; everything else uses them. Raises ``ConfigError``."""
        self._images = images.read(self.settings, raw)
        return self._images

    # ---- looking --------------------------------------------------------------------------------------------------

    def look(self) -> Look:
        """Attach without reset or halt and see who is there; another family is a ``PartError`` in ``wrong_part``."""
        return self._debug.look()

    def device_id(self) -> str:
        """FICR.INFO.DEVICEID as 16 hex digits, high word first; needs an open port."""
        return self._debug.device_id()

    def evidence(self) -> Evidence:
        """Halt the application core and read what it shows of its provisioning; needs an open port."""
        self.seen = evidence.read(self._probe, self.family)
        return self.seen

    # ---- erasing everything ---------------------------------------------------------------------------------------

    def erase_all(self, waiver: EraseWaiver) -> None:
        """Erase the whole part with all its keys, network core first; it is open afterwards, until its next reset."""
        self._recovery.erase(waiver)
        self.boot.forget()
        self._is_blank = True

    def keep_erased_open(self) -> None:
        """See that an erased part stays open over a reset; ``PartError`` when a core of it was not erased."""
        self._recovery.keep_erased_open()

    def keep_open(self) -> None:
        """See that an open part stays open until this station closes it; writes blank protection words only."""
        self._recovery.keep_open()

    def clear_flash(self) -> int:
        """Erase what lies in the main flash of an open part that this run has not erased; number of pages."""
        if self._is_blank:
            return 0
        cleared = 0
        for core in self.family.cores:
            if core is self.family.app or self.network.access() is DebugAccess.OPEN:
                pages = leftovers.stale_pages(self._probe, self.family, core)
                if pages:
                    self._probe.erase(core.name, pages)
                cleared += len(pages)
        return cleared

    # ---- provisioning ---------------------------------------------------------------------------------------------

    def is_provisioned(self) -> Answer:
        """Life cycle words, implementation id and key slots, and what the image said of itself in this run."""
        answer = self._shows_provisioning()
        if answer is NOT_DONE and not self._armed and self._holds_provisioning_image():
            self._take_away()  # a run that was killed has left it, and nobody may find it armed
        if answer is NOT_DONE and self._armed:
            return UNKNOWN("nothing was burnt, but the provisioning image is still in it and makes the keys as soon as "
                           "somebody switches it on")  # fmt: skip
        return answer

    def _shows_provisioning(self) -> Answer:
        if not self.look().is_open:
            return UNKNOWN(CLOSED_PORT)
        self.evidence()
        said = None
        if self.heard is not None:
            said = replace(self.heard.app, outcome=self.heard.outcome)
        if self.network.child_locks:
            self.seen = replace(self.evidence_in_hand, net_approtect=self.network.approtect())
            if self.evidence_in_hand.is_untouched and self.network.closes():
                return HALF_DONE("no key was made, but the network core's debug port is closed for good, and its "
                                 f"firmware cannot be installed; {evidence.ONLY_RECOVERY}", NETWORK)  # fmt: skip
        return evidence.answer(self.evidence_in_hand, self.settings.implementation_id, said)

    def alone(self) -> AbstractContextManager[None]:
        """For burns that listen to the part: no other one speaks meanwhile, unless the consoles are known."""
        return self._consoles.alone()

    @property
    def made_keys(self) -> bool:
        """Whether the part, when it was read last, had all its keys."""
        return self.seen is not None and self.seen.is_complete(self.settings.implementation_id)

    def provision(self, settle: float) -> None:
        """Program the provisioning image on both cores, reset once, and listen to the end of what it says.

        ``settle``: seconds from the reset within which the image has done what it does; a core whose last line was not
        heard is not halted before. A failure line, a panic, silence, garbage or swapped ports raise ``PartError``; what
        the part is after them, ``is_provisioned`` tells. An image that has burnt nothing is taken away again: it would
        provision the part unwatched as soon as somebody switches it on.
        """
        try:
            self._run_image(settle)
        except StationError as error:
            if not self._disarmed() or not isinstance(error, PartError):
                raise
            raise PartError(f"{error}; nothing was burnt", CLEAN_BINS.get(error.bin, error.bin)) from None

    def _disarmed(self) -> bool:
        """Take the image away if it has burnt nothing; False when it has, or when that cannot be known or done."""
        try:
            if self._shows_provisioning() is not NOT_DONE:
                return False
            self._take_away()
        except StationError:
            return False
        return True

    def _holds_provisioning_image(self) -> bool:
        return content.flash_holds(self._probe, self._of("provisioning", "app"))

    def _take_away(self) -> None:
        """Erase the provisioning image on both cores: nothing makes keys any more, whoever switches the part on."""
        self._armed = True
        self._probe.erase("app", images.spans(self._of("provisioning", "app")))
        self.network.clear_child()
        self._armed = False

    def _run_image(self, settle: float) -> None:
        if self.network.child_locks:
            self.network.install_child()
        self._armed = True
        self._probe.program("app", images.segments(self._of("provisioning", "app")))
        with self._consoles.turn():
            self._consoles.clear()
            settled = Deadline(settle)
            try:
                self._probe.reset(ResetKind.SYSTEM)
                self._consoles.until(self._is_through, Deadline(self.settings.provisioning_seconds))
            finally:
                self.heard = self._heard(self._consoles.said)
                if not self.heard.app.finished:
                    self._services.pause(settled.left)
        if self.heard.outcome is not None:
            raise PartError(f"the provisioning image failed: {self.heard.outcome.cause}", self.heard.outcome.bin)
        if self.heard.problem:
            raise PartError(self.heard.problem, "console")

    def _is_through(self, said: Said) -> bool:
        app = provisioning_console.read_app(said.app.lines)
        if not app.finished:
            return False
        failed = app.outcome is not None
        return failed or not self.network.child_locks or provisioning_console.read_net(said.net.lines).finished

    def _heard(self, said: Said) -> Heard:
        app = provisioning_console.read_app(said.app.lines)
        net = provisioning_console.read_net(said.net.lines) if self.network.child_locks else None
        return Heard(said, app, net, consoles.provisioning_problem(said, app, net))

    # ---- the bootloader's data ------------------------------------------------------------------------------------

    @property
    def stores_data(self) -> bool:
        """Whether the production image carries words for UICR."""
        return bool(self._data_words())

    def is_stored(self) -> Answer:
        """The production image's UICR words, one by one; blank ones are not done, another value contradicts."""
        if not self.look().is_open:
            return UNKNOWN(CLOSED_PORT)
        return content.are_written(self._probe, self._data_words())

    def store(self) -> None:
        """Write those words that are blank: each once, nothing else."""
        content.write_blank(self._probe, self._data_words())

    def _data_words(self) -> Mapping[int, int]:
        return content.data_words(self.family.app, self._of("production", "app"))

    # ---- the production firmware ----------------------------------------------------------------------------------

    def is_installed(self) -> Answer:
        """The flash against the production image; a closed part is known by the token that it gives."""
        if not self.look().is_open:
            silent = f"{CLOSED_PORT} and the part gives no token: if its image is not whole, {ONLY_RECOVERY}"
            return DONE if self.boot.attests() else UNKNOWN(silent)
        if self._installed:
            return DONE
        self._probe.halt("app")
        return DONE if content.flash_holds(self._probe, self._of("production", "app")) else NOT_DONE

    def install(self) -> None:
        """Erase the provisioning image and program the production image; UICR, OTP and keys stay."""
        self._installed = False
        self._probe.erase("app", images.spans(self._of("provisioning", "app")))
        self._probe.program("app", images.segments(self._of("production", "app")))
        self._installed = True  # every byte was read back

    # ---- closing the debug port -----------------------------------------------------------------------------------

    @property
    def host_locks(self) -> bool:
        """Whether this station, and not the production firmware, writes the protection words."""
        return self.settings.app_lock is AppLock.HOST

    def is_locked(self) -> Answer:
        """The protection words of the application core; a port that is closed already needs none."""
        return content.is_locked(self._probe, self.family) if self.look().is_open else DONE

    def lock(self) -> None:
        """Close APPROTECT and SECUREAPPROTECT for good; it takes effect at the next hard reset."""
        content.lock(self._probe, self.family)

    # ---- first boot -----------------------------------------------------------------------------------------------

    def has_booted(self) -> Answer:
        """SECURED: by the life cycle words while the port is open, by the token's claim once it is closed."""
        if self.look().is_open:
            return self.boot.secured_by_words(*self._probe.read_words("app", self.family.storage, 2))
        return self.boot.secured_by_token()

    def first_boot(self) -> None:
        """Reset the part and listen until the production firmware gives a token or refuses."""
        self.boot.first(self.settings.first_reset if self.look().is_open else ResetKind.PIN)

    def check(self, token: Token, instance_id: bytes | None) -> Checked:
        """Compare a token with the pack, and with the instance id that is known of this part (None: none is)."""
        settings = self.settings
        return attestation.check(token, Expected(
            settings.challenge or None, settings.implementation_id, instance_id, None,
            settings.certificate_reference or None, attestation.SECURED, settings.profile or None,
        ))  # fmt: skip

    # ---- proof ----------------------------------------------------------------------------------------------------

    def prove_closed(self) -> Mapping[str, str]:
        """Prove that no debug port is open, and say how; ``PartError`` in ``debug_open`` when one is.

        An open port may only be waiting for a hard reset, so that one is made before it counts, and the whole boot
        after it awaited: a network core that its firmware has not switched on yet looks closed.
        """
        if self._debug.open_cores():
            self.boot.listen()
        return self._debug.prove_closed()

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def evidence_in_hand(self) -> Evidence:
        """What was read last; asked for only after it was read."""
        assert self.seen is not None
        return self.seen

    @property
    def _hears_net(self) -> bool:
        """The network core's console is needed for its child image; where there is one, swapped ports are seen."""
        needed = self.settings.net_lock is not NetLock.HOST or "console_net" in self._ports
        return self.family.net is not None and needed

    def _of(self, stage: str, core: str) -> CoreImage:
        return self._images.of(stage, core) if self._images is not None else EMPTY

    def _port(self, name: str, kind: type[_P]) -> _P:
        port = self._ports.get(name)
        if not isinstance(port, kind):
            raise ConfigError(f"a Nordic part needs the port {name!r}, but the socket's driver does not provide it")
        return port
