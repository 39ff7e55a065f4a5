"""What ``station doctor`` says of a station that cannot work, or not yet."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys

import pytest
from fake_station import PIN, FakePart, FakeSocket, World
from spine_bench import Bench
from test_spine_trouble import leave_interrupted

from station.data_folder import DataFolder
from station.errors import BenchError
from station.parts import Unfit
from station.protocol import Scan


def checks(station, code=0):
    return {check["check"]: check for check in json.loads(station("doctor", "--json", code=code))}


def test_a_station_without_operators_is_wrong(folder, station):
    assert checks(station)["operators"] == {"check": "operators", "ok": True, "warning": False, "sentence": ""}
    (folder / "data" / "operators.json").unlink()
    found = checks(station, code=2)["operators"]
    assert not found["ok"] and "station operator add NAME --role supervisor" in found["sentence"]
    assert "✖ operators: nobody may work here" in station("doctor", code=2)


def test_an_interrupted_part_is_a_warning_unless_a_station_works_there(folder, station):
    leave_interrupted(folder)
    found = checks(station)["interrupted D1"]
    assert (found["ok"], found["warning"]) == (True, True)
    assert "station answer --socket 1" in found["sentence"]
    assert "⚠ interrupted D1: " in station("doctor")
    held = DataFolder(folder / "data")
    held.lock()
    try:
        assert "interrupted D1" not in checks(station)
    finally:
        held.release()


@pytest.mark.parametrize("says", ["", "a library is missing"])
def test_what_a_driver_knows_is_a_warning(station, monkeypatch, says):
    monkeypatch.setattr(sys.modules[FakeSocket.__module__], "diagnose", lambda settings: says, raising=False)
    found = checks(station)["socket 2"]
    assert found == {"check": "socket 2", "ok": True, "warning": bool(says), "sentence": says}


def test_what_a_driver_refuses_is_wrong(station, monkeypatch):
    def refuse(settings):
        raise BenchError(f"no bench is named for {settings['folder']}")

    monkeypatch.setattr(sys.modules[FakeSocket.__module__], "diagnose", refuse, raising=False)
    found = checks(station, code=2)["socket 1"]
    assert not found["ok"] and found["sentence"].startswith("no bench is named for ")


def test_an_answer_while_the_bench_is_away_leaves_the_question(folder, station):
    leave_interrupted(folder)
    World(folder).insert(1)
    World(folder).set(adapter="gone")
    answer = ("answer", "--socket", "1", "--choice", "check", "--operator", "eng", "--pin-stdin")
    for _ in range(2):
        said = station(*answer, given=PIN, code=3)
        assert "socket 1: the adapter is gone; the question about D1 stays" in said
    World(folder).set(adapter="here")
    assert "PASS bin" in station(*answer, given=PIN)


def also(folder, *names):
    """Name more folders before the station's own."""
    file = folder / "station.toml"
    file.write_text(file.read_text().replace('resources = ["res"]', f"resources = {json.dumps([*names, 'res'])}"))


def test_a_recipe_or_pack_that_hides_another_is_a_warning(folder, station):
    shutil.copytree(folder / "res", folder / "second")
    also(folder, "second")
    found = checks(station)
    for what in ("two files of recipe fake-cp", "two files of pack fake"):
        assert (found[what]["ok"], found[what]["warning"]) == (True, True)
        assert "second" in found[what]["sentence"] and "give yours another name" in found[what]["sentence"]


def test_a_folder_named_one_too_deep_is_a_warning(folder, station):
    also(folder, "res/skus")
    assert "name the folder above them" in checks(station)["resources skus"]["sentence"]


def test_a_folder_that_is_not_there_is_a_warning_and_refuses_only_what_is_not_found(folder, station):
    also(folder, "gone")
    found = checks(station)["resources gone"]
    assert (found["ok"], found["warning"]) == (True, True)
    assert found["sentence"].startswith(f"expected a folder {folder / 'gone'}, but there is none")
    file = folder / "station.toml"
    file.write_text(file.read_text().replace('recipes = ["fake-cp"]\n', ""))
    who = ("--operator", "eng", "--pin-stdin")
    assert f"(not there: {folder / 'gone'}: " in station("run", "x", "--label", "D1", *who, given=PIN, code=2)
    World(folder).insert(1)
    said = station("run", "fake-cp", "--label", "D1", *who, given=PIN)
    assert f"expected a folder {folder / 'gone'}, which `resources` names" in said and "PASS" in said


