"""What a scan is understood as, where it goes, and which start is stale."""

from __future__ import annotations

import pytest

from station import labels
from station.errors import Refused
from station.protocol import (
    Scan,
    ScanTaken,
    SelectRecipe,
    Start,
)


def test_stale_epochs_and_wrong_sockets_are_refused(bench):
    bench.ready()
    state = bench.load()
    assert "has changed since" in bench.refused(Start(1, state.epoch - 1))
    assert "sockets 1 to 2" in bench.refused(Start(9, 1))
    assert "is not ready to start" in bench.refused(Start(2, bench.watcher.states[2].epoch))
    assert bench.world.part("D1").burns() == []


def test_scan_rules(bench):
    bench.sign_in("eng")
    bench.world.insert(1)
    bench.wait("scan")
    assert "choose a recipe first" in bench.refused(Scan("D1"))
    bench.bench.handle(SelectRecipe("fake-cp", "LOT1"))
    length = bench.bench.journal.length
    assert "expected a die label such as LOT1/D7" in bench.refused(Scan("banana"))
    assert bench.refused(Scan("1TLOT9")) == "That is the lot label; scan the part"
    assert "belongs to lot LOT2; this lot is LOT1" in bench.refused(Scan("LOT2/D1"))
    assert "not that it is you" in bench.refused(Scan("OP:ann"))
    assert "one printable scan" in bench.refused(Scan("D1\x07"))
    assert "socket 2 does not wait" in bench.refused(Scan("D1", 2))
    assert bench.last(ScanTaken).meaning == "refused"
    assert bench.bench.journal.length == length, "a refused scan leaves the journal as it was"
    assert bench.bench.handle(Scan("SLOT1/D1")), bench.said()
    assert bench.wait("scan", may_start=True).label == "LOT1/D1"
    bench.world.insert(2)
    bench.wait("scan", 2)
    assert "is in socket 1" in bench.refused(Scan("LOT1/D1", 2))
    bench.world.remove(1)
    bench.world.remove(2)
    bench.wait("insert_part")
    bench.wait("insert_part", 2)
    assert "no socket waits for this scan" in bench.refused(Scan("LOT1/D3"))


def test_a_scan_goes_to_the_socket_that_waits_longest(bench):
    bench.ready()
    bench.world.insert(2)
    bench.wait("scan", 2)
    bench.world.insert(1)
    bench.wait("scan", 1)
    assert bench.bench.handle(Scan("D1"))
    assert bench.wait("scan", 2, may_start=True).label == "D1"


def test_two_dimensional_labels_are_understood():
    envelope = "[)>\x1e06\x1d1TLOT1\x1dSLOT1/D4\x1e\x04"
    assert labels.understand(envelope) == labels.Scanned("part", "LOT1/D4")
    assert labels.understand("[)>\x1e06\x1d1TLOT1\x1e\x04") == labels.Scanned("lot", "LOT1")
    assert labels.understand(" TRAY:GOOD ") == labels.Scanned("tray", "GOOD")
    with pytest.raises(Refused, match="neither a serial number"):
        labels.understand("[)>\x1e06\x1dQ5\x1e\x04")
    with pytest.raises(Refused):
        labels.understand("x" * 300)


def test_a_part_that_passed_is_not_started_again(bench):
    bench.ready()
    bench.go()
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    assert "passed Fake Probe at" in bench.refused(Scan("D1"))
