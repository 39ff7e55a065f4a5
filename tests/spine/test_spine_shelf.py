"""The shelf of the virtual bench: labels once and for all, and which die is taken next."""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace

import pytest
from fake_station import PIN, World

from station import shelf as shelves
from station.bins import load_bins
from station.chips import chip_named
from station.errors import ConfigError, Refused
from station.journal_rows import Context
from station.recipe import load_recipe
from station.resources import resources_folder
from station.shelf import Shelf, next_die, next_to_recover, put_next, wafer_name


class ShelfBench:
    """What the shelf asks of a workbench."""

    def __init__(self, journal, lot="", wafer=""):
        self.journal, self.lot, self.wafer = journal, lot, wafer
        self.in_sockets, self.on_bench = set(), []

    def seated_dies(self):
        return self.in_sockets

    def bins_of(self, recipe):
        return load_bins(resources_folder() / "bins.toml").overridden(recipe.pack.bins)

    def shelf(self):
        return self.on_bench


@pytest.fixture
def bench(journal):
    return ShelfBench(journal, "L24-0117", "W2")


def judge(journal, kind, label, flow, verdict, pending=False, bin_id=""):
    """A run of that flow with that verdict."""
    start = journal.start(Context(socket=1, label_kind=kind, label=label, flow=flow, recipe=flow), {})
    if verdict:
        detail = {"kind": verdict, "bin_id": bin_id or verdict, "reason": "", "pending": pending}
        journal.verdict(start.context, detail)


def take(bench, shelf, kind="die"):
    flow = "chip_probe" if kind == "die" else "final_test"
    return next_die(bench, shelf, kind, flow, chip_named("earlgrey"))


def probed(bench, shelf, verdict="pass"):
    name = take(bench, shelf)
    judge(bench.journal, "die", shelf.label(name, "die"), "chip_probe", verdict)
    return name


def test_labels_follow_lot_and_wafer_and_are_the_same_after_a_restart(bench, tmp_path):
    shelf = Shelf(tmp_path)
    first = probed(bench, shelf)
    second = probed(bench, shelf)
    bench.wafer = "3"
    third = probed(bench, shelf)
    bench.lot, bench.wafer = "", ""
    fourth = probed(bench, shelf)
    places = [shelf.label(name, "die") for name in (first, second, third, fourth)]
    assert places == ["L24-0117/W2/X0/Y0", "L24-0117/W2/X1/Y0", "L24-0117/W3/X0/Y0", "DEMO/W1/X0/Y0"]
    assert [shelf.label(name, "part") for name in (first, fourth)] == ["P000001", "P000004"]
    assert list(Shelf(tmp_path)) == list(shelf)


def test_a_die_on_hold_is_taken_again_before_a_new_one_and_one_in_a_socket_never(bench, tmp_path):
    shelf = Shelf(tmp_path)
    held = probed(bench, shelf, "hold")
    bench.in_sockets = {held}
    other = take(bench, shelf)
    assert other != held
    bench.in_sockets = {other}
    assert take(bench, shelf) == held
    bench.wafer = "W9"
    assert shelf.label(take(bench, shelf), "die") == "L24-0117/W9/X0/Y0", "a die of another wafer is not taken"


@pytest.mark.parametrize(("verdict", "again"), [("bench", True), ("fail", False), ("quarantine", False), ("", False)])
def test_only_hold_and_bench_go_again(bench, tmp_path, verdict, again):
    shelf = Shelf(tmp_path)
    name = probed(bench, shelf, verdict)
    assert (take(bench, shelf) == name) is again


def test_final_test_takes_what_passed_chip_probe(bench, tmp_path):
    shelf = Shelf(tmp_path)
    with pytest.raises(Refused, match="run Chip Probe first"):
        take(bench, shelf, "part")
    failed, passed, later = probed(bench, shelf, "fail"), probed(bench, shelf), probed(bench, shelf)
    assert failed not in (passed, later)
    assert take(bench, shelf, "part") == passed
    judge(bench.journal, "part", shelf.label(passed, "part"), "final_test", "hold")
    assert take(bench, shelf, "part") == passed, "a part on hold goes again"
    judge(bench.journal, "part", shelf.label(passed, "part"), "final_test", "hold", pending=True)
    assert take(bench, shelf, "part") == later, "what waits for the outbox does not"
    judge(bench.journal, "part", shelf.label(later, "part"), "final_test", "pass")
    with pytest.raises(Refused, match="no die that passed"):
        take(bench, shelf, "part")


