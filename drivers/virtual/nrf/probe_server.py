"""A debug probe as pyOCD's remote-probe protocol shows it: JSON lines over loopback TCP, one thread per connection.

Source: nordic-tfm sheet 5.1 (framing, status codes), 5.2 (requests with their argument counts). Several clients share
the probe; ``lock`` and ``unlock`` give it to one of them for a while.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from drivers.virtual.loopback import LoopbackListener
from drivers.virtual.nrf.debug_port import DebugPort, NoAcknowledge, TransferFault

VERSION = 1
GENERAL, DISCONNECTED, PROBE, TRANSFER, TIMEOUT, FAULT = 1, 2, 3, 10, 11, 12
PROPERTIES: dict[str, Any] = {
    "vendor_name": "Virtual bench",
    "product_name": "Virtual debug probe",
    "supported_wire_protocols": ["DEFAULT", "SWD"],
    "capabilities": ["SWJ_SEQUENCE", "BANKED_DP_REGISTERS"],
}
ALWAYS = ("hello", "readprop", "close", "lock", "unlock")
"""Requests that the server answers even when the probe is unplugged."""
ON_PORT = ("read_dp", "write_dp", "read_ap", "write_ap")
"""Requests that the part's debug port carries out under the same name."""
UNSUPPORTED = ("swd_sequence", "jtag_sequence", "swo_start", "swo_stop", "swo_read")
REQUESTS = {
    "hello": "i", "readprop": "s", "open": "", "close": "", "lock": "", "unlock": "", "connect": "s", "disconnect": "",
    "swj_sequence": "ii", "swd_sequence": "l", "jtag_sequence": "iibi", "set_clock": "n", "reset": "",
    "assert_reset": "b", "is_reset_asserted": "", "flush": "", "read_dp": "i", "write_dp": "ii", "read_ap": "i",
    "write_ap": "ii", "read_ap_multiple": "ii", "write_ap_multiple": "il", "get_memory_interface_for_ap": "ii",
    "swo_start": "n", "swo_stop": "", "swo_read": "", "read_mem": "iii", "write_mem": "iiii", "read_block32": "iii",
    "write_block32": "iil", "read_block8": "iii", "write_block8": "iil",
}  # fmt: skip
"""Every request with the kinds of its arguments: integer from 0 on, text, truth, list, number."""
KINDS: dict[str, type | tuple[type, ...]] = {"i": int, "s": str, "b": bool, "l": list, "n": (int, float)}
LONGEST = 1 << 24
PARTS = {8: 1, 16: 2, 32: 4}


class Wire(Protocol):
    """What the probe's cable leads to."""

    @property
    def debug_port(self) -> DebugPort:
        """The part's SWD port; raises ``NoAcknowledge`` with the reason when nobody is there."""
        ...

    def reset_pin(self, low: bool) -> None:
        """Drive the reset pin of the socket."""
        ...

    @property
    def reset_is_low(self) -> bool:
        """Level of the reset pin."""
        ...


class Refused(Exception):
    """A request that cannot be carried out, with its status code."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class ProbeServer:
    """One probe's port; ``before`` is called with each request that reaches the probe."""

    def __init__(self, wire: Wire, before: Callable[[str], None], plugged: Callable[[], int]) -> None:
        self.wire = wire
        self.requests: Counter[str] = Counter()
        self.clock = 0
        self.protocol: str | None = None
        self.before = before
        self.plugged = plugged
        self._listener = LoopbackListener(lambda connection: Client(self, connection).serve(), "virtual probe")
        self._condition = threading.Condition()
        self._holder: Client | None = None
        self._depth = 0
        self._stopping = False

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._listener.port

    @property
    def busy(self) -> bool:
        """Whether somebody is connected."""
        return self._listener.busy

    def start(self) -> None:
        """Accept clients."""
        self._listener.start()

    def stop(self) -> None:
        """End all clients, also those that wait for the probe, and close the port."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._listener.stop()

    def lock(self, client: Client) -> None:
        """Give the probe to one client, who may take it more than once; waits while another one has it."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopping or self._holder in (None, client))
            if self._stopping:
                raise Refused(DISCONNECTED, "the probe is gone")
            self._holder = client
            self._depth += 1

    def unlock(self, client: Client) -> None:
        """Give it back."""
        with self._condition:
            if self._holder is not client:
                raise Refused(GENERAL, "the probe is not locked by this client")
            self._depth -= 1
            if self._depth == 0:
                self._holder = None
                self._condition.notify_all()

    def release(self, client: Client) -> None:
        """A client is gone with whatever it held."""
        with self._condition:
            if self._holder is client:
                self._holder, self._depth = None, 0
                self._condition.notify_all()


