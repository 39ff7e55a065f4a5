"""Text as Zephyr writes it: banners, log lines, printk, assertion, fatal error (nordic-tfm sheet 1.3, 1.5)."""

from __future__ import annotations

import hashlib

from drivers.virtual.nrf.firmware.machine import Machine

COLOURS = {"inf": "\x1b[0m", "wrn": "\x1b[1;33m", "err": "\x1b[1;31m"}
RESET_COLOUR = "\x1b[0m"


class Zephyr:
    """The console of one boot."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._colours = bool(machine.option("colours"))

    def banner(self) -> None:
        """The two lines at boot."""
        sdk, kernel = self._machine.option("sdk"), self._machine.option("zephyr")
        self._machine.print(f"*** Booting nRF Connect SDK {sdk}-{_commit(sdk)} ***")
        self._machine.print(f"*** Using Zephyr OS {kernel}-{_commit(kernel)} ***")

    def printk(self, text: str) -> None:
        """A line without prefix."""
        self._machine.print(text)

    def log(self, level: str, module: str, text: str) -> None:
        """A log line: time stamp, level, module."""
        stamp = _stamp(self._machine.uptime)
        line = f"<{level}> {module}: {text}"
        self._machine.print(f"[{stamp}] {COLOURS[level]}{line}{RESET_COLOUR}" if self._colours else f"[{stamp}] {line}")

    def panic(self, assertion: str = "") -> None:
        """Kernel panic with everything that is printed before the halt; does not return."""
        if assertion:
            self.printk(f"ASSERTION FAIL [{assertion}] @ WEST_TOPDIR/nrf/lib/hw_unique_key/hw_unique_key.c:73")
        self._fatal("4: Kernel panic")

    def cpu_fault(self) -> None:
        """A fault exception of the processor; does not return."""
        self.log("err", "os", "***** BUS FAULT *****")
        self.log("err", "os", "  Precise data bus error")
        self.log("err", "os", "  BFAR Address: 0x50845400")
        self._fatal("0: CPU exception")

    def _fatal(self, reason: str) -> None:
        for line in (
            "r0/a1:  0x00000004  r1/a2:  0x00000049  r2/a3:  0x00000001",
            "r3/a4:  0x00000004 r12/ip:  0x0000000f r14/lr:  0x00002b59",
            " xpsr:  0x41000000",
            "Faulting instruction address (r15/pc): 0x00003c1c",
            f">>> ZEPHYR FATAL ERROR {reason} on CPU 0",
            "Current thread: 0x20000a60 (main)",
        ):
            self.log("err", "os", line)
        self.log("err", "os", "Halting system")
        self._machine.finish("panic")

    def step(self, name: str) -> None:
        """A point where an armed fault makes the program break down."""
        if self._machine.takes("panic", name):
            self.panic("err == 0")
        if self._machine.takes("cpu_fault", name):
            self.cpu_fault()
        if self._machine.takes("hang", name):
            self._machine.finish("hang")


def _stamp(seconds: float) -> str:
    whole, micro = divmod(int(seconds * 1e6), 1_000_000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}.{micro // 1000:03},{micro % 1000:03}"


def _commit(version: str) -> str:
    return hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest()[:12]