def test_a_station_whose_folder_of_recipes_is_its_data_folder_starts_before_there_is_one(folder, station):
    shutil.rmtree(folder / "data")
    also(folder, "data")
    found = checks(station, code=2)
    assert {name for name, check in found.items() if not check["ok"]} == {"operators"}
    assert not any(name.startswith("resources") for name in found)
    said = station("operator", "add", "eng", "--role", "supervisor", "--pin-stdin", given=PIN)
    World(folder).insert(1)
    said = station("run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin", given=PIN)
    assert "PASS" in said and "there is none" not in said


def test_a_run_of_a_recipe_that_the_station_does_not_allow_says_why(folder, station):
    who = ("--label", "D1", "--operator", "eng", "--pin-stdin")
    said = station("run", "fake-pc", *who, given=PIN, code=2)
    assert "no recipe 'fake-pc' (did you mean 'fake-cp'?); the station file allows recipes = ['fake-cp']" in said
    file = folder / "station.toml"
    file.write_text(file.read_text().replace('recipes = ["fake-cp"]\n', ""))
    assert f"; searched {folder / 'res'}, " in station("run", "fake-pc", *who, given=PIN, code=2)


def test_what_looks_wrong_in_a_pack_and_may_be_right_is_a_warning(folder, station, monkeypatch):
    doubt = Unfit("the id is nowhere in the image", setting="id", doubt=True)
    monkeypatch.setattr(FakePart, "findings", lambda settings, images, realm: [doubt], raising=False)
    found = checks(station)["doubts about fake"]
    assert (found["ok"], found["warning"]) == (True, True) and "the id is nowhere in the image" in found["sentence"]
    World(folder).insert(1)
    said = station("run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin", given=PIN)
    assert "the id is nowhere in the image" in said and "PASS" in said, "it is told, and the part runs"


def test_a_socket_made_for_another_chip_takes_no_scan_and_the_check_says_why(folder, station, monkeypatch):
    module = sys.modules[FakeSocket.__module__]
    monkeypatch.setattr(module, "made_for", lambda settings: "other", raising=False)
    assert "is for other, expected one for fake" in checks(station, code=2)["socket 1"]["sentence"]
    World(folder).insert(1)
    bench = Bench(folder)
    try:
        bench.choose()
        bench.wait("scan")
        assert "socket 1: its board '' is for other" in bench.refused(Scan("D1", 1))
        assert bench.bench.journal.rows("WHERE kind = 'scan'", ()) == []
    finally:
        bench.close()


def test_boards_go_by_the_family_that_the_recipe_sets_and_another_chip_is_a_warning(folder, station, monkeypatch):
    monkeypatch.setattr(sys.modules[FakeSocket.__module__], "made_for", lambda settings: "other", raising=False)
    file = folder / "res" / "recipes" / "fake-cp.toml"
    file.write_text(file.read_text() + '\n[settings]\nfamily = "other"\n')
    found = checks(station)
    assert found["socket 1"]["sentence"] == "" and "saw 'other'" in found["doubts about fake"]["sentence"]
    World(folder).insert(1)
    assert "PASS" in station("run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin", given=PIN)


@pytest.mark.parametrize("who", ["doctor", "sockets check", "run"])
def test_the_answer_that_is_asked_for_works_as_it_is_printed(folder, station, who):
    leave_interrupted(folder)
    World(folder).insert(1)
    run = ("run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin")
    said = {
        "doctor": lambda: station("doctor"),
        "sockets check": lambda: station("sockets", "check", code=3),
        "run": lambda: station(*run, given=PIN, code=2),
    }[who]()
    (printed,) = re.findall(r"answer first: station (answer .*?) \(or --choice quarantine", said)
    assert "--operator NAME" in printed
    words = shlex.split(printed.replace("NAME", "eng"))
    assert "PASS bin" in station(*words, "--pin-stdin", given=PIN)
