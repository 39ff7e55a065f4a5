"""The firmware's console over SPI: text lines, JSON messages, both directions.

Sources: opentitan-device sheet 2.1–2.4. The TX-ready pin announces a frame, the RX-ready pin that the firmware waits
for data, TestError that it failed: each wait looks at all three, so a firmware failure ends it at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from station.deadline import Deadline, Pace
from station.errors import FirmwareFailed, FormatError, PartError
from station.formats import spi_console as frames
from station.model import SpiFrame
from station.parts.earlgrey.pads import Pads
from station.ports import Spi
from station.secret import Secret

READ, READ_STATUS, WRITE_ENABLE, PAGE_PROGRAM = b"\x03", b"\x05", b"\x06", b"\x02"
WIP = 0x01
_T = TypeVar("_T")

LOG_LIMIT = 120
GARBAGE_LIMIT = 64
ANSWER = "RESP_"


class SpiConsole:
    """Host side of the OTTF SPI console with the ready pins."""

    def __init__(
        self, spi: Spi, pads: Pads, log: Callable[[str, str, str], None], pause: Callable[[float], None]
    ) -> None:
        self._spi = spi
        self._pads = pads
        self._log = log
        self._pause = pause
        self._text = ""
        self._line_start = ""
        self._frame = 0

    def reset(self) -> None:
        """Forget text and frame number: the firmware starts at frame 0 after every reset."""
        self._text = self._line_start = ""
        self._frame = 0

    def restarted(self) -> None:
        """The firmware restarts by itself after what it was just sent: its next frame is number 0 again."""
        self._frame = 0

    def expect(self, *texts: str, deadline: Deadline) -> str:
        """Read until one of the texts has come; returns it and drops everything up to its end."""
        wanted = " or ".join(repr(text) for text in texts)
        while True:
            for text in texts:
                _, found, after = self._text.partition(text)
                if found:
                    self._text = after
                    return text
            self._read_frame(deadline, f"the firmware to say {wanted}")

    def answer(self, parse: Callable[[str], _T], deadline: Deadline) -> _T:
        """The firmware's next ``RESP_…`` line, parsed; a malformed one or RESP_ERR raises ``PartError``."""
        return _parsed(parse, self.line_with(ANSWER, deadline))

    def held_answer(self, parse: Callable[[str], _T], deadline: Deadline, judge: Callable[[_T], None]) -> None:
        """Give the next answer to ``judge`` while the firmware still waits for its last frame to be fetched.

        The firmware counts chip-select windows, not bytes (ottf_console_spi.c: header, then body, then it goes on), so
        the first window reads the whole frame, and the second one comes after ``judge`` has returned. When it raises,
        the firmware waits until it is reset.
        """
        line = _line_in(self._text, ANSWER)
        if line is not None:  # it came in one frame with what was expected before it
            judge(_parsed(parse, line))
        while line is None:
            seen, body = self._look_ahead(deadline)
            line = _line_in(self._text + body.decode("ascii", errors="replace"), ANSWER)
            if line is not None:
                judge(_parsed(parse, line))
            self._fetch(seen)
            self._take(body)
        self.line_with(ANSWER, deadline)

    def line_with(self, marker: str, deadline: Deadline) -> str:
        """Read until a whole line that contains the marker has come; returns that line without its end."""
        while (line := _line_in(self._text, marker)) is None:
            self._read_frame(deadline, f"a line with {marker!r}")
        self._text = self._text.partition(line + "\n")[2]
        return line

    def send(self, payload: bytes, deadline: Deadline, what: str) -> None:
        """Send one message once the firmware waits for it; ``what`` names it in the log."""
        self._log(f"sent {what}  [{len(payload)} bytes]", "station", "info")
        self.send_more(payload, deadline)

    def send_more(self, payload: bytes, deadline: Deadline) -> None:
        """Send a further frame of a message that the log has named already."""
        for address, chunk in self._chunks(payload, deadline):
            self._spi.transact(_program(address, chunk))
            self._wait_taken(deadline)

    def send_secret(self, payload: Secret, deadline: Deadline) -> None:
        """Like ``send`` for a message that carries a secret: name and length are all that is logged."""
        self._log(f"sent {payload.label}  [{len(payload)} bytes, secret]", "station", "info")
        with payload.reveal() as raw:
            for address, chunk in self._chunks(raw, deadline):
                self._spi.transact_secret(_program(address, chunk))
                self._wait_taken(deadline)

    def waits_for_data(self) -> bool:
        """Whether the RX-ready pin says that the firmware waits for the host."""
        return bool(self._pads.sample().get("console_rx_ready"))

    def _chunks(self, payload: bytes, deadline: Deadline) -> list[tuple[int, bytes]]:
        self._pads.wait("console_rx_ready", deadline, "the firmware to take data")
        return frames.host_chunks(payload)

    def _wait_taken(self, deadline: Deadline) -> None:
        pace = Pace(self._pause)
        while self._spi.transact([SpiFrame(READ_STATUS, 1)])[0][0] & WIP:
            if self._pads.sample().get("test_error"):
                raise FirmwareFailed("the firmware raised TestError while it took data")
            if deadline.passed:
                raise PartError("expected the firmware to take a console frame, but it stays busy", "console")
            pace.rest()

    def _read_frame(self, deadline: Deadline, waited_for: str) -> None:
        with self._unless_failed(deadline, waited_for):
            seen = self._header(self._spi.transact([SpiFrame(READ + bytes(3), frames.HEADER)])[0])
            self._take(self._fetch(seen))

    def _look_ahead(self, deadline: Deadline) -> tuple[frames.Header, bytes]:
        """The next frame in its first window, which reads the whole buffer; the firmware still waits for the second."""
        with self._unless_failed(deadline, f"a line with {ANSWER!r}"):
            raw = self._spi.transact([SpiFrame(READ + bytes(3), frames.BUFFER)])[0]
            seen = self._header(raw[: frames.HEADER])
        return seen, raw[frames.HEADER : frames.HEADER + seen.length]

    @contextmanager
    def _unless_failed(self, deadline: Deadline, waited_for: str) -> Iterator[None]:
        """Once a frame is announced; when it cannot be read, a firmware that failed says so first."""
        self._pads.wait("console_tx_ready", deadline, waited_for)
        try:
            yield
        except PartError:
            self._pads.refuse_test_error(waited_for)  # a firmware that failed instead of restarting counts on
            raise

    def _header(self, raw: bytes) -> frames.Header:
        try:
            seen = frames.parse_header(raw)
        except FormatError as error:
            raise PartError(f"the console frame is garbled: {error}", "console") from error
        if seen.number != self._frame:
            raise PartError(
                f"expected console frame {self._frame}, got {seen.number}; the firmware restarted?", "console"
            )
        return seen

    def _fetch(self, seen: frames.Header) -> bytes:
        """The body of a frame in its second window, after which the firmware goes on."""
        body = self._spi.transact([SpiFrame(READ + frames.HEADER.to_bytes(3, "big"), seen.body_length)])[0]
        self._frame += 1
        return body[: seen.length]

    def _take(self, body: bytes) -> None:
        text = body.decode("ascii", errors="replace")
        if text.count("\ufffd") > GARBAGE_LIMIT:
            raise PartError("the console sends garbage; check the SPI wiring and clock", "console")
        self._text += text
        for piece in filter(None, re.split(r"(?<=\n)", text)):
            self._show(piece)

    def _show(self, piece: str) -> None:
        """Log a line or a piece of one; of an answer, however it was cut into frames, the length alone."""
        self._line_start = (self._line_start + piece)[: len(ANSWER)]
        if self._line_start == ANSWER or len(piece) > LOG_LIMIT:  # blobs carry device seeds: their length says enough
            self._log(f"[{len(piece)} characters]", "dut", "debug")
        elif piece.strip():
            self._log(piece.rstrip(), "dut", "info")
        if piece.endswith("\n"):
            self._line_start = ""


def _line_in(text: str, marker: str) -> str | None:
    """The first whole line from the marker on, without its end; None while there is none."""
    start = text.find(marker)
    end = text.find("\n", start) if start >= 0 else -1
    return text[start:end] if end >= 0 else None


def _parsed(parse: Callable[[str], _T], line: str) -> _T:
    try:
        return parse(line + "\n")
    except FormatError as error:
        raise PartError(f"the firmware's answer cannot be used: {error}", "console") from error


def _program(address: int, chunk: bytes) -> list[SpiFrame]:
    return [SpiFrame(WRITE_ENABLE), SpiFrame(PAGE_PROGRAM + address.to_bytes(3, "big") + chunk)]