class Client:
    """One connection."""

    def __init__(self, server: ProbeServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._plugging = 0
        """Which plugging of the probe it has opened; 0 for none."""
        self._handles: list[int] = []
        self._handlers: dict[str, Callable[..., Any]] = {
            "hello": self._hello,
            "readprop": self._property,
            "open": self._open,
            "close": self._close,
            "lock": lambda: server.lock(self),
            "unlock": lambda: server.unlock(self),
            "connect": self._connect,
            "disconnect": self._disconnect,
            "swj_sequence": self._swj_sequence,
            "set_clock": self._set_clock,
            "reset": self._reset,
            "assert_reset": server.wire.reset_pin,
            "is_reset_asserted": lambda: server.wire.reset_is_low,
            "flush": self._flush,
            "read_ap_multiple": lambda address, count: [self._port.read_ap(address) for _ in range(count)],
            "write_ap_multiple": self._write_ap_multiple,
            "get_memory_interface_for_ap": self._memory_interface,
            "read_mem": self._read_memory,
            "write_mem": self._write_memory,
            "read_block32": lambda handle, address, count: self._port.read_words(self._ap(handle), address, count),
            "write_block32": lambda handle, address, words: self._port.write_words(self._ap(handle), address, words),
            "read_block8": lambda handle, address, count: list(self._port.read_bytes(self._ap(handle), address, count)),
            "write_block8": self._write_block8,
        }

    def serve(self) -> None:
        """Answer requests until the client is gone."""
        try:
            with self._connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST):
                    self._connection.sendall(self._answer(line))
        finally:
            self._server.release(self)

    def _answer(self, line: bytes) -> bytes:
        identity: Any = -1
        try:
            request = json.loads(line)
            identity = request["id"]
            result = self._carry_out(str(request["request"]), request.get("arguments", []))
            answer = {"id": identity, "status": 0}
            if result is not None:
                answer["result"] = result
        except Refused as refused:
            answer = _error(identity, refused.status, str(refused))
        except NoAcknowledge as nobody:
            answer = _error(identity, TRANSFER, str(nobody))
        except TransferFault as fault:
            answer = _error(identity, FAULT, str(fault))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            answer = _error(identity, GENERAL, f"malformed request: {error}")
        except Exception as error:  # a mistake in a model must reach the test, not end the connection
            answer = _error(identity, GENERAL, f"{type(error).__name__}: {error}")
        return json.dumps(answer, separators=(",", ":")).encode() + b"\n"

    def _carry_out(self, name: str, arguments: list[Any]) -> Any:
        if name not in REQUESTS:
            raise Refused(GENERAL, f"unknown request type {name!r}")
        _check(name, arguments)
        self._server.requests[name] += 1
        if name not in ALWAYS:
            self._server.before(name)
            if name != "open":
                self._need_open()
        if name in UNSUPPORTED:
            raise Refused(PROBE, "the probe cannot do this")
        handler = getattr(self._port, name) if name in ON_PORT else self._handlers[name]
        return handler(*arguments)

    def _need_open(self) -> None:
        if self._plugging == 0:
            raise Refused(PROBE, "the probe is not open")
        if self._plugging != self._server.plugged():
            raise Refused(DISCONNECTED, "the probe was unplugged")

    # ---- the probe ------------------------------------------------------------------------------------------------

    def _hello(self, version: int) -> None:
        if version != VERSION:
            raise Refused(GENERAL, f"protocol version {version} is not supported (expected {VERSION})")

    def _property(self, name: str) -> Any:
        if name == "wire_protocol":
            return self._server.protocol
        if name not in PROPERTIES:
            raise Refused(GENERAL, f"unknown property {name!r}")
        return PROPERTIES[name]

    def _open(self) -> None:
        self._plugging = self._server.plugged()
        if not self._plugging:
            raise Refused(DISCONNECTED, "the probe is unplugged")
        self._handles.clear()

    def _close(self) -> None:
        self._plugging = 0

    def _connect(self, protocol: str) -> None:
        if protocol not in ("DEFAULT", "SWD"):
            raise Refused(PROBE, f"the probe has no wire protocol {protocol!r}")
        self._server.protocol = "SWD"

    def _disconnect(self) -> None:
        self._server.protocol = None

    def _swj_sequence(self, length: int, bits: int) -> None:
        try:
            self._port.line_reset(int(bits).bit_count() if length else 0)
        except NoAcknowledge:
            pass  # the host cannot know from this that nobody listens

    def _set_clock(self, frequency: int) -> None:
        self._server.clock = int(frequency)

    def _flush(self) -> None:
        """Nothing is ever queued."""

    def _reset(self) -> None:
        self._server.wire.reset_pin(True)
        self._server.wire.reset_pin(False)

    # ---- the part -------------------------------------------------------------------------------------------------

    @property
    def _port(self) -> DebugPort:
        return self._server.wire.debug_port

    def _write_ap_multiple(self, address: int, values: list[int]) -> None:
        for value in values:
            self._port.write_ap(address, value)

    def _memory_interface(self, version: int, address: int) -> int | None:
        """A handle for an AHB access port; its index is that in ``_handles``."""
        if version != 1 or not self._port.has_memory(address):
            return None
        self._handles.append(address)
        return len(self._handles) - 1

    def _ap(self, handle: int) -> int:
        if not 0 <= handle < len(self._handles):
            raise Refused(GENERAL, f"there is no memory interface {handle}")
        return self._handles[handle]

    def _read_memory(self, handle: int, address: int, bits: int) -> int:
        if bits == 32:
            return self._port.read_words(self._ap(handle), address, 1)[0]
        return int.from_bytes(self._port.read_bytes(self._ap(handle), address, PARTS[bits]), "little")

    def _write_memory(self, handle: int, address: int, value: int, bits: int) -> None:
        if bits == 32:
            self._port.write_words(self._ap(handle), address, [value])
        else:
            self._port.write_bytes(self._ap(handle), address, value.to_bytes(PARTS[bits], "little"))

    def _write_block8(self, handle: int, address: int, data: list[int]) -> None:
        """Whole aligned words as words, so that flash takes them; the rest as bytes."""
        port, raw, at = self._ap(handle), bytes(data), 0
        while at < len(raw):
            words = 0 if (address + at) % 4 else (len(raw) - at) // 4
            if words:
                piece = raw[at : at + 4 * words]
                values = [int.from_bytes(piece[n : n + 4], "little") for n in range(0, len(piece), 4)]
                self._port.write_words(port, address + at, values)
                at += 4 * words
            else:
                self._port.write_bytes(port, address + at, raw[at : at + 1])
                at += 1


def _check(name: str, arguments: list[Any]) -> None:
    """The number of arguments and their kinds; raises ``Refused``."""
    kinds = REQUESTS[name]
    if len(arguments) != len(kinds):
        raise Refused(GENERAL, f"{name} takes {len(kinds)} arguments, not {len(arguments)}")
    for kind, argument in zip(kinds, arguments, strict=True):
        if not isinstance(argument, KINDS[kind]) or (isinstance(argument, int) and argument < 0):
            raise Refused(GENERAL, f"{name} does not take the argument {argument!r}")


def _error(identity: Any, status: int, text: str) -> dict[str, Any]:
    return {"id": identity, "status": status, "error": text}
