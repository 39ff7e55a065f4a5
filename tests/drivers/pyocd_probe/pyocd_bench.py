"""A virtual bench with Nordic parts in this process, reached by the real pyOCD over its real loopback ports."""

from __future__ import annotations

from drivers.pyocd_probe import open_socket
from drivers.virtual.bench import Bench
from drivers.virtual.handler import open_handler
from station.formats.nordic_family import NETWORK_FORCEOFF, NETWORK_FORCEOFF_UNLOCK, CtrlAp, family
from station.model import DebugAccess, EraseWaiver

WAIVER = EraseWaiver("a test's own part", 1)
BOARDS = {"nrf5340": "nrf5340dk", "nrf9160": "nrf9160dk", "nrf91x1": "nrf9161dk"}


class ProbeBench:
    """A bench of one chip, its hands, and the driver's socket once it is open."""

    def __init__(self, folder, chip):
        self.family = family(chip)
        self.bench = Bench(folder, 1, chip=chip)
        self.bench.start()
        self.hands = open_handler({"bench": str(self.bench.file)})
        self.running = True
        self.opened = []

    def settings(self, **more):
        board = BOARDS[self.family.name]
        return {"serial": "VP0001", "board": board, "finder": "drivers.virtual.nrf_finder", **more}

    def open(self, consoles=False, **more):
        """The socket; without its consoles, which take their time to open and close, unless a test is about them."""
        more = more if consoles else {"console": "", **more}
        socket = open_socket(self.settings(**more), 1)
        self.opened.append(socket)
        return socket

    def insert(self, label="part-0001"):
        self.hands.insert(1, label)
        self.hands.lid(1, True)

    @property
    def chip(self):
        """The part's own view."""
        return self.hands.state(1)["chip"]

    @property
    def requests(self):
        """How many requests of each kind the probe has got."""
        return dict(self.hands.state(1)["requests"])

    def stop(self):
        if self.running:
            self.running = False
            self.hands.close()
            self.bench.stop()

    def close(self):
        for socket in self.opened:
            socket.close()
        self.stop()


def opened_up(probe, nordic):
    """Recover the part and open it for good: what a flow does, in its shortest form."""
    for core in reversed(nordic.cores):
        probe.erase_all(core.name, WAIVER)
    if probe.access("app") is DebugAccess.CLOSED:  # nRF91x1: only a reset makes the erased protection count
        for held in (1, 0):
            probe.write_ap(nordic.app.ctrl_ap, CtrlAp.RESET, held)
        probe.attach()
    words = [nordic.app.approtect, nordic.app.secure_approtect] if nordic.hardened else []
    for address in words:
        probe.write_once("app", address, [nordic.open_word])


def switch_net_on(probe):
    probe.write_words("app", NETWORK_FORCEOFF_UNLOCK, [1])
    for off in (0, 1, 0):
        probe.write_words("app", NETWORK_FORCEOFF, [off])
    probe.write_words("app", NETWORK_FORCEOFF_UNLOCK, [0])
