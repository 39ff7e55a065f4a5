"""Erasing a whole part, and keeping it open afterwards (nordic-tfm sheet 2.7, 3.2, 3.6 step 3).

The network core goes first: its erasure takes the application core with it. An erased hardened part closes at the next
hard reset, so that the word that keeps it open and a tiny firmware are written at once, on every core.
"""

from __future__ import annotations

from station.errors import PartError
from station.formats import keep_open
from station.formats.nordic_family import ERASED, Core, CtrlAp, NordicFamily
from station.model import DebugAccess, EraseWaiver, ResetKind, Segment
from station.parts.nordic.debug_port import NordicDebugPort
from station.parts.nordic.evidence import NETWORK
from station.ports import Probe


class Recovery:
    """One part on its probe."""

    def __init__(self, probe: Probe, family: NordicFamily, port: NordicDebugPort) -> None:
        self._probe = probe
        self._family = family
        self._port = port

    def erase(self, waiver: EraseWaiver) -> None:
        """Erase every core with flash, RAM, UICR, OTP and keys; the part is open afterwards, until its next reset."""
        for core in reversed(self._family.cores):
            self._probe.erase_all(core.name, waiver)
        self._restart()
        if not self._port.look().is_open:
            raise PartError("expected an open debug port after the erasure of the whole part, but it is closed: take "
                            "the supply away, put it back and erase it again", "locked")  # fmt: skip

    def keep_erased_open(self) -> None:
        """See that the erased part stays open: words and firmware on every core, each of which must be blank.

        ``PartError`` when the network core was not erased with the rest.
        """
        self._keep_open(self._family.app, with_firmware=True)
        net = self._family.net
        if net is None:
            return
        if self._port.release_network() is not DebugAccess.OPEN:
            raise PartError("expected the network core's debug port to be open after the erasure of the whole part, "
                            "but it is closed: take the supply away, put it back, erase it again", NETWORK)  # fmt: skip
        if self._probe.read_words(net.name, net.approtect, 1) != [ERASED]:
            raise PartError("expected a blank network core after the erasure of the whole part, saw words in its UICR",
                            NETWORK)  # fmt: skip
        self._keep_open(net, with_firmware=True)

    def keep_open(self) -> None:
        """Write the words that keep an open part open, where they are blank; needs an open port.

        Without them a part that somebody erased, and that is open only until its next hard reset, would close with its
        keys in it before the production firmware is there.
        """
        self._keep_open(self._family.app, with_firmware=False)

    def keep_network_open(self, with_firmware: bool = False) -> None:
        """The same for the network core, whose port must be open; a core that gets no firmware needs that, too."""
        if self._family.net is not None:
            self._keep_open(self._family.net, with_firmware)

    def _restart(self) -> None:
        """Hardened parts stay open over the CTRL-AP's reset; the nRF9160 looks at its UICR at the reset pin only."""
        if not self._family.hardened:
            self._probe.reset(ResetKind.PIN)
            return
        for value in (1, 0):
            self._probe.write_ap(self._family.app.ctrl_ap, CtrlAp.RESET, value)

    def _keep_open(self, core: Core, with_firmware: bool) -> None:
        if not self._family.hardened:
            return
        for address in filter(None, (core.approtect, core.secure_approtect)):
            if self._probe.read_words(core.name, address, 1) == [ERASED]:
                self._probe.write_once(core.name, address, [self._family.open_word])
        firmware = keep_open.image(self._family, core) if with_firmware else b""
        if firmware:
            self._probe.program(core.name, [Segment(core.flash.start, firmware)])
