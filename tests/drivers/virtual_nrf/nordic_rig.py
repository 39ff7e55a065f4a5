"""Hands for virtual Nordic parts: a part alone with its debug port, and a bench behind the real pyOCD."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from drivers.virtual import nrf_finder
from drivers.virtual.bench import Bench
from drivers.virtual.handler import open_handler
from drivers.virtual.nrf import image_format
from drivers.virtual.nrf.chip import NordicChip
from drivers.virtual.nrf.debug_port import CDBGPWRUPREQ, CSYSPWRUPREQ, DebugPort
from drivers.virtual.nrf.images import PROGRAMS
from drivers.virtual.nrf.silicon import SILICON, UNPROTECTED

CHIPS = tuple(SILICON)
IMPLEMENTATION_ID = bytes(range(0x41, 0x61))
CERTIFICATE = "0632793519539-10100"
IDLE_SECONDS = 10.0
NVMC_APP, NVMC_NET = 0x5003_9000, 0x4108_0000
READY, CONFIG, ERASEALL = 0x400, 0x504, 0x50C


def image(chip: str, program: str, **options) -> bytes:
    """An image of one program for this chip kind, small and with the options that tests need."""
    silicon = SILICON[chip]
    core = silicon.net if program.endswith("_net") else silicon.app
    defaults = {**PROGRAMS[program], "size": 0x800}
    if program == "provisioning_app":
        defaults |= {"implementation_id": IMPLEMENTATION_ID.hex(), "net_child": False}
    if program == "tfm_app":
        defaults |= {"certificate_reference": CERTIFICATE, "starts_net": False}
    options = defaults | options
    size = options.pop("size")
    return image_format.pack({"program": program, "family": chip, **options}, core.flash, core.ram, size)


class Rig:
    """One part without a bench: the test's hands are at its pins and in its flash."""

    def __init__(self, folder: Path, chip: str) -> None:
        self.folder = folder
        self.silicon = SILICON[chip]
        self.console = {"app": b"", "net": b""}
        self._open()

    def _open(self) -> None:
        self.chip = NordicChip(self.silicon, self.folder)
        self.chip.send_uart = self._receive
        self.port = DebugPort(self.chip)
        self.app, self.net = self.chip.app, self.chip.net

    def _receive(self, console, data, baud):
        self.console[console] += data

    def reopen(self) -> None:
        """The bench process dies and comes back: only what is in files is left."""
        self.chip.close()
        self._open()

    def flash(self, program: str, **options) -> None:
        """Put an image into flash before power comes."""
        content = image(self.silicon.name, program, **options)
        core = self.net if program.endswith("_net") else self.app
        self.chip.file.flash(core.silicon).put(0, content)

    def open_words(self) -> None:
        """UICR as a recover leaves it: open."""
        for core in self.chip.cores.values():
            for place in filter(None, (core.silicon.approtect, core.silicon.secure_approtect)):
                core.uicr.force(place - core.silicon.uicr, UNPROTECTED if self.silicon.hardened else 0xFFFF_FFFF)

    def power(self, on: bool = True) -> None:
        """Supply on and the debug port connected, or off."""
        self.chip.power(on)
        if on:
            self.connect()

    def connect(self) -> None:
        """Line reset and power-up of the debug domain, as every host begins."""
        self.port.line_reset(50)
        self.port.write_dp(8, 0)
        self.port.write_dp(4, CSYSPWRUPREQ | CDBGPWRUPREQ)

    def pin_reset(self) -> None:
        """A pulse on the reset pin."""
        self.chip.reset_pin(True)
        self.chip.reset_pin(False)

    def start(self, program: str, **options) -> None:
        """Flash an image, switch on or reset by the pin, wait until it has nothing more to do."""
        self.flash(program, **options)
        if self.chip.powered:
            self.pin_reset()
        self.power()
        self.wait_idle()

    def wait_idle(self, core: str = "app") -> str:
        """How the program of a core ended; an unpowered part has none."""
        target = self.chip.cores[core]
        with self.chip.lock:
            ended = self.chip.changed.wait_for(lambda: target.idle or not self.chip.powered, IDLE_SECONDS)
            assert ended, f"the program of {core} still runs"
            return target.idle

    def lines(self, core: str = "app") -> list[str]:
        """What a core has printed so far, without time stamps."""
        text = self.console[core].decode("ascii")
        return [re.sub(r"^\[[0-9:.,]+\] ", "", line) for line in text.split("\r\n") if line]

    def said(self, core: str = "app") -> list[str]:
        """The same without banners and log prefixes."""
        lines = [line for line in self.lines(core) if not line.startswith("***")]
        return [re.sub(r"^<...> [a-z_]+: ", "", line) for line in lines]

    def state(self) -> dict:
        """The part's own view."""
        return dict(self.chip.state())

    def system_reset(self) -> None:
        """AIRCR.SYSRESETREQ of the application core through the debugger."""
        self.write(0xE000_ED0C, 0x05FA_0004)

    # ---- the debugger -----------------------------------------------------------------------------------------------

    def read(self, address: int, ap: int = 0) -> int:
        """A word through an AHB access port."""
        return self.port.read_words(ap, address, 1)[0]

    def write(self, address: int, *words: int, ap: int = 0) -> None:
        """Words through an AHB access port."""
        self.port.write_words(ap, address, list(words))

    def wait_ready(self, nvmc: int = NVMC_APP, ap: int = 0) -> None:
        """Poll READY."""
        end = time.monotonic() + IDLE_SECONDS
        while not self.read(nvmc + READY, ap):
            assert time.monotonic() < end

    def mode(self, value: int, nvmc: int = NVMC_APP, ap: int = 0) -> None:
        """Write CONFIG when the controller is ready."""
        self.wait_ready(nvmc, ap)
        self.write(nvmc + CONFIG, value, ap=ap)

    def burn(self, address: int, *words: int, nvmc: int = NVMC_APP, ap: int = 0) -> None:
        """Program words as a careful driver does."""
        self.mode(1, nvmc, ap)
        self.write(address, *words, ap=ap)
        self.mode(0, nvmc, ap)

    def erase_all(self, core: str = "app") -> None:
        """CTRL-AP.ERASEALL of a core, until it is done."""
        ap = self.chip.cores[core].silicon.ctrl_ap << 24
        self.port.write_ap(ap | 0x04, 1)
        end = time.monotonic() + IDLE_SECONDS
        while self.port.read_ap(ap | 0x08):
            assert time.monotonic() < end
            time.sleep(0.005)

    def ctrl_ap_reset(self, core: str = "app") -> None:
        """CTRL-AP.RESET of a core."""
        ap = self.chip.cores[core].silicon.ctrl_ap << 24
        self.port.write_ap(ap, 1)
        self.port.write_ap(ap, 0)

    def close(self) -> None:
        """The end; a part takes more than a megabyte."""
        self.chip.close()
        shutil.rmtree(self.folder)


