"""What the bench page asks of the engine: all faults of the virtual bench, what is armed, and to clear it."""

from __future__ import annotations

import re

from end2end_bench import Engine

from drivers.virtual.bench_state import known_faults
from station import protocol


def asked(engine: Engine, query: str) -> protocol.Rows:
    """The engine's answer to a query."""
    position = len(engine.events)
    engine.send(protocol.Query(query, position))
    return engine.wait(f"the answer to {query}", lambda e: getattr(e, "request", -1) == position, after=position)


def armed(engine: Engine) -> str:
    rows = asked(engine, "bench")
    found = dict(zip(rows.columns, rows.rows[0], strict=True))["armed"]
    return re.sub(r"unplug:\d+", "unplug:N", found)  # it counts down while the sensors are read


def test_faults_are_listed_armed_and_cleared(bench) -> None:
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        assert dict(asked(engine, "faults").rows) == known_faults()
        assert armed(engine) == ""
        for fault in ("power_cut:inside:3", "corrupt_blob:header", "console_silence", "unplug:5000000"):
            engine.send(protocol.Handle(1, "fault", fault))
        assert armed(engine) == "unplug:N, console_silence, corrupt_blob:header, power_cut:inside:3"
        engine.send(protocol.Handle(1, "power", "off"))
        assert armed(engine).startswith("unplug:N, power_off")
        engine.send(protocol.Handle(1, "unplug"), protocol.Handle(1, "power", "on"))
        assert armed(engine).split(", ")[:2] == ["unplug:N", "unplug"]
        engine.send(protocol.Handle(1, "replug"), protocol.Handle(1, "fault", "clear"))
        assert armed(engine) == ""
        engine.send(protocol.Handle(1, "remove"), protocol.Handle(1, "fault", "clear"))
        assert armed(engine) == "" and engine.of(protocol.CommandRefused) == []
        assert engine.end() == 0
