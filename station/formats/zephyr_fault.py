"""Zephyr's last words: the lines of an assertion, a processor fault, a panic.

Source: nordic-tfm sheet 1.5 (zephyr:kernel/fatal.c, zephyr:arch/arm/core/fatal.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from station.formats.console_lines import Line

ASSERTION = re.compile(r"ASSERTION FAIL \[(?P<what>.{0,200})\] @ (?P<where>\S{1,200})")
FAULT = re.compile(r"\*{5} (?P<what>(?:HARD|MPU|BUS|USAGE|SECURE) FAULT) \*{5}")
FATAL = re.compile(r">>> ZEPHYR FATAL ERROR (?P<code>[0-9]{1,3}): (?P<what>.{1,60}) on CPU (?P<cpu>[0-9]+)")
ADDRESS = re.compile(r"Faulting instruction address \(r15/pc\): (?P<pc>0x[0-9a-f]{8})")
IN_INTERRUPT = "Fault during interrupt handling"
THREAD = re.compile(r"Current thread: (?P<thread>\S+) \((?P<name>[^)]*)\)")
HALTED = "Halting system"
_REGISTERS = re.compile(r"r0/a1:|r3/a4:|(?:^|\s)xpsr:")


def is_fault_line(line: Line) -> bool:
    """Whether a healthy firmware never says this."""
    return bool(_matches(line.text)) or IN_INTERRUPT in line.text or HALTED in line.text


def is_last_word(line: Line) -> bool:
    """Nothing follows this line."""
    return HALTED in line.text


def fault_in(lines: Iterable[Line]) -> str:
    """The fault in one phrase, such as ``Kernel panic (assertion … failed at …)``; empty when there is none."""
    said: dict[str, str] = {}
    halted = ""
    for line in lines:
        said.update(_matches(line.text))
        halted = halted or ("the firmware halted" if HALTED in line.text else "")
    order = ("fatal", "fault", "assertion", "address", "thread")
    known = [said[kind] for kind in order if kind in said] or ([halted] if halted else [])
    return f"{known[0]} ({', '.join(known[1:])})" if len(known) > 1 else "".join(known)


def _matches(text: str) -> dict[str, str]:
    found = {}
    if match := FATAL.search(text):
        found["fatal"] = match["what"]
    if match := FAULT.search(text):
        found["fault"] = match["what"].lower()
    if match := ASSERTION.search(text):
        found["assertion"] = f"assertion {match['what']} failed at {match['where']}"
    if match := ADDRESS.search(text):
        found["address"] = f"at {match['pc']}"
    if match := THREAD.search(text):
        found["thread"] = f"in thread {match['name'] or match['thread']}"
    if not found and _REGISTERS.search(text):
        found["registers"] = "register dump"
    return found
