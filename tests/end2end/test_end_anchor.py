"""A station whose journal was restored from an older copy is told so by the appliance, before it touches a part."""

from __future__ import annotations

import json
import shutil

from end2end_bench import CP_LABEL, FT_LABEL, Engine

from station import protocol
from station.appliance.store_commands import anchors_command

LACKS = "of this station's journal, and the journal lacks it"


def test_a_station_restored_from_a_backup_is_told_so(bench, tmp_path) -> None:
    place = bench.probed()
    shutil.copytree(place.data, tmp_path / "backup")
    older = place.length()
    bench.insert(place)
    said = place.run("earlgrey-ft", FT_LABEL)
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said
    newer = place.length()

    shutil.rmtree(place.data)  # the disk died; what was kept of it is of this morning
    shutil.copytree(tmp_path / "backup", place.data)
    bench.insert(place)
    chip, devices = place.chip_digest(), bench.devices()
    with Engine(place) as engine:
        engine.send(protocol.SelectRecipe("earlgrey-ft"))
        told = engine.wait("the light", lambda e: isinstance(e, protocol.ApplianceState) and LACKS in e.text)
        assert not told.ok and "--accept" in told.text, told
        assert engine.end() == 0
    bench.insert(place)
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code == 4 and said.verdict["kind"] == "bench" and LACKS in said.verdict["reason"], said
    assert (place.chip_digest(), bench.devices()) == (chip, devices)
    checks = {line["check"]: line["sentence"] for line in json.loads(place.cli("doctor", "--json").out)}
    assert LACKS in checks["appliance sival"], checks

    lines: list[str] = []
    accept = f"station-1/{place.name}"
    assert anchors_command(folder=bench.appliance, as_json=True, say=lines.append) == 0
    states = {f"{state['station']}/{state['journal']}": state for state in json.loads(lines.pop())["journals"]}
    assert accept in states, states
    assert older < states[accept]["length"] <= newer
    assert "fewer rows" in states[accept]["broken"]
    assert anchors_command(folder=bench.appliance, accept=accept, reason="the disk died", say=lines.append) == 0
    bench.insert(place)
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code in (0, 7), said  # the station works again; what it forgot of this part is for the flow to judge
    assert LACKS not in json.dumps(said.verdict)


def test_a_station_that_lost_its_journal_is_told_so(bench) -> None:
    place = bench.place()
    bench.insert(place)
    assert place.run("earlgrey-cp", CP_LABEL).code == 0
    for path in place.data.iterdir():
        if path.name.startswith(("journal", "anchor")):
            path.unlink()
    bench.insert(place)
    before = place.chip_digest()
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 4 and LACKS in said.verdict["reason"], said
    assert place.chip_digest() == before


def test_two_stations_do_not_disturb_one_another(bench) -> None:
    """Each name has its own history, also with one certificate."""
    places = [bench.place(), bench.place()]
    for place in places:
        bench.insert(place)
        assert place.run("earlgrey-cp", CP_LABEL).code == 0
    for place in places:
        checks = {line["check"]: line["sentence"] for line in json.loads(place.cli("doctor", "--json").out)}
        assert checks["appliance sival"] == "", checks
