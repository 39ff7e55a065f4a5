"""Nordic parts from end to end: real pyOCD and serial ports, the virtual bench as a process, demo and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from end2end_bench import environment

from drivers.virtual.handler import open_handler
from station.journal_reader import verify
from station.virtual_station import VirtualStation

pytestmark = pytest.mark.timeout(150)
SECONDS = 110.0
COUNTS = ("passed", "failed", "held", "quarantined", "bench_faults")
NEW = "The part is new: erase"


def station(*arguments: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """One command of the station, with nobody at the terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "station", *map(str, arguments)], cwd=folder, env=environment(), text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout[-1500:], done.stderr[-1500:])
    assert "Traceback" not in done.stderr and "pyocd" not in done.stderr
    return done


def demo(folder: Path, chip: str, parts: int, *more: object, code: int = 0) -> list[dict[str, object]]:
    """A demo that keeps its records; its events."""
    options = ("--headless", "--chip", chip, "--parts", parts, "--sockets", 2, "--json", "--data", folder / "demo")
    done = station("demo", *options, *more, folder=folder, code=code)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(folder: Path) -> list[dict[str, object]]:
    done = station("journal", "export", "--data", folder / "demo", folder=folder)
    return [json.loads(line) for line in done.stdout.splitlines()]


def kept(found, name):
    """What was kept under a name, from the exported rows."""
    details = [json.loads(str(row["detail"])) for row in found if row["kind"] == "keep"]
    return [json.loads(bytes.fromhex(detail["value"])) for detail in details if detail["name"] == name]


@pytest.mark.parametrize(("chip", "parts"), [("nrf5340", 2), ("nrf9160", 1), ("nrf91x1", 1)])
def test_parts_of_every_family_pass_and_their_record_is_whole(tmp_path, chip, parts):
    events = demo(tmp_path, chip, parts)
    summary = {name: events[-1][name] for name in ("event", "chip", "parts", *COUNTS)}
    assert summary == {
        "event": "demo_ended",
        "chip": chip,
        "parts": parts,
        "passed": parts,
        **dict.fromkeys(COUNTS[1:], 0),
    }
    told = [event for event in events if event["event"] == "part"]
    assert [(part["stage"], part["tray"]) for part in told] == [("tfm", "GOOD")] * parts
    assert len({part["device_id"] for part in told}) == parts
    assert sorted(str(part["part"]) for part in told) == [f"part-{n:04}" for n in range(1, parts + 1)]
    assert not any("die" in part for part in told)
    asked = [event for event in events if event["event"] == "answered"]
    assert [event["choice"] for event in asked] == [NEW] * (0 if chip == "nrf9160" else parts)

    found = rows(tmp_path)
    words = {row["kind"] for row in found}
    assert {"intent", "outcome", "verdict", "bind", "keep"} <= words and not words & {"appliance", "registration"}
    assert {row["fixture"] for row in found if row["label"]} == {"virtual socket 1", "virtual socket 2"} or parts == 1
    assert {evidence["probe"] for evidence in kept(found, "evidence_before")} <= {"VP0001", "VP0002"}
    assert len(kept(found, "evidence_before")) == parts
    assert verify(tmp_path / "demo" / "data")[1] == ""
    assert not (tmp_path / "demo" / "appliance").exists() and not (tmp_path / "demo" / "bench" / "bench.json").exists()


def test_the_station_of_a_demo_is_whole_for_every_other_command(tmp_path):
    demo(tmp_path, "nrf9160", 1)
    place = ("--data", tmp_path / "demo")
    text = (tmp_path / "demo" / "station.toml").read_text()
    assert "[appliance]" not in text and 'recipes = ["nrf9160-dk", "nrf9160-dk-recover"]' in text
    checks = json.loads(station("doctor", *place, "--json", folder=tmp_path).stdout)
    assert all(check["ok"] for check in checks), checks
    assert [check["check"] for check in checks if check["warning"]] == ["socket 1", "socket 2"], "the bench has ended"
    assert not [check for check in checks if "appliance" in check["check"] or "credential" in check["check"]]
    (run,) = json.loads(station("history", *place, "--json", folder=tmp_path).stdout)
    assert (run["recipe"], run["kind"]) == ("nrf9160-dk", "pass")
    shown = station("part", "show", "P000001", *place, folder=tmp_path).stdout
    assert "tfm_provisioning.provision: done" in shown and run["device_id"] in shown
    station("part", "export", "P000001", tmp_path / "files", *place, folder=tmp_path)
    key = tmp_path / "files" / "iak_public_key.bin"
    token = tmp_path / "files" / "attestation_token.bin"
    assert "as expected" in station("attest", "verify", token, "--public-key", key, folder=tmp_path).stdout
    for moment in ("before", "after"):
        evidence = json.loads((tmp_path / "files" / f"evidence_{moment}.json").read_text())
        assert evidence["probe"] in ("VP0001", "VP0002") and evidence["life_cycle"]


def test_a_second_demo_in_the_same_folder_takes_fresh_parts_and_another_chip_is_refused(tmp_path):
    demo(tmp_path, "nrf9160", 1)
    events = demo(tmp_path, "nrf9160", 1)
    assert [event["label"] for event in events if event["event"] == "part"] == ["P000002"]
    (ended,) = demo(tmp_path, "nrf5340", 1, code=2)
    assert "is one of nrf9160, not of nrf5340; use another --data" in str(ended["error"])


