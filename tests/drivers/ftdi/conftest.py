"""A virtual bench in this process, reached over its real loopback port, with a small chip of TAPs and memory."""

from __future__ import annotations

import threading

import pytest
from pyftdi.usbtools import UsbTools

from drivers.ftdi import open_socket
from drivers.virtual import usb_backend
from drivers.virtual.bench import Bench
from drivers.virtual.handler import open_handler
from drivers.virtual.link import ENVIRONMENT
from drivers.virtual.taps import BusError, Clock, DebugModule, Hart, LcController, TapMux, lc_tap, rv_tap

RAM, RAM_SIZE = 0x1000_0000, 128 << 10
TAP_OF_STRAPS = {(True, False): "lc", (False, True): "rv"}


class Memory:
    """Bus with 128 KiB of RAM; anything else is a bus error."""

    def __init__(self):
        self.data = bytearray(RAM_SIZE)
        self.writes = 0

    def read(self, address, size):
        at = self._offset(address, size)
        return int.from_bytes(self.data[at : at + size], "little")

    def write(self, address, size, value):
        at = self._offset(address, size)
        self.writes += 1
        self.data[at : at + size] = value.to_bytes(size, "little")

    def _offset(self, address, size):
        if not RAM <= address <= RAM + RAM_SIZE - size:
            raise BusError(f"{address:#x}")
        return address - RAM


class Fabric:
    """A RAW die's fuses."""

    otp_word_clk, hash_clk, clock_switch_clk, wipe_clk = 200.0, 60.0, 100.0, 500.0

    def __init__(self):
        self.state, self.count = 0, 0

    def stored(self):
        return self.state, self.count

    def program_count(self, count):
        self.count = count
        return True

    def program_state(self, state_index):
        self.state = state_index
        return True

    def token_digest(self, kind):
        return None

    def id_state(self):
        return 0

    def device_id(self):
        return [0x1000 + n for n in range(8)]

    def manuf_state(self):
        return [0] * 8

    def hw_revision(self):
        return 0x4001_0002, 1

    def partition_error(self):
        return False


class SmallChip:
    """ChipPads on the real TAP models; SPI answers a flash-like memory, UART an echo in capitals."""

    def __init__(self):
        self.lock = threading.RLock()
        self.clock = Clock(4.0)
        self.memory = Memory()
        self.flash = bytes((n * 7 + 3) & 0xFF for n in range(8192))
        lc = LcController(Fabric(), self.clock)
        self.debug = DebugModule(self.memory, Hart(self.memory, self.clock), self.clock)
        self.mux = TapMux(self.clock, {"lc": lc_tap(lc.tap, self.clock), "rv": rv_tap(self.debug, self.clock)})
        self.inputs = {}
        self.levels = {}
        self.powered = False
        self.tck = 0
        self.windows = []
        self._window = None
        self._sent = bytearray()

    @property
    def tdo(self):
        return self.mux.tdo

    def set_inputs(self, levels):
        with self.lock:
            rising = levels.get("por_n") and not self.inputs.get("por_n")
            self.inputs.update(levels)
            if not self.inputs["por_n"]:
                self.mux.select(None)
            elif rising:
                self.mux.select(TAP_OF_STRAPS.get((self.inputs["tap_strap0"], self.inputs["tap_strap1"])))
                self.debug.sba.clear()

    def outputs(self):
        return dict(self.levels)

    def jtag(self, count, tms, tdi):
        self.tck += count
        return self.mux.clock(count, tms, tdi) if self.powered else 0

    def jtag_shift(self, count, tdi, last_tms):
        self.tck += count
        return self.mux.shift(count, tdi, last_tms) if self.powered else 0

    def spi_select(self, selected):
        if selected:
            self._window = bytearray()
        elif self._window is not None:
            self.windows.append(bytes(self._window))
            self._window = None

    def spi(self, mosi):
        answer = bytearray()
        for byte in mosi:
            done = len(self._window)
            address = int.from_bytes(self._window[1:4], "big") + done - 4
            reading = done >= 4 and self._window[0] == 3
            answer.append(self.flash[address % len(self.flash)] if reading else 0xFF)
            self._window.append(byte)
        return bytes(answer)

    def uart_take(self):
        with self.lock:
            sent, self._sent = bytes(self._sent), bytearray()
            return sent

    def uart_give(self, data):
        with self.lock:
            self._sent += data.upper()

    def power(self, on):
        self.powered = on

    def fault(self, name, argument=""):
        if name != "power_cut":
            raise ValueError(f"no fault {name!r}")
        self.powered = False

    def state(self):
        return {"powered": self.powered, "tck": self.tck}

    def close(self):
        pass


class BenchUnderTest:
    """The bench, its handler, its chips and the settings for the driver."""

    def __init__(self, data, sockets):
        self.chips = {}
        self.bench = Bench(data, sockets, open_chip=self._open)
        self.bench.start()
        self.handler = open_handler({"bench": str(self.bench.file)})

    def _open(self, folder):
        return self.chips.setdefault(folder.name, SmallChip())

    def settings(self, number=1, **more):
        return {"serial": f"VB{number:04d}", "usb_backend": usb_backend.MODULE, "console": "", **more}

    def open(self, number=1, **more):
        return open_socket(self.settings(number, **more), number)

    def insert(self, label="die", number=1):
        self.handler.insert(number, label)
        self.handler.lid(number, True)
        return self.chips[label]

    def close(self):
        self.handler.close()
        usb_backend.forget_backends()
        self.bench.stop()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench with two sockets; all USB state of the process is forgotten afterwards."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "bench" / "bench.json"))
    monkeypatch.setattr(UsbTools, "BACKENDS", UsbTools.BACKENDS)
    UsbTools.flush_cache()
    under_test = BenchUnderTest(tmp_path / "bench", 2)
    yield under_test
    under_test.close()
    left = UsbTools.release_all_devices()
    assert not left, "an adapter was left open"
    UsbTools.flush_cache()


@pytest.fixture
def opened(bench):
    """Socket 1 with a part, opened, released from reset with the RISC-V TAP selected; closed afterwards."""
    chip = bench.insert()
    socket = bench.open()
    socket.ports["pins"].drive({"reset": True})
    socket.ports["pins"].drive({"tap_strap0": False, "tap_strap1": True})
    socket.ports["pins"].drive({"reset": False})
    socket.chip = chip
    yield socket
    socket.close()
