"""Debug TAPs of the virtual chip: JTAG, DMI, life cycle controller, debug module and hart.

All parts share one `Clock`: ``Clock(4.0)``; ``LcController(fabric, clock)``; ``lc_tap(controller.tap, clock)``;
``Hart(bus, clock)``; ``DebugModule(bus, hart, clock)``; ``rv_tap(debug_module, clock)``; ``TapMux(clock, {...})``.
Nothing runs by itself: `TapMux.tick` lets wall time pass and advances what stands behind the selected TAP; the others
have ``advance``. Before a chip reset call ``LcController.advance``, so that what was due has been programmed.
"""

from __future__ import annotations

from drivers.virtual.taps.bus import Bus, BusError
from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.debug_module import DebugModule
from drivers.virtual.taps.hart import Hart
from drivers.virtual.taps.lc_ctrl import LcController, LcFabric
from drivers.virtual.taps.lc_functions import LcFunctions
from drivers.virtual.taps.lc_registers import LcInterface
from drivers.virtual.taps.mux import TapMux
from drivers.virtual.taps.tap import Tap, lc_tap, rv_tap

LcTap = lc_tap
RvTap = rv_tap

__all__ = [
    "Bus",
    "BusError",
    "Clock",
    "DebugModule",
    "Hart",
    "LcController",
    "LcFabric",
    "LcFunctions",
    "LcInterface",
    "LcTap",
    "RvTap",
    "Tap",
    "TapMux",
    "lc_tap",
    "rv_tap",
]
