"""One ``remote_bitbang`` port per socket and TAP, so that OpenOCD can drive a virtual chip.

The straps are not touched: the port is named after the TAP it is meant for, and while the chip's straps select another
one its answers are those of an unselected TAP.
"""

from __future__ import annotations

from typing import Any

from drivers.virtual.bench_state import BenchState
from drivers.virtual.socket import VirtualSocket
from drivers.virtual.taps.remote_bitbang import RemoteBitbang

TAPS = {"lc": (True, False), "riscv": (False, True)}


class SocketPads:
    """A socket's JTAG pads as the remote_bitbang server wants them; selecting its TAP by the straps first."""

    def __init__(self, socket: VirtualSocket, straps: tuple[bool, bool]) -> None:
        self._socket = socket
        self._straps = straps

    @property
    def tdo(self) -> int:
        """TDO while TCK is low; high without a part."""
        chip: Any = self._socket.chip
        return 1 if chip is None else int(getattr(chip, "tdo", 0))

    def clock(self, count: int, tms: int, tdi: int) -> int:
        """Clock TCK cycles."""
        return self._socket.jtag(count, tdi, tms)

    def reset(self) -> None:
        """TRST_N pulse."""
        chip = self._socket.chip
        if chip is not None:
            chip.set_inputs({"trst_n": False})
            chip.set_inputs({"trst_n": True})

    def srst(self, asserted: bool) -> None:
        """Reset of the part; its release samples the straps of this port's TAP."""
        chip = self._socket.chip
        if chip is not None:
            chip.set_inputs({"tap_strap0": self._straps[0], "tap_strap1": self._straps[1]})
            chip.set_inputs({"por_n": not asserted})


def open_ports(state: BenchState) -> dict[str, RemoteBitbang]:
    """Servers by name, such as ``1:lc``; the caller closes them."""
    servers: dict[str, RemoteBitbang] = {}
    for socket in state.sockets:
        if not isinstance(socket, VirtualSocket):
            continue
        for name, straps in TAPS.items():
            pads = SocketPads(socket, straps)
            servers[f"{socket.number}:{name}"] = RemoteBitbang(pads, on_srst=pads.srst)
    return servers
