"""A fresh virtual chip in the precondition that a golden JTAG trace states in words.

Token values and identity words that the sentence cannot give come from the trace's ``final`` and ``steps`` fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.virtual.taps.bus import Bus, BusError
from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.debug_module import DebugModule
from drivers.virtual.taps.hart import EXECUTION_ENABLE, Hart
from drivers.virtual.taps.lc_ctrl import LcController, open_source_raw_digest
from drivers.virtual.taps.tap import Tap, lc_tap, rv_tap
from station.formats.lc import ID_BLANK, ID_PERSONALIZED, LcState, Reg, TokenKind
from station.formats.lc_token import lc_hash, raw_from_words

Trace = Mapping[str, Any]

DEFAULT_RATIO = 10.0
_PROVISIONED = r"[^,;]*(?<!un)(?<!not )provisioned"
_TOKEN_PHRASES = {
    TokenKind.TEST_UNLOCK: "test unlock" + _PROVISIONED,
    TokenKind.TEST_EXIT: "test exit" + _PROVISIONED,
    TokenKind.RMA: r"\brma token" + _PROVISIONED,
}
_USUAL_TOKEN_WORD = {TokenKind.TEST_UNLOCK: 0x11111111, TokenKind.TEST_EXIT: 0x22222222, TokenKind.RMA: 0x33333333}
_TIMES = {
    "otp_word_clk": r"OTP word programming (\d+) clk",
    "hash_clk": r"hash answer (\d+) clk",
    "clock_switch_clk": r"clock switch (\d+) clk",
    "wipe_clk": r"wipe (\d+) clk",
}


class TraceError(ValueError):
    """The trace file does not say what is needed to replay it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One DMI scan of a trace as its steps describe it."""

    operation: int
    address: int
    data: int
    captured_address: int
    captured_data: int
    captured_operation: int


def dmi_scans(trace: Trace) -> Iterator[Request]:
    """The DMI scans of ``steps``, whichever of the two notations the recording uses."""
    names = {"nop": 0, "read": 1, "write": 2, "op3": 3}
    for step in trace.get("steps", ()):
        if "dmi_out" in step:
            out, captured = step["dmi_out"], step["dmi_captured"]
            operation = int(out["op"])
        elif str(step.get("op", "")).startswith("DMI scan"):
            out, captured = step, step.get("captured")
            operation = names.get(step["op"].split()[-1], 0)
        else:
            continue
        if captured is not None:
            words = int(out["addr"], 16), int(out["data"], 16), int(captured["addr"], 16), int(captured["data"], 16)
            yield Request(operation, *words, int(captured["op"]))


def read_values(trace: Trace) -> dict[int, int]:
    """First non-zero value that the trace reads from each address; echoes of writes and nops do not count."""
    values: dict[int, int] = {}
    reading = -1
    for scan in dmi_scans(trace):
        if scan.captured_address == reading and scan.captured_data:
            values.setdefault(reading % 0x40, scan.captured_data)
        if scan.captured_operation == 0 or scan.operation == 1:
            reading = scan.address if scan.operation == 1 else -1
    return values


def clk_per_tck(trace: Trace) -> float:
    """The TCK ratio that the precondition or the ``timing`` sentence states."""
    for text in (str(trace.get("precondition", "")), str(trace.get("timing", ""))):
        if found := re.search(r"TCK = (?:clk|(?:system )?clock)\s*/\s*([\d.]+)", text):
            return float(found[1])
        if found := re.search(r"TCK = ([\d.]+) ?[x*] ?(?:clk|(?:system )?clock)", text):
            return 1 / float(found[1])
        if re.search(r"TCK = (?:clk|system clock|clock)\b", text):
            return 1.0
    return DEFAULT_RATIO


class TraceFabric:
    """OTP, hash block and clock manager as the recording bench had them."""

    def __init__(self, trace: Trace) -> None:
        text = str(trace["precondition"])
        found = re.search(r"LC state (\w+), transition count (\d+)", text)
        if found is None or found[1] not in LcState.__members__:
            raise TraceError("expected 'LC state NAME, transition count N' in the precondition")
        self.state: int | None = int(LcState[found[1]])
        self.count = int(found[2])
        self._corrupted = "corrupted" in text
        self._partition_error = "partition error" in text
        times = {name: re.search(pattern, text) for name, pattern in _TIMES.items()}
        self.otp_word_clk = float(times["otp_word_clk"][1]) if times["otp_word_clk"] else 200.0
        self.hash_clk = float(times["hash_clk"][1]) if times["hash_clk"] else 60.0
        self.clock_switch_clk = float(times["clock_switch_clk"][1]) if times["clock_switch_clk"] else 100.0
        self.wipe_clk = float(times["wipe_clk"][1]) if times["wipe_clk"] else 500.0
        self._digests = _digests(trace)
        self._personalized = _is_personalized(text)
        self._read = read_values(trace)
        self._identity = dict(trace.get("final", {}))

    def stored(self) -> tuple[int | None, int]:
        """State and count; None when the precondition says the words are corrupted."""
        return (None if self._corrupted else self.state), self.count

    def program_count(self, count: int) -> bool:
        """Programs at once, the controller has waited."""
        self.count = count
        return True

    def program_state(self, state_index: int) -> bool:
        """Programs at once, the controller has waited."""
        self.state = state_index
        return True

    def token_digest(self, kind: TokenKind) -> bytes | None:
        """Stored hashes; the RAW unlock token is the open-source one."""
        return open_source_raw_digest() if kind is TokenKind.RAW_UNLOCK else self._digests.get(kind)

    def id_state(self) -> int:
        """Personalized when SECRET2 is locked."""
        return ID_PERSONALIZED if self._personalized else ID_BLANK

    def device_id(self) -> Sequence[int]:
        """From ``final`` or from what the trace read."""
        return self._words("device_id_words", Reg.DEVICE_ID_0)

    def manuf_state(self) -> Sequence[int]:
        """From ``final`` or from what the trace read."""
        return self._words("manuf_state_words", Reg.MANUF_STATE_0)

    def hw_revision(self) -> tuple[int, int]:
        """Product revision of the measured build."""
        return 0x40010002, 0x1

    def partition_error(self) -> bool:
        """Only when the precondition says so."""
        return self._partition_error

    def vendor_status(self, control: int) -> int:
        """Status word of the bench's OTP macro, as the trace read it."""
        return self._read.get(Reg.VENDOR_STATUS, 0x5A5A0001)

    def _words(self, name: str, first: int) -> Sequence[int]:
        if name in self._identity:
            return [int(word, 16) for word in self._identity[name]]
        return [self._read.get(first + i, 0) for i in range(8)]