def test_what_the_demo_cannot_play_is_refused_before_anything_starts(tmp_path):
    (ended,) = demo(tmp_path, "nrf9160", 1, "--fault", "ports_swaped", code=2)
    assert "no fault is called 'ports_swaped'" in str(ended["error"])
    assert "`station simulate --chip nrf9160 --list-faults` shows all" in str(ended["error"])
    (ended,) = demo(tmp_path, "nrf9160", 1, "--fault", "test_error", code=2)
    assert "no fault is called 'test_error'" in str(ended["error"]), "that is one of an Earlgrey"
    (ended,) = demo(tmp_path, "nrf916", 1, code=2)
    assert "did you mean 'nrf9160'" in str(ended["error"])
    (ended,) = demo(tmp_path, "nrf9160", 1, "--sku", "sival", code=2)
    assert "there is no SKU pack 'sival' for nrf9160; there are nrf9160_tfm" in str(ended["error"])
    assert "plays shipped packs only: for one of your own make a station on a virtual bench" in str(ended["error"])


@pytest.fixture
def home(tmp_path):
    """A virtual station with one nRF5340 kit, and its hands."""
    with VirtualStation(tmp_path / "demo", 1, chip="nrf5340") as made:
        hands = open_handler({"bench": str(made.folder / "bench" / "bench.json")})
        hands.insert(1, "part-0001")
        hands.lid(1, True)
        yield made, hands
        hands.close()


def run(folder: Path, recipe: str, *answers: str, code: int = 0) -> dict[str, object]:
    given = [word for answer in answers for word in ("--answer", answer)]
    done = station(
        "run", recipe, "--label", "P000041", "--data", folder / "demo", "--json", *given, folder=folder, code=code
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_one_part_by_the_command_line_through_everything_that_can_be_asked(tmp_path, home):
    """New, provisioned, refused, recovered with two answers, and provisioned again as another identity."""
    _, hands = home
    unanswered = run(tmp_path, "nrf5340-dk", code=3)
    assert unanswered["kind"] == "bench" and "nobody answers; give --answer, 1 (The part is new: erase)" in str(
        unanswered["reason"]
    )
    assert hands.state(1)["chip"]["erase_alls"] == []
    assert run(tmp_path, "nrf5340-dk", "1")["kind"] == "pass"
    first = hands.state(1)["chip"]
    assert first["lc_state"] == "SECURED" and first["double_burns"] == []
    refused = station("run", "nrf5340-dk", "--label", "P000041", "--data", tmp_path / "demo", folder=tmp_path, code=2)
    assert "this part passed TF-M provisioning" in refused.stderr and "appliance" not in refused.stderr

    unconfirmed = run(tmp_path, "nrf5340-dk-recover", "1", "No", code=3)
    assert unconfirmed["kind"] == "bench" and "nothing was changed" in str(unconfirmed["reason"])
    assert hands.state(1)["chip"]["lc_state"] == "SECURED", "one yes is none"
    recovered = run(tmp_path, "nrf5340-dk-recover", "1", "1")
    assert recovered["bin_id"] == "recovered", recovered
    assert hands.state(1)["chip"]["lc_state"] == "ASSEMBLY"
    assert run(tmp_path, "nrf5340-dk")["kind"] == "pass"
    assert hands.state(1)["chip"]["lc_state"] == "SECURED" and hands.state(1)["chip"]["double_burns"] == []


def test_sockets_check_says_whether_a_part_answers_and_leaves_it_alone(tmp_path, home):
    _, hands = home
    before = hands.state(1)["chip"]
    (row,) = json.loads(station("sockets", "check", "--data", tmp_path / "demo", "--json", folder=tmp_path).stdout)
    assert (row["driver"], row["adapter"], row["ok"]) == ("pyocd", "debug probe VP0001", True)
    assert row["says"] == "part yes, lid closed yes, power yes"
    assert hands.state(1)["chip"] == before
    hands.unplug(1)
    done = station("sockets", "check", "--data", tmp_path / "demo", "--json", folder=tmp_path, code=3)
    assert "VP0001" in json.loads(done.stdout)[0]["says"]


STRUCK = {
    "unplug": ("quarantined", "the debug probe VP0001 is gone"),
    "power_off": ("quarantined", "the part fell silent (taken out, or without power)"),
    "lid_open": ("quarantined", "the part fell silent (taken out, or without power)"),
    "no_contact": ("quarantined", "the part fell silent (taken out, or without power)"),
    "wrong_family:nrf54l": ("failed", "a part of the nRF54L series"),
    "erase_protected": ("failed", "protected from erasure"),
    "verify_mismatch": ("failed", "in the flash of the app core"),
    "clear": ("passed", ""),
}
ORDINARY = ("unplug", "wrong_family:nrf54l", "verify_mismatch")


@pytest.mark.parametrize("fault", [f if f in ORDINARY else pytest.param(f, marks=pytest.mark.full) for f in STRUCK])
def test_a_demo_with_a_fault_ends_by_itself_and_says_what_the_part_is(tmp_path, fault):
    kind, words = STRUCK[fault]
    events = demo(tmp_path, "nrf5340", 1, "--fault", fault, code=0 if kind == "passed" else 1)
    summary = events[-1]
    assert summary["event"] == "demo_ended" and "error" not in summary
    assert summary[kind] == 1 and sum(int(str(summary[name])) for name in COUNTS) == 1
    (told,) = [event for event in events if event["event"] == "part"]
    assert words in str(told["reason"]) and "Contact(" not in str(told["reason"])