def test_a_chip_without_probe_comes_fresh_out_of_its_tray(bench, tmp_path):
    bench.wafer = "T04"
    shelf, chip = Shelf(tmp_path), chip_named("nrf5340")
    first = next_die(bench, shelf, "part", "tfm_provisioning", chip)
    assert (first, shelf.label(first, "part")) == ("part-0001", "P000001")
    assert next_die(bench, shelf, "part", "tfm_provisioning", chip) == first, "nobody has begun it"
    judge(bench.journal, "part", "P000001", "tfm_provisioning", "pass")
    bench.on_bench = ["part-0001", "part-0004", "die-0009"]
    assert next_die(bench, shelf, "part", "tfm_provisioning", chip) == "part-0005"
    judge(bench.journal, "part", "P000005", "tfm_provisioning", "hold")
    assert next_die(bench, shelf, "part", "tfm_provisioning", chip) == "part-0005"


PROVISION, RECOVER = "tfm_provisioning", "tfm_recover"


@pytest.fixture
def recover():
    return load_recipe("nrf5340-dk-recover")


def parts(bench, shelf, *verdicts):
    """New parts with these verdicts (kind, bin) of provisioning; their names."""
    names = []
    for kind, bin_id in verdicts:
        names.append(shelf.new("", "", (), "part"))
        judge(bench.journal, "part", shelf.label(names[-1], "part"), PROVISION, kind, bin_id=bin_id)
    return names


def erase(bench, shelf, name, verdict="pass", bin_id="recovered"):
    """A recovery that came to its end."""
    label = shelf.label(name, "part")
    start = bench.journal.start(Context(socket=1, label_kind="part", label=label, flow=RECOVER), {})
    bench.journal.write(start.context, "waiver", "", {"reason": "recovery"})
    bench.journal.write(start.context, "erased", "", {"reason": "recovery", "waiver": 1})
    bench.journal.verdict(start.context, {"kind": verdict, "bin_id": bin_id, "reason": "", "pending": False})


RECOVER_BINS = ("locked", "half_provisioned", "dummy_key", "network_core", "boot_refused")


@pytest.mark.parametrize("bin_id", RECOVER_BINS)
def test_a_recovery_takes_the_part_that_needs_it_and_never_a_good_one(bench, tmp_path, recover, bin_id):
    shelf = Shelf(tmp_path)
    passed, failed, wanted = parts(bench, shelf, ("pass", "pass"), ("fail", "attestation"), ("fail", bin_id))
    assert next_to_recover(bench, shelf, recover) == wanted
    bench.in_sockets = {wanted}
    with pytest.raises(Refused, match=r"no part on the shelf needs nrf5340-dk-recover: .* tray RECOVER"):
        next_to_recover(bench, shelf, recover)
    assert passed != failed


def test_every_bin_of_the_recover_tray_counts():
    bins = load_bins(resources_folder() / "bins.toml")
    assert {bin.id for bin in bins if bin.tray == "RECOVER"} == set(RECOVER_BINS)


def test_a_recovery_takes_no_new_part_nor_prints_one(bench, tmp_path, recover):
    shelf = Shelf(tmp_path)
    shelf.new("", "", (), "part")
    bench.recipe, bench.folder = recover, type("Folder", (), {"path": tmp_path})
    with pytest.raises(Refused, match="no part on the shelf needs"):
        put_next(bench, 1)
    assert len(list(Shelf(tmp_path))) == 1


def test_a_refused_recovery_is_asked_again_and_a_finished_one_not(bench, tmp_path, recover):
    shelf = Shelf(tmp_path)
    passed, wanted = parts(bench, shelf, ("pass", "pass"), ("fail", "half_provisioned"))
    for name in (passed, wanted):  # somebody answered No
        judge(bench.journal, "part", shelf.label(name, "part"), RECOVER, "bench")
    assert next_to_recover(bench, shelf, recover) == wanted
    erase(bench, shelf, wanted)
    with pytest.raises(Refused):
        next_to_recover(bench, shelf, recover)
    judge(bench.journal, "part", shelf.label(wanted, "part"), PROVISION, "fail", bin_id="half_provisioned")
    assert next_to_recover(bench, shelf, recover) == wanted, "it failed again after its recovery"
    erase(bench, shelf, wanted, "fail", "half_provisioned")
    with pytest.raises(Refused):  # not blank after an erasure: bin 42 may not be retested
        next_to_recover(bench, shelf, recover)


