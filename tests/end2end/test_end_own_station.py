"""The station file of docs/virtual-nordic.md, as it stands there: a part of an own recipe goes through."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from end2end_bench import ROOT, environment
from test_end_nordic import station

from drivers.virtual.bench import Bench
from station.journal_reader import verify


def station_of_the_page() -> str:
    page = (ROOT / "docs" / "virtual-nordic.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    return str(block)


def copied(source: Path, target: Path, *renamed: tuple[str, str]) -> None:
    text = source.read_text()
    for old, new in renamed:
        assert old in text
        text = text.replace(old, new)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.fixture
def own(tmp_path):
    """The folder of the page: station file, bench, and a recipe and pack of one's own called acme53."""
    (tmp_path / "station.toml").write_text(station_of_the_page())
    recipes, skus = ROOT / "resources" / "recipes", ROOT / "resources" / "skus"
    for more in ("", "-recover"):
        name = (f'name = "nrf5340-dk{more}"', f'name = "acme53{more}"')
        copied(recipes / f"nrf5340-dk{more}.toml", tmp_path / "data" / "recipes" / f"acme53{more}.toml", name,
               ('"nrf5340_tfm"', '"acme53"'))  # fmt: skip
    shutil.copytree(skus / "nrf5340_tfm", tmp_path / "data" / "skus" / "acme53")
    pack = tmp_path / "data" / "skus" / "acme53" / "pack.toml"
    copied(pack, pack, ('sku = "nrf5340_tfm"', 'sku = "acme53"'))
    bench = Bench(tmp_path / "bench", 1, chip="nrf5340")
    bench.start()
    yield tmp_path
    bench.stop()


def test_the_station_of_the_page_takes_a_part_through_from_the_command_line(own):
    checks = json.loads(station("doctor", "--json", folder=own).stdout)
    assert [check for check in checks if check["sentence"]] == []
    (row,) = json.loads(station("sockets", "check", "--json", folder=own).stdout)
    assert row["ok"] and row["says"].startswith("part no")
    nobody = station("run", "acme53", "--label", "P000041", "--wait", "0.2", folder=own, code=3)
    assert "expected a part in socket 1" in nobody.stderr and "--insert lets the virtual bench" in nobody.stderr

    run = ("run", "acme53", "--insert", "--json", "--answer", "1", "--label")
    first = json.loads(station(*run, "P000041", folder=own).stdout.splitlines()[-1])
    assert (first["kind"], first["label"]) == ("pass", "P000041"), first
    there = json.loads(station("hand", folder=own).stdout)
    assert there["chip"]["lc_state"] == "SECURED" and there["armed"] == []

    station("hand", "remove", folder=own)
    armed = json.loads(station("hand", "insert", "part-0002", folder=own).stdout)
    assert armed["label"] == "part-0002"
    armed = json.loads(station("hand", "fault", "wrong_family:nrf54l", folder=own).stdout)
    assert armed["armed"] == ["wrong_family:nrf54l"]
    station("hand", "lid", "closed", folder=own)
    failed = json.loads(station("run", "acme53", "--label", "P000043", "--json", folder=own, code=1).stdout)
    assert "a part of the nRF54L series" in failed["reason"], "without --insert it is the part that lies there"
    other = json.loads(station(*run, "P000042", folder=own).stdout.splitlines()[-1])
    assert other["kind"] == "pass", "another label is another part: the faulty one was taken out"
    lies, shelf = json.loads(station("hand", folder=own).stdout), (own / "data" / "shelf.json").read_text()
    assert lies["label"] not in ("part-0002", there["label"])
    again = station(*run, "P000041", folder=own, code=2)
    assert "this part passed TF-M provisioning" in again.stderr
    assert "scanned 'bad label'" in station(*run, "bad label", folder=own, code=2).stderr
    assert json.loads(station("hand", folder=own).stdout)["label"] == lies["label"], "what is refused moves no part"
    assert (own / "data" / "shelf.json").read_text() == shelf
    assert verify(own / "data")[1] == ""


