"""``ports.Console`` on any pyserial URL, FTDI channels among them; a reader thread keeps what the part says.

Facts: RTS and DTR of a pseudo terminal raise OSError 25, so control lines are an optional capability; an unplugged port
shows as a read that is ready but empty; ``ftdi://`` URLs come from ``pyftdi.serialext`` and claim at their first
transfer.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping
from typing import Any

import serial

from station.deadline import Deadline
from station.errors import AdapterLost, BenchError

READ_TIMEOUT = 0.1
WRITE_TIMEOUT = 5.0
KEPT = 1 << 20
FTDI_READ = 4096
JOIN_SECONDS = 5.0
LINE_ERRORS = (errno.ENOTTY, errno.EINVAL)


class SerialConsole:
    """One open port; the part is never held up by a slow reader here: beyond 1 MiB the oldest bytes are dropped."""

    def __init__(self, url: str, baud: int, lines: Mapping[str, bool] | None = None) -> None:
        """``lines`` sets ``rts`` and ``dtr`` after opening, where the port has them."""
        self.url = url
        self.dropped = 0
        self._port = _open_port(url, baud)
        self.has_control_lines = self._set_lines(lines or {})
        self._received = bytearray()
        self._lost: BenchError | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._run, name=f"console {url}", daemon=True)
        self._reader.start()

    def read(self, deadline: Deadline) -> bytes:
        """At least one byte, or ``b''`` when the deadline passes; raises ``AdapterLost`` once the port is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._received or self._lost, timeout=deadline.left)
            if self._received:
                data = bytes(self._received)
                self._received.clear()
                return data
            if self._lost is not None:
                raise self._lost
            return b""

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        if self._lost is not None:
            raise self._lost
        view = memoryview(data)
        try:
            while view:
                sent = self._port.write(bytes(view))
                view = view[sent if sent is not None else len(view) :]
        except (serial.SerialException, OSError) as error:
            raise _translated(self.url, error) from None

    def clear(self) -> None:
        """Forget what was received so far."""
        with self._changed:
            self._received.clear()

    def close(self) -> None:
        """Stop the reader and close the port; may be called twice."""
        self._closing.set()
        self._reader.join(JOIN_SECONDS)
        try:
            self._port.close()
        except (serial.SerialException, OSError):
            pass  # the port is gone already

    def _set_lines(self, lines: Mapping[str, bool]) -> bool:
        try:
            for name, level in lines.items():
                setattr(self._port, name, level)
            if not lines:
                _ = self._port.cts
        except OSError as error:
            if error.errno not in LINE_ERRORS:
                self._port.close()
                raise _translated(self.url, error) from None
            return False
        return True

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._take(_read_some(self._port))
        except (serial.SerialException, OSError, TypeError) as error:
            # pyserial's posix port raises TypeError when it is closed under a read
            if not self._closing.is_set():
                with self._changed:
                    self._lost = _translated(self.url, error)
                    self._changed.notify_all()

    def _take(self, data: bytes) -> None:
        if not data:
            return
        with self._changed:
            self._received += data
            too_many = len(self._received) - KEPT
            if too_many > 0:
                del self._received[:too_many]
                self.dropped += too_many
            self._changed.notify_all()


def open_console(settings: Mapping[str, Any]) -> SerialConsole:
    """Open the console at ``settings["url"]`` with ``baud`` (115200) and, where wanted, ``lines``."""
    return SerialConsole(str(settings["url"]), int(settings.get("baud", 115_200)), settings.get("lines"))


def _open_port(url: str, baud: int) -> Any:
    if url.startswith("ftdi://"):
        import pyftdi.serialext  # noqa: F401  # registers the URL scheme with pyserial
    try:
        port = serial.serial_for_url(url, do_not_open=True)
        port.baudrate = baud
        port.timeout = READ_TIMEOUT
        if not url.startswith("rfc2217:"):  # whose ports know no time-out of a write
            port.write_timeout = WRITE_TIMEOUT
        if hasattr(port, "exclusive"):
            port.exclusive = True
        port.open()
        if hasattr(port, "ftdi"):
            port.ftdi._debug_log = False  # what the part says may be secret
            port.ftdi.read_data_bytes(1)  # claims the channel, so that a held one shows now
            port.ftdi.purge_buffers()
    except (serial.SerialException, OSError, ValueError) as error:
        raise _translated(url, error) from None
    return port


def _read_some(port: Any) -> bytes:
    if hasattr(port, "ftdi"):
        return bytes(port.read(FTDI_READ))
    first: bytes = port.read(1)
    return first + port.read(port.in_waiting) if first else first


def _translated(url: str, error: BaseException) -> BenchError:
    text = str(error)
    if getattr(error, "errno", None) == errno.EBUSY or "Errno 16" in text or "exclusively lock" in text:
        return BenchError(f"the console port {url} is held by another program; close it and try again")
    if getattr(error, "errno", None) == errno.EACCES or "Permission denied" in text:
        return BenchError(f"the console port {url} may not be opened by this user; add the user to the group dialout")
    if getattr(error, "errno", None) == errno.ENOENT or "No such file" in text:
        return BenchError(f"there is no console port {url}; check its cable and the station file")
    return AdapterLost(f"the console port {url} is gone ({text}); check its cable")
