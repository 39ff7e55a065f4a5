"""Replays recorded pin-level JTAG traces on a fresh virtual chip and compares every driven TDO bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from drivers.virtual.taps.bus import BusError
from drivers.virtual.taps.trace_bench import Trace, TraceBench, TraceError, build
from station.errors import FormatError
from station.formats.lc import LcState
from station.formats.lc_token import lc_hash, raw_from_words

_PIECE_BITS = 4096


def check_traces(folder: Path, out: Callable[[str], object]) -> int:
    """Check every ``*.json`` in ``folder``; one line per file through ``out``; 1 on any difference, else 0."""
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        out(f"{folder}: no traces found")
        return 1
    differing = 0
    for file in files:
        finding = _check_file(file)
        differing += finding is not None
        out(f"{file.stem}: {finding or 'identical'}")
    return int(differing > 0)


def _check_file(file: Path) -> str | None:
    try:
        return check_trace(json.loads(file.read_text(encoding="utf-8")))
    except (TraceError, FormatError, KeyError, TypeError, ValueError) as error:
        return f"cannot be replayed: {type(error).__name__}: {error}"


def check_trace(trace: Trace, ratio: float | None = None) -> str | None:
    """Replay one trace; None when identical, else a sentence about the first difference."""
    tms, tdi, tdo = trace["tms"], trace["tdi"], trace["tdo"]
    if not len(tms) == len(tdi) == len(tdo):
        raise TraceError(f"expected tms, tdi and tdo of one length, got {len(tms)}, {len(tdi)} and {len(tdo)}")
    bench = build(trace, ratio)
    got = replay(bench, tms, tdi)
    for bit, (expected, seen) in enumerate(zip(tdo, got, strict=True)):
        if expected not in ("-", seen):
            number, operation = scan_at(trace, bit)
            return f"first difference at bit {bit} in scan {number} (op {operation}): expected {expected}, got {seen}"
    return next(_final_differences(trace, bench), None)


def replay(bench: TraceBench, tms: str, tdi: str) -> str:
    """Clock a recording (first cycle first) and return TDO in the same notation."""
    out = []
    for at in range(0, len(tms), _PIECE_BITS):
        tms_piece, tdi_piece = tms[at : at + _PIECE_BITS], tdi[at : at + _PIECE_BITS]
        count = len(tms_piece)
        bits = bench.tap.clock(count, int(tms_piece[::-1], 2), int(tdi_piece[::-1], 2))
        out.append(format(bits, f"0{count}b")[::-1])
    return "".join(out)


def scan_at(trace: Trace, bit: int) -> tuple[int, str]:
    """Number (from 0) and description of the step that bit ``bit`` belongs to."""
    found = (0, "unknown")
    for number, step in enumerate(trace.get("steps", ())):
        if step["at"] > bit and number:
            break
        found = (number, _describe(step))
    return found


def _describe(step: Trace) -> str:
    request = step.get("dmi_out", step)
    address = f" {request['addr']}" if "addr" in request else ""
    return f"{step.get('op', '?')}{address}"


def _final_differences(trace: Trace, bench: TraceBench) -> Iterator[str]:
    final = trace.get("final", {})
    fabric = bench.fabric
    if fabric is not None:
        state = LcState(fabric.state).name if fabric.state is not None else "INVALID"
        if final.get("otp_state", state) != state:
            yield f"final otp_state: expected {final['otp_state']}, got {state}"
        if int(final.get("otp_count", fabric.count)) != fabric.count:
            yield f"final otp_count: expected {final['otp_count']}, got {fabric.count}"
    if "token_words" in final and "stored_hash_bytes" in final:
        yield from _token_difference(final)
    if bench.bus is not None:
        yield from _memory_differences(bench, final, "base", "words")
        yield from _memory_differences(bench, final, "result_address", "result_words")
    if "ebreak_address" in final and bench.hart is not None:
        expected, pc = int(final["ebreak_address"], 16), bench.hart.pc
        if not bench.hart.halted or pc != expected:
            yield f"final ebreak_address: expected {expected:#010x}, got {pc:#010x}"


def _token_difference(final: Trace) -> Iterator[str]:
    w0, w1, w2, w3 = (int(word, 16) for word in final["token_words"])
    digest = lc_hash(raw_from_words((w0, w1, w2, w3))).hex()
    if digest != final["stored_hash_bytes"]:
        yield f"final stored_hash_bytes: expected {final['stored_hash_bytes']}, got {digest}"


def _memory_differences(bench: TraceBench, final: Trace, address_name: str, words_name: str) -> Iterator[str]:
    if address_name not in final or words_name not in final or bench.bus is None:
        return
    base = int(final[address_name], 16)
    for i, word in enumerate(final[words_name]):
        expected = int(word, 16)
        try:
            seen = bench.bus.read(base + 4 * i, 4)
        except BusError as error:
            yield f"final {words_name}[{i}]: {error}"
            return
        if seen != expected:
            yield f"final {words_name}[{i}]: expected {expected:08x}, got {seen:08x}"
