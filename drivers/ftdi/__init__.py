"""The FT4232H driver: JTAG on bank A, SPI on B, UART on C, pins on what is left."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from drivers.ftdi.adapter import Adapter
from drivers.ftdi.board import BUS_PINS, Board, load_board
from drivers.ftdi.jtag import FtdiJtag
from drivers.ftdi.mpsse import MpsseChannel
from drivers.ftdi.pins import Bank, BitBangBank, FtdiPins, FtdiPresence, ModemBank
from drivers.ftdi.spi import CHIP_SELECT, FtdiSpi
from station.errors import ConfigError, refuse_unknown

DEFAULT_BOARD = "earlgrey-ft4232h"
DEFAULT_CONSOLE = "drivers.serial_console"
KNOWN = ("serial", "board", "usb_backend", "console")
BUS_OUTPUTS = {"jtag": 0b1011, "spi": 0b1011}
BUS_IDLE = {"jtag": 0b0000, "spi": CHIP_SELECT}


class FtdiSocket:
    """The open ports of one socket."""

    def __init__(self, adapter: Adapter, board: Board, console_driver: str) -> None:
        self.identity = adapter.identity
        self.board = board
        self._adapter = adapter
        self._banks = _open_banks(adapter, board)
        # last: a held or missing adapter shows before the UART is touched
        console = self._console = _open_console(console_driver, board, adapter.serial)
        self.pins = FtdiPins(board, self._banks)
        self.ports: Mapping[str, object] = {
            **self._buses(),
            "pins": self.pins,
            "presence": FtdiPresence(self.pins),
            **({"console": console} if console is not None else {}),
        }

    def _buses(self) -> dict[str, object]:
        makers: dict[str, Callable[[MpsseChannel], object]] = {"jtag": FtdiJtag, "spi": FtdiSpi}
        buses: dict[str, object] = {}
        for name, make in makers.items():
            bank = self._banks.get(self.board.buses.get(name, ""))
            if isinstance(bank, MpsseChannel):
                buses[name] = make(bank)
        return buses

    def close(self, freeze: bool = True) -> None:
        """Release the adapter; with ``freeze`` its outputs keep their levels so that the part runs on."""
        if self._console is not None:
            self._console.close()
        self._adapter.close(freeze)


def open_socket(settings: Mapping[str, object], socket: int) -> FtdiSocket:
    """Open one adapter.

    Settings: ``serial`` (the adapter's serial number), ``board``
    (name in resources/boards or path), ``usb_backend`` (a pyusb backend module; empty for libusb) and ``console`` (the
    module that opens the console's URL, empty for none: drivers do not know one another, the configuration does).
    """
    serial, board = _checked(settings, f"socket {socket}: ")
    adapter = Adapter(serial, str(settings.get("usb_backend", "")))
    try:
        return FtdiSocket(adapter, board, str(settings.get("console", DEFAULT_CONSOLE)))
    except BaseException:  # an interrupt must not leave channels claimed
        adapter.close(freeze=True)
        raise


def diagnose(settings: Mapping[str, object]) -> str:
    """What the USB backend knows to be missing (see ``station.ports.Diagnose``)."""
    serial, _ = _checked(settings)
    backend = str(settings.get("usb_backend", ""))
    ask = getattr(importlib.import_module(backend), "diagnose", None) if backend else None
    return str(ask(serial)) if ask is not None else ""


def _checked(settings: Mapping[str, object], place: str = "") -> tuple[str, Board]:
    """Serial number and board; ``ConfigError`` when a setting is unknown, missing or names nothing."""
    refuse_unknown(settings, KNOWN, "ft4232h", place)
    serial = str(settings.get("serial", ""))
    if not serial:
        raise ConfigError(f"{place}the station file names no adapter serial number ('serial')")
    return serial, load_board(str(settings.get("board", DEFAULT_BOARD)))


def _open_console(module: str, board: Board, serial: str) -> Any:
    if not module or "uart" not in board.buses:
        return None
    port = "ABCD".index(board.buses["uart"]) + 1
    url = f"ftdi://ftdi:4232h:{serial}/{port}"
    return importlib.import_module(module).open_console({"url": url, "baud": board.console_baud})


def _open_banks(adapter: Adapter, board: Board) -> dict[str, Bank]:
    banks: dict[str, Bank] = {}
    for bus, hertz in (("jtag", board.jtag_hz), ("spi", board.spi_hz)):
        bank = board.buses.get(bus)
        if bank is not None:
            outputs = board.direction(bank) | BUS_OUTPUTS[bus]
            idle = board.pulled(bank) | BUS_IDLE[bus]
            banks[bank] = MpsseChannel(adapter, bank, hertz, outputs, idle, (1 << len(BUS_PINS[bus])) - 1)
    for bank in sorted({signal.bank for signal in board.signals.values()} - set(banks)):
        if bank == board.buses.get("uart"):
            banks[bank] = ModemBank(adapter, bank)
        else:
            banks[bank] = BitBangBank(adapter, bank, board.direction(bank), board.pulled(bank))
    return banks
