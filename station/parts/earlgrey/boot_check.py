"""What the boot stages say on the UART, and what that proves.

Source: opentitan-device sheet 1.3 (steps 20, 21), 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from station.deadline import Deadline
from station.errors import PartError
from station.ports import Console

ROM_EXT = re.compile(r"(?:^|\n| )ROM_EXT[: ](\S*)\r?\n")
BAD_UDS = "UDS certificate not valid"
BOOT_FAULT = re.compile(r"BFV:([0-9a-fA-F]{8})")


@dataclass(frozen=True, slots=True)
class BootText:
    """What one boot said: ROM_EXT version or empty, boot fault value or empty, all text."""

    rom_ext: str
    fault: str
    text: str


class BootWatcher:
    """Collects UART text after a reset."""

    def __init__(self, uart: Console, log: Callable[[str, str, str], None]) -> None:
        self._uart = uart
        self._log = log
        self._seen = ""

    def clear(self) -> None:
        """Forget earlier text; call it while the part is in reset."""
        self._uart.clear()
        self._seen = ""

    def until(self, done: Callable[[str], bool], deadline: Deadline) -> str:
        """Collect text until ``done`` says enough, or the deadline passes; returns what there is."""
        text = ""
        while not deadline.passed and not done(text):
            text += self._uart.read(deadline).decode("ascii", errors="replace")
        for line in filter(str.strip, text.splitlines()):
            self._log(line, "dut", "info")
        return text

    def poll(self) -> BootText:
        """What has been said since the last clear, without waiting for more."""
        self._seen += self._uart.read(Deadline(0)).decode("ascii", errors="replace")
        rom_ext, fault = ROM_EXT.search(self._seen), BOOT_FAULT.search(self._seen)
        return BootText(rom_ext[1] if rom_ext else "", fault[1] if fault else "", self._seen)

    def check_transport(self, boot_message: str, deadline: Deadline) -> str:
        """ROM_EXT and, if given, the owner's message (regular expression) must come; returns the ROM_EXT version."""
        wanted = re.compile(boot_message) if boot_message else None
        text = self.until(lambda seen: bool(_verdict(seen, wanted)), deadline)
        problem = _problem(text)
        if problem:
            raise PartError(problem, "boot")
        rom_ext = ROM_EXT.search(text)
        if not rom_ext:
            raise PartError("expected ROM_EXT to start after the last reset, but the UART stayed silent", "boot")
        if wanted and not wanted.search(text):
            raise PartError(f"expected the owner firmware to say {boot_message!r}, but it did not", "boot")
        return rom_ext[1]


def _verdict(text: str, wanted: re.Pattern[str] | None) -> bool:
    return bool(_problem(text) or (wanted and wanted.search(text)))


def _problem(text: str) -> str:
    if BAD_UDS in text:
        return "ROM_EXT says that the stored UDS certificate is not valid"
    fault = BOOT_FAULT.search(text)
    return f"the ROM reported boot fault {fault[1]}" if fault else ""
