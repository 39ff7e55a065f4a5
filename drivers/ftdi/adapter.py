"""One FT4232H: opening its channels without touching what their pins do, and what its errors mean.

Facts of pyftdi that this module works around (pyftdi 0.57): opening a channel resets its mode, which lets go of every
pin; it does so before it finds out that another program holds the channel; and closing a lost device raises.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import usb.util
from pyftdi.ftdi import Ftdi, FtdiError
from pyftdi.usbtools import UsbTools, UsbToolsError
from usb.core import USBError

from station.errors import AdapterLost, BenchError, ConfigError

READ_CHUNK = 16 << 10
WRITE_CHUNK = 64 << 10
TIMEOUT_MS = 5000
LATENCY_MS = 1
NOT_OPEN = "the adapter {} was closed"


class PoliteFtdi(Ftdi):  # type: ignore[misc]  # pyftdi has no types
    """An ``Ftdi`` whose opening keeps mode and levels of the pins, and that never logs what it carries."""

    def __init__(self) -> None:
        self._opening = False
        self._usb_dev: Any = None
        super().__init__()

    def open_from_device(self, device: Any, interface: int = 1) -> None:
        """Claim first (EBUSY shows before anything was touched), then open with the mode left as it is."""
        _claim(device, interface - 1)
        self._opening = True
        try:
            super().open_from_device(device, interface)
        finally:
            self._opening = False
        self._debug_log = False  # transfers carry tokens and seeds
        self.timeouts = (TIMEOUT_MS, TIMEOUT_MS)
        self.read_data_set_chunksize(READ_CHUNK)
        self.write_data_set_chunksize(WRITE_CHUNK)
        self.set_latency_timer(LATENCY_MS)

    def set_bitmode(self, bitmask: int, mode: Any) -> None:
        """As in ``Ftdi``, but opening a channel does not switch its mode off."""
        if not self._opening:
            super().set_bitmode(bitmask, mode)

    def _reset_device(self) -> None:
        if not self._opening:
            super()._reset_device()

    def resumed_in(self, mode: Any) -> None:
        """Say in which mode the channel was found, when it was left in one."""
        self._bitmode = mode

    def close(self, freeze: bool = False) -> None:
        """As in ``Ftdi``; a lost device is let go of, too."""
        device = self._usb_dev
        try:
            super().close(freeze)
        except (USBError, FtdiError):
            self._usb_dev = None
            UsbTools.release_device(device)


def _claim(device: Any, interface: int) -> None:
    try:
        if device.is_kernel_driver_active(interface):
            device.detach_kernel_driver(interface)
    except NotImplementedError:
        pass
    usb.util.claim_interface(device, interface)


class Adapter:
    """The adapter with one serial number; opens its channels."""

    def __init__(self, serial: str, backend: str = "") -> None:
        self.serial = serial
        _use_backend(backend)
        with self.errors():
            UsbTools.flush_cache()
            self._device = self._find()
        self._open: list[PoliteFtdi] = []

    @property
    def identity(self) -> str:
        """Serial number and place on the bus, for the journal."""
        ports = ".".join(str(port) for port in self._device.port_numbers or ()) or "?"
        return f"FT4232H {self.serial} at USB {self._device.bus}-{ports} address {self._device.address}"

    def open_channel(self, bank: str) -> PoliteFtdi:
        """Open bank A to D exclusively; its pins keep what they do."""
        return self._opened(PoliteFtdi(), bank)

    def watch_channel(self, bank: str) -> PoliteFtdi:
        """Open a bank for its status requests only, without claiming it: its data may belong to another object."""
        return self._opened(_StatusOnly(), bank)

    def _opened(self, ftdi: PoliteFtdi, bank: str) -> PoliteFtdi:
        with self.errors(bank):
            device = self._find()
            try:
                ftdi.open_from_device(device, "ABCD".index(bank) + 1)
            except BaseException:  # an interrupt must not leave the device counted as open
                UsbTools.release_device(device)
                raise
        self._open.append(ftdi)
        return ftdi

    def close(self, freeze: bool = True) -> None:
        """Close all channels; with ``freeze`` outputs keep mode and levels."""
        while self._open:
            self._open.pop().close(freeze)
        UsbTools.release_device(self._device)

    def _find(self) -> Any:
        return Ftdi.get_device(f"ftdi://ftdi:4232h:{self.serial}/1")

    @contextmanager
    def errors(self, bank: str = "") -> Iterator[None]:
        """Translate USB errors into sentences."""
        try:
            yield
        except (UsbToolsError, ValueError) as error:
            raise BenchError(_missing(self.serial, error)) from None
        except OSError as error:  # FtdiError and USBError among them
            raise self._translated(error, bank) from None

    def _translated(self, error: OSError, bank: str) -> BenchError:
        place = f"channel {bank} of adapter {self.serial}" if bank else f"adapter {self.serial}"
        text = str(error)
        if error.errno == errno.EBUSY or "Errno 16" in text:
            return BenchError(
                f"{place} is held by another program; close it (or an engine still running) and try again"
            )
        if error.errno == errno.EACCES or "Errno 13" in text:
            return BenchError(f"{place} may not be opened by this user; install the udev rule of the documentation")
        if error.errno == errno.ETIMEDOUT or "Errno 110" in text:
            return AdapterLost(f"{place} took no more data within {TIMEOUT_MS / 1000:g} s; re-plug it and try again")
        return AdapterLost(f"{place} is gone ({text}); check its USB cable")


class _StatusOnly(PoliteFtdi):
    """Control requests need no claim; nothing is purged, set or claimed here."""

    def open_from_device(self, device: Any, interface: int = 1) -> None:
        self._usb_dev = device
        self._index = interface
        self.timeouts = (TIMEOUT_MS, TIMEOUT_MS)

    def close(self, freeze: bool = False) -> None:
        device, self._usb_dev = self._usb_dev, None
        if device is not None:
            UsbTools.release_device(device)


def _missing(serial: str, error: Exception) -> str:
    if "No backend" in str(error):
        if not any("libusb" in name for name in UsbTools.BACKENDS):
            return "the virtual bench is not running; start it with `station gui`, `station demo` or `station simulate`"
        return "no USB access: expected libusb-1.0, but it is not installed"
    return f"no FT4232H with serial number {serial} is plugged in; check its USB cable and the station file"


def _use_backend(module: str) -> None:
    """Use a pyusb backend module by name; an engine is all-virtual or all-real, so a change needs everything closed."""
    wanted = (module,) if module else ("usb.backend.libusb1", "usb.backend.libusb0")
    with UsbTools.Lock:
        if wanted == UsbTools.BACKENDS:
            return
        if UsbTools.Devices:
            raise ConfigError(
                f"adapters of {UsbTools.BACKENDS[0]} are open; one engine cannot mix them with {wanted[0]}"
            )
        UsbTools.BACKENDS = wanted
        UsbTools.flush_cache()
