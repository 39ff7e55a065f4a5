"""Everything that can be wrong with a station file, recipe, pack or bins file is said as ``FILE:LINE: sentence``."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from station import plugins
from station.bins import load_bins
from station.config import load_config
from station.errors import ConfigError
from station.packs import load_pack
from station.recipe import hidden, load_recipe
from station.resources import resources_folder
from station.toml_file import key_lines

STATION = """\
schema = 1
name = "BENCH-1"
realm = "dev"
[appliance]
driver = "grpc"
[appliance.settings]
target = "localhost:5003"
[[socket]]
driver = "ft4232h"
[socket.settings]
serial = "A"
[[socket]]
driver = "ft4232h"
"""


def station(tmp_path, text):
    path = tmp_path / "station.toml"
    path.write_text(text, encoding="utf-8")
    return path


def findings(action, *arguments):
    with pytest.raises(ConfigError) as caught:
        action(*arguments)
    return str(caught.value)


def test_good_station_file(tmp_path):
    config = load_config(station(tmp_path, STATION))
    assert (config.name, len(config.sockets), config.data) == ("BENCH-1", 2, tmp_path / "data")
    assert config.sockets[0].settings == {"serial": "A"}


@pytest.mark.parametrize(
    "old, new, line, words",
    [
        ('name = "BENCH-1"', 'nmae = "BENCH-1"', 2, "unknown key 'nmae' (did you mean 'name'?)"),
        ('name = "BENCH-1"\n', "", 1, "expected the key 'name', but it is missing"),
        ('name = "BENCH-1"', 'name = ""', 2, "name: "),
        ('realm = "dev"', 'realm = "prod"', 3, "expected 'dev' or 'production', found 'prod'"),
        ("schema = 1", "schema = 2", 1, "found 2"),
        ("schema = 1", "schema = true", 1, "schema"),
        ('driver = "grpc"', 'driver = "gprc"', 5, "no appliance driver 'gprc' (did you mean 'grpc'?)"),
        ('serial = "A"\n[[socket]]\ndriver = "ft4232h"', 'serial = "A"\n[[socket]]\ndriver = "ft4232"', 13,
         "no driver 'ft4232' (did you mean 'ft4232h'?)"),
        ('serial = "A"\n[[socket]]\ndriver', 'serial = "A"\n[[socket]]\ndirver', 13,
         "unknown key 'socket.1.dirver' (did you mean 'driver'?)"),
        ('realm = "dev"', 'realm = "dev"\nmode = "virtual"', 4, "all virtual or all real"),
        ('realm = "dev"', 'realm = "production"\nmode = "virtual"\nvirtual_bench = "b.json"', 3, "no virtual part"),
        ('target = "localhost:5003"', 'tls = "off"', 7, "for mode 'engineering' only"),
        ('realm = "dev"', 'realm = ', 3, "expected TOML: Invalid value"),
    ],
)  # fmt: skip
def test_bad_station_files(tmp_path, old, new, line, words):
    assert old in STATION
    path = station(tmp_path, STATION.replace(old, new, 1))
    said = findings(load_config, path)
    assert f"{path}:{line}: " in said and words in said, said


def test_all_findings_at_once_in_order(tmp_path):
    said = findings(load_config, station(tmp_path, "schema = 9\nnam = 'x'\nrealm = 'x'\nsocket = []\n"))
    lines = said.splitlines()
    assert len(lines) >= 5
    numbers = [int(line.rsplit("station.toml:")[1].split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)


def test_an_entry_that_cannot_be_read_is_not_said_to_be_missing(tmp_path):
    text = STATION.replace('[[socket]]\ndriver = "ft4232h"\n', "", 1).replace('[socket.settings]\nserial = "A"\n', "")
    said = findings(load_config, station(tmp_path, text + 'seral = "A"\n'))
    assert said.endswith("unknown key 'socket.0.seral'") and "\n" not in said
    none = text.replace('[[socket]]\ndriver = "ft4232h"\n', "socket = []\n")
    assert "socket: " in findings(load_config, station(tmp_path, "socket = []\n" + none.replace("socket = []\n", "")))


def test_missing_and_garbled_files(tmp_path):
    assert "expected this file, but it does not exist" in findings(load_config, tmp_path / "none.toml")
    path = tmp_path / "station.toml"
    path.write_bytes(b"name = '\xff'")
    assert "expected UTF-8 text" in findings(load_config, path)
    path.write_bytes(b"\x00\x01\x02")
    assert f"{path}:1: expected TOML" in findings(load_config, path)
    assert "expected to read this file" in findings(load_config, tmp_path)


def test_lines_of_keys():
    lines = key_lines(
        'a = 1\n[t]\n# c\nb.c = """\nx = 1\n"""\nd = [\n 1,\n]\n[[s]]\ne = 1\n[[s]]\ne = 2\n[s.i]\n"f g" = 3\n'
    )
    assert lines == {
        ("a",): 1, ("t",): 2, ("t", "b", "c"): 4, ("t", "d"): 7, ("s", 0): 10, ("s", 0, "e"): 11, ("s", 1): 12,
        ("s", 1, "e"): 13, ("s", 1, "i"): 14, ("s", 1, "i", "f g"): 15,
    }  # fmt: skip


# ---- bins --------------------------------------------------------------------------------------------------------


def test_shipped_bins_are_good():
    bins = load_bins(resources_folder() / "bins.toml")
    assert bins["pass"].soft == 1 and bins["bench"].soft == 0
    assert {bin.kind for bin in bins} == {"pass", "fail", "hold", "quarantine", "bench"}


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("soft = 11", "soft = 10", "bin 'power' has soft number 10, which bin 'contact' has already"),
        ("soft = 10\n", "soft = 5\n", "soft number 0 is for the bench, 1 to 9 for pass"),
        ("[bin.hold]", "[bin.hodl]", "expected a bin 'hold', but it is missing"),
        ('retest = "engineer"', 'retest = "engeneer"', "found 'engeneer'"),
        ('tray = "GOOD"', "tary = 'GOOD'", "did you mean 'tray'?"),
    ],
)
def test_bad_bins(tmp_path, old, new, words):
    text = (resources_folder() / "bins.toml").read_text()
    path = tmp_path / "bins.toml"
    path.write_text(text.replace(old, new, 1))
    assert words in findings(load_bins, path)


# ---- packs and recipes --------------------------------------------------------------------------------------------

PACK = """\
schema = 1
sku = "tiny"
title = "Tiny"
revision = "3"
realm = "dev"
chip = "earlgrey"
firmware = "rc4"
[image.one]
file = "one.bin"
sha256 = "{digest}"
[limit.volts]
low = 1.6
"""


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "skus" / "tiny"
    folder.mkdir(parents=True)
    (folder / "one.bin").write_bytes(b"image one")
    (folder / "pack.toml").write_text(PACK.format(digest=hashlib.sha256(b"image one").hexdigest()))
    return folder / "pack.toml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_good_pack(pack):
    loaded = load_pack(pack)
    assert loaded.image("one") == b"image one" and loaded.limit("volts") == (1.6, None)
    assert loaded.generation is not None and loaded.generation.name == "rc4"
    with pytest.raises(ConfigError, match="did you mean 'one'"):
        loaded.image("onne")
    assert loaded.hook("anything") is None


def test_image_with_another_digest_is_refused(pack):
    (pack.parent / "one.bin").write_bytes(b"image two")
    said = findings(load_pack, pack)
    assert f"{pack}:10: expected one.bin with SHA-256" in said and "restore the file" in said


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('"one.bin"', '"two.bin"', "expected the file two.bin in the pack, but it is missing"),
        ('sku = "tiny"', 'sku = "other"', "says SKU 'other', but its folder is 'tiny'"),
        ('"rc4"', '"rc5"', "no firmware generation 'rc5' (did you mean 'rc4'?)"),
        ("[limit.volts]", "[limits.volts]", "unknown key 'limits' (did you mean 'limit'?)"),
        ("low = 1.6", "lwo = 1.6", "(did you mean 'low'?)"),
        ('firmware = "rc4"', 'otp = "otp.toml"', "expected the OTP file otp.toml in the pack"),
    ],
)
def test_bad_packs(pack, old, new, words):
    change(pack, old, new)
    said = findings(load_pack, pack)
    assert words in said and f"{pack}:" in said


def test_hooks_are_loaded_only_with_their_digest(pack):
    hooks = pack.parent / "hooks.py"
    hooks.write_text("def greet(name):\n    return 'hello ' + name\n")
    digest = hashlib.sha256(hooks.read_bytes()).hexdigest()
    pack.write_text(pack.read_text() + f'[hooks]\nfile = "hooks.py"\nsha256 = "{digest}"\n')
    assert load_pack(pack).hook("greet", "you") == "hello you"
    hooks.write_text("raise SystemExit\n")
    assert "expected hooks.py with SHA-256" in findings(load_pack, pack)


@pytest.mark.parametrize("name", ["earlgrey-cp", "earlgrey-ft"])
def test_shipped_recipes_are_good(name):
    recipe = load_recipe(name)
    assert recipe.pack.sku == "sival" and len(recipe.plan) > 3
    context = recipe.context_of(recipe.label_example)
    assert context is not None and context.label == recipe.label_example


def test_die_label_fills_the_record():
    context = load_recipe("earlgrey-cp").context_of("L24-0117/W12/X7/Y19")
    assert context is not None
    assert (context.lot, context.wafer, context.x, context.y) == ("L24-0117", "W12", 7, 19)


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "more" / "recipes"
    folder.mkdir(parents=True)
    path = folder / "mine.toml"
    shutil.copy(resources_folder() / "recipes" / "earlgrey-cp.toml", path)
    change(path, 'name = "earlgrey-cp"', 'name = "mine"')
    return path


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('flow = "chip_probe"', 'flow = "chip_prob"', "no flow 'chip_prob' (did you mean 'chip_probe'?)"),
        ('part = "earlgrey"', 'part = "earlgray"', "no part 'earlgray' (did you mean 'earlgrey'?)"),
        ('sku = "sival"', 'sku = "siva"', "no SKU pack 'siva'"),
        (
            'realm = "dev"',
            'realm = "production"',
            "the recipe is for realm 'production', but its pack sival is for 'dev'",
        ),
        ("(?P<lot>", "(?P<lto>", "the pattern names 'lto'"),
        ("(?P<lot>", "(?P<lot", "expected a regular expression"),
        ('example = "', 'example = "?', "does not fit the pattern"),
        ("'([0-9]{1,3})$'", "'([0-9]{1,3}$'", "first group is the number in the example's lot 'L24-0117'"),
        ("'([0-9]{1,3})$'", "'[0-9]{1,3}$'", "first group is the number"),
        ("'([0-9]{1,3})$'", "'(.*)'", "first group is the number"),
        ("'([0-9]{1,3})$'", "'^([0-9]{1,3})$'", "first group is the number"),
        ('name = "mine"', 'name = "yours"', "says 'yours', but its file is 'mine.toml'"),
        ("revision", "revison", "(did you mean 'revision'?)"),
    ],
)
def test_bad_recipes(recipe, old, new, words):
    change(recipe, old, new)
    said = findings(load_recipe, "mine", (recipe.parents[1],))
    assert words in said and f"{recipe}:" in said, said


def test_an_unknown_recipe_says_where_it_was_looked_for_and_how_to_name_more_folders(recipe):
    own = recipe.parents[1]
    said = findings(load_recipe, "mein", (own,))
    assert "expected a recipe recipes/mein.toml, but there is none (did you mean 'mine'?)" in said
    assert f"searched {own}, {resources_folder()}; the station file names" in said and 'resources = ["data"]' in said


def test_what_is_not_found_names_the_folders_that_are_not_there(recipe):
    own, gone = recipe.parents[1], recipe.parents[1] / "gone"
    said = findings(load_recipe, "mein", (gone, own))
    assert f"searched {own}, {resources_folder()} (not there: {gone}: make it, or correct the path);" in said


def test_an_unknown_pack_says_where_it_was_looked_for(recipe):
    change(recipe, 'sku = "sival"', 'sku = "siva"')
    said = findings(load_recipe, "mine", (recipe.parents[1],))
    assert "no SKU pack 'siva' (did you mean 'sival'?): expected skus/siva/pack.toml, searched " in said
    assert str(recipe.parents[1]) in said


def test_a_recipe_or_pack_that_hides_another_is_told(recipe):
    own = (recipe.parents[1],)
    assert list(hidden("mine", "sival", own)) == []
    copy = shutil.copy(recipe, recipe.parent / "earlgrey-cp.toml")
    (recipe.parents[1] / "skus" / "sival").mkdir(parents=True)
    pack = shutil.copy(resources_folder() / "skus" / "sival" / "pack.toml", recipe.parents[1] / "skus" / "sival")
    told = dict(hidden("earlgrey-cp", "sival", own))
    assert told["recipe earlgrey-cp"].startswith(f"{copy} is read, which hides {resources_folder()}")
    assert told["pack sival"].startswith(f"{pack} is read, which hides {resources_folder()}")


# ---- plug-ins -----------------------------------------------------------------------------------------------------


def test_a_plugin_whose_package_is_missing_says_which(monkeypatch):
    from importlib.metadata import EntryPoint

    broken = {
        "away": EntryPoint("away", "no_such_package.module:open", "station.drivers"),
        "bad": EntryPoint("bad", "json:no_such_name", "station.drivers"),
    }
    monkeypatch.setattr(plugins, "_entries", lambda group: broken)
    with pytest.raises(ConfigError, match="needs the Python package that provides 'no_such_package'"):
        plugins.load("station.drivers", "away")
    with pytest.raises(ConfigError, match=r"provides 'no_such_package', which is not installed$"):
        plugins.load("station.drivers", "away")
    with pytest.raises(ConfigError, match="is broken"):
        plugins.load("station.drivers", "bad")
    with pytest.raises(ConfigError, match=r"no driver 'awya' \(did you mean 'away'\?\); installed are: away, bad"):
        plugins.load("station.drivers", "awya")
