"""The questions that window and command line ask of the history: each gives column names and plain rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from station.errors import Refused, nearest
from station.records.history import RUN_COLUMNS, History
from station.records.run_detail import lines_of

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
HISTORY_COLUMNS = ("run", "time", "socket", "recipe", "lot", "label", "device_id", "attempt", "operator", "mode",
                   "kind", "bin", "hard_bin", "bin_id", "reason", "tray", "seconds")  # fmt: skip
RUN_LINES = ("what", "name", "value", "detail")
FILTERS = ("label", "device_id", "lot", "bin_id", "kind", "recipe", "operator", "mode", "socket")
KNOWN = {"history": (*FILTERS, "since", "until", "limit"), "run": ("run",), "outbox": ()}
"""What a query may be asked with, when it is not every filter."""
NOWHERE = {"wafer": "", "x": -1, "y": -1}
"""What these say of a part that comes off no wafer: then they are left out of its run."""
TRAY_OF_THE_PART = "from_tray"
"""What a part that comes off no wafer has instead; ``tray`` is where its verdict sends it."""
TIMES = ("time", "acknowledged")
LARGEST = 10_000


def history(records: History, arguments: Mapping[str, str]) -> Table:
    """Runs, newest first; filters by column, ``since`` and ``until`` in seconds, ``limit``."""
    where, parameters = _where(arguments)
    limit = max(1, min(LARGEST, int(arguments.get("limit", "200"))))
    sql = f"SELECT {','.join(HISTORY_COLUMNS)} FROM {records.shown_runs()} {where} ORDER BY run DESC LIMIT {limit}"
    return HISTORY_COLUMNS, records.rows(sql, parameters)


def run(records: History, arguments: Mapping[str, str]) -> Table:
    """One run with its steps, measurements, burns and calls to the appliance: kind, name, value, detail."""
    if not arguments.get("run"):
        raise Refused("the query 'run' wants the number of a run: run=NUMBER (the query 'history' lists them)")
    number = int(arguments["run"])
    columns = RUN_LINES
    found = records.rows(f"SELECT {','.join(RUN_COLUMNS)} FROM {records.shown_runs()} WHERE run = ?", (number,))
    if not found:
        raise Refused(f"no run {number} in these records; the query 'history' lists them")
    rows: list[tuple[Any, ...]] = [
        ("run", name, value, "") for line in found for name, value in _facts(dict(zip(RUN_COLUMNS, line, strict=True)))
    ]
    for title, status, seconds in records.rows("SELECT title, status, seconds FROM steps WHERE run = ?", (number,)):
        rows.append(("step", title, seconds, status))
    sql = "SELECT name, value, unit, low, high, inside FROM measurements WHERE run = ?"
    for name, value, unit, low, high, inside in records.rows(sql, (number,)):
        limits = f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}"
        rows.append(("measurement", name, value, f"{unit} [{limits}] {'inside' if inside else 'OUTSIDE'}".strip()))
    return columns, rows + lines_of(records.of_run(number))


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What there is to say of a run; only what comes off a wafer has a place on one."""
    on_wafer = run["x"] != NOWHERE["x"]
    for name, value in run.items():
        if name not in NOWHERE or value != NOWHERE[name]:
            yield (TRAY_OF_THE_PART if name == "wafer" and not on_wafer else name), value


def yields(records: History, arguments: Mapping[str, str]) -> Table:
    """Per recipe and lot: parts with a result, how many passed first, first-pass yield, and parts still on hold.

    A part on hold has no result yet; its first pass, fail or quarantine counts. One mode at a time, production by
    default.
    """
    where, parameters = _where({"mode": "production", **arguments})
    sql = f"""
        SELECT recipe, lot, count(result), sum(result IS NOT NULL AND kind = 'pass'),
               round(1.0 * sum(result IS NOT NULL AND kind = 'pass') / count(result), 4), sum(result IS NULL)
        FROM (SELECT recipe, lot, label, kind, min(CASE WHEN kind != 'hold' THEN run END) AS result FROM runs {where}
              {"AND" if where else "WHERE"} kind IN ('pass', 'fail', 'hold', 'quarantine')
              GROUP BY recipe, lot, label)
        GROUP BY recipe, lot ORDER BY recipe, lot"""
    return ("recipe", "lot", "parts", "first_passes", "first_pass_yield", "on_hold"), records.rows(sql, parameters)


