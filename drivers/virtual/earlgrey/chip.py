"""The whole virtual chip behind its pads.

Every pad method takes the chip's lock; firmware runs in threads of its own that take the same lock for each operation,
so the chip works on when nobody touches its pads, and each reset, power cut or close ends them at their next operation.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from drivers.virtual.earlgrey import faults as fault_table
from drivers.virtual.earlgrey.chip_file import ChipFile
from drivers.virtual.earlgrey.firmware import boot, cp_provision, ft_individualize, sram_start
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, FirmwareStopped, Machine
from drivers.virtual.earlgrey.firmware.sram_start import Start, Verdict
from drivers.virtual.earlgrey.flash import Flash, FlashController
from drivers.virtual.earlgrey.fuses import FuseMacro
from drivers.virtual.earlgrey.image_format import Library
from drivers.virtual.earlgrey.life_cycle import LifeCycleFuses
from drivers.virtual.earlgrey.memory_map import RegisterFace, SystemBus
from drivers.virtual.earlgrey.otp import OtpController
from drivers.virtual.earlgrey.partitions import ITEMS
from drivers.virtual.earlgrey.spi_device import BootstrapMode, ConsoleMode, SpiDevice
from drivers.virtual.earlgrey.uart import Uart
from drivers.virtual.pads import PAD_INPUTS, PAD_OUTPUTS, ChipPads
from drivers.virtual.taps import Clock, DebugModule, Hart, LcController, TapMux, lc_tap, rv_tap
from station.formats.lc import MUTEX_FALSE, MUTEX_TRUE, LcState, Reg

CLK_PER_SECOND = 24e6
TRANSITION_CLK = 60_000.0  # longer than any life cycle transition
MOST_CLK_PER_CALL = 4_000.0  # bounds what an interpreted program may catch up
TAP_OF_STRAPS = {(True, False): "lc", (False, True): "rv"}
ROM_END = 0x1_0000
RUNNING_OFFSET, EBREAK_OFFSET = 0x80, 0xC0
SRAM_PROGRAMS = {"cp_provision": cp_provision.run, "ft_individualize": ft_individualize.run}


class EarlgreyChip:
    """One virtual Earlgrey; implements ``ChipPads``."""

    def __init__(self, folder: Path, images: Path) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.epoch = 0
        self.faults = fault_table.Faults()
        self.pins = dict.fromkeys(("test_start", "test_done", "test_error"), False)
        self.sampled_straps = (False, False, False)
        self._inputs = dict.fromkeys(PAD_INPUTS, False)
        self._powered = False
        self._in_reset = True
        self._paused = False
        self.running: str = ""
        self._program_base = 0
        self._threads: list[threading.Thread] = []
        self._seen = time.monotonic()
        self._library = Library(images)
        self._build_memories(folder)
        self._build_logic()

    def _build_memories(self, folder: Path) -> None:
        self._file = ChipFile(folder)
        self._macro = FuseMacro(self._file, self.faults, self._power_down)
        self.otp = OtpController(self._macro)
        self.flash = Flash(self._file)
        self._flash_controller = FlashController(self.flash)
        self.uart = Uart()
        self.spi_device = SpiDevice()

    def _build_logic(self) -> None:
        self._clock = Clock(4.0)
        self._fabric = LifeCycleFuses(
            self._macro, self.otp, self.flash, lambda: self.faults.take("transition_failure") is not None
        )
        self.life_cycle = LcController(self._fabric, self._clock)
        registers = self.life_cycle.cpu
        self.bus = SystemBus(
            {
                0x4013_0000: (0x1000, RegisterFace(self.otp.read_register, self.otp.write_register)),
                0x4014_0000: (
                    0x100,
                    RegisterFace(lambda a: registers.read(a // 4), lambda a, v: _ignore(registers.write(a // 4, v))),
                ),
                0x4100_0000: (0x200, self._flash_controller),
            }
        )
        self._hart = Hart(self.bus, self._clock)
        self._debug_module = DebugModule(self.bus, self._hart, self._clock)
        self._taps = {
            "lc": lc_tap(self.life_cycle.tap, self._clock),
            "rv": rv_tap(self._debug_module, self._clock),
        }
        self._mux = TapMux(self._clock, self._taps)
        self._hart.on_start = self._hart_started
        self._hart.on_halt = self._hart_halted
        self._debug_module.on_ndmreset = self._debugger_reset
        self.life_cycle.on_change = self._life_cycle_changed

    # --- pads ----------------------------------------------------------------------------------------------------

    def set_inputs(self, levels: Mapping[str, bool]) -> None:
        """New levels of straps and resets; a rising ``por_n`` of a powered chip starts it."""
        with self.lock:
            self._advance()
            unknown = levels.keys() - self._inputs.keys()
            if unknown:
                raise ValueError(f"the chip has no input pads {sorted(unknown)}")
            released = levels.get("por_n", False) and not self._inputs["por_n"]
            self._inputs.update(levels)
            if "no_contact" in self.faults.lasting:
                return
            if not self._inputs["por_n"]:
                self._enter_reset()
            elif released and self._powered:
                self._leave_reset()
            elif not self._in_reset:
                self._route_tap(at_reset=False)
            if not self._inputs["trst_n"]:
                self._mux.reset()

    def outputs(self) -> Mapping[str, bool]:
        """Levels of the pads that the chip drives."""
        with self.lock:
            self._advance()
            if not self._alive:
                return dict.fromkeys(PAD_OUTPUTS, False)
            mode = self.spi_device.mode
            console = mode if isinstance(mode, ConsoleMode) else None
            ready = {"tx_ready": bool(console and console.tx_ready), "rx_ready": bool(console and console.rx_ready)}
            return {**ready, **self.pins}

    @property
    def tdo(self) -> int:
        """TDO while TCK is low, for a client that asks bit by bit."""
        with self.lock:
            return self._tdo(1, lambda: self._mux.tdo)

    def jtag(self, count: int, tms: int, tdi: int) -> int:
        """Clock TCK cycles; returns TDO before each rising edge."""
        with self.lock:
            return self._tdo(count, lambda: self._mux.clock(count, tms, tdi))

    def jtag_shift(self, count: int, tdi: int, last_tms: bool) -> int:
        """Like ``jtag`` with TMS low for all cycles but the last."""
        with self.lock:
            return self._tdo(count, lambda: self._mux.shift(count, tdi, last_tms))

    def spi(self, mosi: bytes) -> bytes:
        """Full duplex bytes; high while the chip does not drive."""
        with self.lock:
            return self.spi_device.transfer(mosi) if self._alive else b"\xff" * len(mosi)

    def spi_select(self, selected: bool) -> None:
        """Chip select falls or rises."""
        with self.lock:
            if self._alive:
                self.spi_device.select(selected)

    def uart_take(self) -> bytes:
        """What the chip has sent since the last call."""
        with self.lock:
            return self.uart.take() if "no_contact" not in self.faults.lasting else b""

    def uart_give(self, data: bytes) -> None:
        """Bytes for the chip's UART."""
        with self.lock:
            if self._alive:
                self.uart.give(data)

    @property
    def powered(self) -> bool:
        """Whether the supply is on; a power-cut fault turns it off until ``power(True)``."""
        with self.lock:
            return self._powered

    def power(self, on: bool) -> None:
        """Switch the supply; after switching on the chip waits for a rising ``por_n``."""
        with self.lock:
            self._advance()
            if not on:
                self._power_down()
            elif not self._powered:
                self._powered = self._macro.powered = True
                self._enter_reset()

    def fault(self, name: str, argument: str = "") -> None:
        """Arm a fault of `fault_table.FAULTS`; ``name:argument`` in one text is accepted too."""
        with self.lock:
            name, argument = fault_table.split(name, argument)
            if name == "wrong_state":
                self._fabric.force(_state_named(argument or "DEV"))
            else:
                self.faults.arm(name, argument)
            if "no_contact" in self.faults.lasting:
                self._enter_reset()
            self.changed.notify_all()

    def state(self) -> Mapping[str, object]:
        """What tests and the bench's log want to know."""
        with self.lock:
            self._advance()
            stored, count = self._fabric.stored()
            return {
                "label": self._file.identity.label,
                "lc_state": "INVALID" if stored is None else LcState(stored).name,
                "count": count,
                "double_burns": [dict(burn) for burn in self._file.double_burns],
                "fuse_writes": self._file.fuse_writes,
                "powered": self._powered,
                "in_reset": self._in_reset,
                "program": self.running,
                "hart_halted": self._hart.halted,
                "locked": sorted(name for name, digest in self.otp.digests.items() if digest),
                "faults": self.faults.armed,
            }

    def close(self) -> None:
        """Stop the chip's threads and release its files."""
        with self.lock:
            self._power_down()
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()
        self._file.close()

    # --- what firmware does to the chip (lock held) --------------------------------------------------------------

    @property
    def hart_halted(self) -> bool:
        """Whether the debugger holds the processor."""
        return self._hart.halted

    def software_reset(self) -> None:
        """Reset everything but the supply."""
        self._enter_reset()
        self._leave_reset()

    def stop_at_ebreak(self, sp: int) -> None:
        """The SRAM program reached its end."""
        self.running = ""
        self._hart.stop_at_ebreak(self._program_base + EBREAK_OFFSET, sp)

    def start_bootstrap(self) -> None:
        """The ROM answers as a flash until the next reset."""
        self.running = "bootstrap"
        self.spi_device.mode = BootstrapMode(self.flash, lambda: self.spi_device.now, self.software_reset)

    def spoil_frame(self, frame: bytes) -> bytes:
        """The frame as it goes into the buffer: noise with the fault ``console_garbage``."""
        if "console_garbage" not in self.faults.lasting:
            return frame
        return hashlib.shake_128(frame).digest(len(frame))

    def report_progress(self, words: Sequence[int]) -> None:
        """Token registers written from the processor side, the mutex released again."""
        registers = self.life_cycle.cpu
        registers.write(Reg.CLAIM, MUTEX_TRUE)
        for n, word in enumerate(words):
            registers.write(Reg.TOKEN_0 + n, word)
        registers.write(Reg.CLAIM, MUTEX_FALSE)

    def noise(self, label: str, size: int) -> bytes:
        """Deterministic noise of this chip."""
        return hashlib.shake_256(self._file.seed + label.encode()).digest(size)

    # --- power, reset, time --------------------------------------------------------------------------------------

    @property
    def _alive(self) -> bool:
        return self._powered and not self._in_reset and "no_contact" not in self.faults.lasting

    def _advance(self) -> None:
        now = time.monotonic()
        passed, self._seen = (now - self._seen) * CLK_PER_SECOND, now
        self._mux.tick(min(passed, TRANSITION_CLK if self.life_cycle.in_transition else MOST_CLK_PER_CALL))
        if not self._in_reset:
            self.life_cycle.advance()
            self._debug_module.advance()

    def _tdo(self, count: int, clock: Callable[[], int]) -> int:
        if not self._alive:
            return 0
        self._advance()
        shifted = clock() if self._alive else 0
        return (1 << count) - 1 if "stuck_tap" in self.faults.lasting else shifted

    def _power_down(self) -> None:
        self._powered = self._macro.powered = False
        self._enter_reset()

    def _enter_reset(self) -> None:
        self._in_reset = True
        self._stop_program()
        self._mux.select(None)

    def _stop_program(self) -> None:
        self.epoch += 1
        self._paused = False
        self.running = ""
        self.pins.update(dict.fromkeys(self.pins, False))
        self.spi_device.reset()
        self.uart.reset()
        self.changed.notify_all()

    def _leave_reset(self) -> None:
        self._in_reset = False
        self.otp.reset()
        self.flash.reset(self._flash_keys_in_use())
        self._flash_controller.reset()
        self.bus.reset()
        self._hart.reset()
        self._debug_module.reset()
        self.life_cycle.reset()
        for tap in self._taps.values():
            tap.reset()
        self.sampled_straps = tuple(self._inputs[f"sw_strap{n}"] for n in range(3))  # type: ignore[assignment]
        self._debug_module.enabled = self.life_cycle.functions.hw_debug
        self._route_tap(at_reset=True)
        self._run("ROM", boot.run)

    def _flash_keys_in_use(self) -> bool:
        default_config = ITEMS["FLASH_DATA_DEFAULT_CFG"] // 2
        return self.otp.locked("SECRET1") and bool(self._macro.read(default_config))

    def _route_tap(self, at_reset: bool) -> None:
        if not at_reset and not self.life_cycle.functions.dft:
            return
        wanted = TAP_OF_STRAPS.get((self._inputs["tap_strap0"], self._inputs["tap_strap1"]))
        if wanted == "rv" and not self.life_cycle.functions.hw_debug:
            wanted = None
        self._mux.select(wanted)

    def _life_cycle_changed(self) -> None:
        debug = self.life_cycle.functions.hw_debug
        self._debug_module.enabled = debug
        if not debug and self._mux.selected == "rv":
            self._mux.select(None)

    # --- processor -----------------------------------------------------------------------------------------------

    def _run(self, name: str, work: Callable[[Machine], None]) -> None:
        self.running = name
        machine = Machine(self, self.epoch)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=_until_stopped, args=(work, machine), name=f"virtual chip {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _debugger_reset(self, asserted: bool) -> None:
        self._stop_program()
        if not asserted:
            self.bus.sram_control.exec = 0x9
            self._flash_controller.reset()
            self._run("ROM", boot.run)

    def _hart_halted(self, hart: Hart) -> None:
        self._paused = True
        hart.pc = self._program_base + RUNNING_OFFSET

    def _hart_started(self, hart: Hart) -> bool:
        self.changed.notify_all()
        if hart.pc < ROM_END:
            return False
        if self._paused and hart.pc == self._program_base + RUNNING_OFFSET:
            self._paused = False
            return True
        start = sram_start.judge(self.bus, hart, self._library.at(hart.pc))
        self._stop_program()
        self._program_base = hart.pc
        self._follow(start)
        return start.verdict is not Verdict.UNKNOWN

    def _follow(self, start: Start) -> None:
        image = start.image
        if start.verdict is Verdict.RUN and image is not None:
            name = str(image.descriptor["program"])
            program = SRAM_PROGRAMS[name]
            self._run(name, lambda machine: program(machine, image.descriptor, start.sp_done))
        elif start.verdict is Verdict.BAD_CRC:
            self._run("SRAM start code", lambda machine: machine.stop_at_ebreak(sram_start.SP_BAD_CRC))
        else:
            self.running = "trap" if start.verdict is Verdict.TRAP else "unknown SRAM program"


def open_chip(folder: Path, images: Path) -> ChipPads:
    """The chip whose state is in ``folder`` (an empty one becomes a new RAW die); ``images`` has the known programs."""
    return EarlgreyChip(folder, images)


def _until_stopped(work: Callable[[Machine], None], machine: Machine) -> None:
    try:
        work(machine)
    except (FirmwareStopped, FirmwareError):  # a boot stage that cannot read its OTP words hangs
        return


def _state_named(name: str) -> LcState:
    try:
        return LcState[name]
    except KeyError:
        raise ValueError(f"no life cycle state is called {name!r}") from None


def _ignore(_: object) -> None:
    return None
