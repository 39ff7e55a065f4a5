"""Straps, reset and indicator pins of an Earlgrey part.

Sources: opentitan-device sheet 2.4 (indicator pins), 3.7 (TAP straps), 6 (software straps), 9 (reset order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from station.deadline import Deadline, Pace
from station.errors import FirmwareFailed, PartError, PowerLost, WaitTimeout
from station.model import Tap
from station.ports import Pins

BOOTSTRAP = {"sw_strap0": True, "sw_strap1": True, "sw_strap2": True}
NO_SOFTWARE_STRAPS = {"sw_strap0": False, "sw_strap1": False, "sw_strap2": False}
TAP_STRAPS = {
    Tap.LC: {"tap_strap0": True, "tap_strap1": False},
    Tap.RISCV: {"tap_strap0": False, "tap_strap1": True},
    None: {"tap_strap0": False, "tap_strap1": False},
}
DFT_OFF = {"dft_strap0": False, "dft_strap1": False}


class Pads:
    """The part's pins as a bench engineer names them."""

    def __init__(self, pins: Pins, pause: Callable[[float], None]) -> None:
        self._pins = pins
        self._pause = pause

    def reset(self, tap: Tap | None, bootstrap: bool) -> None:
        """Reset the part with the given TAP selected and, with ``bootstrap``, held by ROM in its bootstrap loop."""
        self.hold(tap, bootstrap)
        self.release()

    def hold(self, tap: Tap | None = None, bootstrap: bool = False) -> None:
        """Assert reset and set the straps that the next release will sample; the part stays in reset."""
        software = BOOTSTRAP if bootstrap else NO_SOFTWARE_STRAPS
        self._pins.drive({"reset": True})
        self._pins.drive({**TAP_STRAPS[tap], **software, **DFT_OFF, "trst": False})
        self._pause(self._pins.reset_seconds)

    def release(self) -> None:
        """Release reset: straps are sampled and the ROM runs."""
        self._pins.drive({"reset": False})
        self._pause(self._pins.reset_seconds)

    def select_tap(self, tap: Tap) -> None:
        """Switch the TAP without reset; sampled at once only while DFT is enabled (TEST_UNLOCKED, RMA)."""
        self._pins.drive(TAP_STRAPS[tap])

    def sample(self) -> Mapping[str, bool]:
        """All inputs; raises ``PowerLost`` when the socket's supply is gone."""
        levels = self._pins.sample()
        if not levels.get("power_good", True):
            raise PowerLost("expected the socket's supply to stay on, but power-good fell; check the fixture's supply")
        if not levels.get("lid_closed", True):
            raise PowerLost(
                "expected the lid to stay closed during the run, but it was opened; leave the part in place"
            )
        return levels

    def refuse_test_error(self, waited_for: str) -> None:
        """Raise ``PartError`` while the firmware holds TestError high."""
        if self.sample().get("test_error"):
            raise FirmwareFailed(f"the firmware raised TestError while the station waited for {waited_for}")

    def wait(self, signal: str, deadline: Deadline, waited_for: str) -> Mapping[str, bool]:
        """Wait for one input; TestError ends the wait at once, silence at the deadline, both with ``PartError``."""
        pace = Pace(self._pause)
        while True:
            levels = self.sample()
            if levels.get(signal):
                return levels
            if levels.get("test_error"):
                raise FirmwareFailed(f"the firmware raised TestError while the station waited for {waited_for}")
            if deadline.passed:
                raise PartError(str(WaitTimeout(waited_for, deadline.seconds)), "console")
            pace.rest()
