"""Bad files: the station says where and what, ends with 2, and touches neither part, journal nor appliance."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from end2end_bench import CP_LABEL, ROOT, Engine

from station import protocol

RECIPE = "earlgrey-cp"


@pytest.fixture
def place(bench):
    """A bare die in the closed socket and a station that is about to be spoilt."""
    place = bench.place()
    bench.insert(place)
    return place


def refused(bench, place, *expected: str) -> str:
    """The run ends with 2, one sentence, and nothing happened."""
    before = bench.before(place)
    said = place.run(RECIPE, CP_LABEL)
    assert said.code == 2, said
    assert said.out == ""
    for words in expected:
        assert words in said.sentence, said.sentence
    bench.unchanged(place, before)
    return said.sentence


def own_resources(place, name: str) -> Path:
    """A copy of the station's resources that the station file names first."""
    folder = place.folder / "own"
    for part in ("recipes", "skus"):
        shutil.copytree(ROOT / "resources" / part, folder / part)
    place.write(more='resources = ["own"]\n')
    return folder / name


def test_a_missing_station_file(bench, place) -> None:
    place.station.unlink()
    refused(bench, place, str(place.station), "expected this file, but it does not exist")


def test_an_engine_without_its_station_file_says_so_to_the_window(bench, place) -> None:
    place.station.unlink()
    with Engine(place) as engine:
        ended = engine.wait("the end", lambda event: isinstance(event, protocol.Ended))
        assert engine.end() == 2
    assert "does not exist" in ended.sentence
    assert "does not exist" in engine.log and "Traceback" not in engine.log


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x00\xff\xfe not a text at all", ("expected UTF-8 text",)),
        (b'schema = 1\nname = "half\n', (":2: expected TOML",)),
    ],
    ids=["bytes", "half a line"],
)
def test_a_garbled_station_file(bench, place, content, expected) -> None:
    place.station.write_bytes(content)
    refused(bench, place, str(place.station), *expected)


def test_every_finding_of_a_station_file_at_once(bench, place) -> None:
    text = place.station.read_text().replace(f'name = "{place.name}"', "name = 7").replace("[handler]", "[handle]")
    place.station.write_text(f"{text}\n[limits]\nlot_sise = 3\n")
    sentence = refused(bench, place, "unknown key 'handle' (did you mean 'handler'?)", "did you mean 'lot_size'?")
    findings = [line.removeprefix("station: ") for line in sentence.splitlines()]
    assert len(findings) == 3, findings
    for finding in findings:
        file, line, _ = finding.split(":", 2)
        assert Path(file) == place.station and int(line) > 1


def test_a_recipe_with_an_unknown_key(bench, place) -> None:
    recipe = own_resources(place, f"recipes/{RECIPE}.toml")
    recipe.write_text(recipe.read_text().replace("[label]", "revison = 2\n[label]"))
    refused(bench, place, f"{recipe}:", "unknown key 'revison' (did you mean 'revision'?)")


def test_a_pack_with_an_unknown_key(bench, place) -> None:
    pack = own_resources(place, "skus/sival/pack.toml")
    pack.write_text(pack.read_text().replace("[part]", 'firmwares = "rc4"\n[part]', 1))
    refused(bench, place, f"{pack}:", "unknown key 'firmwares' (did you mean 'firmware'?)")


def test_an_image_whose_digest_differs(bench, place) -> None:
    image = own_resources(place, "skus/sival/images/rc4/sram_cp_provision.elf")
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)
    refused(bench, place, "sram_cp_provision.elf", "SHA-256", "restore the file")


def test_an_unknown_recipe_and_its_neighbour(bench, place) -> None:
    before = bench.before(place)
    said = place.run("earlgrey-cq", CP_LABEL)
    assert said.code == 2
    assert "no recipe 'earlgrey-cq' (did you mean 'earlgrey-cp'?)" in said.sentence
    bench.unchanged(place, before)


def test_a_station_of_realm_production_with_a_virtual_bench(bench, place) -> None:
    place.write(realm="production")
    refused(bench, place, f"{place.station}:3:", "no virtual part may reach a production registry")


def test_the_doctor_names_the_broken_pack_and_goes_on(bench, place) -> None:
    image = own_resources(place, "skus/sival/images/rc4/ft_fw_bundle_sival.img")
    image.unlink()
    said = place.cli("doctor")
    assert said.code == 2
    assert "✖ recipe earlgrey-ft" in said.out and "it is missing" in said.out
    assert "✔ station file" in said.out and "✔ appliance" in said.out
