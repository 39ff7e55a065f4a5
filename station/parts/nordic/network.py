"""The network core of a part, where it has one: its images, and its debug port, which is asked while that can be done.

Once the application core's port is closed, a network core that is off and one whose port is closed look the same
(nordic-tfm sheet 2.7, 6). Everything here but ``speaks`` therefore needs an open application core.
"""

from __future__ import annotations

from collections.abc import Callable

from station.deadline import Deadline
from station.errors import PartError
from station.formats.firmware_image import CoreImage
from station.formats.nordic_family import CLOSED, ERASED
from station.model import DONE, HALF_DONE, NOT_DONE, UNKNOWN, Answer, DebugAccess
from station.parts.nordic import content, images
from station.parts.nordic.consoles import SPEAK_SECONDS, Consoles
from station.parts.nordic.debug_port import NordicDebugPort
from station.parts.nordic.evidence import NETWORK, ONLY_RECOVERY
from station.parts.nordic.production_boot import CLOSED_PORT
from station.parts.nordic.recovery import Recovery
from station.parts.nordic.settings import NetLock, NordicSettings
from station.ports import Probe


class NetworkCore:
    """``image(stage)`` is the pack's image of a stage for this core, empty where there is none."""

    def __init__(
        self, probe: Probe, settings: NordicSettings, port: NordicDebugPort, recovery: Recovery, ears: Consoles,
        image: Callable[[str], CoreImage],
    ) -> None:  # fmt: skip
        self._probe = probe
        self._settings = settings
        self._core = settings.family.net
        self._port = port
        self._recovery = recovery
        self._ears = ears
        self._image = image

    # ---- who does what --------------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether the family has a network core."""
        return self._core is not None

    @property
    def has_image(self) -> bool:
        """Whether the pack has a production image for it."""
        return bool(self._image("production").blocks)

    @property
    def child_locks(self) -> bool:
        """Whether the provisioning image's child closes its port (at its next reset)."""
        return self.is_there and self._settings.net_lock is NetLock.CHILD_IMAGE

    @property
    def host_locks(self) -> bool:
        """Whether this station closes its port, before the production firmware can close the application core's."""
        return self.is_there and self._settings.net_lock is NetLock.HOST

    # ---- its debug port -------------------------------------------------------------------------------------------

    def access(self) -> DebugAccess:
        """What its port allows, once it is let out of its reset."""
        return self._port.release_network()

    def approtect(self) -> int | None:
        """UICR.APPROTECT; None where its port is closed, or where there is no such core."""
        if self._core is None or self.access() is not DebugAccess.OPEN:
            return None
        return self._probe.read_words(self._core.name, self._core.approtect, 1)[0]

    def closes(self) -> bool:
        """Whether its port is closed, or closes at its next reset."""
        return self.is_there and self.approtect() not in (self._settings.family.open_word, ERASED)

    def lock(self) -> str:
        """What shows that its port is closed for good, empty when nothing does.

        A closed port shows nothing by itself: it may be the firmware of the moment that does not open it.
        """
        word = self.approtect()
        return f"UICR.APPROTECT {word:#010x}" if word == CLOSED else ""

    def is_locked(self) -> Answer:
        """Whether ``lock`` shows anything; a port that closed before its word was written cannot get it any more."""
        if not self._port.look().is_open:
            return UNKNOWN(CLOSED_PORT)
        if self.lock():
            return DONE
        if self.access() is DebugAccess.OPEN:
            return NOT_DONE
        return HALF_DONE("the network core's debug port closed before this station had closed it for good; "
                         f"{ONLY_RECOVERY}", NETWORK)  # fmt: skip

    def close(self) -> None:
        """Write UICR.APPROTECT closed for good; it takes effect at the core's next reset."""
        assert self._core is not None
        self._probe.write_once(self._core.name, self._core.approtect, [CLOSED])

    def speaks(self) -> bool:
        """Whether it was heard since the last reset, which a core that is off is not."""
        if not self._ears.said.net.has_spoken and self._ears.are_proved:  # else it was listened to in its turn
            self._ears.until(lambda said: said.net.has_spoken, Deadline(SPEAK_SECONDS))
        return self._ears.said.net.has_spoken

    # ---- its images -----------------------------------------------------------------------------------------------

    def install_child(self) -> None:
        """Program the provisioning image's child, whose port must be open for it."""
        if self.access() is not DebugAccess.OPEN:
            raise PartError("expected the debug port of the network core to be open for the provisioning image, but it "
                            "is closed; erase the whole part first", "locked")  # fmt: skip
        self._recovery.keep_network_open()
        self._probe.program("net", images.segments(self._image("provisioning")))

    def keep_open(self) -> None:
        """See that a core without an image of its own stays open over the reset that starts the provisioning image."""
        self._recovery.keep_network_open(with_firmware=True)

    def holds_image(self) -> bool:
        """Whether the production image lies in its flash, as far as that can be read."""
        image = self._image("production")
        return self.access() is not DebugAccess.OPEN or content.flash_holds(self._probe, image, "net")

    def install(self) -> None:
        """Program the production image and read it back; ``PartError`` when the port is closed."""
        if self.access() is not DebugAccess.OPEN:
            raise PartError("expected the debug port of the network core to be open for its production image, but it "
                            f"is closed: {ONLY_RECOVERY}", NETWORK)  # fmt: skip
        if self.child_locks:
            self.clear_child()
        else:
            self._recovery.keep_network_open()
        self._probe.program("net", images.segments(self._image("production")))

    def clear_child(self) -> None:
        """Take the provisioning image's child away; ``PartError`` when the port is closed."""
        if not self.child_locks:
            return
        if self.access() is not DebugAccess.OPEN:
            raise PartError("the provisioning image is still in the flash of the network core, whose debug port is "
                            f"closed: {ONLY_RECOVERY}", NETWORK)  # fmt: skip
        self._probe.erase("net", images.spans(self._image("provisioning")))
