"""What a behavioural program sees of the chip; each operation takes the chip's lock and ends the program after a reset.

Timing: a fuse word takes `FUSE_SECONDS` of real time, so that a run goes on (and can be cut) while no station is there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from drivers.virtual.earlgrey.firmware.ujson import Incoming
from drivers.virtual.earlgrey.image_format import SLOT_B
from drivers.virtual.earlgrey.otp import DaiError, PowerLostInOtp
from drivers.virtual.earlgrey.partitions import ITEMS, PARTITIONS
from drivers.virtual.earlgrey.spi_device import ConsoleMode
from drivers.virtual.taps.bus import BusError

if TYPE_CHECKING:
    from drivers.virtual.earlgrey.chip import EarlgreyChip

T = TypeVar("T")
FUSE_SECONDS = 30e-6
MAX_PAYLOAD = 2020
WINDOW = 0x800
_MAGIC = 0xA5A5BEEF
_FINAL_CHUNK = 0x100


class FirmwareStopped(Exception):
    """The chip was reset, lost power or was closed: the program ends here."""


class FirmwareError(Exception):
    """A check of the program failed: TestError."""


class Machine:
    """One boot of one program; used from the program's own thread only."""

    def __init__(self, chip: EarlgreyChip, epoch: int) -> None:
        self._chip = chip
        self._epoch = epoch
        self._frames = 0
        self._incoming = Incoming(self._receive)
        self.name = chip.running

    # --- time and control ----------------------------------------------------------------------------------------

    def do(self, action: Callable[[], T]) -> T:
        """Carry out one action under the chip's lock, unless this boot is over."""
        with self._chip.lock:
            self.wait(lambda: True)
            return action()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait (lock held or not) until something holds; halted harts wait for their debugger."""
        chip = self._chip
        with chip.lock:
            chip.changed.wait_for(lambda: chip.epoch != self._epoch or (ready() and not chip.hart_halted))
            if chip.epoch != self._epoch:
                raise FirmwareStopped

    def pause(self, seconds: float) -> None:
        """Real time passes."""
        time.sleep(seconds)
        self.wait(lambda: True)

    def park(self) -> None:
        """Wait for an interrupt that never comes."""
        self.wait(lambda: False)

    def software_reset(self) -> None:
        """Reset the chip from inside; does not return."""
        self.do(self._chip.software_reset)
        raise FirmwareStopped

    def take_name(self, name: str) -> None:
        """From now on this boot runs another program."""
        self.name = name
        self.do(lambda: setattr(self._chip, "running", name))

    def stop_at_ebreak(self, sp: int) -> None:
        """End an SRAM program with its exit word in sp."""
        self.do(lambda: self._chip.stop_at_ebreak(sp))

    # --- pins and text -------------------------------------------------------------------------------------------

    def raise_pin(self, name: str) -> None:
        """Drive an indicator pin high."""
        self.do(lambda: self._chip.pins.__setitem__(name, True))

    def uart(self, text: str) -> None:
        """Send text on the UART."""
        self.do(lambda: self._chip.uart.send(text))

    def say(self, text: str) -> None:
        """Print on the SPI console, one or more frames; returns when the host has read them."""
        payload = text.encode("ascii")
        for start in range(0, len(payload), MAX_PAYLOAD):
            self._send_frame(payload[start : start + MAX_PAYLOAD])

    def hear(self) -> Any:
        """The next JSON value from the host."""
        return self._incoming.value()

    def hear_with_crc(self) -> Any:
        """The next JSON value, which must be followed by its CRC object; raises `FirmwareError`."""
        try:
            return self._incoming.value_with_crc()
        except ValueError as error:
            raise FirmwareError(str(error)) from error

    def _send_frame(self, payload: bytes) -> None:
        console = self.do(self._open_console)
        frame = b"".join(n.to_bytes(4, "little") for n in (_MAGIC, self._frames, len(payload)))
        frame += payload.ljust(-(-len(payload) // 4) * 4, b"\xff")
        self._frames += 1
        self.wait(lambda: "console_silence" not in self._chip.faults.lasting)
        self.do(lambda: console.offer(self._chip.spoil_frame(frame)))
        self.wait(lambda: console.edges >= 4)

    def _receive(self) -> str:
        console = self.do(self._open_console)
        text = bytearray()
        address = 0
        self.do(lambda: setattr(console, "rx_ready", True))
        while address != _FINAL_CHUNK:
            self.wait(lambda: console.upload is not None)
            self.pause(0.0002)
            address, chunk = self.do(console.take_upload) or (0, b"")
            text += chunk
        self.do(lambda: setattr(console, "rx_ready", False))
        self.pause(0.001)
        return text.decode("latin-1")

    def _open_console(self) -> ConsoleMode:
        chip = self._chip
        if not isinstance(chip.spi_device.mode, ConsoleMode):
            chip.spi_device.mode = ConsoleMode(chip.changed.notify_all)
        return chip.spi_device.mode

    # --- fuses ---------------------------------------------------------------------------------------------------

    def digest_computed(self, name: str) -> bool:
        """Whether the partition's digest register was not zero after the last reset."""
        return self.do(lambda: self._chip.otp.locked(name))

    def otp_read(self, address: int) -> int:
        """One granule over direct access."""
        return self._checked(lambda: self._chip.otp.read(address))

    def otp_write(self, address: int, value: int) -> None:
        """One granule over direct access, without looking first."""
        self._burn(self._checked(lambda: self._chip.otp.plan_write(address, value)))

    def otp_lock(self, name: str) -> None:
        """Compute and program the digest of a partition."""
        if PARTITIONS[name].kind == "software":
            digest = self.do(lambda: self._chip.otp.software_digest(name))
            self.otp_write(PARTITIONS[name].digest, digest)
        else:
            self._burn(self._checked(lambda: self._chip.otp.plan_digest(name)))

    def software_content(self, name: str) -> bytes:
        """Contents of a software partition without its digest."""
        return self.do(lambda: self._chip.otp.software_content(name))

    def software_digest_is_right(self, name: str) -> bool:
        """Read a software partition's digest through the memory window, where a torn word traps the processor."""
        try:
            low, high = (self.do(partial(self._chip.otp.read_register, WINDOW + PARTITIONS[name].digest + n))
                         for n in (0, 4))  # fmt: skip
        except BusError:
            self.park()  # the exception handler of the firmware raises no pin
            return False
        return low | high << 32 == self.do(lambda: self._chip.otp.software_digest(name))

    def device_id(self) -> bytes:
        """HW_CFG0 device id as sensed at the last reset."""
        words = self.do(lambda: self._chip.otp.device_words[0])
        return b"".join(word.to_bytes(4, "little") for word in words)

    def write_software_items(self, items: Iterable[tuple[int, int]]) -> None:
        """Write words like the firmware does: equal ones are skipped, others that are not blank are an error."""
        for address, value in items:
            seen = self.otp_read(address)
            if seen == value:
                continue
            if seen:
                raise FirmwareError(f"OTP word {address:#05x} holds {seen:#010x}, not {value:#010x}")
            self.otp_write(address, value)
            if self.otp_read(address) != value:
                raise FirmwareError(f"OTP word {address:#05x} does not read back")

    def _burn(self, plan: list[tuple[int, int]]) -> None:
        for index, data in plan:
            self._checked(partial(self._chip.otp.burn, index, data, self.name))
            time.sleep(FUSE_SECONDS)

    def _checked(self, action: Callable[[], T]) -> T:
        try:
            return self.do(action)
        except DaiError as error:
            raise FirmwareError(str(error)) from error
        except PowerLostInOtp:
            raise FirmwareStopped from None

    # --- flash and the rest --------------------------------------------------------------------------------------

    def info_page(self, page: tuple[int, int]) -> bytes:
        """An info page as it is now."""
        return self.do(lambda: self._chip.flash.read_info(page))

    def rewrite_info_page(self, page: tuple[int, int], content: bytes) -> None:
        """Erase an info page, then program it."""
        self.do(lambda: self._chip.flash.erase_info(page))
        self.pause(0.001)
        self.do(lambda: self._chip.flash.program_info(page, 0, content))

    def program_info(self, page: tuple[int, int], offset: int, content: bytes) -> None:
        """Program bytes of an info page without erasing it."""
        self.do(lambda: self._chip.flash.program_info(page, offset, content))

    def life_cycle_state(self) -> int:
        """Index of the life cycle state."""
        return self.do(lambda: self._chip.life_cycle.lc_state)

    def processor_enabled(self) -> bool:
        """Whether the life cycle lets the processor run."""
        return self.do(lambda: self._chip.life_cycle.functions.cpu)

    def software_straps(self) -> tuple[bool, bool, bool]:
        """SW_STRAP0, 1, 2 as sampled at reset."""
        return self.do(lambda: self._chip.sampled_straps)

    def start_bootstrap(self) -> None:
        """Let the SPI device answer as a flash."""
        self.do(self._chip.start_bootstrap)

    def data_flash(self, offset: int, size: int) -> bytes:
        """Contents of the data banks."""
        return self.do(lambda: self._chip.flash.read_data(offset, size))

    def slot_b_measurement(self) -> bytes:
        """What will be measured into CDI_0."""
        return hashlib.sha256(self.data_flash(SLOT_B, SLOT_B)).digest()

    def root_key(self) -> bytes:
        """What the key manager sees of the root key shares; raises `FirmwareError` while SECRET2 is open."""
        share = self.do(lambda: self._chip.otp.token("SECRET2", ITEMS["CREATOR_ROOT_KEY_SHARE0"]))
        if share is None:
            raise FirmwareError("the root keys are not locked")
        return share

    def report_progress(self, words: Iterable[int]) -> None:
        """Leave four words in the life cycle token registers, claimed and released from the processor side."""
        self.do(lambda: self._chip.report_progress(list(words)))

    def random(self, label: str, size: int) -> bytes:
        """Bytes of the chip's noise source; the same for a label on the same chip, so that a repeated run agrees."""
        return self.do(lambda: self._chip.noise(label, size))

    def take_fault(self, name: str) -> str | None:
        """A one-time fault meant for firmware."""
        return self.do(lambda: self._chip.faults.take(name))


def run_checked(machine: Machine, work: Callable[[], None]) -> bool:
    """Run the part of a program that may fail: TestError rises when it does; True when it went through."""
    try:
        if machine.take_fault("test_error") is not None:
            raise FirmwareError("fault test_error")
        work()
    except FirmwareError:
        machine.raise_pin("test_error")
        return False
    return True


def table(descriptor: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    """All (address, word) pairs of a descriptor's partition tables, in partition order."""
    return [(int(a), int(v)) for partition in descriptor[name].values() for a, v in partition]
