"""A JTAG port over ``remote_bitbang``; every other port of the socket comes from the built-in driver.

It shows how little an adapter needs: clock bits in and out, and say in one sentence what went wrong. It is slow on
purpose and shares no code with the built-in JTAG driver.
"""

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from station.errors import AdapterLost, BenchError, PartError
from station.model import DmiRead, DmiWrite

BUILTIN = "ft4232h"
SECONDS = 30.0
IR_BITS, IR_IDCODE, IR_DTMCS, IR_DMI = 5, 0x01, 0x10, 0x11
NOP, READ, WRITE = 0, 1, 2
DMI_BITS, DMIRESET = 41, 1 << 16
SBCS, SBADDRESS0, SBDATA0 = 0x38, 0x39, 0x3C
SB_WORDS, SB_READ_ON_ADDRESS, SB_ERROR = 0x0005_0000, 1 << 20, 0x7000
IDLE = 9  # Run-Test/Idle cycles after each scan, longer than any access takes

Cycle = tuple[int, int]
"""TMS and TDI of one TCK cycle."""
SHIFT_IR: list[Cycle] = [(1, 0), (1, 0), (0, 0), (0, 0)]
SHIFT_DR: list[Cycle] = [(1, 0), (0, 0), (0, 0)]
UPDATE: list[Cycle] = [(1, 0), *[(0, 0)] * (IDLE + 1)]


class Wire:
    """TCK, TMS, TDI out, TDO in, one character each."""

    def __init__(self, port: int) -> None:
        try:
            self._link = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except OSError as error:
            raise BenchError(f"expected a remote_bitbang server on port {port}, but: {error}") from None
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def clock(self, cycles: Iterable[Cycle], captured: int = 0) -> int:
        """Clock the cycles; returns TDO of the first ``captured`` ones, first bit lowest."""
        out = bytearray()
        for n, (tms, tdi) in enumerate(cycles):
            level = tms << 1 | tdi
            out += b"%cR%c" % (0x30 + level, 0x34 + level) if n < captured else bytes((0x30 + level, 0x34 + level))
        try:
            self._link.sendall(out + b"0")
            return sum((character == ord("1")) << n for n, character in enumerate(self._take(captured)))
        except OSError as error:
            raise AdapterLost(f"the remote_bitbang server was lost: {error}") from None

    def _take(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self._link.recv(65536)
            if not part:
                raise ConnectionError("it closed the connection")
            got += part
        return got

    def close(self) -> None:
        """Say good-bye; a server that is gone already is no error."""
        try:
            self._link.sendall(b"Q")
        except OSError:
            pass
        self._link.close()


class BitbangJtag:
    """The six methods of the Jtag port, one scan at a time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def connect(self) -> int:
        """Reset the TAP, read the IDCODE, clear sticky busy, select the DMI."""
        self._wire.clock([(1, 0)] * 5 + [(0, 0)])
        self._instruction(IR_IDCODE)
        idcode = self._data(0, 32)
        if idcode in (0, 0xFFFF_FFFF):
            raise BenchError(
                f"expected an IDCODE, saw {idcode:#010x}; check that the part is seated, powered and strapped"
            )
        self._instruction(IR_DTMCS)
        self._data(DMIRESET, 32)
        self._instruction(IR_DMI)
        return idcode

    def dmi(self, operations: Sequence[DmiRead | DmiWrite]) -> list[int]:
        """Carry out the operations; returns the values of the reads."""
        values = []
        for operation in operations:
            if isinstance(operation, DmiWrite):
                self._write(operation.address, operation.value)
            else:
                values.append(self._read(operation.address))
        return values

    def dmi_secret(self, operations: Sequence[DmiRead | DmiWrite]) -> None:
        """As ``dmi``; nothing here keeps what it carries."""
        self.dmi(operations)

    def write_words(self, address: int, words: Sequence[int]) -> None:
        """Write words over the system bus; busy is sticky, so that one look at the end sees every word."""
        self._write(SBCS, SB_WORDS | SB_ERROR)
        self._write(SBADDRESS0, address)
        for word in words:
            self._wire.clock([*SHIFT_DR, *_bits(_request(SBDATA0, word, WRITE), DMI_BITS), *UPDATE])
        self._check_bus(address)

    def read_words(self, address: int, count: int) -> list[int]:
        """Read words over the system bus, each by its address, so that no word is read ahead."""
        words = []
        self._write(SBCS, SB_WORDS | SB_READ_ON_ADDRESS | SB_ERROR)
        for n in range(count):
            self._write(SBADDRESS0, address + 4 * n)
            words.append(self._read(SBDATA0))
        self._check_bus(address)
        return words

    def disconnect(self) -> None:
        """TCK, TMS and TDI are low after every scan already."""

    def _check_bus(self, address: int) -> None:
        error = (self._read(SBCS) & SB_ERROR) >> 12
        if error:
            self._write(SBCS, SB_WORDS | SB_ERROR)
            raise PartError(f"system bus access at {address:#010x} failed: sberror {error}", "debug")

    def _read(self, address: int) -> int:
        self._scan(address, 0, READ)
        return self._scan(0, 0, NOP) >> 2 & 0xFFFF_FFFF

    def _write(self, address: int, value: int) -> None:
        self._scan(address, value, WRITE)

    def _scan(self, address: int, value: int, operation: int) -> int:
        """One DMI scan; what it captures answers the scan before it."""
        got = self._data(_request(address, value, operation), DMI_BITS)
        if got & 3:
            raise BenchError(f"expected the DMI to be ready after {IDLE} idle cycles, saw status {got & 3}")
        return got

    def _instruction(self, code: int) -> None:
        self._wire.clock([*SHIFT_IR, *_bits(code, IR_BITS), *UPDATE])

    def _data(self, value: int, width: int) -> int:
        way = len(SHIFT_DR)
        return self._wire.clock([*SHIFT_DR, *_bits(value, width), *UPDATE], captured=way + width) >> way


def _request(address: int, value: int, operation: int) -> int:
    return address << 34 | value << 2 | operation


def _bits(value: int, width: int) -> list[Cycle]:
    """The cycles that shift a value, lowest bit first; the last one leaves the shift state."""
    return [(int(n == width - 1), value >> n & 1) for n in range(width)]


class Socket:
    """The built-in socket with the JTAG port replaced."""

    def __init__(self, inner, wire: Wire) -> None:
        self._inner = inner
        self._wire = wire
        self.ports: Mapping[str, object] = {**inner.ports, "jtag": BitbangJtag(wire)}
        self.identity = f"{inner.identity} with bitbang_jtag"

    def close(self, freeze: bool = True) -> None:
        """Release the wire, then the adapter."""
        self._wire.close()
        self._inner.close(freeze)


def open_socket(settings: Mapping[str, object], number: int) -> Socket:
    """``settings`` are those of the built-in driver, and ``bench``: the address file of the virtual bench.

    The bench's ports are named after the TAP they select when they reset the part; this driver never resets it through
    them, so that either one reaches whichever TAP the straps select.
    """
    bench = json.loads(Path(str(settings["bench"])).read_text())
    own = {name: value for name, value in settings.items() if name != "bench"}
    (builtin,) = entry_points(group="station.drivers", name=BUILTIN)
    inner = builtin.load()(own, number)
    try:
        return Socket(inner, Wire(bench["remote_bitbang"][f"{number}:lc"]))
    except BaseException:  # nothing stays claimed
        inner.close(freeze=True)
        raise
