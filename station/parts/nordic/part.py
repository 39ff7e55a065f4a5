"""The verbs on one Nordic part: each is what the work instruction says, none decides what comes next.

A verb that asks (``look``, ``evidence``, ``is_…``, ``has_…``) changes nothing that lasts; ``has_booted`` and
``is_closed`` may reset the part once it runs its production firmware. Sources: nordic-tfm sheet 2, 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from station.deadline import Deadline
from station.errors import ConfigError, FormatError, PartError
from station.formats import attestation, provisioning_console
from station.formats.attestation import Checked, Expected, Token
from station.formats.firmware_image import CoreImage
from station.formats.nordic_family import NordicFamily
from station.formats.provisioning_console import Outcome, Transcript
from station.model import (
    DONE,
    NOT_DONE,
    UNKNOWN,
    Answer,
    DebugAccess,
    EraseWaiver,
    Realm,
    ResetKind,
)
from station.parts import PartServices, Unfit
from station.parts.nordic import consoles, content, evidence, images
from station.parts.nordic.consoles import Consoles, Said
from station.parts.nordic.debug_port import Look, NordicDebugPort
from station.parts.nordic.evidence import NETWORK, ONLY_RECOVERY, Evidence
from station.parts.nordic.images import EMPTY, Images
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
        self._consoles = Consoles(self._port("console", Console), net, services.log)
        self._debug = NordicDebugPort(self._probe, self.family)
        self._recovery = Recovery(self._probe, self.family, self._debug)
        self._images: Images | None = None
        self._installed = False
        self.heard: Heard | None = None
        self.seen: Evidence | None = None
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

    def network_access(self) -> DebugAccess:
        """What the network core's port allows, once the core is let out of its reset; needs an open port."""
        return self._debug.release_network()

    # ---- erasing everything ---------------------------------------------------------------------------------------

    def recover(self, waiver: EraseWaiver) -> None:
        """Erase the whole part with all its keys, network core first, and leave it open and blank."""
        self._recovery.erase(waiver)

    def keep_open(self) -> None:
        """See that an open part stays open until this station closes it; writes blank protection words only."""
        self._recovery.keep_open()

    # ---- network core ---------------------------------------------------------------------------------------------

    @property
    def has_network_image(self) -> bool:
        """Whether the pack has a production image for the network core."""
        return bool(self._of("production", "net").blocks)

    @property
    def child_locks_network(self) -> bool:
        """Whether the provisioning image's child closes the network core's port (at that core's next reset)."""
        return self.family.net is not None and self.settings.net_lock is NetLock.CHILD_IMAGE

    def install_network(self) -> None:
        """Program the network core's production image and read it back; ``PartError`` when its port is closed."""
        if self.network_access() is not DebugAccess.OPEN:
            raise PartError("expected the debug port of the network core to be open for its production image, but it "
                            f"is closed: {ONLY_RECOVERY}", NETWORK)  # fmt: skip
        if not self.child_locks_network:
            self._recovery.keep_network_open()
        self._probe.program("net", images.segments(self._of("production", "net")))

    # ---- provisioning ---------------------------------------------------------------------------------------------

    def is_provisioned(self) -> Answer:
        """Life cycle words, implementation id and key slots, and what the image said of itself in this run."""
        if not self.look().is_open:
            return UNKNOWN(CLOSED_PORT)
        self.evidence()
        said = None
        if self.heard is not None:
            said = replace(self.heard.app, outcome=self.heard.outcome)
            self.seen = replace(self.evidence_in_hand, net_approtect=self._net_approtect())
        return evidence.answer(self.evidence_in_hand, self.settings.implementation_id, said)

    def provision(self) -> None:
        """Program the provisioning image on both cores, reset once, and listen to the end of what it says.

        A failure line, a panic, silence, garbage or swapped ports raise ``PartError``; what the part is after them,
        ``is_provisioned`` tells. An image that has burnt nothing is taken away again: it would provision the part
        unwatched as soon as somebody switches it on.
        """
        try:
            self._run_image()
        except PartError as error:
            if self.is_provisioned() is not NOT_DONE:
                raise
            self._probe.erase("app", images.spans(self._of("provisioning", "app")))
            raise PartError(f"{error}; nothing was burnt", CLEAN_BINS.get(error.bin, error.bin)) from None

    def _run_image(self) -> None:
        if self.child_locks_network:
            self._program_child()
        self._probe.program("app", images.segments(self._of("provisioning", "app")))
        self._consoles.clear()
        self._probe.reset(ResetKind.SYSTEM)
        said = self._consoles.until(self._is_through, Deadline(self.settings.provisioning_seconds))
        self.heard = self._heard(said)
        if self.heard.outcome is not None:
            raise PartError(f"the provisioning image failed: {self.heard.outcome.cause}", self.heard.outcome.bin)
        if self.heard.problem:
            raise PartError(self.heard.problem, "console")

    def _program_child(self) -> None:
        if self.network_access() is not DebugAccess.OPEN:
            raise PartError("expected the debug port of the network core to be open for the provisioning image, but it "
                            "is closed; erase the whole part first", "locked")  # fmt: skip
        self._recovery.keep_network_open()
        self._probe.program("net", images.segments(self._of("provisioning", "net")))

    def _is_through(self, said: Said) -> bool:
        app = provisioning_console.read_app(said.app.lines)
        if not app.finished:
            return False
        failed = app.outcome is not None
        return failed or not self.child_locks_network or provisioning_console.read_net(said.net.lines).finished

    def _heard(self, said: Said) -> Heard:
        app = provisioning_console.read_app(said.app.lines)
        net = provisioning_console.read_net(said.net.lines) if self.child_locks_network else None
        return Heard(said, app, net, consoles.provisioning_problem(said, app, net))

    def _net_approtect(self) -> int | None:
        net = self.family.net
        if net is None or self._probe.access("net") is not DebugAccess.OPEN:
            return None
        return self._probe.read_words("net", net.approtect, 1)[0]

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
        return self.child_locks_network or (self.family.net is not None and "console_net" in self._ports)

    def _of(self, stage: str, core: str) -> CoreImage:
        return self._images.of(stage, core) if self._images is not None else EMPTY

    def _port(self, name: str, kind: type[_P]) -> _P:
        port = self._ports.get(name)
        if not isinstance(port, kind):
            raise ConfigError(f"a Nordic part needs the port {name!r}, but the socket's driver does not provide it")
        return port
