"""``station part export``: what is kept of a part as files, and nothing that is sealed."""

from __future__ import annotations

import json

import pytest
from spine_bench import Bench
from spine_help import new_run, open_journal

from station.errors import Refused
from station.secret import Sealed

WRAPPED = Sealed(b"a sealed value that must not leave", "was")
KEPT = {
    "console": "TF-M\r\nis up é\n", "claims": '{"a": 1}', "digits": "42", "token": bytes(range(256)), "was": WRAPPED,
}  # fmt: skip
WANTED = {"console": ".txt", "claims": ".json", "digits": ".txt", "token": ".bin"}


@pytest.fixture
def kept(folder, station):
    """A station's data folder with one part of which everything possible is kept."""
    journal = open_journal(folder / "data")
    run = new_run(journal)
    for name, value in KEPT.items():
        run.keep(name, value)
    journal.close()
    return station


def test_every_value_is_a_file_and_no_sealed_one_leaves(kept, tmp_path):
    target = tmp_path / "deep" / "out"
    said = json.loads(kept("part", "export", "L1", str(target), "--json"))
    assert {row["name"]: row["file"] for row in said} == {
        "was": "", **{name: str(target / f"{name}{ending}") for name, ending in WANTED.items()}
    }  # fmt: skip
    for name, ending in WANTED.items():
        value = KEPT[name]
        raw = value if isinstance(value, bytes) else value.encode()
        assert (target / f"{name}{ending}").read_bytes() == raw
    assert {path.name for path in target.iterdir()} == {f"{name}{ending}" for name, ending in WANTED.items()}


def test_people_read_that_it_was_left_out(kept, tmp_path):
    (tmp_path / "out").mkdir()  # empty is as good as new
    said = kept("part", "export", "L1", str(tmp_path / "out"))
    (line,) = [line for line in said.splitlines() if line.startswith("was ")]
    assert line.endswith("sealed: left out") and str(len(WRAPPED.blob)) in line


def test_a_folder_with_files_is_left_alone(kept, tmp_path):
    mine = tmp_path / "out" / "token.bin"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert "a new or an empty folder" in kept("part", "export", "L1", str(mine.parent), code=2)
    assert [path.read_bytes() for path in mine.parent.iterdir()] == [b"mine"]


def test_a_part_that_there_is_not(kept, tmp_path):
    assert "this station knows no part 'L2'" in kept("part", "export", "L2", str(tmp_path / "out"), code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../token", ".hidden", "a b", ""])
def test_a_name_that_no_file_can_have(journal, name):
    from station.records.part_files import files_of

    run = new_run(journal)
    run.keep(name, b"x")
    with pytest.raises(Refused, match="that a file can have"):
        files_of(run.part)


def test_what_was_erased_is_kept_no_more(journal):
    from station.records.part_files import files_of

    run = new_run(journal)
    run.keep("token", b"x")
    run.erased(run.waive_erase("test"), "01" * 8)
    assert files_of(run.part) == []


@pytest.fixture
def lived(folder, station):
    """A part that was erased twice: once with two values, once with none since, and has one value today."""
    journal = open_journal(folder / "data")
    run = new_run(journal)
    run.keep("token", b"first")
    run.keep("was", WRAPPED)
    run.erased(run.waive_erase("test"), "01" * 8)
    run.erased(run.waive_erase("test"), "01" * 8)
    run.keep("token", b"second")
    number = run.context.run
    journal.close()
    return station, number


def test_what_was_kept_before_an_erasure_is_exported_beside_it(lived, tmp_path):
    station, run = lived
    target = tmp_path / "out"
    said = json.loads(station("part", "export", "L1", str(target), "--json"))
    earlier = f"erased-1-run-{run}"
    assert [(row["name"], row["file"]) for row in said] == [
        ("token", str(target / "token.bin")),
        (f"{earlier}/token", str(target / earlier / "token.bin")),
        (f"{earlier}/was", ""),
    ]
    assert (target / "token.bin").read_bytes() == b"second"
    assert (target / earlier / "token.bin").read_bytes() == b"first"


def test_a_part_shows_what_was_kept_until_it_was_erased(lived):
    station, run = lived
    rows = [(row["name"], row["value"]) for row in json.loads(station("part", "show", "L1", "--json"))]
    assert ("kept", "token, 6 bytes") in rows and (f"kept until erased in run {run}", "token, 5 bytes") in rows


def test_the_window_is_told_of_earlier_lives_too(folder, lived):
    bench = Bench(folder)
    try:
        bench.sign_in("eng")
        assert f"kept until erased in run {lived[1]}" in [name for name, _ in bench.query("part", part="L1").rows]
    finally:
        bench.close()
