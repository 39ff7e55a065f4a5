"""A bench of Nordic parts as a process and as a set of commands: address line, faults, shelf, what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nordic_rig import CHIPS

from drivers.virtual import bench as bench_module
from drivers.virtual import nrf_finder
from drivers.virtual.bench import Bench
from drivers.virtual.bench_kind import bench_kind
from drivers.virtual.bench_state import BENCH_FAULTS, known_faults
from drivers.virtual.handler import open_handler
from drivers.virtual.nrf import faults
from drivers.virtual.nrf.silicon import SILICON
from station.errors import ConfigError

ROOT = Path(__file__).parents[3]


class Process:
    """``station simulate`` of its own."""

    def __init__(self, data, *arguments):
        command = [sys.executable, "-m", "drivers.virtual.bench", "--data", str(data), "--json", *arguments]
        self.popen = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.popen.stdout.readline()
        assert line, self.popen.stderr.read()
        self.address = json.loads(line)
        self.hands = open_handler({"bench": self.address["bench"]})

    def end(self, number=signal.SIGTERM):
        self.hands.close()
        self.popen.send_signal(number)
        code = self.popen.wait(20)
        self.popen.stdout.close()
        self.popen.stderr.close()
        return code


def simulate(capsys, *arguments):
    """Exit code and both outputs of the command line in this process."""
    code = bench_module.main(list(arguments))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_process_keeps_parts_over_a_kill(tmp_path, monkeypatch):
    first = Process(tmp_path / "data", "--chip", "nrf5340", "--sockets", "2")
    assert first.address["adapters"] == ["VP0001", "VP0002"]
    assert first.address["remote_bitbang"] == {}
    monkeypatch.setenv("STATION_VIRTUAL_BENCH", first.address["bench"])
    assert nrf_finder.probe_address("VP0002").startswith("remote:127.0.0.1:")
    first.hands.insert(2, "part 7")
    first.hands.lid(2, True)
    first.hands.fault(2, "half_provisioned")
    before = first.hands.state(2)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = Process(tmp_path / "data", "--chip", "nrf5340", "--sockets", "2")
    after = second.hands.state(2)
    assert (after["label"], after["lid_closed"], after["power_good"]) == ("part 7", True, True)
    assert after["chip"]["lcs"] == before["chip"]["lcs"] == [0xFFFF_0000, 0xFFFF_FFFF]
    assert after["chip"]["label"] == before["chip"]["label"]
    assert second.hands.parts() == ["part 7"]
    assert second.end() == 0


@pytest.mark.parametrize(("made", "asked"), [("nrf9160", "nrf91x1"), ("nrf5340", "earlgrey"), ("earlgrey", "nrf5340")])
def test_a_folder_of_another_chip_is_refused(tmp_path, capsys, made, asked):
    bench = Bench(tmp_path, 1, chip=made)
    bench.start()
    bench.stop()
    code, _, said = simulate(capsys, "--data", str(tmp_path), "--chip", asked)
    assert code == 2
    assert said == (
        f"station simulate: expected parts of chip {asked} in {tmp_path}, found those of chip {made}; "
        "give another --data\n"
    )


def test_a_folder_from_before_there_were_kinds_is_earlgrey_s(tmp_path, capsys):
    (tmp_path / "sockets.json").write_text("[]")
    code, _, said = simulate(capsys, "--data", str(tmp_path), "--chip", "nrf9160")
    assert (code, "found those of chip earlgrey" in said) == (2, True)
    Bench(tmp_path, 1).stop()


def test_an_unknown_chip_is_refused():
    with pytest.raises(ValueError, match="no virtual chip is called 'nrf52840'; there are earlgrey, nrf5340, nrf9160"):
        bench_kind("nrf52840", Path())


@pytest.mark.parametrize("chip", CHIPS)
def test_faults_are_listed_per_chip(capsys, chip):
    code, listed, _ = simulate(capsys, "--chip", chip, "--list-faults", "--json")
    assert code == 0
    assert json.loads(listed) == known_faults(chip)
    _, shown, _ = simulate(capsys, "--chip", chip, "--list-faults")
    assert shown.splitlines()[-1].endswith("colon, as in panic:identity.")
    two_cores = {"ports_swapped", "success_wrong_port", "net_protect_failure", "pcd_failure"}
    assert (two_cores <= json.loads(listed).keys()) is (chip == "nrf5340")
    assert all(text.endswith(".") for text in json.loads(listed).values())


@pytest.mark.parametrize(
    "fault",
    [*faults.FAULTS, *BENCH_FAULTS, "unplug:12", "power_cut:inside:3", "power_cut:before:lcs.provisioning",
     "power_cut:after:0x00FF8100", "power_cut:inside:kmu127.value3", "torn_word:net.approtect", "wrong_state:SECURED",
     "half_provisioned:identity", "panic:tfm", "hang:start", "huk:write:3", "corrupt_token:nonce", "wrong_baud:9600",
     "verify_mismatch:0x1000", "console_silence:net", "wrong_family:other", "lcs_readback:3", "token_error:-5"],
)  # fmt: skip
def test_faults_that_can_be_armed(make_bench, capsys, fault):
    assert simulate(capsys, "--chip", "nrf5340", "--check-fault", fault)[0] == 0
    bench = make_bench()
    bench.insert()
    bench.hands.fault(1, fault)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("power_cut:insde", "no fault is called 'power_cut:insde' (did you mean 'power_cut:inside'?)"),
        ("power_cut:inside:0", "UICR writes are counted from 1, got 0"),
        ("power_cut:inside:lcs", "expected a number of writes, an address or a word such as lcs.provisioning"),
        ("power_cut:inside:kmu128.perm", "expected a number of writes, an address or a word"),
        ("wrong_state:DEV", "the fault 'wrong_state' takes one of PROVISIONING, SECURED"),
        ("secure_locked:very", "the fault 'secure_locked' takes no argument, not 'very'"),
        ("huk:write:x", "the fault 'huk:write' takes a number, not 'x'"),
        ("verify_mismatch:nowhere", "expected an address such as 0x00001000, got 'nowhere'"),
        ("lid_open:wide", "the fault 'lid_open' takes no argument 'wide'"),
        ("stuck_tap", "no fault is called 'stuck_tap'"),
    ],
)
def test_faults_that_cannot_be_armed(make_bench, capsys, fault, sentence):
    code, _, said = simulate(capsys, "--chip", "nrf5340", "--check-fault", fault)
    assert code == 2
    assert said.startswith(sentence)
    assert said.endswith("; `station simulate --chip nrf5340 --list-faults` shows all\n")
    if not fault.startswith("lid_open"):
        bench = make_bench()
        bench.insert()
        with pytest.raises(ConfigError):
            bench.hands.fault(1, fault)


def test_two_core_faults_are_unknown_to_single_core_chips(make_bench, capsys):
    code, _, said = simulate(capsys, "--chip", "nrf9160", "--check-fault", "ports_swapped")
    assert (code, said.startswith("no fault is called 'ports_swapped'")) == (2, True)
    bench = make_bench("nrf9160")
    bench.insert()
    with pytest.raises(ConfigError, match="no fault is called 'pcd_failure'"):
        bench.hands.fault(1, "pcd_failure")


def test_armed_faults_are_shown_and_cleared(make_bench):
    bench = make_bench()
    bench.insert()
    for fault in ("unplug:5", "console_silence:app", "huk:write", "power_cut:inside:kmu2.perm", "panic"):
        bench.hands.fault(1, fault)
    assert bench.hands.state(1)["armed"] == [
        "unplug:5", "console_silence:app", "huk:write:4", "panic:huk", "power_cut:inside:kmu2.perm",
    ]  # fmt: skip
    bench.hands.fault(1, "clear")
    assert bench.hands.state(1)["armed"] == []


def test_bench_faults_act_on_the_part(make_bench):
    bench = make_bench()
    chip = bench.insert()
    bench.hands.fault(1, "lid_open")
    assert (chip.powered, bench.hands.state(1)["power_good"]) == (False, False)
    bench.hands.lid(1, True)
    assert chip.powered
    bench.hands.fault(1, "power_off")
    assert bench.hands.state(1)["armed"] == ["power_off"]
    assert not chip.powered
    bench.hands.power(1, True)
    assert bench.hands.command("touchdown", 1) == 2
    assert chip.app.cause == "power"
    bench.hands.remove(1)
    assert bench.hands.state(1)["chip"] is None


def test_a_cut_supply_comes_back_by_hand(make_bench, quick):
    from nordic_rig import image

    bench = make_bench("nrf9160")
    chip = bench.insert()
    bench.hands.power(1, False)
    chip.file.flash(chip.app.silicon).put(0, image("nrf9160", "provisioning_app"))
    bench.hands.fault(1, "power_cut:after:lcs.provisioning")
    bench.hands.power(1, True)
    with chip.lock:
        assert chip.changed.wait_for(lambda: not chip.powered, 10)
    state = bench.hands.state(1)
    assert (state["power_good"], state["chip"]["lc_state"]) == (False, "PROVISIONING")
    bench.hands.power(1, True)
    assert bench.hands.state(1)["power_good"]


def test_a_bench_killed_in_the_middle_of_a_burn_has_lost_nothing(tmp_path):
    """The image works on while nobody looks; whatever it had written when the process died is there."""
    from nordic_rig import image

    folder = tmp_path / "chips" / "part"
    folder.mkdir(parents=True)
    (folder / "flash_app.bin").write_bytes(image("nrf5340", "provisioning_app").ljust(0x10_0000, b"\xff"))
    process = Process(tmp_path, "--chip", "nrf5340")
    process.hands.insert(1, "part")
    process.hands.lid(1, True)
    end = time.monotonic() + 10
    while (written := process.hands.state(1)["chip"]["uicr_writes"]) < 8:
        assert time.monotonic() < end
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    stored = (folder / "uicr_app.bin").read_bytes()
    count = int.from_bytes(stored[0x1000:], "little")
    words = [stored[at : at + 4] for at in range(0, 0x1000, 4)]
    assert count >= written
    assert sum(word != b"\xff" * 4 for word in words) in (count, count - 1)  # counted first, then written
    assert stored[0x100:0x102] == b"\x00\x00"


def test_state_is_plain_json_with_everything_a_test_needs(make_bench):
    bench = make_bench()
    bench.insert()
    state = bench.hands.state(1)
    chip = state["chip"]
    assert {
        "kind", "label", "device_id", "powered", "lc_state", "lcs", "implementation_id", "kmu", "uicr_writes",
        "double_burns", "second_runs", "erase_alls", "program", "cores", "faults",
    } == chip.keys()  # fmt: skip
    assert {
        "state", "image", "reset_cause", "approtect", "secureapprotect", "eraseprotect", "debug_open",
        "secure_debug_open", "page_erases",
    } == chip["cores"]["net"].keys()  # fmt: skip
    assert {"probe_port", "requests", "consoles", "clock", "serial", "plugged"} <= state.keys()


def test_edges_are_a_matter_of_other_sockets(make_bench):
    bench = make_bench()
    with pytest.raises(ConfigError, match="the sockets of this bench record no edges"):
        bench.hands.command("edges", 1)


def test_bench_is_busy_while_a_probe_or_a_console_is_used(make_bench):
    bench = make_bench()
    bench.insert()
    bench.hands.close()
    link_free = bench.bench.state.adapters[0]
    assert not link_free.busy
    session = bench.session()
    session.open(init_board=False)
    assert link_free.busy
    assert bench.bench.busy


def test_every_kind_of_silicon_has_a_bench(make_bench):
    for chip in SILICON:
        bench = make_bench(chip)
        bench.insert()
        assert bench.hands.state(1)["chip"]["kind"] == chip
        assert bench.debug_port().read_ap(0xFC) == 0x8477_0001


def test_process_ends_with_its_parent(tmp_path):
    parent = subprocess.Popen(["sleep", "60"])
    process = Process(tmp_path, "--chip", "nrf9160", "--parent-pid", str(parent.pid))
    parent.kill()
    parent.wait()
    assert process.popen.wait(10) == 0
    process.end()
    assert not os.path.exists(process.address["bench"])
