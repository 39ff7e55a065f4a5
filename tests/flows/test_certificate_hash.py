"""No part passes whose certificate hash was not compared: the firmware waits until the comparison is on the disk."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from crash_bench import LABELS, kill

from drivers.virtual.earlgrey.firmware import ft_personalize
from drivers.virtual.earlgrey.partitions import PARTITIONS
from drivers.virtual.earlgrey.spi_device import ConsoleMode
from station.deadline import Deadline
from station.flows.final_test import COMPARED, SENT, _hash_compared
from station.journal_parts import BurnState, PartRecord
from station.journal_reader import read_part


@pytest.fixture
def place(matrix):
    """A part that waits for its certificates' export, in the socket, and a station that has not begun to install."""
    place = matrix.bench.copy(matrix.flow("final_test").windows["install"].place)
    matrix.bench.forget_registrations()
    matrix.bench.insert(place)
    yield place
    matrix.bench.remove()
    matrix.bench.drop(place)


def kept_by(place) -> dict[str, bytes]:
    return read_part(place.data, LABELS[place.recipe]).kept


def is_finished(matrix, place) -> bool:
    """Whether the firmware went on to its last words: both software partitions carry a digest."""
    fuses = matrix.bench.fuses(place)
    digests = [PARTITIONS[name].digest // 2 for name in ("OWNER_SW_CFG", "CREATOR_SW_CFG")]
    return all(all(fuses[start : start + 4]) for start in digests)


def kill_at_edge(monkeypatch, wanted):
    """Kill the station at this edge of chip select (of four) while it fetches the frame that carries the hash."""
    pids, real = [], ConsoleMode.edge

    def edge(mode, window):
        real(mode, window)
        carries = b"RESP_OK:" in mode._buffer and len(mode._buffer) < ft_personalize.PADDED_HASH * 2
        if carries and mode.edges == wanted and pids:
            kill(pids.pop())

    monkeypatch.setattr(ConsoleMode, "edge", edge)
    return pids.append


@pytest.mark.timeout(120)
@pytest.mark.parametrize("edge", [1, 2, 3, 4])
def test_killed_while_it_fetches_the_hash_the_rerun_passes_with_the_hash_compared(matrix, place, monkeypatch, edge):
    assert matrix.bench.run(place, kill_at_edge(monkeypatch, edge)).killed
    assert ("certificates_compared" in kept_by(place)) == (edge > 2)
    assert matrix.bench.run(place).kind == "pass"
    assert len(matrix.bench.registrations()) == 1
    kept = kept_by(place)
    assert kept["certificates_sent"] == kept["certificates_compared"]
    assert not matrix.bench.chip.state()["double_burns"]


def lie(monkeypatch):
    """The part answers with the hash of other certificates than it was sent."""
    real = ft_personalize.ujson.padded_answer

    def padded_answer(content, size):
        if size == ft_personalize.PADDED_HASH:
            content = {"data": [word ^ 1 for word in content["data"]]}
        return real(content, size)

    monkeypatch.setattr(ft_personalize.ujson, "padded_answer", padded_answer)


@pytest.mark.timeout(120)
def test_another_hash_fails_the_part_before_its_last_words_are_written(matrix, place, monkeypatch):
    with monkeypatch.context() as patch:
        lie(patch)
        ending = matrix.bench.run(place)
    assert (ending.kind, ending.result["bin"]) == ("fail", "certificate"), ending.result
    assert "their hash differs" in ending.result["reason"]
    assert not is_finished(matrix, place)
    assert matrix.bench.registrations() == [] and "certificates_compared" not in kept_by(place)
    assert matrix.bench.run(place).kind == "pass", "nothing was lost: the exchange is simply repeated"


@pytest.mark.timeout(120)
def test_a_part_that_went_on_although_nobody_compared_its_hash_is_quarantined(matrix, place, monkeypatch):
    """A reader that is not this station's console let the firmware go on."""
    assert matrix.bench.run(place, kill_at_edge(monkeypatch, 2)).killed
    chip, deadline = matrix.bench.chip, Deadline(10)
    with chip.lock:
        chip.spi_device.mode.edges = 4
        chip.changed.notify_all()
    while not is_finished(matrix, place):
        deadline.check("the firmware to lock both software partitions")
        time.sleep(0.01)
    for _ in range(2):
        ending = matrix.bench.run(place, release=True)
        assert ending.kind == "quarantine" and "never compared" in ending.result["reason"], ending.result
    assert matrix.bench.registrations() == []


@pytest.mark.parametrize(
    ("state", "kept", "compared"),
    [
        (BurnState.OPEN, {}, False),  # begun by a station that kept no hash: nobody knows whether it compared
        (BurnState.OPEN, {SENT: b"a"}, False),
        (BurnState.OPEN, {SENT: b"b", COMPARED: b"a"}, False),
        (BurnState.OPEN, {SENT: b"a", COMPARED: b"a"}, True),
        (BurnState.DONE, {}, True),
        (BurnState.NOTHING, {}, True),  # whether it was done elsewhere is for the decision table
    ],
)
def test_an_installation_that_was_begun_counts_only_with_its_hash(state, kept, compared):
    record = PartRecord(kept=kept)
    record.burn("final_test", "install").state = state
    run = SimpleNamespace(context=SimpleNamespace(flow="final_test"), part=record, kept=kept.get)
    assert _hash_compared(run) is compared
