"""A pyusb backend whose devices are the adapters of the virtual bench; pyftdi loads it through ``UsbTools.BACKENDS``.

Every transfer is one round trip to the bench process; an unplugged adapter or a dead bench is a ``USBError``.
"""

from __future__ import annotations

import errno
import json
import os
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from usb.backend import IBackend
from usb.core import USBError, USBTimeoutError

from drivers.virtual import link
from drivers.virtual.ft4232h import PACKET, PRODUCT, VENDOR, VERSION
from drivers.virtual.whereabouts import sleeping

MODULE = __name__


def get_backend() -> Backend | None:
    """The backend for the bench named by ``STATION_VIRTUAL_BENCH``; None when there is none."""
    place = os.environ.get(link.ENVIRONMENT, "")
    if not place:
        return None
    try:
        body = Path(place).read_text()
        known = _backends.get(place)
        if known is None or known[0] != body:
            if known is not None:  # another bench process has taken its place
                known[1].link.close()
            known = _backends[place] = (body, Backend(link.BenchLink.from_file(Path(place))))
        return known[1]
    except (OSError, link.LinkError):
        return None


def diagnose(serial: str) -> str:
    """One sentence when the bench does not run; ``BenchError`` when the station file names none."""
    return sleeping()


def forget_backends() -> None:
    """Close the links of this process; their claims are given back."""
    while _backends:
        _backends.popitem()[1][1].link.close()


# pyftdi asks for the backend again and again and compares devices by it: as with libusb there is one per process
_backends: dict[str, tuple[str, Backend]] = {}


class Backend(IBackend):  # type: ignore[misc]  # pyusb has no types
    """Everything pyusb asks of an operating system's USB stack."""

    def __init__(self, bench: link.BenchLink) -> None:
        self.link = bench

    def _call(self, request: bytes) -> bytes:
        try:
            return self.link.call(request)
        except link.LinkError as error:
            kind = USBTimeoutError if error.errno == errno.ETIMEDOUT else USBError
            raise kind(error.strerror, None, error.errno) from None

    # ---- descriptors ----------------------------------------------------------------------------------------------

    def enumerate_devices(self) -> Any:
        """The plugged adapters."""
        try:
            entries = json.loads(self._call(bytes((link.LIST,))))
        except USBError:
            return iter(())
        return iter([SimpleNamespace(**entry) for entry in entries])

    def get_parent(self, dev: Any) -> None:
        """Adapters hang on the root."""
        return

    def get_device_descriptor(self, dev: Any) -> Any:
        """FT4232H: 0403:6011, bcdDevice 0x0800."""
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x0200, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=VENDOR, idProduct=PRODUCT, bcdDevice=VERSION, iManufacturer=1, iProduct=2,
            iSerialNumber=3, bNumConfigurations=1, address=dev.address, bus=dev.bus, port_number=dev.ports[-1],
            port_numbers=tuple(dev.ports), speed=3,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        """The only configuration; IndexError beyond, as pyusb expects."""
        if config:
            raise IndexError(f"there is no configuration {config}")
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=9 + 4 * (9 + 14), bNumInterfaces=4, bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0x80, bMaxPower=250, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        """Four vendor-class interfaces with one setting each."""
        if intf > 3 or alt or config:
            raise IndexError(f"there is no interface {intf} setting {alt}")
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=intf, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=0xFF, bInterfaceSubClass=0xFF, bInterfaceProtocol=0xFF, iInterface=2, extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        """Bulk IN 0x81, 0x83, 0x85, 0x87 and bulk OUT 0x02, 0x04, 0x06, 0x08."""
        if ep > 1:
            raise IndexError(f"there is no endpoint {ep}")
        address = (0x81 if ep == 0 else 0x02) + 2 * intf
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=address, bmAttributes=2, wMaxPacketSize=PACKET,
            bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    # ---- the handle -----------------------------------------------------------------------------------------------

    def open_device(self, dev: Any) -> Any:
        """A handle; the operating system has nothing to do."""
        return dev

    def close_device(self, dev_handle: Any) -> None:
        """Nothing to do: claims were given back before."""

    def get_configuration(self, dev_handle: Any) -> int:
        """Always configured by the operating system."""
        return 1

    def set_configuration(self, dev_handle: Any, config_value: int) -> None:
        """SET_CONFIGURATION; resets the adapter unless something is claimed."""
        self._call(link.DEVICE.pack(link.CONFIGURE, dev_handle.address))

    def set_interface_altsetting(self, dev_handle: Any, intf: int, altsetting: int) -> None:
        """There is one setting only."""

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        """Exclusive use of one interface, EBUSY when another program has it."""
        self._call(link.INTERFACE.pack(link.CLAIM, dev_handle.address, intf))

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        """Give an interface back."""
        self._call(link.INTERFACE.pack(link.RELEASE, dev_handle.address, intf))

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        """Endpoints never halt here."""

    def reset_device(self, dev_handle: Any) -> None:
        """A port reset is a new configuration."""
        self.set_configuration(dev_handle, 1)

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        """No kernel driver binds a virtual adapter."""
        return False

    # ---- transfers ------------------------------------------------------------------------------------------------

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: Any, timeout: int) -> int:
        """One bulk OUT transfer."""
        head = link.BULK_OUT.pack(link.OUT, dev_handle.address, ep, timeout)
        return link.LENGTH.unpack(self._call(head + bytes(data)))[0]  # type: ignore[no-any-return]

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        """One bulk IN transfer into the buffer; returns its length."""
        data = self._call(link.BULK_IN.pack(link.IN, dev_handle.address, ep, len(buff), timeout))
        buff[: len(data)] = array("B", data)
        return len(data)

    def ctrl_transfer(
        self, dev_handle: Any, request_type: int, request: int, value: int, index: int, data: Any, timeout: int
    ) -> int:
        """One control transfer; an IN request fills the buffer."""
        head = link.SETUP.pack(link.VENDOR, dev_handle.address, request_type, request, value, index, len(data))
        answer = self._call(head)
        if request_type & 0x80:
            data[: len(answer)] = array("B", answer)
            return len(answer)
        return len(data)