def test_a_hand_says_what_it_cannot_do(own):
    assert "no action 'fualt' (did you mean 'fault'?)" in station("hand", "fualt", folder=own, code=2).stderr
    assert "no fault is called 'power_ct'" in station("hand", "insert", "a", folder=own, code=0).stderr + station(
        "hand", "fault", "power_ct", folder=own, code=2).stderr  # fmt: skip
    for wrong, words in (
        (("lid", "blah"), "expected lid open or closed, saw 'blah'"),
        (("lid", "close"), "expected lid open or closed, saw 'close' (did you mean 'closed'?)"),
        (("lid",), "expected lid open or closed, saw ''"),
        (("power", "1"), "expected power off or on, saw '1'"),
    ):
        assert words in station("hand", *wrong, folder=own, code=2).stderr
    assert "this station has sockets 1 to 1, not 2" in station("hand", "--socket", "2", folder=own, code=2).stderr
    file = own / "station.toml"
    text = file.read_text()
    for line in ('mode = "virtual"', 'virtual_bench = "bench/bench.json"'):
        text = text.replace(line, "")
    file.write_text(text)
    assert "no virtual bench to handle" in station("hand", folder=own, code=2).stderr
    refused = station("run", "acme53", "--insert", "--label", "P000041", folder=own, code=2).stderr
    assert "say who works with --operator NAME" in refused


def test_the_engines_example_on_the_architecture_page_works_on_this_bench(own):
    page = (ROOT / "docs" / "architecture.md").read_text()
    (block,) = re.findall(r"```\n(\{.*?)```", page, re.DOTALL)
    select, insert, start, answer = block.splitlines()
    add = ("operator", "add", "NAME", "--role", "supervisor", "--pin-stdin")
    subprocess.run([sys.executable, "-m", "station", *add], cwd=own, env=environment(), input=b"358901\n", check=True,
                   capture_output=True)  # fmt: skip
    engine = subprocess.Popen(
        [sys.executable, "-m", "station", "engine", "--operator", "NAME"], cwd=own, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with engine:
        guard = threading.Timer(60, engine.kill)
        guard.start()

        def say(line, **seen):
            engine.stdin.write(json.dumps({**json.loads(line), **seen}) + "\n")
            engine.stdin.flush()

        def state(wanted):
            for line in engine.stdout:
                event = json.loads(line)
                assert event["type"] != "CommandRefused", event
                if event["type"] == "SocketState" and wanted(event):
                    return event
            raise AssertionError("the engine ended")

        say(select)
        say(insert)
        say(start, epoch=state(lambda now: now.get("may_start"))["epoch"])
        say(answer, prompt=state(lambda now: now.get("prompt"))["prompt"]["id"])
        assert state(lambda now: now.get("verdict"))["verdict"]["kind"] == "pass"
        engine.stdin.close()
        engine.stdout.read()
        guard.cancel()
    assert engine.returncode == 0


def spoil(folder: Path, old: str, new: str) -> None:
    file = folder / "station.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_wrong_board_is_the_stations_mistake_and_no_parts(own):
    spoil(own, 'board = "nrf5340dk"', 'board = "nrf9160dk"')
    words = "its board 'nrf9160dk' is for nrf9160, expected one for nrf5340, as the recipe or its pack says"
    for insert in ((), ("--insert",)):
        refused = station("run", "acme53", *insert, "--label", "P000041", "--wait", "1", folder=own, code=2)
        assert f"socket 1: {words}" in refused.stderr and refused.stdout == ""
    assert station("history", "--json", folder=own).stdout.strip() == "[]", "nothing was begun, nothing is blamed"
    checks = {check["check"]: check for check in json.loads(station("doctor", "--json", folder=own, code=2).stdout)}
    assert not checks["socket 1"]["ok"] and words in checks["socket 1"]["sentence"]
    assert checks["sockets for nrf5340"]["warning"]
    (row,) = json.loads(station("sockets", "check", "--json", folder=own, code=3).stdout)
    assert not row["ok"] and words in row["says"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('serial = "VP0001"', 'serail = "VP0001"', "has no setting 'serail' (did you mean 'serial'?)"),
        ('board = "nrf5340dk"', 'board = "nrf5340d"', "nrf5340d.toml (did you mean 'nrf5340dk'?)"),
        ('"drivers.virtual.nrf_finder"', '"drivers.virtual.nrf_findr"', "expected a Python module as 'finder'"),
    ],
)
def test_doctor_and_sockets_check_say_the_same_of_a_sockets_settings(own, old, new, words):
    spoil(own, old, new)
    checks = {check["check"]: check for check in json.loads(station("doctor", "--json", folder=own, code=2).stdout)}
    assert not checks["socket 1"]["ok"] and words in checks["socket 1"]["sentence"]
    (row,) = json.loads(station("sockets", "check", "--json", folder=own, code=3).stdout)
    assert not row["ok"] and words in row["says"]


def test_a_pin_that_nobody_can_type_is_a_sentence(own):
    words = ("run", "acme53", "--label", "P000041", "--operator", "eng")
    done = subprocess.run(
        [sys.executable, "-m", "station", *words], cwd=own, env=environment(), text=True, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 2 and "there is none: give the PIN with --pin-stdin" in done.stderr, done.stderr
    assert "Warning" not in done.stderr