def test_an_erasure_that_was_begun_is_brought_to_its_end(bench, tmp_path, recover):
    shelf = Shelf(tmp_path)
    (name,) = parts(bench, shelf, ("pass", "pass"))
    label = shelf.label(name, "part")
    start = bench.journal.start(Context(socket=1, label_kind="part", label=label, flow=RECOVER), {})
    bench.journal.write(start.context, "waiver", "", {"reason": "recovery"})
    bench.journal.verdict(start.context, {"kind": "hold", "bin_id": "hold", "reason": "", "pending": False})
    assert next_to_recover(bench, shelf, recover) == name


def test_a_recovered_part_comes_back_before_new_ones(bench, tmp_path):
    shelf, chip = Shelf(tmp_path), chip_named("nrf5340")
    new = shelf.new("", "", (), "part")
    _passed, wanted = parts(bench, shelf, ("pass", "pass"), ("fail", "half_provisioned"))
    assert next_die(bench, shelf, "part", PROVISION, chip) == new
    erase(bench, shelf, wanted)
    assert next_die(bench, shelf, "part", PROVISION, chip) == wanted
    judge(bench.journal, "part", shelf.label(wanted, "part"), PROVISION, "bench")
    assert next_die(bench, shelf, "part", PROVISION, chip) == wanted, "a bench fault is not the part's"
    judge(bench.journal, "part", shelf.label(wanted, "part"), PROVISION, "pass")
    assert next_die(bench, shelf, "part", PROVISION, chip) == new


def test_dies_the_bench_has_already_are_not_printed_again(bench, tmp_path):
    bench.on_bench = ["die-0007", "another"]
    assert take(bench, Shelf(tmp_path)) == "die-0008"


def test_wafers_and_a_broken_file(tmp_path):
    assert [wafer_name(text) for text in ("", "2", "W2", "w02", "W12")] == ["W1", "W2", "W2", "W2", "W12"]
    for text in ("W123", "X1", "2a"):
        with pytest.raises(Refused, match="expected a wafer"):
            wafer_name(text)
    (tmp_path / shelves.FILE).write_text("[1]")
    with pytest.raises(ConfigError, match=r"shelf\.json"):
        Shelf(tmp_path)


class HandBench(ShelfBench):
    """A workbench with a recipe, a folder and hands that are only watched."""

    def __init__(self, journal, folder, recipe):
        super().__init__(journal)
        self.folder, self.recipe, self.done = SimpleNamespace(path=folder), recipe, []

    def handler(self, socket, action, argument):
        self.done.append((action, argument))

    def worker(self, socket):
        return SimpleNamespace(view=SimpleNamespace(now=SimpleNamespace(state="scan")))

    def handle(self, scan):
        self.done.append(("scan", scan.text))


def test_the_hand_gives_a_part_of_the_packs_chip_whatever_the_recipe_is_called(journal, tmp_path):
    own = dataclasses.replace(load_recipe("nrf5340-dk"), name="acme53")
    bench = HandBench(journal, tmp_path, own)
    put_next(bench, 1)
    for thread in threading.enumerate():
        if thread.name == "scan 1":
            thread.join(5)
    assert bench.done == [("insert", "part-0001"), ("lid", "closed"), ("scan", "P000001")]


def test_nothing_is_put_in_for_a_label_that_the_scan_would_refuse(folder, station, monkeypatch):
    put = []
    monkeypatch.setattr("station.cli_run.put_labelled", lambda bench, socket, recipe, label: put.append(label))

    def run(label, *more, code=2):
        who = ("--operator", "eng", "--pin-stdin", "--wait", "10")
        return station("run", "fake-cp", "--insert", "--label", label, *more, *who, given=PIN, code=code)

    assert "such as LOT1/D7, scanned 'bad label'" in run("bad label")
    assert "that is a lot label; --insert wants the label of a part" in run("1TLOT1")
    assert "LOT2/D1 belongs to lot LOT2; this lot is LOT1" in run("LOT2/D1", "--lot", "LOT1")
    assert put == []
    World(folder).insert(1)
    assert "PASS" in run("SD1", code=0)
    assert put == ["D1"], "printed as the record has it"
    assert "this part passed" in run("D1")
    assert put == ["D1"]