def pareto(records: History, arguments: Mapping[str, str]) -> Table:
    """Runs per bin, most frequent first."""
    where, parameters = _where(arguments)
    sql = f"""SELECT bin, bin_id, kind, count(*) AS count FROM runs {where} {"AND" if where else "WHERE"} kind != ''
              GROUP BY bin, bin_id, kind ORDER BY count DESC"""
    return ("bin", "bin_id", "kind", "count"), records.rows(sql, parameters)


def sockets(records: History, arguments: Mapping[str, str]) -> Table:
    """Per socket: runs, passes, mean seconds."""
    where, parameters = _where(arguments)
    sql = f"""SELECT socket, count(*), sum(kind = 'pass'), round(avg(seconds), 3), max(touchdown) FROM runs {where}
              GROUP BY socket ORDER BY socket"""
    return ("socket", "runs", "passed", "mean_seconds", "touchdowns"), records.rows(sql, parameters)


def step_times(records: History, arguments: Mapping[str, str]) -> Table:
    """Per title of one recipe: how often and how long."""
    where, parameters = _where(arguments)
    sql = f"""SELECT title, count(*), round(avg(s.seconds), 4), round(min(s.seconds), 4), round(max(s.seconds), 4)
              FROM steps s JOIN (SELECT run FROM runs {where}) r ON r.run = s.run GROUP BY title ORDER BY min(s.seq)"""
    return ("title", "count", "mean", "shortest", "longest"), records.rows(sql, parameters)


def outbox(records: History, arguments: Mapping[str, str]) -> Table:
    """Registrations and when the appliance acknowledged them (empty while pending)."""
    columns = ("run", "time", "label", "device_id", "sku", "acknowledged")
    return columns, records.rows(f"SELECT {','.join(columns)} FROM registrations ORDER BY run DESC LIMIT {LARGEST}")


VIEWS: Mapping[str, Callable[[History, Mapping[str, str]], Table]] = {
    "history": history,
    "run": run,
    "yield": yields,
    "pareto": pareto,
    "sockets": sockets,
    "step_times": step_times,
    "outbox": outbox,
}


def ask(records: History, query: str, arguments: Mapping[str, str]) -> Table:
    """Answer one query by name; ``Refused`` in one sentence when name or arguments make no sense."""
    view = VIEWS.get(query)
    if view is None:
        raise Refused(f"there is no query '{query}'{nearest(query, VIEWS)}; there are {', '.join(VIEWS)}")
    known = KNOWN.get(query, (*FILTERS, "since", "until"))
    for name in arguments:
        if name not in known:
            words = f"it knows {', '.join(known)}" if known else "it takes none"
            raise Refused(f"the query '{query}' has no filter '{name}'{nearest(name, known)}; {words}")
    try:
        return view(records, arguments)
    except ValueError:
        raise Refused(f"expected numbers where the query '{query}' wants them") from None


def with_clock(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The rows for people and spreadsheets: times as ISO 8601 in local time with milliseconds."""
    return [
        tuple(_clock(value) if name in TIMES else value for name, value in zip(columns, row, strict=True))
        if columns != RUN_LINES
        else (*row[:2], _clock(row[2]) if row[1] in TIMES else row[2], *row[3:])
        for row in rows
    ]


def _clock(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        return value
    return datetime.fromtimestamp(value).astimezone().isoformat(timespec="milliseconds")


def why_empty(records: History, query: str, arguments: Mapping[str, str]) -> str:
    """One sentence when a yield is empty only because it counts the runs of another mode."""
    if query != "yield" or arguments.get("mode"):
        return ""
    modes = [str(mode) for (mode,) in records.rows("SELECT DISTINCT mode FROM runs WHERE kind != '' ORDER BY mode")]
    if not modes:
        return ""
    return f"no run of mode production; there are runs of mode {' and '.join(modes)}: ask with --where mode={modes[0]}"


def _where(arguments: Mapping[str, str]) -> tuple[str, list[object]]:
    chosen, parameters = [], list[object]()
    for name in FILTERS:
        if arguments.get(name):
            chosen.append(f"{name} = ?")
            parameters.append(arguments[name])
    for name, sign in (("since", ">="), ("until", "<")):
        if arguments.get(name):
            chosen.append(f"time {sign} ?")
            parameters.append(float(arguments[name]))
    return (f"WHERE {' AND '.join(chosen)}" if chosen else ""), parameters
