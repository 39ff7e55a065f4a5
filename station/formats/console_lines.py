"""A serial console as lines: assembled from whatever chunks arrive, without colours, with a judgement of the whole.

Source: nordic-tfm sheet 1.3 (prefixes and colours of Zephyr's log), 1.8 (a kit gives nothing before DTR, garbage at the
wrong baud rate).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]")
_PREFIX = re.compile(r"^\[[0-9:.,]+\] <(?P<level>err|wrn|inf|dbg)> (?P<module>[\w.]+): ")
LONGEST_LINE = 4096
ENOUGH_TO_JUDGE = 16
GARBAGE_SHARE = 0.25
_TEXT = b"\t\r\n\x1b" + bytes(range(0x20, 0x7F))


class Heard(StrEnum):
    """What kind of thing came out of a console."""

    NOTHING = "nothing"
    GARBAGE = "garbage"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without colours: ``text`` as it was, ``level`` and ``module`` of a Zephyr log line (else empty)."""

    text: str
    level: str = ""
    module: str = ""

    @property
    def message(self) -> str:
        """The line without the log's prefix."""
        return _PREFIX.sub("", self.text, count=1)


def line(text: str) -> Line:
    """Read one line (colours may be in it)."""
    plain = _ANSI.sub("", text)
    prefix = _PREFIX.match(plain)
    return Line(plain, prefix["level"], prefix["module"]) if prefix else Line(plain)


@dataclass(slots=True)
class LineAssembler:
    """Bytes in, whole lines out. CR LF, LF CR and LF end a line; what never ends is cut after ``LONGEST_LINE``."""

    _rest: bytes = b""
    _heard: int = 0
    _strange: int = 0
    _spoken: bool = False
    _lines: list[Line] = field(default_factory=list)

    def feed(self, data: bytes) -> list[Line]:
        """Take a chunk; gives the lines that it completes."""
        self._heard += len(data)
        self._strange += len(data.translate(None, _TEXT))
        *whole, rest = (self._rest + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            whole.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        self._spoken = self._spoken or any(raw.strip() and not raw.translate(None, _TEXT) for raw in whole)
        found = [line(raw.decode("ascii", errors="replace").strip("\r")) for raw in whole]
        self._lines += found
        return found

    def whole(self, start: int = 0) -> list[Line]:
        """The lines that have ended, from that number on."""
        return self._lines[start:]

    @property
    def unfinished(self) -> tuple[Line, ...]:
        """The last line as long as it has no end; empty when there is none."""
        rest = self._rest.decode("ascii", errors="replace").strip("\r")
        return (line(rest),) if rest else ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines so far, with an unfinished last one."""
        return (*self._lines, *self.unfinished)

    @property
    def heard(self) -> Heard:
        """Nothing, mostly bytes that no console sends (a wrong baud rate, a loose wire), or text.

        A few strange bytes alone are nothing: a line that is switched on gives such.
        """
        if self._strange <= GARBAGE_SHARE * self._heard:
            return Heard.TEXT if self._heard else Heard.NOTHING
        return Heard.GARBAGE if self._heard >= ENOUGH_TO_JUDGE else Heard.NOTHING

    @property
    def has_spoken(self) -> bool:
        """Whether a whole line of text has come without a strange byte in it: somebody is there, and is understood."""
        return self._spoken

    @property
    def transcript(self) -> str:
        """Everything said so far, for the record."""
        return "\n".join(one.text for one in self.lines)