def _is_personalized(text: str) -> bool:
    return bool(re.search(r"SECRET2 locked|0x55555555|(?<!not )personali[sz]ed", text))


def _digests(trace: Trace) -> dict[TokenKind, bytes]:
    """Stored token hashes by the precondition's words; values from ``final``, else the recording bench's usual ones."""
    text = str(trace["precondition"]).lower()
    final = trace.get("final", {})
    found: dict[TokenKind, bytes] = {}
    for kind, phrase in _TOKEN_PHRASES.items():
        if re.search(phrase, text):
            if "stored_hash_bytes" in final:
                found[kind] = bytes.fromhex(final["stored_hash_bytes"])
            elif "token_words" in final:
                found[kind] = lc_hash(_token(final["token_words"]))
            else:
                found[kind] = lc_hash(_usual_token(trace, kind))
    return found


def _token(words: Sequence[str]) -> bytes:
    w0, w1, w2, w3 = (int(word, 16) for word in words)
    return raw_from_words((w0, w1, w2, w3))


def _usual_token(trace: Trace, kind: TokenKind) -> bytes:
    """The token of a trace that names none: the written one when the part ended in another state, else the usual."""
    final = trace.get("final", {})
    state = final.get("otp_state")
    if state is not None and f"LC state {state}," not in str(trace["precondition"]):
        written = {scan.address % 0x40: scan.data for scan in dmi_scans(trace) if scan.operation == 2}
        words = [written.get(Reg.TOKEN_0 + i, 0) for i in range(4)]
        return raw_from_words((words[0], words[1], words[2], words[3]))
    word = _USUAL_TOKEN_WORD[kind]
    return raw_from_words((word, word, word, word))


class BenchMemory:
    """Memory and, with a hart, the SRAM execution enable; all other addresses answer with a bus error."""

    def __init__(self, base: int, size: int, with_execution_enable: bool) -> None:
        self.base = base
        self.data = bytearray(size)
        self._execution_enable = 0x9
        self._registers = (EXECUTION_ENABLE,) if with_execution_enable else ()

    def read(self, address: int, size: int) -> int:
        """Read; raises `BusError` outside."""
        if address in self._registers:
            return self._execution_enable
        offset = self._offset(address, size)
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, address: int, size: int, value: int) -> None:
        """Write; raises `BusError` outside."""
        if address in self._registers:
            self._execution_enable = value & 0xF
            return
        offset = self._offset(address, size)
        self.data[offset : offset + size] = value.to_bytes(size, "little")

    def _offset(self, address: int, size: int) -> int:
        offset = address - self.base
        if not 0 <= offset <= len(self.data) - size:
            raise BusError(f"{address:#010x} is not mapped")
        return offset


@dataclass(slots=True)
class TraceBench:
    """The chip under replay: a TAP and what stands behind it."""

    clock: Clock
    tap: Tap
    fabric: TraceFabric | None = None
    bus: Bus | None = None
    hart: Hart | None = None


def build(trace: Trace, ratio: float | None = None) -> TraceBench:
    """A fresh chip in the trace's precondition; ``ratio`` overrides the recorded clk per TCK."""
    clock = Clock(clk_per_tck(trace) if ratio is None else ratio)
    text = str(trace["precondition"])
    if trace.get("tap") == "lc_ctrl" or "LC state" in text:
        fabric = TraceFabric(trace)
        volatile = bool(re.search(r"volatile (?:RAW )?unlock (?:built in|enabled|on)", text, re.I))
        return TraceBench(clock, lc_tap(LcController(fabric, clock, volatile_raw_unlock=volatile).tap, clock), fabric)
    return _build_debug(text, clock)


def _build_debug(text: str, clock: Clock) -> TraceBench:
    found = re.search(r"(\d+) KiB (?:memory )?at (0x[0-9a-fA-F]+)", text)
    size, base = (int(found[1]) * 1024, int(found[2], 16)) if found else (128 * 1024, 0x10000000)
    with_hart = "no hart" not in text
    memory = BenchMemory(base, size, with_hart)
    hart = Hart(memory, clock) if with_hart else None
    latency = re.search(r"bus answers (\d+) (?:system )?(?:clk|clocks?)", text)
    module = DebugModule(memory, hart, clock, bus_latency=float(latency[1]) if latency else 0.0)
    if re.search(r"hardware debug disabled|gate closed", text):
        module.enabled = False
    return TraceBench(clock, rv_tap(module, clock), bus=memory, hart=hart)
