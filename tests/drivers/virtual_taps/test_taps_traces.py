"""The golden pin-level traces replay bit for bit, and a changed bit is found where it is."""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path

import pytest

from drivers.virtual.taps.trace_check import check_trace, check_traces, scan_at

FOLDER = Path(__file__).parents[2] / "vectors" / "jtag"
FILES = sorted(FOLDER.glob("*.json"))


def load(name: str) -> dict[str, object]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def test_all_traces_are_identical_and_reported_one_line_each() -> None:
    lines: list[str] = []
    assert check_traces(FOLDER, lines.append) == 0
    assert lines == [f"{file.stem}: identical" for file in FILES]
    assert len(lines) == 35


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_traces_are_identical_at_every_clock_ratio_of_the_recording(file: Path) -> None:
    trace = json.loads(file.read_text())
    for ratio in sorted(set(trace["replayed_identically_at_clk_per_tck"])):
        assert check_trace(trace, float(ratio)) is None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_flipped_bit_is_reported_with_its_number(file: Path) -> None:
    trace = json.loads(file.read_text())
    pick = random.Random(file.stem)
    for bit in pick.sample([i for i, value in enumerate(trace["tdo"]) if value != "-"], 3):
        changed = copy.deepcopy(trace)
        expected = "1" if trace["tdo"][bit] == "0" else "0"
        changed["tdo"] = trace["tdo"][:bit] + expected + trace["tdo"][bit + 1 :]
        scan, _ = scan_at(trace, bit)
        assert trace["steps"][scan]["at"] <= bit
        assert scan + 1 == len(trace["steps"]) or bit < trace["steps"][scan + 1]["at"]
        finding = check_trace(changed)
        assert finding is not None
        assert finding.startswith(f"first difference at bit {bit} in scan {scan} (op ")
        assert finding.endswith(f"expected {expected}, got {trace['tdo'][bit]}")


def test_undriven_bits_are_not_compared_and_driven_ones_are_not_skipped() -> None:
    trace = load("lc_idcode_dtmcs")
    tdo = str(trace["tdo"])
    assert check_trace({**trace, "tdo": "-" * len(tdo)}) is None
    assert check_trace({**trace, "tdo": tdo.replace("-", "0", 1)}) is None
    assert check_trace({**trace, "tdo": tdo.replace("-", "1", 1)}) is not None


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("lc_rma", "otp_state", "PROD"),
        ("lc_scrap", "otp_count", 6),
        ("lc_test_exit", "token_words", ["22222222"] * 3 + ["22222223"]),
        ("rv_dm_sba16", "words", ["0bad0d03"]),
        ("rv_dm_sram_run", "result_words", ["12345678", "deadbeee"]),
        ("rv_dm_sram_run", "ebreak_address", "0x10001ff8"),
    ],
)
def test_a_wrong_final_state_is_reported(name: str, field: str, value: object) -> None:
    trace = load(name)
    final = {**trace["final"], field: value}  # type: ignore[dict-item]
    finding = check_trace({**trace, "final": final})
    assert finding is not None
    assert "final" in finding


def test_other_precondition_gives_a_difference() -> None:
    trace = load("lc_register_dump")
    text = str(trace["precondition"])
    assert check_trace({**trace, "precondition": text.replace("count 5", "count 6")}) is not None
    assert check_trace({**trace, "precondition": text.replace("TEST_UNLOCKED0", "TEST_UNLOCKED1")}) is not None
    busy = load("rv_dm_sba_busy")
    text = str(busy["precondition"])
    assert check_trace({**busy, "precondition": text.replace("60 system clocks", "20 system clocks")}) is not None


def test_the_folder_result_is_one_when_one_file_differs(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "rv_dm_idcode.json", tmp_path / "a.json")
    trace = load("rv_dm_dtmcs")
    trace["tdo"] = str(trace["tdo"])[:-1] + ("1" if str(trace["tdo"])[-1] != "1" else "0")
    (tmp_path / "b.json").write_text(json.dumps(trace))
    (tmp_path / "c.json").write_text("{}")
    lines: list[str] = []
    assert check_traces(tmp_path, lines.append) == 1
    assert lines[0] == "a: identical"
    assert lines[1].startswith("b: first difference at bit") or lines[1] == "b: identical"
    assert lines[2].startswith("c: cannot be replayed")


def test_an_empty_folder_is_not_a_success(tmp_path: Path) -> None:
    assert check_traces(tmp_path, lambda line: None) == 1
