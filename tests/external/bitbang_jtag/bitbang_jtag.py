"""A JTAG port over ``remote_bitbang``; every other port of the socket comes from the built-in driver.

It shows how little an adapter needs: clock bits in and out. It is slow on purpose and shares no code with the built-in
JTAG driver.
"""

import json
import socket
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

IR_IDCODE, IR_DTMCS, IR_DMI = 0x01, 0x10, 0x11
NOP, READ, WRITE = 0, 1, 2
DMI_BITS, DMIRESET = 41, 1 << 16
SBCS, SBADDRESS0, SBDATA0 = 0x38, 0x39, 0x3C
SB_WORDS, SB_READ_ON_ADDRESS, SB_ERROR = 0x0005_0000, 1 << 20, 0x7000


class Wire:
    """TCK, TMS, TDI out, TDO in, one character each."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port))
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def clock(self, bits: list[tuple[int, int]], capture: bool) -> int:
        """Clock (TMS, TDI) pairs; returns TDO of each cycle, first bit lowest, when captured."""
        out = bytearray()
        for tms, tdi in bits:
            level = tms << 1 | tdi
            out.append(ord("0") + level)
            if capture:
                out.append(ord("R"))
            out.append(ord("4") + level)
        out.append(ord("0"))
        self._link.sendall(out)
        if not capture:
            return 0
        got = b""
        while len(got) < len(bits):
            got += self._link.recv(65536)
        return sum((byte == ord("1")) << n for n, byte in enumerate(got))

    def close(self) -> None:
        self._link.sendall(b"Q")
        self._link.close()


class BitbangJtag:
    """The five methods of the Jtag port."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def connect(self) -> int:
        self._wire.clock([(1, 0)] * 5 + [(0, 0)], capture=False)
        self._instruction(IR_IDCODE)
        idcode = self._data(0, 32)
        self._instruction(IR_DTMCS)
        self._data(DMIRESET, 32)
        self._instruction(IR_DMI)
        return idcode

    def dmi(self, operations) -> list[int]:
        values = []
        for operation in operations:
            value = getattr(operation, "value", None)
            if value is None:
                self._scan(operation.address, 0, READ)
                values.append(self._answer())
            else:
                self._scan(operation.address, value, WRITE)
        return values

    dmi_secret = dmi

    def write_words(self, address: int, words) -> None:
        self._scan(SBCS, SB_WORDS | SB_ERROR, WRITE)
        self._scan(SBADDRESS0, address, WRITE)
        for word in words:
            self._scan(SBDATA0, word, WRITE)

    def read_words(self, address: int, count: int) -> list[int]:
        words = []
        for n in range(count):
            self._scan(SBCS, SB_WORDS | SB_READ_ON_ADDRESS | SB_ERROR, WRITE)
            self._scan(SBADDRESS0, address + 4 * n, WRITE)
            self._scan(SBDATA0, 0, READ)
            words.append(self._answer())
        return words

    def disconnect(self) -> None:
        pass

    def _answer(self) -> int:
        got = self._scan(0, 0, NOP)
        if got & 3:
            raise OSError(f"DMI status {got & 3}")
        return got >> 2 & 0xFFFF_FFFF

    def _scan(self, address: int, value: int, operation: int) -> int:
        return self._data(address << 34 | value << 2 | operation, DMI_BITS)

    def _instruction(self, code: int) -> None:
        self._shift([(1, 0), (1, 0), (0, 0), (0, 0)], code, 5, capture=False)

    def _data(self, value: int, width: int) -> int:
        return self._shift([(1, 0), (0, 0), (0, 0)], value, width, capture=True)

    def _shift(self, way: list[tuple[int, int]], value: int, width: int, capture: bool) -> int:
        bits = [(n == width - 1, value >> n & 1) for n in range(width)]
        idle = [(1, 0)] + [(0, 0)] * 9  # Update, then Run-Test/Idle longer than a read needs
        got = self._wire.clock([*way, *((int(last), bit) for last, bit in bits), *idle], capture)
        return got >> len(way) & (1 << width) - 1


class Socket:
    """The built-in socket with the JTAG port replaced."""

    def __init__(self, inner, wires: Mapping[str, Wire]) -> None:
        self._inner = inner
        self._wires = wires
        self.ports = {**inner.ports, "jtag": BitbangJtag(wires["any"])}
        self.identity = f"{inner.identity} with bitbang_jtag"

    def close(self, freeze: bool = True) -> None:
        for wire in self._wires.values():
            wire.close()
        self._inner.close(freeze)


def open_socket(settings: Mapping[str, object], number: int) -> Socket:
    """``settings`` are those of the built-in driver, and ``bench``: the address file of the virtual bench."""
    bench = json.loads(Path(str(settings["bench"])).read_text())
    own = {name: value for name, value in settings.items() if name != "bench"}
    (builtin,) = entry_points(group="station.drivers", name="ft4232h")
    inner = builtin.load()(own, number)
    return Socket(inner, {"any": Wire(bench["remote_bitbang"][f"{number}:lc"])})
