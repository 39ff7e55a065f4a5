"""One physical socket: opens its driver, checks the ports, watches presence, closes without letting go of the part."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from station import plugins
from station.config import SocketEntry
from station.errors import BenchError, ConfigError
from station.model import Contact
from station.ports import MadeFor, OpenDriver, OpenSocket, Presence

ABSENT = Contact(present=False, lid_closed=False, power_good=False)
ALWAYS_THERE = Contact(present=True, lid_closed=True, power_good=True)


def misplaced(entry: SocketEntry, chips: Collection[str]) -> str:
    """Why no part of these chips belongs into such a socket; empty when one does, or when the driver does not say."""
    ask: MadeFor | None = plugins.beside("station.drivers", entry.driver, "made_for")
    chip = ask(entry.settings) if ask is not None else ""
    if not chip or not chips or chip in chips:
        return ""
    board = entry.settings.get("board", "")
    wanted = " or ".join(sorted(chips))
    return (
        f"its board '{board}' is for {chip}, expected one for {wanted}, as the recipe or its pack says; "
        "name the right board in the station file, or use another socket"
    )


class PhysicalSocket:
    """The adapter of one socket, opened on first use and again after it was lost."""

    def __init__(self, number: int, entry: SocketEntry) -> None:
        self.number = number
        self.entry = entry
        self.identity = ""
        self._open: OpenSocket | None = None
        self._guard = threading.Lock()

    @property
    def is_open(self) -> bool:
        """True while the adapter is held."""
        return self._open is not None

    def open(self) -> Mapping[str, object]:
        """The socket's ports; raises ``BenchError`` or ``ConfigError`` in one sentence."""
        with self._guard:
            if self._open is None:
                driver: OpenDriver = plugins.load("station.drivers", self.entry.driver)
                try:
                    self._open = driver(self.entry.settings, self.number)
                except OSError as error:
                    raise BenchError(f"socket {self.number}: expected to open its adapter, but: {error}") from None
                self.identity = self._open.identity
            return self._open.ports

    def contact(self) -> Contact:
        """What the sensors say; a bench without sensors always has a part."""
        presence = self.open().get("presence")
        if presence is None:
            return ALWAYS_THERE
        if not isinstance(presence, Presence):
            raise ConfigError(f"socket {self.number}: the driver '{self.entry.driver}' has no usable presence port")
        return presence.contact()

    def close(self) -> None:
        """Release the adapter with its outputs frozen, so that the part runs on."""
        with self._guard:
            opened, self._open = self._open, None
        if opened is not None:
            try:
                opened.close(freeze=True)
            except BenchError:
                pass  # it was lost; there is nothing left to release
