"""What the journal tells of one run beyond its steps and measurements: burns, the appliance, what was kept, answers.

Each row of the journal becomes (what, name, value, detail); ``value`` is seconds since the start of the run, a length
in bytes for what was kept, milliseconds for a call to the appliance. No value of a secret is in the journal, and none
of what was kept is shown: names and lengths only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from station.journal_rows import Row

Line = tuple[str, str, object, str]


def lines_of(rows: Iterable[Row]) -> list[Line]:
    """The lines of one run, in the order of the journal."""
    lines: list[Line] = []
    start = 0.0
    for row in rows:
        if row.kind == "start":
            start = row.monotonic_us / 1e6
        maker = _MAKERS.get(row.kind)
        if maker is not None:
            lines += maker(row, round(row.monotonic_us / 1e6 - start, 3))
    return lines


def _intent(row: Row, at: float) -> list[Line]:
    return [("burn", row.title, at, f"intent recorded: {row.detail.get('text', '')}")]


def _outcome(row: Row, at: float) -> list[Line]:
    words = {"done": "read back: done", "not_done": "read back: not done", "unknown": "read back: unknown",
             "contradicts": "read back: something else", "half_done": "read back: half done"}  # fmt: skip
    detail = words.get(str(row.detail["evidence"]), str(row.detail["evidence"]))
    return [("burn", row.title, at, _with_reason(detail, row))]


def _found_done(row: Row, at: float) -> list[Line]:
    return [("burn", row.title, at, _with_reason("found done", row))]


def _step(row: Row, at: float) -> list[Line]:
    sentence = row.detail.get("sentence")
    return [("failure", row.title, at, str(sentence))] if sentence else []


def _reject(row: Row, at: float) -> list[Line]:
    saw = row.detail.get("saw")
    return [("reject", str(row.detail["bin"]), at, f"{row.detail['sentence']}{f' (saw {saw})' if saw else ''}")]


def _answer(row: Row, at: float) -> list[Line]:
    return [("question", str(row.detail["question"]), at, str(row.detail["choice"]))]


def _confirmed(row: Row, at: float) -> list[Line]:
    whose = "confirmed for the lot" if row.context.lot else "confirmed for this part"
    return [("question", whose, at, str(row.detail["choice"]))]


def _waiver(row: Row, at: float) -> list[Line]:
    return [("erase", "allowed", at, str(row.detail["reason"]))]


def _erased(row: Row, at: float) -> list[Line]:
    return [("erase", "done", at, f"the whole part was erased, with every key in it: {row.detail['reason']}")]


def _spared(row: Row, at: float) -> list[Line]:
    return [("erase", "spared", at, str(row.detail["reason"]))]


def _keep(row: Row, at: float) -> list[Line]:
    return [("kept", str(row.detail["name"]), len(row.detail["value"]) // 2, f"bytes, {row.detail['form']}")]


def _registration(row: Row, at: float) -> list[Line]:
    return [("kept", f"registration of {row.detail['sku']}", len(row.detail["sealed"]) // 2, "bytes, sealed")]


def _registered(row: Row, at: float) -> list[Line]:
    return [("appliance", "registration", at, "acknowledged")]


def _appliance(row: Row, at: float) -> list[Line]:
    detail = row.detail
    got = f"refused: {detail['error']}" if detail.get("error") else detail.get("got") or "ok"
    return [("appliance", str(detail["call"]), detail["milliseconds"], f"{detail['sent']} → {got}")]


def _quarantine(row: Row, at: float) -> list[Line]:
    return [("quarantine", row.title, at, str(row.detail.get("reason", "")))]


def _verdict(row: Row, at: float) -> list[Line]:
    detail = row.detail
    words = f"bin {detail['soft']} {detail['bin_id']} → {detail['tray']}"
    return [("verdict", str(detail["kind"]), at, " · ".join(filter(None, (words, detail["reason"]))))]


def _with_reason(words: str, row: Row) -> str:
    reason = row.detail.get("reason")
    return f"{words} ({reason})" if reason else words


_MAKERS: dict[str, Callable[[Row, float], list[Line]]] = {
    "intent": _intent,
    "outcome": _outcome,
    "found_done": _found_done,
    "step": _step,
    "reject": _reject,
    "answer": _answer,
    "keep": _keep,
    "registration": _registration,
    "registered": _registered,
    "appliance": _appliance,
    "confirmed": _confirmed,
    "waiver": _waiver,
    "erased": _erased,
    "spared": _spared,
    "quarantine": _quarantine,
    "verdict": _verdict,
}
