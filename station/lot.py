"""The lot card: counts, yield line, bins and map, derived from the verdicts of the journal.

With a lot only that lot counts, without one the parts of today. A part on hold has no result yet: it is in no yield
until it is finished, and then counts with its first final result.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from station.bins import Bins
from station.config import LotLimits
from station.journal_rows import Row
from station.protocol import BinCount, Lot, MapCell

TRAY_COLUMNS = 10
LINE_POINTS = 400
FINAL_KINDS = ("pass", "fail", "quarantine")
SHOWN_KINDS = (*FINAL_KINDS, "hold")
Sheet = tuple[str, str]
"""Lot and wafer (or tray) of one map."""


def day_began(seconds: float, hour: int) -> float:
    """When the day of this moment began in local time, in seconds since 1970; a day begins at ``hour``."""
    moment = datetime.fromtimestamp(seconds)
    start = moment.replace(hour=hour, minute=0, second=0, microsecond=0)
    return (start if start <= moment else start - timedelta(days=1)).timestamp()


@dataclass(slots=True)
class _Part:
    """Last verdict of one part, where it is on which map, and whether it has a result."""

    sheet: Sheet
    x: int
    y: int
    kind: str = ""
    bin_id: str = ""
    final: bool = False


@dataclass(slots=True)
class LotBook:
    """All verdicts of one lot (or of today) in one recipe; bench faults do not count."""

    lot: str
    wafer: str
    map_kind: str
    bins: Bins
    limits: LotLimits
    _since: float = 0.0
    _parts: dict[str, _Part] = field(default_factory=dict)
    _on_sheet: Counter[Sheet] = field(default_factory=Counter)
    _sheet: Sheet | None = None
    _line: list[float] = field(default_factory=list)
    _finals: int = 0
    _first_passes: int = 0
    _times: list[float] = field(default_factory=list)
    _fails_in_a_row: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def start_of_day(self, seconds: float) -> int:
        """Begin to count with the day of this moment; returns its start in microseconds, as the journal has it.

        Of what was fed before only the fails in a row stay: they are the bench's trouble, also over a restart at night.
        """
        with self._guard:
            self._turn_page(seconds)
            self._sheet = None
            return int(self._since * 1e6)

    def feed_all(self, rows: Iterable[Row]) -> None:
        """Take the verdict rows of before in order; the map stays with the wafer that was chosen."""
        for row in rows:
            self._feed(row, self.wafer in ("", row.context.wafer))

    def feed(self, row: Row) -> None:
        """Take one verdict row; the map follows to its wafer."""
        self._feed(row, follow=True)

    def _feed(self, row: Row, follow: bool) -> None:
        kind = row.detail.get("kind")
        if kind not in SHOWN_KINDS or (self.lot and row.context.lot != self.lot):
            return
        with self._guard:
            if not self.lot:
                self._turn_page(row.time)
            part = self._part(row)
            part.kind, part.bin_id = kind, row.detail["bin_id"]
            self._times.append(row.time)
            if kind in FINAL_KINDS and not part.final:
                part.final = True
                self._first_result(kind)
            if follow:
                self._sheet = part.sheet

    def _turn_page(self, seconds: float) -> None:
        """A new day: count anew; that parts failed in a row is the bench's trouble and stays."""
        began = day_began(seconds, self.limits.day_starts)
        if began <= self._since:
            return
        self._since = began
        self._parts.clear()
        self._on_sheet.clear()
        self._line.clear()
        self._times.clear()
        self._finals = self._first_passes = 0

    def _first_result(self, kind: str) -> None:
        self._finals += 1
        self._first_passes += kind == "pass"
        self._line.append(self._first_passes / self._finals)
        self._fails_in_a_row = 0 if kind == "pass" else self._fails_in_a_row + (kind == "fail")

    def _part(self, row: Row) -> _Part:
        key = row.context.label or row.context.device_id or f"row {row.seq}"
        if key not in self._parts:
            sheet = (row.context.lot, row.context.wafer)
            self._parts[key] = _Part(sheet, *self._place(row, self._on_sheet[sheet]))
            self._on_sheet[sheet] += 1
        return self._parts[key]

    def event(self) -> Lot:
        """What the lot card shows."""
        with self._guard:
            kinds = Counter(part.kind for part in self._parts.values())
            return Lot(
                lot=self.lot, wafer=self.wafer, passed=kinds["pass"], failed=kinds["fail"], held=kinds["hold"],
                quarantined=kinds["quarantine"], first_pass_yield=self._yield(), units_per_hour=self._per_hour(),
                to_go=self._to_go(len(self._parts)), stop_limit=self.limits.yield_limit, stop_hint=self._stop_hint(),
                yield_line=tuple(round(value, 4) for value in self._line[-LINE_POINTS:]), bins=self._bin_counts(),
                map_kind=self.map_kind, cells=self._cells(), since=self._since, map_name=self._map_name(),
            )  # fmt: skip

    def _yield(self) -> float:
        return self._first_passes / self._finals if self._finals else 0.0

    def _cells(self) -> tuple[MapCell, ...]:
        """The parts of the wafer or tray that is worked on: dies of two wafers have the same places."""
        shown = [part for part in self._parts.values() if part.sheet == self._sheet]
        return tuple(MapCell(part.x, part.y, part.kind, self._soft(part.bin_id)) for part in shown)

    def _map_name(self) -> str:
        if self._sheet is None:
            return self.wafer
        return " ".join(filter(None, self._sheet)) if not self.lot else self._sheet[1]

    @property
    def stopped(self) -> str:
        """One sentence when a stop rule has fired, else an empty text."""
        with self._guard:
            limits = self.limits
            if limits.consecutive_fails and self._fails_in_a_row >= limits.consecutive_fails:
                return f"{self._fails_in_a_row} parts failed in a row; an engineer must look at the bench"
            if limits.yield_limit and self._finals >= limits.yield_minimum_parts and self._yield() < limits.yield_limit:
                return f"first-pass yield {self._yield():.1%} is below the limit of {limits.yield_limit:.1%}"
            return ""

    def _place(self, row: Row, order: int) -> tuple[int, int]:
        if self.map_kind == "wafer" and row.context.x >= 0:
            return row.context.x, row.context.y
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
        return max(0, self.limits.lot_size - total) if self.lot and self.limits.lot_size else -1

    def _stop_hint(self) -> str:
        limit, what = self.limits.consecutive_fails, "lot" if self.lot else "bench"
        if limit and self._fails_in_a_row:
            return f"{max(0, limit - self._fails_in_a_row)} more fails in a row stop the {what}"
        if self.limits.yield_limit and self._finals >= self.limits.yield_minimum_parts:
            bad = self._finals - self._first_passes
            spare = int(self._finals * (1 - self.limits.yield_limit)) - bad
            return f"{max(0, spare)} more fails stop the {what}"
        return ""
