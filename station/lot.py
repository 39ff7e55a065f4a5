"""This lot: counts, yield line, bins and map, derived from the verdicts of the journal."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from station.bins import Bins
from station.config import LotLimits
from station.journal_rows import Row
from station.protocol import BinCount, Lot, MapCell

TRAY_COLUMNS = 10
LINE_POINTS = 400
SHOWN_KINDS = ("pass", "fail", "hold", "quarantine")


@dataclass(slots=True)
class _Part:
    """Last verdict of one part, and whether its first attempt passed."""

    kind: str
    bin_id: str
    x: int
    y: int
    first_kind: str
    order: int


@dataclass(slots=True)
class LotBook:
    """All verdicts of one lot in one recipe; bench faults do not count."""

    lot: str
    wafer: str
    map_kind: str
    bins: Bins
    limits: LotLimits
    _parts: dict[str, _Part] = field(default_factory=dict)
    _line: list[float] = field(default_factory=list)
    _first_passes: int = 0
    _times: list[float] = field(default_factory=list)
    _fails_in_a_row: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def feed_all(self, rows: Iterable[Row]) -> None:
        """Take verdict rows in order."""
        for row in rows:
            self.feed(row)

    def feed(self, row: Row) -> None:
        """Take one verdict row."""
        kind = row.detail.get("kind")
        if kind not in SHOWN_KINDS:
            return
        with self._guard:
            key = row.context.label or row.context.device_id or f"row {row.seq}"
            known = self._parts.get(key)
            if known is None:
                self._first_passes += kind == "pass"
                place = self._place(row)
                self._parts[key] = _Part(kind, row.detail["bin_id"], *place, kind, len(self._parts))
                self._line.append(self._first_passes / len(self._parts))
                self._fails_in_a_row = 0 if kind == "pass" else self._fails_in_a_row + (kind == "fail")
            else:
                known.kind, known.bin_id = kind, row.detail["bin_id"]
            self._times.append(row.time)

    def event(self) -> Lot:
        """What the lot card shows."""
        with self._guard:
            kinds = [part.kind for part in self._parts.values()]
            total = len(kinds)
            count = {kind: kinds.count(kind) for kind in SHOWN_KINDS}
            cells = tuple(MapCell(part.x, part.y, part.kind, self._soft(part.bin_id)) for part in self._parts.values())
            return Lot(
                lot=self.lot, wafer=self.wafer, passed=count["pass"], failed=count["fail"], held=count["hold"],
                quarantined=count["quarantine"], first_pass_yield=self._first_passes / total if total else 0.0,
                units_per_hour=self._per_hour(), to_go=self._to_go(total),
                stop_limit=self.limits.yield_limit, stop_hint=self._stop_hint(total),
                yield_line=tuple(round(value, 4) for value in self._line[-LINE_POINTS:]), bins=self._bin_counts(),
                map_kind=self.map_kind, cells=cells,
            )  # fmt: skip

    @property
    def stopped(self) -> str:
        """One sentence when a stop rule has fired, else an empty text."""
        with self._guard:
            total = len(self._parts)
            limits = self.limits
            if limits.consecutive_fails and self._fails_in_a_row >= limits.consecutive_fails:
                return f"{self._fails_in_a_row} parts failed in a row; an engineer must look at the bench"
            if limits.yield_limit and total >= limits.yield_minimum_parts:
                first_pass = self._first_passes / total
                if first_pass < limits.yield_limit:
                    return f"first-pass yield {first_pass:.1%} is below the limit of {limits.yield_limit:.1%}"
            return ""

    def _place(self, row: Row) -> tuple[int, int]:
        if self.map_kind == "wafer" and row.context.x >= 0:
            return row.context.x, row.context.y
        order = len(self._parts)
        return order % TRAY_COLUMNS, order // TRAY_COLUMNS

    def _soft(self, bin_id: str) -> int:
        return self.bins[bin_id].soft if bin_id in self.bins else 0

    def _bin_counts(self) -> tuple[BinCount, ...]:
        ids = [part.bin_id for part in self._parts.values()]
        used = sorted((self.bins[id] for id in set(ids) | {"pass"} if id in self.bins), key=lambda bin: bin.soft)
        return tuple(BinCount(bin.soft, bin.name, bin.kind, ids.count(bin.id)) for bin in used)

    def _per_hour(self) -> float:
        recent = self._times[-50:]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return round((len(recent) - 1) * 3600 / (recent[-1] - recent[0]), 1)

    def _to_go(self, total: int) -> int:
        return max(0, self.limits.lot_size - total) if self.limits.lot_size else -1

    def _stop_hint(self, total: int) -> str:
        limit = self.limits.consecutive_fails
        if limit and self._fails_in_a_row:
            return f"{max(0, limit - self._fails_in_a_row)} more fails in a row stop the lot"
        if self.limits.yield_limit and total >= self.limits.yield_minimum_parts:
            bad = total - self._first_passes
            spare = int(total * (1 - self.limits.yield_limit)) - bad
            return f"{max(0, spare)} more fails stop the lot"
        return ""
