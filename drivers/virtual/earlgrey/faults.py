"""The faults a virtual chip can be given: one table of names, and what is armed at the moment."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

FAULTS: dict[str, str] = {
    "no_contact": "All pads are dead, as with a part that does not touch the socket, until cleared and reset.",
    "stuck_tap": "TDO is stuck at 1, until cleared.",
    "wrong_state": "The part is in the life cycle state named by the argument (default DEV), for good.",
    "transition_failure": "The OTP refuses the state word of the next life cycle transition; the attempt is used up.",
    "console_silence": "The firmware never announces a console frame, until cleared.",
    "console_garbage": "Console frames carry noise instead of magic, number and text, until cleared.",
    "test_error": "The next program raises TestError and stops before its first burn.",
    "corrupt_blob": "The next exported certificate blob has one flipped byte: argument 'body' (default) or 'header'.",
    "torn_word": "The N-th fuse write from now (argument, default 1) programs only some of its bits; power stays on.",
    "power_cut:before": "Power fails just before the N-th fuse write from now (argument, default 1).",
    "power_cut:inside": "Power fails inside the N-th fuse write from now: the word is torn.",
    "power_cut:after": "Power fails just after the N-th fuse write from now.",
    "clear": "Nothing is armed any more.",
}
_COUNTED = ("torn_word", "power_cut:before", "power_cut:inside", "power_cut:after")
_LASTING = ("no_contact", "stuck_tap", "console_silence", "console_garbage")


@dataclass(slots=True)
class Faults:
    """What is armed; ``countdown`` counts fuse writes to ``at_write``."""

    lasting: set[str] = field(default_factory=set)
    once: dict[str, str] = field(default_factory=dict)
    at_write: str = ""
    countdown: int = 0

    def arm(self, name: str, argument: str) -> None:
        """Arm a fault by name; raises ``ValueError`` for a name or argument that is not in the table."""
        if name not in FAULTS:
            close = difflib.get_close_matches(name, FAULTS, n=1)
            raise ValueError(f"no fault is called {name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        if name == "clear":
            self.lasting.clear()
            self.once.clear()
            self.at_write = ""
        elif name in _LASTING:
            self.lasting.add(name)
        elif name in _COUNTED:
            self.countdown = _positive(argument)
            self.at_write = name
        else:
            self.once[name] = argument

    @property
    def armed(self) -> list[str]:
        """What is armed, as it would be named to arm it."""
        once = [f"{name}:{argument}" if argument else name for name, argument in self.once.items()]
        counted = [f"{self.at_write}:{self.countdown}"] if self.at_write else []
        return sorted([*self.lasting, *once, *counted])

    def take(self, name: str) -> str | None:
        """The argument of a one-time fault that is armed, which disarms it; None when it is not armed."""
        return self.once.pop(name, None)

    def next_write(self) -> str:
        """Count one fuse write; returns the counted fault that strikes at this write, or an empty text."""
        if not self.at_write:
            return ""
        self.countdown -= 1
        if self.countdown > 0:
            return ""
        struck, self.at_write = self.at_write, ""
        return struck


def split(name: str, argument: str) -> tuple[str, str]:
    """Accept ``power_cut:inside:3`` and ``wrong_state:DEV`` as well as name and argument given apart."""
    if name in FAULTS or ":" not in name or argument:
        return name, argument
    head, _, tail = name.rpartition(":")
    return (head, tail) if head in FAULTS else (name, argument)


def _positive(argument: str) -> int:
    try:
        number = int(argument or "1")
    except ValueError:
        raise ValueError(f"expected a number of fuse writes, got {argument!r}") from None
    if number < 1:
        raise ValueError(f"fuse writes are counted from 1, got {number}")
    return number