class BenchUnderTest:
    """A bench in this process, its hands, and the real pyOCD in front of it."""

    def __init__(self, data: Path, chip: str, sockets: int = 1) -> None:
        self.chip = chip
        self.bench = Bench(data, sockets, chip=chip)
        self.bench.start()
        self.hands = open_handler({"bench": str(self.bench.file)})
        self._sessions = []

    def insert(self, label: str = "part", number: int = 1):
        """Put a part in and close the lid; returns its model."""
        self.hands.insert(number, label)
        self.hands.lid(number, True)
        return self.bench.state.sockets[number - 1].chip

    def session(self, serial: str = "VP0001", target: str = "cortex_m", **options):
        """pyOCD's session for a probe, not yet opened."""
        from pyocd.core.session import Session
        from pyocd.probe.aggregator import DebugProbeAggregator

        probe = DebugProbeAggregator.get_probe_with_id(nrf_finder.probe_address(serial))
        defaults = {"auto_unlock": False, "connect_mode": "attach", "resume_on_disconnect": False}
        session = Session(probe, target_override=target, options={**defaults, **options})
        self._sessions.append(session)
        return session

    def debug_port(self, **options):
        """The debug port of a session that looks at no core."""
        session = self.session(**options)
        session.open(init_board=False)
        session.target.dp.connect()
        return session.target.dp

    def close(self) -> None:
        """Everything off."""
        for session in self._sessions:
            session.close()
        self.hands.close()
        self.bench.stop()
